"""Every metric the service exports, each declared once."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from detectors.base import Status
from observer.metrics.base import Metric

STATUS_CODES: Mapping[Status, int] = MappingProxyType(
    {Status.DRIFT: 1, Status.STABLE: 0, Status.INSUFFICIENT: -1, Status.FAILED: -2}
)
"""Value of a status gauge. Drift is the greatest, so that `max by (model)` finds it."""

LABELS: Mapping[str, str] = MappingProxyType(
    {
        "model": "Model name; empty where an event named none that is known.",
        "version": "Model version.",
        "segment": "`dimension=value`; empty for all events; `other` for those beyond a cap.",
        "arm": "`champion` or `challenger`; empty for all arms together.",
        "column": "Feature, `@prediction`, `@score`, `@table` for all columns at once; "
        "`other` for those beyond a cap.",
        "detector": "Name in the detector catalog, such as `ks`, or `river.ADWIN` of another package; "
        "of a page or ticket its first statistic.",
        "statistic": "What is watched of the column: `location`, `spread`, `total_variation`, `missing` ...",
        "tier": "`page`, `ticket` or `info`.",
        "watch": "`inputs`: what comes in and is predicted; `quality`: what labels say of it.",
        "metric": "Quality metric, such as `accuracy`; in `observer_series_capped` the name of a metric.",
        "maturity": "`matured`: nearly all labels have had time to come; else `provisional`.",
        "probability": "Which quantile: `0.05`, `0.5`, `0.95`.",
        "stream": "`predictions` or `labels`.",
        "source": "Topic or file.",
        "partition": "Number of the partition in its source.",
        "outcome": "What became of it; the metric names the values.",
        "reason": "Why an event was rejected: the reason of its dead letter.",
        "kind": "`model`, `version`, `feature`, `tag` or `segment`.",
        "state": "`prediction`: waits for its label; `label`: waits for its prediction.",
        "status": "`stable`, `drift`, `insufficient` or `failed`.",
        "reference": "Content hash of the reference.",
        "objective": "Name of a service level objective, unique in its model.",
        "by": "`prediction`: events by the time of the prediction, authoritative; `arrival`: "
        "by that of the label.",
        "window": "How far a burn rate looks back, such as `5m` or `30d`.",
        "severity": "`page` or `ticket`.",
        "bound": "Of a 95% band: `earliest`, `expected`, `latest`; `lower`, `estimate`, `upper`.",
        "rule": "Name of a rule of the model's actions.",
        "action": "`retrain`, `set_weights`, `promote`, `rollback` or `notify`.",
        "direction": "`better` or `worse`: what the evidence is of.",
        "hash": "SHA-256 of the newest row; a row changed later changes every one after it.",
        "service_version": "Release of the service.",
        "python_version": "Python it runs on.",
    }
)
"""What each label means, everywhere the same."""

_WINDOW = ("model", "version", "segment")
_COLUMN = (*_WINDOW, "column")
_VERDICT = (*_COLUMN, "detector")
_STREAM = (*_WINDOW, "column", "statistic")
_WATCH = ("model", "version", "watch")
_COHORT = ("model", "version", "arm", "segment", "maturity")
_PARTITION = ("stream", "source", "partition")
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0

# --- events ---
EVENTS = Metric(
    "observer_events_total",
    "counter",
    ("stream", "model", "outcome"),
    "",
    "Events read, by outcome: accepted, duplicate, late_folded (into its window all the same), "
    "late_counted (too late, counted only), rejected.",
)
EVENTS_REJECTED = Metric(
    "observer_events_rejected_total", "counter", ("stream", "reason"), "", "Events rejected, by reason."
)
SPOILED_VALUES = Metric(
    "observer_feature_values_spoiled_total",
    "counter",
    (),
    "",
    "Feature values of a wrong type, whose events were used without them.",
)
DROPPED_VALUES = Metric(
    "observer_values_dropped_total",
    "counter",
    (),
    "",
    "Feature, tag and score values under names beyond the limits, whose events were used without them.",
)
NAMES_DROPPED = Metric(
    "observer_names_dropped_total",
    "counter",
    ("model", "kind"),
    "",
    "New names left out because the limit on distinct names was reached.",
)

# --- sources ---
SOURCE_MESSAGES = Metric("observer_source_messages_total", "counter", _PARTITION, "", "Messages read.")
SOURCE_BYTES = Metric("observer_source_bytes_total", "counter", ("stream",), "bytes", "Payload bytes read.")
SOURCE_LAG = Metric("observer_source_lag_messages", "gauge", _PARTITION, "", "Messages not yet read.")
SOURCE_LOST = Metric(
    "observer_source_messages_lost_total",
    "counter",
    _PARTITION,
    "",
    "Messages that were gone from the source before they were read; at least so many.",
)
WATERMARK = Metric(
    "observer_watermark_timestamp_seconds",
    "gauge",
    ("stream",),
    "seconds",
    "Event time up to which the stream is taken to be complete, since the epoch.",
)
WATERMARK_DELAY = Metric(
    "observer_watermark_delay_seconds",
    "gauge",
    ("stream",),
    "seconds",
    "Time by which the watermark is behind.",
)

# --- checkpoints ---
CHECKPOINT_NUMBER = Metric(
    "observer_checkpoint_number", "gauge", (), "", "Number of the last checkpoint; survives restarts."
)
CHECKPOINT_AGE = Metric(
    "observer_checkpoint_age_seconds",
    "gauge",
    (),
    "seconds",
    "Time since the last checkpoint, or since the start if there is none yet.",
)
CHECKPOINT_DURATION = Metric(
    "observer_checkpoint_duration_seconds",
    "histogram",
    (),
    "seconds",
    "Time a checkpoint took.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)

# --- windows ---
WINDOWS_OPEN = Metric("observer_windows_open", "gauge", ("model",), "", "Windows that still take events.")
WINDOWS_CLOSED = Metric(
    "observer_windows_closed_total", "counter", ("model", "status"), "", "Windows closed, by status."
)
WINDOW_EXPORT_DELAY = Metric(
    "observer_window_export_delay_seconds",
    "histogram",
    (),
    "seconds",
    "Time from the closing of a window until its values can be scraped.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
WINDOW_END = Metric(
    "observer_window_end_timestamp_seconds",
    "gauge",
    _WINDOW,
    "seconds",
    "End of the last closed window, in event time since the epoch.",
    fold="max",
)
WINDOW_ROWS = Metric(
    "observer_window_rows", "gauge", _WINDOW, "", "Events in the last closed window.", fold="sum"
)
WINDOW_STATUS = Metric(
    "observer_window_status",
    "gauge",
    _WINDOW,
    "",
    "Last closed window: 1 a column drifts, 0 stable, -1 too few events, -2 could not be judged.",
    fold="max",
)

# --- drift: one series per verdict on the last closed window ---
DRIFT_STATUS = Metric(
    "observer_drift_status",
    "gauge",
    _VERDICT,
    "",
    "Verdict: 1 drift, 0 stable, -1 too few rows, -2 failed.",
    fold="max",
)
DRIFT_STATISTIC = Metric(
    "observer_drift_statistic",
    "gauge",
    _VERDICT,
    "",
    "Test statistic, in the detector's own unit.",
    fold="max",
)
DRIFT_EFFECT = Metric(
    "observer_drift_effect",
    "gauge",
    _VERDICT,
    "",
    "Effect size in the detector's unit; 0 is no change.",
    fold="max",
)
DRIFT_P_VALUE = Metric(
    "observer_drift_p_value",
    "gauge",
    _VERDICT,
    "",
    "Evidence against no change; absent where the detector gives no p-value.",
    fold="min",
)
DRIFT_THRESHOLD = Metric(
    "observer_drift_threshold",
    "gauge",
    _VERDICT,
    "",
    "What the p-value, or the effect where there is none, was held against.",
)
DRIFT_REFERENCE_ROWS = Metric(
    "observer_drift_reference_rows", "gauge", _VERDICT, "", "Reference rows that entered the comparison."
)
DRIFT_WINDOW_ROWS = Metric(
    "observer_drift_window_rows", "gauge", _VERDICT, "", "Window rows that entered the comparison."
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
    _STREAM,
    "",
    "Decimal logarithm of the evidence that the watched statistic has changed; 0 is none.",
    fold="max",
)
STREAM_EFFECT = Metric(
    "observer_stream_effect",
    "gauge",
    _STREAM,
    "",
    "Estimated shift of the watched statistic since it began, signed, in its own unit.",
    fold="max",
)
STREAM_LOWER = Metric(
    "observer_stream_effect_lower_bound",
    "gauge",
    _STREAM,
    "",
    "Lower confidence bound of the size of the shift, valid at all times.",
    fold="max",
)
STREAM_TIER = Metric(
    "observer_stream_tier",
    "gauge",
    _STREAM,
    "",
    "What the stream has been raised to: 0 nothing, 1 a ticket, 2 a page (part of an open incident).",
    fold="max",
)
EVIDENCE = Metric(
    "observer_page_evidence",
    "gauge",
    _WATCH,
    "",
    "Decimal logarithm of the mean evidence of the streams that could page.",
)
EVIDENCE_THRESHOLD = Metric(
    "observer_page_evidence_threshold",
    "gauge",
    _WATCH,
    "",
    "Where the mean evidence pages: the logarithm of the windows between two false pages.",
)
EVIDENCE_STAGE = Metric(
    "observer_watch_stage",
    "gauge",
    _WATCH,
    "",
    "0: too few reference windows for evidence, 1: too few to page, so tickets only, 2: it pages.",
)
HISTORY_WINDOWS = Metric(
    "observer_watch_reference_windows", "gauge", _WATCH, "", "Reference windows that the watch has."
)
HISTORY_NEEDED = Metric(
    "observer_watch_reference_windows_needed",
    "gauge",
    _WATCH,
    "",
    "Reference windows that the watch needs before it pages.",
)
INCIDENT_OPEN = Metric("observer_incident_open", "gauge", _WATCH, "", "1 while an incident is open, else 0.")
INCIDENT_SINCE = Metric(
    "observer_incident_opened_timestamp_seconds",
    "gauge",
    _WATCH,
    "seconds",
    "Start of the window that opened the incident, in event time since the epoch; absent without one.",
)

# --- columns: the last closed window ---
COLUMN_MISSING = Metric(
    "observer_column_missing_ratio",
    "gauge",
    _COLUMN,
    "ratio",
    "Rows whose value is absent, null or NaN.",
    fold="max",
)
COLUMN_UNSEEN = Metric(
    "observer_column_unseen_ratio",
    "gauge",
    _COLUMN,
    "ratio",
    "Rows whose category the reference does not hold.",
    fold="max",
)
COLUMN_OUT_OF_RANGE = Metric(
    "observer_column_out_of_range_ratio",
    "gauge",
    _COLUMN,
    "ratio",
    "Rows whose number lies outside the reference's range.",
    fold="max",
)
COLUMN_TYPE_ERRORS = Metric(
    "observer_column_type_error_ratio",
    "gauge",
    _COLUMN,
    "ratio",
    "Rows whose value has a wrong type.",
    fold="max",
)
COLUMN_MEAN = Metric("observer_column_mean", "gauge", _COLUMN, "", "Mean of a numeric column.")
COLUMN_QUANTILE = Metric(
    "observer_column_quantile", "gauge", (*_COLUMN, "probability"), "", "Quantile of a numeric column."
)

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
        _MINUTE,
        5 * _MINUTE,
        15 * _MINUTE,
        _HOUR,
        3 * _HOUR,
        6 * _HOUR,
        12 * _HOUR,
        _DAY,
        2 * _DAY,
        3 * _DAY,
        7 * _DAY,
        14 * _DAY,
        30 * _DAY,
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
    _COHORT,
    "ratio",
    "Predictions of the cohort that have their label.",
)

# --- quality: by cohort of predictions ---
QUALITY = Metric(
    "observer_quality_value", "gauge", (*_COHORT, "metric"), "", "Quality metric, in its own unit."
)
QUALITY_ERROR_BOUND = Metric(
    "observer_quality_error_bound",
    "gauge",
    (*_COHORT, "metric"),
    "",
    "Most by which the value can be off because it was computed from binned counts; 0 is exact.",
)
QUALITY_ROWS = Metric(
    "observer_quality_labelled_rows",
    "gauge",
    _COHORT,
    "",
    "Labelled predictions the quality values rest on.",
    fold="sum",
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

# --- actions ---
ACTION_EVALUATIONS = Metric(
    "observer_action_evaluations_total",
    "counter",
    ("model", "rule", "reason"),
    "",
    "What rules made of what set them off, by reason, each cause once: intended, duplicate, dry_run, frozen, "
    "cooldown, rate_limit, concurrent, labels_too_few.",
)
ACTION_REPORTS_DROPPED = Metric(
    "observer_action_reports_dropped_total",
    "counter",
    (),
    "",
    "Results that rules and rollouts never saw because they were too far behind.",
)
ACTIONS_OPEN = Metric(
    "observer_actions_open",
    "gauge",
    ("model", "action", "state"),
    "",
    "Actions that have not ended: waiting, held, approved, sending, running, stuck.",
)
ACTIONS_ENDED = Metric(
    "observer_actions_ended_total",
    "counter",
    ("model", "action", "state"),
    "",
    "Actions that ended: succeeded, failed, rejected, expired, stopped.",
)
LEDGER_ROWS = Metric("observer_ledger_rows", "gauge", (), "", "Rows of the ledger of actions.")
LEDGER_HEAD = Metric(
    "observer_ledger_head_info",
    "gauge",
    ("hash",),
    "",
    "Always 1; names the newest row of the ledger.",
)
ROLLOUT_SHARE = Metric(
    "observer_rollout_share_ratio",
    "gauge",
    ("model", "version"),
    "ratio",
    "Share of the traffic that the challenger gets.",
)
ROLLOUT_DIFFERENCE = Metric(
    "observer_rollout_difference",
    "gauge",
    ("model", "version", "bound"),
    "",
    "Rate of right predictions of the challenger less the champion's: lower, estimate, upper.",
)
ROLLOUT_EVIDENCE = Metric(
    "observer_rollout_evidence",
    "gauge",
    ("model", "version", "direction"),
    "",
    "Decimal logarithm of the evidence that the challenger is better, or worse.",
)
ALERTMANAGER_DOWN = Metric(
    "observer_alertmanagers_down",
    "gauge",
    (),
    "",
    "Alertmanagers that could not be told the last time.",
)

# --- quality before labels: the last closed window, until a matured cohort replaces it ---
QUALITY_ESTIMATE = Metric(
    "observer_quality_estimate",
    "gauge",
    (*_WINDOW, "metric"),
    "",
    "Quality metric of the last closed window, estimated before its labels came, in its own unit.",
)
QUALITY_ESTIMATE_LOW = Metric(
    "observer_quality_estimate_low",
    "gauge",
    (*_WINDOW, "metric"),
    "",
    "Lower end of the estimate's band, 95% if what the method assumes is true.",
)
QUALITY_ESTIMATE_HIGH = Metric(
    "observer_quality_estimate_high",
    "gauge",
    (*_WINDOW, "metric"),
    "",
    "Upper end of the estimate's band.",
)
QUALITY_ESTIMATE_SKILL = Metric(
    "observer_quality_estimate_skill",
    "gauge",
    (*_WINDOW, "metric"),
    "",
    "1 less the estimate's mean error over that of assuming no change, as labels came: use no estimate whose "
    "skill is 0 or less, or not known (absent).",
    fold="min",
)

# --- references ---
REFERENCE_INFO = Metric(
    "observer_reference_info",
    "gauge",
    ("model", "version", "reference"),
    "",
    "Always 1; names the reference that windows are compared with.",
)
REFERENCE_ROWS = Metric(
    "observer_reference_rows", "gauge", ("model", "version"), "", "Rows of the reference, so far if learning."
)
REFERENCE_LEARNING = Metric(
    "observer_reference_learning",
    "gauge",
    ("model", "version"),
    "",
    "1 while the reference is being learnt from live windows, which are not judged; else 0.",
)
REFERENCE_FAILED = Metric(
    "observer_reference_failed",
    "gauge",
    ("model", "version"),
    "",
    "1 while the reference handed over with the version cannot be read (`/readyz` says why); else 0.",
)

# --- the service ---
RECORDS_WRITTEN = Metric(
    "observer_history_records_written_total", "counter", (), "", "Results that the history's database took."
)
RECORDS_DROPPED = Metric(
    "observer_history_records_dropped_total",
    "counter",
    ("reason",),
    "",
    "Results that are missing in the history: the buffer was full, or the database refused them.",
)
RECORDS_WAITING = Metric(
    "observer_history_records_waiting", "gauge", (), "", "Results that the database has not taken yet."
)
HISTORY_UP = Metric(
    "observer_history_up", "gauge", (), "", "1 while the history's database takes what it is given; else 0."
)
SERIES_CAPPED = Metric(
    "observer_series_capped",
    "gauge",
    ("metric",),
    "",
    "Series that a cap left out or folded into other; absent where no cap bites.",
)
BUILD_INFO = Metric(
    "observer_build_info",
    "gauge",
    ("service_version", "python_version"),
    "",
    "Always 1; names the release.",
)
PROCESS_CPU = Metric("process_cpu_seconds_total", "counter", (), "seconds", "User and system CPU time spent.")
PROCESS_MEMORY = Metric("process_resident_memory_bytes", "gauge", (), "bytes", "Resident memory.")
PROCESS_START = Metric(
    "process_start_time_seconds", "gauge", (), "seconds", "Start of the process, since the epoch."
)
PROCESS_FILES = Metric("process_open_fds", "gauge", (), "", "Open file descriptors.")
PROCESS_FILES_MAX = Metric("process_max_fds", "gauge", (), "", "Most open file descriptors allowed.")

SECTIONS: Mapping[str, tuple[Metric, ...]] = MappingProxyType(
    {
        "Events": (EVENTS, EVENTS_REJECTED, SPOILED_VALUES, DROPPED_VALUES, NAMES_DROPPED),
        "Sources": (SOURCE_MESSAGES, SOURCE_BYTES, SOURCE_LAG, SOURCE_LOST, WATERMARK, WATERMARK_DELAY),
        "Checkpoints": (CHECKPOINT_NUMBER, CHECKPOINT_AGE, CHECKPOINT_DURATION),
        "Windows": (
            WINDOWS_OPEN,
            WINDOWS_CLOSED,
            WINDOW_EXPORT_DELAY,
            WINDOW_END,
            WINDOW_ROWS,
            WINDOW_STATUS,
        ),
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
        "Labels": (LABELS_JOINED, JOINS_PENDING, JOINS_EXPIRED, LABEL_DELAY, LABEL_MATURITY, LABEL_COVERAGE),
        "Quality": (QUALITY, QUALITY_ERROR_BOUND, QUALITY_ROWS),
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
        ),
        "Actions": (
            ACTION_EVALUATIONS,
            ACTION_REPORTS_DROPPED,
            ACTIONS_OPEN,
            ACTIONS_ENDED,
            LEDGER_ROWS,
            LEDGER_HEAD,
            ROLLOUT_SHARE,
            ROLLOUT_DIFFERENCE,
            ROLLOUT_EVIDENCE,
            ALERTMANAGER_DOWN,
        ),
        "References": (REFERENCE_INFO, REFERENCE_ROWS, REFERENCE_LEARNING, REFERENCE_FAILED),
        "History": (RECORDS_WRITTEN, RECORDS_DROPPED, RECORDS_WAITING, HISTORY_UP),
        "The service": (
            SERIES_CAPPED,
            BUILD_INFO,
            PROCESS_CPU,
            PROCESS_MEMORY,
            PROCESS_START,
            PROCESS_FILES,
            PROCESS_FILES_MAX,
        ),
    }
)
"""All metrics, in the order of the documentation."""
