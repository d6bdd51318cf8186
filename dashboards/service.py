"""The service itself: does it keep up, does it save, what does it leave out."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.parts import GREEN, ORANGE, RED, board, gained, number, of, over_time, query, row, rows, steps
from observer.metrics import Metric, catalog

NAME = "service"


def build() -> Dashboard:
    """The dashboard."""
    found = board(NAME, "Observer: the service", "Does it keep up, does it save, what does it leave out.")
    for part in (_head, _streams, _state, _process):
        found = part(found)
    return found


def _rate(metric: Metric, by: str, matchers: str = "") -> str:
    return f"sum by ({by}) (rate({of(metric, matchers)}[$__rate_interval]))"


def _head(found: Dashboard) -> Dashboard:
    alarm = steps((None, GREEN), (1, RED))
    return (
        found.with_panel(
            number(
                "Furthest behind",
                query(f"max({of(catalog.WATERMARK_DELAY)})", now=True),
                unit="s",
                colors=steps((None, GREEN), (600, ORANGE), (3600, RED)),
                about="Event time up to which the streams are complete, against now.",
            )
        )
        .with_panel(number("Messages waiting", query(f"sum({of(catalog.SOURCE_LAG)})", now=True)))
        .with_panel(
            number(
                "Last checkpoint",
                query(f"max({of(catalog.CHECKPOINT_AGE)})", now=True),
                unit="s",
                colors=steps((None, GREEN), (120, ORANGE), (600, RED)),
            )
        )
        .with_panel(
            number(
                "Messages lost",
                query(f"sum({gained(catalog.SOURCE_LOST, span='$__range')}) or on() vector(0)", now=True),
                colors=alarm,
                about="In the shown time: gone from the source before they were read.",
            )
        )
        .with_panel(
            number(
                "Series left out",
                query(f"sum({of(catalog.SERIES_CAPPED)}) or on() vector(0)", now=True),
                colors=steps((None, GREEN), (1, ORANGE)),
            )
        )
        .with_panel(
            number(
                "Failed verdicts",
                query(f"count({of(catalog.DRIFT_STATUS)} == -2) or on() vector(0)", now=True),
                colors=steps((None, GREEN), (1, ORANGE)),
                about="Of the last windows; the log says why.",
            )
        )
    )


def _streams(found: Dashboard) -> Dashboard:
    delay = query(of(catalog.WATERMARK_DELAY), "{{stream}}")
    lag = query(f"sum by (stream) ({of(catalog.SOURCE_LAG)})", "{{stream}}")
    rejected = f"{_rate(catalog.EVENTS_REJECTED, 'stream, reason')} or on() vector(0)"
    return (
        found.with_row(row("Streams"))
        .with_panel(
            over_time(
                "Messages per second",
                query(_rate(catalog.SOURCE_MESSAGES, "stream"), "{{stream}}"),
                least=0,
                width=8,
            )
        )
        .with_panel(
            over_time(
                "Bytes per second",
                query(_rate(catalog.SOURCE_BYTES, "stream"), "{{stream}}"),
                unit="Bps",
                least=0,
                width=8,
            )
        )
        .with_panel(
            over_time(
                "Events by outcome, per second",
                query(_rate(catalog.EVENTS, "stream, outcome"), "{{stream}} {{outcome}}"),
                least=0,
                width=8,
            )
        )
        .with_panel(over_time("Behind", delay, unit="s", width=8))
        .with_panel(over_time("Messages waiting", lag, least=0, width=8))
        .with_panel(
            over_time(
                "Rejected per second, by reason", query(rejected, "{{stream}} {{reason}}"), least=0, width=8
            )
        )
        .with_panel(
            over_time(
                "Values and names left out, per second",
                query(
                    f"rate({of(catalog.SPOILED_VALUES)}[$__rate_interval]) or on() vector(0)",
                    "values of a wrong type",
                ),
                query(
                    f"rate({of(catalog.DROPPED_VALUES)}[$__rate_interval]) or on() vector(0)",
                    "values beyond the limits",
                ),
                query(f"{_rate(catalog.NAMES_DROPPED, 'kind')} or on() vector(0)", "names: {{kind}}"),
                least=0,
            )
        )
        .with_panel(
            over_time(
                "Predictions and labels that wait for each other",
                query(of(catalog.JOINS_PENDING), "{{state}}s"),
                query(
                    f"{of(catalog.HALVES_WAITING)} or on() vector(0)",
                    "requests without response, or the other way round",
                ),
                least=0,
            )
        )
        .with_panel(
            over_time(
                "Never met, per second",
                query(f"{_rate(catalog.JOINS_EXPIRED, 'state')} or on() vector(0)", "{{state}}s"),
                least=0,
                width=24,
                height=6,
            )
        )
    )


def _quantile(share: float, metric: Metric) -> str:
    return f"histogram_quantile({share}, sum by (le) (rate({of(metric, '', '_bucket')}[$__rate_interval])))"


def _state(found: Dashboard) -> Dashboard:
    saved, shown = catalog.CHECKPOINT_DURATION, catalog.WINDOW_EXPORT_DELAY
    dropped = f"{_rate(catalog.RECORDS_DROPPED, 'reason')} or on() vector(0)"
    return (
        found.with_row(row("Windows and state"))
        .with_panel(
            over_time(
                "Windows closed per second",
                query(_rate(catalog.WINDOWS_CLOSED, "status"), "{{status}}"),
                least=0,
                width=8,
            )
        )
        .with_panel(
            over_time(
                "Open windows", query(of(catalog.WINDOWS_OPEN), "{{model}}"), least=0, width=8, to_page=True
            )
        )
        .with_panel(
            over_time(
                "Until a window can be scraped",
                query(_quantile(0.5, shown), "half"),
                query(_quantile(0.95, shown), "95%"),
                unit="s",
                least=0,
                width=8,
            )
        )
        .with_panel(
            over_time(
                "Time of a checkpoint",
                query(_quantile(0.5, saved), "half"),
                query(_quantile(0.95, saved), "95%"),
                unit="s",
                least=0,
                width=8,
            )
        )
        .with_panel(
            over_time("Checkpoints", query(of(catalog.CHECKPOINT_NUMBER), "number of the last"), width=8)
        )
        .with_panel(
            over_time(
                "History: records per second",
                query(f"rate({of(catalog.RECORDS_WRITTEN)}[$__rate_interval])", "written"),
                query(dropped, "dropped: {{reason}}"),
                least=0,
                width=8,
            )
        )
        .with_panel(
            over_time(
                "History: records waiting, and whether its database takes them",
                query(of(catalog.RECORDS_WAITING), "waiting"),
                query(of(catalog.HISTORY_UP), "takes them"),
                least=0,
                width=12,
            )
        )
        .with_panel(
            rows(
                "References",
                ("rows", query(of(catalog.REFERENCE_ROWS), rows=True)),
                ("learning", query(of(catalog.REFERENCE_LEARNING), rows=True)),
                ("failed", query(of(catalog.REFERENCE_FAILED), rows=True)),
                ("named", query(of(catalog.REFERENCE_INFO), rows=True)),
                width=12,
                height=8,
                hidden=("Value #D",),
            )
        )
    )


def _process(found: Dashboard) -> Dashboard:
    return (
        found.with_row(row("Process"))
        .with_panel(
            over_time(
                "Processors",
                query(f"rate({of(catalog.PROCESS_CPU)}[$__rate_interval])", "busy"),
                least=0,
                width=6,
            )
        )
        .with_panel(
            over_time(
                "Resident memory",
                query(of(catalog.PROCESS_MEMORY), "resident"),
                unit="bytes",
                least=0,
                width=6,
            )
        )
        .with_panel(
            over_time(
                "File descriptors",
                query(of(catalog.PROCESS_FILES), "open"),
                query(of(catalog.PROCESS_FILES_MAX), "most"),
                least=0,
                width=6,
            )
        )
        .with_panel(
            rows(
                "Release and start",
                ("release", query(of(catalog.BUILD_INFO), rows=True)),
                ("started", query(f"1000 * {of(catalog.PROCESS_START)}", rows=True)),
                units={"started": "dateTimeAsIso"},
                hidden=("Value #A",),
                width=6,
                height=8,
            )
        )
    )
