"""Which series are exported when there are too many.

The order in which series survive, the same for the same values:

1. all events before segments;
2. a whole window (rows, quality) before columns; `@table`, `@prediction` and `@score` before features;
3. columns that drift before those that do not, then the largest effect that any detector found first;
4. names, in alphabetical order.

All series of one column stand together in that order, so they come and go together. What does not fit is
folded into one series labelled `other`, if the metric says how (`Metric.fold`), else left out: a column
into `column="other"` of its model, version and segment; anything of a segment into `segment="other"`; a
version into `version="other"`. The series labelled `other` count against the caps too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import TypeAlias

import numpy as np

from observer.metrics.base import OTHER, LabelValues, Metric
from observer.metrics.catalog import DRIFT_EFFECT, DRIFT_STATUS

_Series: TypeAlias = dict[Metric, dict[LabelValues, float]]
_Key: TypeAlias = tuple[Metric, LabelValues]
_Place: TypeAlias = tuple[str, str, str, str]
"""Model, version, segment, column; empty where a metric has no such label."""

# fmax and fmin pass over NaN.
_FOLD: Mapping[str, Callable[[float, float], float]] = {"max": np.fmax, "min": np.fmin, "sum": np.add}


@dataclass(frozen=True, slots=True)
class Caps:
    """Most series of closed windows that are exported.

    Attributes
    ----------
    total, per_metric, per_model : int
        In all, of one metric over all models, of one model over all metrics. A model is cut to its share
        before it competes with others.
    """

    total: int = 50_000
    per_metric: int = 20_000
    per_model: int = 20_000


def cap(series: _Series, caps: Caps) -> tuple[_Series, dict[Metric, int]]:
    """The series that are exported, and how many of each metric are not, for metrics that lose any."""
    if _fits(series, caps):
        return series, {}
    rank = _ranking(series)
    kept = {(metric, labels): value for metric, values in series.items() for labels, value in values.items()}
    # Models first: a wide one is cut to its share before it competes with the others.
    _limit(kept, rank, lambda key: _place(*key)[0], caps.per_model)
    _limit(kept, rank, lambda key: key[0].name, caps.per_metric)
    _limit(kept, rank, lambda _: "", caps.total)
    result: _Series = {}
    for (metric, labels), value in kept.items():
        result.setdefault(metric, {})[labels] = value
    left_out = {
        metric: len(values.keys() - result.get(metric, {}).keys()) for metric, values in series.items()
    }
    return result, {metric: number for metric, number in left_out.items() if number}


def _fits(series: _Series, caps: Caps) -> bool:
    sizes = [len(values) for values in series.values()]
    if sum(sizes) > caps.total or max(sizes, default=0) > caps.per_metric:
        return False
    models: Counter[str] = Counter()
    for metric, values in series.items():
        models.update(map(itemgetter(metric.labels.index("model")), values))
    return max(models.values(), default=0) <= caps.per_model


def _place(metric: Metric, labels: LabelValues) -> _Place:
    named = dict(zip(metric.labels, labels, strict=True))
    return named["model"], named.get("version", ""), named.get("segment", ""), named.get("column", "")


def _ranking(series: _Series) -> Callable[[_Key], tuple[object, ...]]:
    drifting = {_place(DRIFT_STATUS, key) for key, code in series.get(DRIFT_STATUS, {}).items() if code > 0}
    effects: dict[_Place, float] = {}
    for key, effect in series.get(DRIFT_EFFECT, {}).items():
        place = _place(DRIFT_EFFECT, key)
        effects[place] = max(effects.get(place, 0.0), abs(effect))  # 0 stays where the effect is NaN

    def rank(key: _Key) -> tuple[object, ...]:
        metric, labels = key
        place = _place(metric, labels)
        _, _, segment, column = place
        feature = column != "" and not column.startswith("@")
        return (
            segment != "",
            feature,
            place not in drifting,
            -effects.get(place, 0.0),
            place,
            labels,
            metric.name,
        )

    return rank


def _limit(
    series: dict[_Key, float],
    rank: Callable[[_Key], tuple[object, ...]],
    group: Callable[[_Key], str],
    limit: int,
) -> None:
    """Cut every group to `limit` series, those made by folding included."""
    groups: dict[str, list[_Key]] = {}
    for key in series:
        groups.setdefault(group(key), []).append(key)
    for keys in groups.values():
        if len(keys) > limit:
            keys.sort(key=rank)
            _cut(series, keys, limit)


def _cut(series: dict[_Key, float], keys: list[_Key], limit: int) -> None:
    folded: dict[_Key, None] = {}
    for number in reversed(range(len(keys))):
        target = _target(*keys[number])
        if target is not None:
            folded[target] = None
        if number + len(folded) <= limit:
            break
    else:  # the folded series alone would be too many
        number, folded = limit, {}
    for key in keys[number:]:
        value = series.pop(key)
        target = _target(*key)
        if target is not None and target in folded:
            fold = _FOLD[str(target[0].fold)]
            series[target] = float(fold(series[target], value)) if target in series else value


def _target(metric: Metric, labels: LabelValues) -> _Key | None:
    """The series that `labels` is folded into; None if it can only be left out."""
    if metric.fold is None:
        return None
    _, _, segment, column = _place(metric, labels)
    names = {"segment", "column"} if segment else {"column"} if column else {"version"}
    return metric, tuple(
        OTHER if name in names else value for name, value in zip(metric.labels, labels, strict=True)
    )
