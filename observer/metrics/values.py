"""Where values are kept: counters since the start, gauges until the next window, snapshots for readers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from detectors.base import Floats
from observer.metrics.base import FOREIGN, OTHER, Distribution, LabelValues, Metric, Value
from observer.metrics.caps import Caps, Group, cap
from observer.metrics.catalog import SERIES_CAPPED

_V = TypeVar("_V")


class Values:
    """Gauges being gathered."""

    __slots__ = ("series",)

    def __init__(self) -> None:
        self.series: dict[Metric, dict[LabelValues, float]] = {}

    def set(self, metric: Metric, labels: LabelValues, value: float) -> None:
        """Give the series `labels` of `metric` its value; raises `ValueError` on a wrong number of labels."""
        self.series.setdefault(metric, {})[metric.key(labels)] = float(value)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Values of one moment. Never changed, so any thread may read it and swapping it is one assignment."""

    series: Mapping[Metric, Mapping[LabelValues, Value]] = field(default_factory=lambda: MappingProxyType({}))

    def __len__(self) -> int:
        return sum(map(len, self.series.values()))


class Counters:
    """Counters and histograms since the start of the process; each metric is written by one thread.

    Count once per batch and outcome, not per event. A metric keeps the first `limit` series it meets, later
    ones count under `other`: a series that changed places would look like a restart.
    """

    def __init__(self, limit: int = Caps().per_metric) -> None:
        self._limit = limit
        self._counts: dict[Metric, dict[LabelValues, float]] = {}
        self._distributions: dict[Metric, dict[LabelValues, Distribution]] = {}
        self._folded: dict[Metric, set[LabelValues]] = {}

    def add(self, metric: Metric, labels: LabelValues, amount: float = 1) -> None:
        """Count `amount` more; 0 makes the series appear. Raises `ValueError` if it is negative."""
        if amount < 0:
            raise ValueError(f"{metric.name} only grows, and was given {amount}")
        series, key = self._place(self._counts, metric, labels)
        series[key] = series.get(key, 0.0) + float(amount)

    def observe(self, metric: Metric, labels: LabelValues, values: float | Floats) -> None:
        """Add one observation to a histogram, or an array of them."""
        series, key = self._place(self._distributions, metric, labels)
        before = series.get(key) or Distribution((0,) * (len(metric.buckets) + 1))
        series[key] = before.add(metric.buckets, values)

    def read(self) -> Snapshot:
        """What was counted so far. Copying a dictionary is one step under the GIL, so no lock is needed."""
        series: dict[Metric, Mapping[LabelValues, Value]] = {}
        series.update({metric: counts.copy() for metric, counts in self._counts.copy().items()})
        series.update({metric: spread.copy() for metric, spread in self._distributions.copy().items()})
        if self._folded:
            series[SERIES_CAPPED] = {
                (metric.name,): float(len(keys)) for metric, keys in self._folded.copy().items()
            }
        return Snapshot(MappingProxyType(series))

    def _place(
        self, table: dict[Metric, dict[LabelValues, _V]], metric: Metric, labels: LabelValues
    ) -> tuple[dict[LabelValues, _V], LabelValues]:
        """The dictionary of `metric`, and the key to count under."""
        series = table.setdefault(metric, {})
        key = metric.key(labels)
        if key in series or len(series) < self._limit:
            return series, key
        folded = self._folded.setdefault(metric, set())
        if len(folded) < self._limit:  # beyond that, the number of folded series is a lower bound
            folded.add(key)
        return series, tuple(
            OTHER if name in FOREIGN else value for name, value in zip(metric.labels, key, strict=True)
        )


class Gauges:
    """The latest values of every window, in groups that are replaced and dropped as a whole; for one thread.

    A group is what ends together, such as the windows of one model, version and segment: what it does not
    hold any more disappears from the export.
    """

    def __init__(self, caps: Caps | None = None) -> None:
        self._caps = caps or Caps()
        self._groups: dict[Hashable, Group] = {}
        self._capped: Mapping[Metric, Mapping[LabelValues, float]] | None = None

    def put(self, group: Hashable, values: Values) -> None:
        """Replace all values of `group`; `values` must not change afterwards.

        Raises `ValueError` unless all are of one model: the service's own gauges are no window's.
        """
        self._groups[group] = Group(values.series)
        self._capped = None

    def drop(self, group: Hashable) -> None:
        """Forget the group; nothing happens if it is not there."""
        if self._groups.pop(group, None) is not None:
            self._capped = None

    def snapshot(self, service: Values) -> Snapshot:
        """All groups after the caps, and the service's own gauges, which no cap touches.

        Costs next to nothing while no group has changed.
        """
        if self._capped is None:
            kept, left_out = cap(tuple(self._groups.values()), self._caps)
            if left_out:
                kept[SERIES_CAPPED] = {(metric.name,): float(number) for metric, number in left_out.items()}
            self._capped = kept
        return Snapshot(MappingProxyType({**self._capped, **service.series}))
