"""The reference page of all metrics, made from their declarations."""

from __future__ import annotations

from observer.metrics.base import LABEL_LENGTH
from observer.metrics.caps import Caps
from observer.metrics.catalog import LABELS, SECTIONS, STATUS_CODES

_CAPS = Caps()
_INTRODUCTION = f"""\
# Metrics

The service answers on `/metrics` in Prometheus' text format, or in OpenMetrics where `Accept` asks for it,
compressed where `Accept-Encoding` allows gzip. `/healthz` says whether it is alive, `/readyz` whether it is
ready. This page is made from `observer/metrics`: `python -m observer.metrics > docs/metrics.md`.

Gauges about windows hold the last closed window. A series ends when its window, segment or version does.

## Alerts in one line

| to hear about | expression |
|---|---|
| drift of any column of a model | `max by (model, version) (observer_drift_status) == 1` |
| a detector that cannot judge | `observer_drift_status < 0` |
| quality | `observer_quality_value{{metric="accuracy", maturity="matured", segment="", arm=""}} < 0.9` |
| labels that stay away | `observer_label_coverage_ratio{{maturity="matured"}} < 0.5` |
| a stream that stands still | `observer_watermark_delay_seconds > 600` |
| events that cannot be used | `rate(observer_events_rejected_total[5m]) > 0` |
| values left out by a cap | `observer_series_capped > 0` |

## Status codes

A status gauge is one number, so that an alert compares it and `max` finds the drift among many:
{", ".join(f"{code} {status.value}" for status, code in STATUS_CODES.items())}.

## Caps

At most {_CAPS.total:,} series of windows are exported in all, {_CAPS.per_metric:,} of one metric and \
{_CAPS.per_model:,} of one model.
The order in which they survive is fixed: all events before segments; values of a whole window, then
`@table`, `@prediction` and `@score`, then features; columns that drift before quiet ones, then the largest
effect first; then names. All series of a column stay or go together, and once something of a model does not
fit, nothing of that model that comes later is exported. A tenth of every cap is kept for series labelled
`other`, which stand for the rest where the tables below say how (the greatest, the least, the sum): a column
goes into `column="other"`, anything of a segment into `segment="other"`, a version into `version="other"`.
Counters keep the first {_CAPS.per_metric:,} series of a metric and count later ones under `other`, because a
counter that changed places would look like a restart. `observer_series_capped` says for which metric a cap
bites and how many series it took.

A label value has at most {LABEL_LENGTH} characters; control characters and bytes that are not UTF-8 become
U+FFFD. A value changed so ends in `~` and 12 digits of its hash, so that two names stay two.
"""


def document() -> str:
    """The page in Markdown."""
    lines = [_INTRODUCTION, "## Labels", "", "| label | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in LABELS.items()]
    for section, metrics in SECTIONS.items():
        lines += [
            "",
            f"## {section}",
            "",
            "| metric | type | labels | meaning | beyond a cap |",
            "|---|---|---|---|---|",
        ]
        for metric in metrics:
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            lines.append(
                f"| `{metric.name}` | {metric.type} | {labels} | {metric.help} | {metric.fold or ''} |"
            )
    return "\n".join(lines) + "\n"
