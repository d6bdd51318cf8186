"""Renders the latest values for a Prometheus scrape.

The client library spends about 10 us a series; here the part before the value is rendered once and kept, so
that a scrape of 50,000 series takes well under 0.1 s and the pipeline's thread hardly notices.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate, chain
from typing import TypeAlias

from prometheus_client.process_collector import ProcessCollector

from observer.metrics import Counters, Distribution, LabelValues, Metric, Snapshot, Value, Values
from observer.metrics.catalog import SECTIONS

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_SPECIAL = {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}
_PROCESS = {metric.name: metric for metric in SECTIONS["The service"] if metric.name.startswith("process_")}

_Prefixes: TypeAlias = dict[Metric, dict[LabelValues, tuple[str, ...]]]
_Families: TypeAlias = Mapping[Metric, Mapping[LabelValues, Value]]


class PrometheusExporter:
    """Holds the latest snapshot; the pipeline publishes it, the server renders it.

    Parameters
    ----------
    counters : Counters
        Read at each scrape.
    live : callable
        Gauges that must be right at the moment of the scrape, such as ages, which grow while the pipeline
        is stuck. Called in the server's thread.
    """

    def __init__(self, counters: Counters, live: Callable[[], Values] = Values) -> None:
        self._counters = counters
        self._live = live
        self._snapshot = Snapshot()
        self._prefixes: _Prefixes = {}
        self._collector = ProcessCollector(registry=None)
        # One scrape after the other, so that many together cannot hold up the pipeline.
        self._rendering = threading.Lock()

    def publish(self, snapshot: Snapshot) -> None:
        """Make `snapshot` what the next scrape sees."""
        self._snapshot = snapshot

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The exposition in the format that an `Accept` header prefers, and its content type."""
        content_type = negotiate(accept)
        with self._rendering:
            parts = (self._snapshot, self._counters.read(), Snapshot(self._live().series), self._process())
            text, self._prefixes = render(
                _merge(parts), self._prefixes, openmetrics=content_type == OPENMETRICS
            )
        return text.encode(), content_type

    def _process(self) -> Snapshot:
        values = Values()
        for sample in chain.from_iterable(family.samples for family in self._collector.collect()):
            if sample.name in _PROCESS:
                values.set(_PROCESS[sample.name], (), sample.value)
        return Snapshot(values.series)


def _merge(parts: Iterable[Snapshot]) -> _Families:
    """All parts in one, a later part before an earlier one, in alphabetical order."""
    families: dict[Metric, Mapping[LabelValues, Value]] = {}
    for metric, series in chain.from_iterable(part.series.items() for part in parts):
        families[metric] = {**families[metric], **series} if metric in families else series
    return dict(sorted(families.items(), key=lambda family: family[0].name))


def negotiate(accept: str) -> str:
    """`OPENMETRICS` if an `Accept` header prefers it, else `TEXT`."""
    quality = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for choice in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in choice.split(";"))
        given = dict(parameter.partition("=")[::2] for parameter in parameters)
        if kind in quality and given.get("version", "1.0.0") in {"0.0.1", "0.0.4", "1.0.0"}:
            quality[kind] = max(quality[kind], _quality(given.get("q", "1")))
    return OPENMETRICS if quality["application/openmetrics-text"] > quality["text/plain"] else TEXT


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def render(families: _Families, known: _Prefixes, *, openmetrics: bool) -> tuple[str, _Prefixes]:
    """Render `families`; gives the text, and the prefixes to pass as `known` the next time."""
    lines: list[str] = []
    used: _Prefixes = {}
    for metric, series in families.items():
        before = known.get(metric, {})
        templates = _templates(metric)
        used[metric] = {labels: before.get(labels) or _fill(templates, labels) for labels in series}
        # Chains of C functions: a loop in Python would take several times longer.
        prefixes = chain.from_iterable(used[metric].values())
        values = chain.from_iterable(map(_numbers, series.values())) if metric.buckets else series.values()
        numbers = list(map(repr, values))
        lines += _header(metric, openmetrics=openmetrics)
        lines += map(str.__add__, prefixes, map(_SPECIAL.get, numbers, numbers))
    if openmetrics:
        lines.append("# EOF")
    return "\n".join(lines) + "\n" if lines else "", used


def _header(metric: Metric, *, openmetrics: bool) -> list[str]:
    if not openmetrics:
        # A help text holds nothing that needs escaping; the catalog's tests see to that.
        return [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.type}"]
    name = metric.name.removesuffix("_total")
    unit = [f"# UNIT {name} {metric.unit}"] if metric.unit else []
    return [f"# TYPE {name} {metric.type}", *unit, f"# HELP {name} {metric.help}"]


def _numbers(value: Value) -> tuple[float, ...]:
    if isinstance(value, Distribution):
        return (*map(float, accumulate(value.counts)), float(sum(value.counts)), value.total)
    return (value,)


def _templates(metric: Metric) -> tuple[str, ...]:
    """A series' lines up to the value, to be filled with label values: one, or buckets, count and sum."""
    pairs = [f'{name}="%s"' for name in metric.labels]
    if not metric.buckets:
        return (_template(metric.name, pairs),)
    bounds = [*map(repr, map(float, metric.buckets)), "+Inf"]
    return (
        *(_template(f"{metric.name}_bucket", [*pairs, f'le="{bound}"']) for bound in bounds),
        _template(f"{metric.name}_count", pairs),
        _template(f"{metric.name}_sum", pairs),
    )


def _fill(templates: tuple[str, ...], labels: LabelValues) -> tuple[str, ...]:
    escaped = tuple(map(_escape, labels))
    return tuple([template % escaped for template in templates])


def _template(name: str, pairs: list[str]) -> str:
    return f"{name}{{{','.join(pairs)}}} " if pairs else f"{name} "


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
