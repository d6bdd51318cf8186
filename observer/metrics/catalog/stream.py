"""Metrics of the events: read, windowed and checkpointed."""

from __future__ import annotations

from observer.metrics.base import Metric
from observer.metrics.catalog.labels import PARTITION, WINDOW

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
HALVES_WAITING = Metric(
    "observer_halves_waiting",
    "gauge",
    (),
    "",
    "Requests and responses of model servers that wait for their other half; those that wait too long are "
    "rejected, and so are the oldest when there is no room.",
)
HALVES_WAITING_BYTES = Metric(
    "observer_halves_waiting_bytes", "gauge", (), "bytes", "Memory that waiting requests and responses hold."
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
VERSIONS_RELEASED = Metric(
    "observer_versions_released_total",
    "counter",
    ("model",),
    "",
    "Versions that are not watched any more, having made way for newer ones.",
)

# --- sources ---
SOURCE_MESSAGES = Metric("observer_source_messages_total", "counter", PARTITION, "", "Messages read.")
SOURCE_BYTES = Metric("observer_source_bytes_total", "counter", ("stream",), "bytes", "Payload bytes read.")
SOURCE_LAG = Metric("observer_source_lag_messages", "gauge", PARTITION, "", "Messages not yet read.")
SOURCE_LOST = Metric(
    "observer_source_messages_lost_total",
    "counter",
    PARTITION,
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
    WINDOW,
    "seconds",
    "End of the last closed window, in event time since the epoch.",
    fold="max",
)
WINDOW_ROWS = Metric(
    "observer_window_rows", "gauge", WINDOW, "", "Events in the last closed window.", fold="sum"
)
WINDOW_STATUS = Metric(
    "observer_window_status",
    "gauge",
    WINDOW,
    "",
    "Last closed window: 1 a column drifts, 0 stable, -1 too few events, -2 could not be judged.",
    fold="max",
)

STREAM_SECTIONS = {
    "Events": (
        EVENTS,
        EVENTS_REJECTED,
        HALVES_WAITING,
        HALVES_WAITING_BYTES,
        SPOILED_VALUES,
        DROPPED_VALUES,
        NAMES_DROPPED,
        VERSIONS_RELEASED,
    ),
    "Sources": (
        SOURCE_MESSAGES,
        SOURCE_BYTES,
        SOURCE_LAG,
        SOURCE_LOST,
        WATERMARK,
        WATERMARK_DELAY,
    ),
    "Checkpoints": (
        CHECKPOINT_NUMBER,
        CHECKPOINT_AGE,
        CHECKPOINT_DURATION,
    ),
    "Windows": (
        WINDOWS_OPEN,
        WINDOWS_CLOSED,
        WINDOW_EXPORT_DELAY,
        WINDOW_END,
        WINDOW_ROWS,
        WINDOW_STATUS,
    ),
}
