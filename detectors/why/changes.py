"""What a column held before and holds now, in the numbers a person would ask for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.base import Floats, Ints
from detectors.summaries.categories import CategoryCounts
from detectors.summaries.histogram import Histogram
from detectors.summaries.table import TableSummary

PROBABILITIES = (0.05, 0.5, 0.95)
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Side:
    """A numeric column on one side; what needs a finite value is None where there is none.

    Attributes
    ----------
    quantiles : tuple of float
        At `PROBABILITIES`: the lower boundary of the bin they fall in.
    missing, outside : float
        Shares of the rows: null or NaN; beyond the reference's minimum and maximum.
    """

    mean: float | None
    deviation: float | None
    quantiles: tuple[float, ...] | None
    missing: float
    outside: float


@dataclass(frozen=True, slots=True)
class NumberChange:
    """A numeric column before and now."""

    reference: Side
    window: Side

    @property
    def shift(self) -> float | None:
        """By how many of the reference's standard deviations the mean moved."""
        before, now = self.reference, self.window
        if before.mean is None or now.mean is None or not before.deviation:
            return None
        return (now.mean - before.mean) / before.deviation


@dataclass(frozen=True, slots=True)
class CategoryChange:
    """A categorical column before and now.

    Attributes
    ----------
    moved : tuple of (str, float, float)
        Categories whose shares of the rows moved most, before and now. `new: x, y` are categories that
        the reference lacks, some of them by name; `missing`, `of a wrong type` and `rare` are counted
        like categories.
    """

    moved: tuple[tuple[str, float, float], ...]


def changes(reference: TableSummary, window: TableSummary) -> dict[str, NumberChange | CategoryChange]:
    """Every column that both summaries hold, by name; they must be over the same table."""
    found: dict[str, NumberChange | CategoryChange] = {}
    sides = [_sides(summary.numbers) for summary in (reference, window)]
    for name, before, now in zip(reference.numbers.names, *sides, strict=True):
        found[name] = NumberChange(before, now)
    for i, name in enumerate(reference.categories.names):
        found[name] = _categories(reference.categories, window.categories, i)
    return found


def _sides(numbers: Histogram) -> list[Side]:
    bins, counts = numbers.bins, numbers.counts
    rows = np.maximum(counts.sum(axis=1), 1)
    missing = counts[:, [bins + 2, bins + 3]].sum(axis=1) / rows
    outside = counts[:, [0, bins + 1, bins + 4, bins + 5]].sum(axis=1) / rows
    listed = (numbers.mean, numbers.deviation, quantiles(numbers), numbers.finite, missing, outside)
    return [
        Side(
            float(mean) if np.isfinite(mean) else None,
            float(deviation) if np.isfinite(deviation) else None,
            tuple(map(float, at)) if finite else None,
            float(gone),
            float(beyond),
        )
        for mean, deviation, at, finite, gone, beyond in zip(*listed, strict=True)
    ]


def quantiles(numbers: Histogram) -> Floats:
    """Lower boundaries of the bins that the quantiles at `PROBABILITIES` fall in: float64[F, 3]."""
    if not numbers.names:
        return np.empty((0, len(PROBABILITIES)))
    inner: Ints = numbers.counts[:, : numbers.bins + 2]
    reached = np.cumsum(inner, axis=1) / np.maximum(inner.sum(axis=1, keepdims=True), 1)
    low = np.concatenate((numbers.minimum[:, None], numbers.boundaries), axis=1)
    at = np.stack([(reached < p).sum(axis=1) for p in PROBABILITIES], axis=1)
    found = np.take_along_axis(low, np.minimum(at, low.shape[1] - 1), axis=1)
    return np.asarray(np.clip(found, numbers.minimum[:, None], numbers.maximum[:, None]))


def _categories(reference: CategoryCounts, window: CategoryCounts, i: int) -> CategoryChange:
    top = reference.vocabularies.top
    before, now = (side.counts[i] / max(int(side.counts[i].sum()), 1) for side in (reference, window))
    fresh = window.unseen[i]
    some = sorted(fresh, key=lambda name: (-fresh[name], name))[:_NAMED]
    more = ", ..." if len(fresh) > _NAMED else ""
    names = {
        top: "rare",
        top + 1: f"new: {', '.join(some)}{more}",
        top + 2: "missing",
        top + 3: "of a wrong type",
    }
    names.update(enumerate(reference.vocabulary[i]))
    order = np.argsort(-np.abs(now - before), kind="stable")[:_NAMED].tolist()
    return CategoryChange(
        tuple((names[j], float(before[j]), float(now[j])) for j in order if before[j] != now[j])
    )
