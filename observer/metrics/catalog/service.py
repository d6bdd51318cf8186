"""Metrics of the service: references, history, the process."""

from __future__ import annotations

from observer.metrics.base import Metric

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

SERVICE_SECTIONS = {
    "References": (
        REFERENCE_INFO,
        REFERENCE_ROWS,
        REFERENCE_LEARNING,
        REFERENCE_FAILED,
    ),
    "History": (
        RECORDS_WRITTEN,
        RECORDS_DROPPED,
        RECORDS_WAITING,
        HISTORY_UP,
    ),
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
