"""Metrics of drift: verdicts, evidence, columns."""

from __future__ import annotations

from observer.metrics.base import Metric
from observer.metrics.catalog.labels import COLUMN, STREAM, VERDICT, WATCH

# --- drift: one series per verdict on the last closed window ---
DRIFT_STATUS = Metric(
    "observer_drift_status",
    "gauge",
    VERDICT,
    "",
    "Verdict: 1 drift, 0 stable, -1 too few rows, -2 failed.",
    fold="max",
)
DRIFT_STATISTIC = Metric(
    "observer_drift_statistic",
    "gauge",
    VERDICT,
    "",
    "Test statistic, in the detector's own unit.",
    fold="max",
)
DRIFT_EFFECT = Metric(
    "observer_drift_effect",
    "gauge",
    VERDICT,
    "",
    "Effect size in the detector's unit; 0 is no change.",
    fold="max",
)
DRIFT_P_VALUE = Metric(
    "observer_drift_p_value",
    "gauge",
    VERDICT,
    "",
    "Evidence against no change; absent where the detector gives no p-value.",
    fold="min",
)
DRIFT_THRESHOLD = Metric(
    "observer_drift_threshold",
    "gauge",
    VERDICT,
    "",
    "What the p-value, or the effect where there is none, was held against.",
)
DRIFT_REFERENCE_ROWS = Metric(
    "observer_drift_reference_rows", "gauge", VERDICT, "", "Reference rows that entered the comparison."
)
DRIFT_WINDOW_ROWS = Metric(
    "observer_drift_window_rows", "gauge", VERDICT, "", "Window rows that entered the comparison."
)
FINDINGS = Metric(
    "observer_findings_total",
    "counter",
    ("model", "version", "detector", "tier"),
    "",
    "Findings so far: pages and tickets of a watch, and verdicts of drift on single windows.",
)

# --- evidence: what each version's watch says after its last window ---
STREAM_EVIDENCE = Metric(
    "observer_stream_evidence",
    "gauge",
    STREAM,
    "",
    "Decimal logarithm of the evidence that the watched statistic has changed; 0 is none.",
    fold="max",
)
STREAM_EFFECT = Metric(
    "observer_stream_effect",
    "gauge",
    STREAM,
    "",
    "Estimated shift of the watched statistic since it began, signed, in its own unit.",
    fold="max",
)
STREAM_LOWER = Metric(
    "observer_stream_effect_lower_bound",
    "gauge",
    STREAM,
    "",
    "Lower confidence bound of the size of the shift, valid at all times.",
    fold="max",
)
STREAM_TIER = Metric(
    "observer_stream_tier",
    "gauge",
    STREAM,
    "",
    "What the stream has been raised to: 0 nothing, 1 a ticket, 2 a page (part of an open incident).",
    fold="max",
)
EVIDENCE = Metric(
    "observer_page_evidence",
    "gauge",
    WATCH,
    "",
    "Decimal logarithm of the mean evidence of the streams that could page.",
)
EVIDENCE_THRESHOLD = Metric(
    "observer_page_evidence_threshold",
    "gauge",
    WATCH,
    "",
    "Where the mean evidence pages: the logarithm of the windows between two false pages.",
)
EVIDENCE_STAGE = Metric(
    "observer_watch_stage",
    "gauge",
    WATCH,
    "",
    "0: too few reference windows for evidence, 1: too few to page, so tickets only, 2: it pages.",
)
HISTORY_WINDOWS = Metric(
    "observer_watch_reference_windows", "gauge", WATCH, "", "Reference windows that the watch has."
)
HISTORY_NEEDED = Metric(
    "observer_watch_reference_windows_needed",
    "gauge",
    WATCH,
    "",
    "Reference windows that the watch needs before it pages.",
)
INCIDENT_OPEN = Metric("observer_incident_open", "gauge", WATCH, "", "1 while an incident is open, else 0.")
INCIDENT_SINCE = Metric(
    "observer_incident_opened_timestamp_seconds",
    "gauge",
    WATCH,
    "seconds",
    "Start of the window that opened the incident, in event time since the epoch; absent without one.",
)

# --- columns: the last closed window ---
COLUMN_MISSING = Metric(
    "observer_column_missing_ratio",
    "gauge",
    COLUMN,
    "ratio",
    "Rows whose value is absent, null or NaN.",
    fold="max",
)
COLUMN_UNSEEN = Metric(
    "observer_column_unseen_ratio",
    "gauge",
    COLUMN,
    "ratio",
    "Rows whose category the reference does not hold.",
    fold="max",
)
COLUMN_OUT_OF_RANGE = Metric(
    "observer_column_out_of_range_ratio",
    "gauge",
    COLUMN,
    "ratio",
    "Rows whose number lies outside the reference's range.",
    fold="max",
)
COLUMN_TYPE_ERRORS = Metric(
    "observer_column_type_error_ratio",
    "gauge",
    COLUMN,
    "ratio",
    "Rows whose value has a wrong type.",
    fold="max",
)
COLUMN_MEAN = Metric("observer_column_mean", "gauge", COLUMN, "", "Mean of a numeric column.")
COLUMN_QUANTILE = Metric(
    "observer_column_quantile", "gauge", (*COLUMN, "probability"), "", "Quantile of a numeric column."
)

DRIFT_SECTIONS = {
    "Drift": (
        DRIFT_STATUS,
        DRIFT_STATISTIC,
        DRIFT_EFFECT,
        DRIFT_P_VALUE,
        DRIFT_THRESHOLD,
        DRIFT_REFERENCE_ROWS,
        DRIFT_WINDOW_ROWS,
        FINDINGS,
    ),
    "Evidence": (
        STREAM_EVIDENCE,
        STREAM_EFFECT,
        STREAM_LOWER,
        STREAM_TIER,
        EVIDENCE,
        EVIDENCE_THRESHOLD,
        EVIDENCE_STAGE,
        HISTORY_WINDOWS,
        HISTORY_NEEDED,
        INCIDENT_OPEN,
        INCIDENT_SINCE,
    ),
    "Columns": (
        COLUMN_MISSING,
        COLUMN_UNSEEN,
        COLUMN_OUT_OF_RANGE,
        COLUMN_TYPE_ERRORS,
        COLUMN_MEAN,
        COLUMN_QUANTILE,
    ),
}
