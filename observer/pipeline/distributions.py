"""Columns of a window beside their reference, coarse enough for a picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detectors.base import Floats
from detectors.summaries.categories import CategoryCounts
from detectors.summaries.histogram import Histogram
from detectors.summaries.table import TableSummary
from observer.model import Distribution

BARS = 24
_NAMED = 10
"""Categories shown by name."""
_TAIL = 0.002
"""Share of the reference on each side that the axis of a number leaves out."""


def distributions(reference: TableSummary, window: TableSummary) -> Iterator[Distribution]:
    """Every number and category; both summaries must be over one table."""
    before, now = reference.numbers, window.numbers
    for i, name in enumerate(before.names):
        boundaries = before.binning.columns[i]
        if 0 < len(boundaries) - 1 <= BARS:
            yield _values(name, boundaries, before, now, i)
        elif len(boundaries):
            yield _number(name, boundaries, before, now, i)
    for i, name in enumerate(reference.categories.names):
        yield _category(name, reference.categories, window.categories, i)


def _shares(numbers: Histogram, i: int, used: int) -> tuple[Floats, float, float, float]:
    """Shares of the rows in the used bins, below, above, missing."""
    bins, counts = numbers.bins, numbers.counts[i] / max(int(numbers.counts[i].sum()), 1)
    below, above = counts[0] + counts[bins + 4], counts[bins + 1] + counts[bins + 5]
    return counts[1 : used + 1], below, above, counts[bins + 2] + counts[bins + 3] + counts[bins + 6]


def _number(name: str, boundaries: Floats, before: Histogram, now: Histogram, i: int) -> Distribution:
    used = len(boundaries) - 1
    reached = np.concatenate(([0.0], np.cumsum(_shares(before, i, used)[0])))
    low, high = np.interp([_TAIL, 1 - _TAIL], reached / max(reached[-1], 1e-300), boundaries)
    edges = np.linspace(low, high, BARS + 1) if high > low else boundaries[[0, -1]]
    sides = []
    for numbers in (before, now):
        inner, below, above, _ = _shares(numbers, i, used)
        reached = np.concatenate(([0.0], np.cumsum(inner)))
        at = np.interp(edges, boundaries, reached)
        at[0], at[-1] = -below, reached[-1] + above
        sides.append(tuple(np.diff(at).tolist()))
    return Distribution(name, tuple(edges.tolist()), (), *sides)


def _values(name: str, boundaries: Floats, before: Histogram, now: Histogram, i: int) -> Distribution:
    """A number with so few values that each is a bar; between two of them counts as the lower one."""
    used = len(boundaries) - 1
    names = (*(f"{value:.6g}" for value in boundaries[:used]), "lower", "higher", "missing")
    sides = [[*inner, *others] for inner, *others in (_shares(one, i, used) for one in (before, now))]
    return _bars(name, names, np.array(sides), used)


def _category(name: str, before: CategoryCounts, now: CategoryCounts, i: int) -> Distribution:
    top, known = before.vocabularies.top, before.vocabulary[i]
    sides = np.array([side.counts[i] / max(int(side.counts[i].sum()), 1) for side in (before, now)])
    held = sides[:, : len(known)]
    order = np.argsort(-held.max(axis=0), kind="stable")
    shown = order[:_NAMED]
    rest = sides[:, [top]] + held[:, order[_NAMED:]].sum(axis=1, keepdims=True)
    special = sides[:, [top + 1, top + 2, top + 3]]
    names = (*(known[j] for j in shown), "rare", "new", "missing", "wrong type")
    return _bars(name, names, np.concatenate((held[:, shown], rest, special), axis=1), len(shown))


def _bars(name: str, names: tuple[str, ...], sides: Floats, always: int) -> Distribution:
    """Bars with names; of those after the first `always` only the ones that some side has."""
    keep = [j for j in range(len(names)) if j < always or sides[:, j].any()]
    reference, window = (tuple(side[keep].tolist()) for side in sides)
    return Distribution(name, (), tuple(names[j] for j in keep), reference, window)
