"""Which series are exported when there are too many.

The order in which series survive, the same for the same values:

1. all events before segments;
2. a whole window (rows, quality) before columns; `@table`, `@prediction` and `@score` before features;
3. columns that drift before those that do not, then the largest effect that any detector found first;
4. names, in alphabetical order.

All series of a column stay or go together. Once something of a model does not fit, nothing of that model
that comes later is exported; a tenth of every cap is kept for series labelled `other`, which stand for the
rest where the metric says how (`Metric.fold`): a column goes into `column="other"` of its model, version
and segment, anything of a segment into `segment="other"`, a version into `version="other"`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from math import isnan
from operator import itemgetter
from typing import TypeAlias

from observer.metrics.base import OTHER, LabelValues, Metric
from observer.metrics.catalog import DRIFT_EFFECT, DRIFT_STATUS

Series: TypeAlias = dict[Metric, dict[LabelValues, float]]
_Key: TypeAlias = tuple[Metric, LabelValues]
_Place: TypeAlias = tuple[str, str, str, str]
"""Model, version, segment, column; empty where a metric has no such label."""


@dataclass(frozen=True, slots=True)
class Caps:
    """Most series of closed windows that are exported.

    Attributes
    ----------
    total, per_metric, per_model : int
        In all, of one metric over all models, of one model over all metrics.
    """

    total: int = 50_000
    per_metric: int = 20_000
    per_model: int = 20_000


class Group:
    """Series of one model that come and go together, which must not change any more.

    What the caps need to know about them is worked out once, and only if there are too many.

    Raises
    ------
    ValueError
        If a metric has no label `model`, or the series are of several models.
    """

    def __init__(self, series: Series) -> None:
        models: set[str] = set()
        for metric, values in series.items():
            if "model" not in metric.labels:
                raise ValueError(f"{metric.name} has no label `model`, so it is no value of a window")
            models.update(map(itemgetter(metric.labels.index("model")), values))
        if len(models) > 1:
            raise ValueError(f"a group is of one model, not of {sorted(models)}")
        self.series = series
        self.sizes = {metric: len(values) for metric, values in series.items()}
        self.model = models.pop() if models else ""
        self._rest: tuple[int, dict[_Key, float], Counter[Metric]] = (-1, {}, Counter())

    @cached_property
    def blocks(self) -> list[_Block]:
        """The series by place, in the order in which they survive."""
        places: dict[_Place, dict[_Key, float]] = {}
        for metric in sorted(self.series, key=lambda metric: metric.name):
            for labels, value in self.series[metric].items():
                places.setdefault(_place(metric, labels), {})[metric, labels] = value
        blocks = [_Block(place, series) for place, series in places.items()]
        return sorted(blocks, key=lambda block: block.rank)

    def rest(self, start: int) -> tuple[dict[_Key, float], Counter[Metric]]:
        """What the blocks from `start` on are folded into, and how many series of each metric they hold."""
        if self._rest[0] != start:
            folded: dict[_Key, float] = {}
            number: Counter[Metric] = Counter()
            for block in self.blocks[start:]:
                number.update(block.sizes)
                for key, value in block.series.items():
                    if key[0].fold is not None:
                        _fold(folded, _other(*key), value)
            self._rest = start, folded, number
        return self._rest[1:]


class _Block:
    """The series of one place in a group; `rank` says when they survive."""

    __slots__ = ("rank", "series", "sizes")

    def __init__(self, place: _Place, series: dict[_Key, float]) -> None:
        _, _, segment, column = place
        feature = column != "" and not column.startswith("@")
        quiet, effect = True, 0.0
        for (metric, _), value in series.items():
            if metric is DRIFT_STATUS:
                quiet = quiet and value <= 0
            elif metric is DRIFT_EFFECT:
                effect = max(effect, abs(value))  # stays where the value is NaN
        self.series = series
        self.sizes = Counter(map(itemgetter(0), series))
        self.rank = (segment != "", feature, quiet, -effect, place, next(iter(series))[0].name)


class _Room:
    """What of the caps is still free."""

    def __init__(self, caps: Caps) -> None:
        self.caps = caps
        self._total = 0
        self._models: Counter[str] = Counter()
        self._metrics: Counter[Metric] = Counter()

    def take(self, model: str, sizes: Mapping[Metric, int]) -> bool:
        """Take room for so many series of each metric, if there is as much."""
        number = sum(sizes.values())
        if (
            self._total + number > self.caps.total
            or self._models[model] + number > self.caps.per_model
            or any(self._metrics[metric] + more > self.caps.per_metric for metric, more in sizes.items())
        ):
            return False
        self._total += number
        self._models[model] += number
        self._metrics.update(sizes)
        return True


def cap(groups: Sequence[Group], caps: Caps) -> tuple[Series, dict[Metric, int]]:
    """The series that are exported, and how many of each metric are not, for metrics that lose any."""
    room = _Room(caps)
    if all(room.take(group.model, group.sizes) for group in groups):
        return _merge(groups), {}
    room = _Room(Caps(*(cap - max(cap // 10, 1) for cap in (caps.total, caps.per_metric, caps.per_model))))
    cuts = _cut(groups, room)
    kept = _merge(group for group in groups if group not in cuts)
    folded: dict[_Key, float] = {}
    left_out: Counter[Metric] = Counter()
    for group, start in cuts.items():
        for block in group.blocks[:start]:
            for (metric, labels), value in block.series.items():
                kept.setdefault(metric, {})[labels] = value
        rest, number = group.rest(start)
        left_out.update(number)
        for key, value in rest.items():
            _fold(folded, key, value)
    room.caps = caps
    for metric, labels in sorted(folded, key=lambda key: (key[0].name, key[1])):
        if labels in kept.get(metric, {}) or room.take(_place(metric, labels)[0], {metric: 1}):
            value = folded[metric, labels]
            series = kept.setdefault(metric, {})
            series[labels] = _FOLD[metric.fold](series[labels], value) if labels in series else value
    return kept, dict(left_out)


def _cut(groups: Sequence[Group], room: _Room) -> dict[Group, int]:
    """The groups that do not fit as a whole, and how many of their blocks do."""
    cuts: dict[Group, int] = {}
    closed: set[str] = set()
    order = sorted(
        (block.rank, number, position)
        for number, group in enumerate(groups)
        for position, block in enumerate(group.blocks)
    )
    for _, number, position in order:
        group = groups[number]
        if group.model in closed or not room.take(group.model, group.blocks[position].sizes):
            closed.add(group.model)
            cuts.setdefault(group, position)
    return cuts


def _merge(groups: Iterable[Group]) -> Series:
    merged: Series = {}
    for group in groups:
        for metric, values in group.series.items():
            merged.setdefault(metric, {}).update(values)
    return merged


@cache
def _positions(metric: Metric) -> tuple[int, ...]:
    """Where a place's four labels stand among the labels of `metric`; -1 for those it has not."""
    return tuple(
        metric.labels.index(name) if name in metric.labels else -1
        for name in ("model", "version", "segment", "column")
    )


def _place(metric: Metric, labels: LabelValues) -> _Place:
    model, version, segment, column = _positions(metric)
    padded = (*labels, "")
    return padded[model], padded[version], padded[segment], padded[column]


def _other(metric: Metric, labels: LabelValues) -> _Key:
    """The series that `labels` is folded into."""
    _, version, segment, column = _positions(metric)
    folded = [*labels, ""]  # the last item stands for the labels that the metric has not
    if folded[segment]:
        folded[segment] = folded[column] = OTHER
    elif folded[column]:
        folded[column] = OTHER
    else:
        folded[version] = OTHER
    return metric, tuple(folded[:-1])


def _fold(series: dict[_Key, float], key: _Key, value: float) -> None:
    before = series.get(key)
    series[key] = value if before is None else _FOLD[key[0].fold](before, value)


def _greater(one: float, other: float) -> float:
    return other if other > one or isnan(one) else one


def _less(one: float, other: float) -> float:
    return other if other < one or isnan(one) else one


_FOLD: Mapping[str | None, Callable[[float, float], float]] = {
    "max": _greater,
    "min": _less,
    "sum": float.__add__,
}
