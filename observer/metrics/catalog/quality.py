"""Metrics of quality: labels, realised and estimated quality, objectives."""

from __future__ import annotations

from observer.metrics.base import Metric
from observer.metrics.catalog.labels import COHORT, DAY, HOUR, MINUTE, WINDOW

# --- labels ---
LABELS_JOINED = Metric(
    "observer_labels_total",
    "counter",
    ("model", "outcome"),
    "",
    "Labels by outcome: matched, corrected (replaces an earlier one), duplicate, stale (older than the one "
    "in use), waiting (came before its prediction), expired (its prediction never came in time), unused (the "
    "model's task is not known yet).",
)
JOINS_PENDING = Metric(
    "observer_joins_pending",
    "gauge",
    ("state",),
    "",
    "Predictions and labels that wait for each other.",
)
JOINS_EXPIRED = Metric(
    "observer_joins_expired_total",
    "counter",
    ("state",),
    "",
    "Predictions that no label reached, and labels that met no prediction, within the horizon.",
)
LABEL_DELAY = Metric(
    "observer_label_delay_seconds",
    "histogram",
    ("model",),
    "seconds",
    "Event time from a prediction to its label.",
    buckets=(
        1.0,
        10.0,
        MINUTE,
        5 * MINUTE,
        15 * MINUTE,
        HOUR,
        3 * HOUR,
        6 * HOUR,
        12 * HOUR,
        DAY,
        2 * DAY,
        3 * DAY,
        7 * DAY,
        14 * DAY,
        30 * DAY,
    ),
)
LABEL_MATURITY = Metric(
    "observer_label_maturity_seconds",
    "gauge",
    ("model",),
    "seconds",
    "Age at which a cohort of predictions counts as matured.",
)
LABEL_COVERAGE = Metric(
    "observer_label_coverage_ratio",
    "gauge",
    COHORT,
    "ratio",
    "Predictions of the cohort that have their label.",
)

# --- quality: by cohort of predictions ---
QUALITY = Metric(
    "observer_quality_value", "gauge", (*COHORT, "metric"), "", "Quality metric, in its own unit."
)
QUALITY_ERROR_BOUND = Metric(
    "observer_quality_error_bound",
    "gauge",
    (*COHORT, "metric"),
    "",
    "Most by which the value can be off because it was computed from binned counts; 0 is exact.",
)
QUALITY_ROWS = Metric(
    "observer_quality_labelled_rows",
    "gauge",
    COHORT,
    "",
    "Labelled predictions the quality values rest on.",
    fold="sum",
)

# --- quality before labels: the last closed window, until a matured cohort replaces it ---
QUALITY_ESTIMATE = Metric(
    "observer_quality_estimate",
    "gauge",
    (*WINDOW, "metric"),
    "",
    "Quality metric of the last closed window, estimated before its labels came, in its own unit.",
)
QUALITY_ESTIMATE_LOW = Metric(
    "observer_quality_estimate_low",
    "gauge",
    (*WINDOW, "metric"),
    "",
    "Lower end of the estimate's band, 95% if what the method assumes is true.",
)
QUALITY_ESTIMATE_HIGH = Metric(
    "observer_quality_estimate_high",
    "gauge",
    (*WINDOW, "metric"),
    "",
    "Upper end of the estimate's band.",
)
QUALITY_ESTIMATE_SKILL = Metric(
    "observer_quality_estimate_skill",
    "gauge",
    (*WINDOW, "metric"),
    "",
    "1 less the estimate's mean error over that of assuming no change, as labels came: use no estimate whose "
    "skill is 0 or less, or not known (absent).",
    fold="min",
)

# --- objectives ---
_OBJECTIVE = ("model", "objective")
SLO_TARGET = Metric(
    "observer_slo_objective_ratio", "gauge", _OBJECTIVE, "ratio", "Share of events that has to be good."
)
SLO_EVENTS = Metric(
    "observer_slo_events_total",
    "counter",
    _OBJECTIVE,
    "",
    "Events that the objective counts, once their label has arrived where it needs one; corrections too.",
)
SLO_GOOD_EVENTS = Metric(
    "observer_slo_good_events_total", "counter", _OBJECTIVE, "", "The good ones of observer_slo_events_total."
)
SLO_BUDGET = Metric(
    "observer_slo_error_budget_remaining_ratio",
    "gauge",
    (*_OBJECTIVE, "by"),
    "ratio",
    "Share of the error budget that is left in the window of the objective; negative once overspent.",
)
SLO_BURN_RATE = Metric(
    "observer_slo_burn_rate",
    "gauge",
    (*_OBJECTIVE, "window"),
    "",
    "Share of bad events by arrival over the share allowed; 1 spends just the budget.",
)
SLO_ALERT = Metric(
    "observer_slo_burn_alert",
    "gauge",
    (*_OBJECTIVE, "severity"),
    "",
    "1 while some pair of windows burns fast enough to alert, else 0.",
)
SLO_EXHAUSTION = Metric(
    "observer_slo_error_budget_exhaustion_timestamp_seconds",
    "gauge",
    (*_OBJECTIVE, "bound"),
    "seconds",
    "When the budget will be spent if it goes on like this; absent where it lasts or is spent.",
)
SLO_SINCE = Metric(
    "observer_slo_burning_since_timestamp_seconds",
    "gauge",
    _OBJECTIVE,
    "seconds",
    "Event time from which on some pair of windows has burned fast enough to alert; absent while none does.",
)

QUALITY_SECTIONS = {
    "Labels": (
        LABELS_JOINED,
        JOINS_PENDING,
        JOINS_EXPIRED,
        LABEL_DELAY,
        LABEL_MATURITY,
        LABEL_COVERAGE,
    ),
    "Quality": (
        QUALITY,
        QUALITY_ERROR_BOUND,
        QUALITY_ROWS,
    ),
    "Quality before labels": (
        QUALITY_ESTIMATE,
        QUALITY_ESTIMATE_LOW,
        QUALITY_ESTIMATE_HIGH,
        QUALITY_ESTIMATE_SKILL,
    ),
    "Objectives": (
        SLO_TARGET,
        SLO_EVENTS,
        SLO_GOOD_EVENTS,
        SLO_BUDGET,
        SLO_BURN_RATE,
        SLO_ALERT,
        SLO_EXHAUSTION,
        SLO_SINCE,
    ),
}
