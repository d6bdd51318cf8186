"""The two samples of a column as one contingency table, whatever the column's type."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np

from detectors.base import Bools, Floats, Ints
from detectors.statistical.spec import shortage
from detectors.summaries.categories import CategoryCounts
from detectors.summaries.histogram import Histogram
from detectors.summaries.remember import per_reference

Columns: TypeAlias = Histogram | CategoryCounts

_NEGLIGIBLE = 0.25  # bias of a cell, in standard deviations of its null
_PER_GROUP = 40  # rows of the smaller sample, in the mean


class Cells(NamedTuple):
    """Counts in cells that both samples share; unused cells are 0 on both sides.

    Attributes
    ----------
    reference, window : int64[C, K]
    """

    reference: Ints
    window: Ints
    alike: Bools
    """bool[C]: several categories, of which none could be told apart from the rest."""

    @property
    def degrees(self) -> Ints:
        """Cells in use, less one: int64[C]."""
        return np.asarray(np.maximum(((self.reference + self.window) > 0).sum(axis=1) - 1, 0))


def unjudged(table: Cells, least: int) -> dict[int, str]:
    """Column -> why it cannot be judged, where it cannot."""
    reasons = shortage(table.reference.sum(axis=1), table.window.sum(axis=1), least)
    for i in np.flatnonzero(table.alike):
        reasons.setdefault(int(i), "categories too many and too alike in frequency to be told from the rest")
    return reasons


def usable(columns: Columns) -> Ints:
    """Values with a place in the distribution: all but null, NaN and invalid ones."""
    if isinstance(columns, Histogram):
        b = columns.bins
        return columns.finite + columns.counts[:, b + 4] + columns.counts[:, b + 5]
    return np.asarray(columns.counts[:, :-2].sum(axis=1))


def ordered(histogram: Histogram) -> Ints:
    """Counts in order of value: int64[F, B + 4]: -inf, below, bins, above, +inf."""
    counts, b = histogram.counts, histogram.bins
    return np.concatenate((counts[:, b + 4 : b + 5], counts[:, : b + 2], counts[:, b + 5 : b + 6]), axis=1)


def cells(reference: Columns, window: Columns, groups: int) -> Cells:
    """The contingency tables of all columns; `groups` is for numeric columns only."""
    if isinstance(reference, Histogram) and isinstance(window, Histogram):
        return quantile_groups(reference, window, groups)
    if isinstance(reference, CategoryCounts) and isinstance(window, CategoryCounts):
        return category_cells(reference, window)
    msg = f"cannot compare {type(reference).__name__} with {type(window).__name__}"
    raise TypeError(msg)


def quantile_groups(reference: Histogram, window: Histogram, groups: int) -> Cells:
    """Bins merged into at most `groups` of nearly equal reference mass, 40 values or more in each.

    What lies beyond the reference's range joins the outermost groups: the range is the reference's
    own, so it is empty there by construction, which no test of equal shares allows for.
    """
    r, w = ordered(reference), ordered(window)
    size = len(r)
    total = np.maximum(r.sum(axis=1, keepdims=True), 1)
    middle = (np.cumsum(r, axis=1) - r / 2) / total
    fewest = np.minimum(r.sum(axis=1), w.sum(axis=1))
    some = np.clip(fewest // _PER_GROUP, 2, groups)[:, None]
    # An empty bin at the very end would else open a group of its own.
    group = np.minimum((middle * some).astype(np.int64), some - 1)
    last = np.where(r > 0, group, 0).max(axis=1, keepdims=True)
    first = np.where(r > 0, group, groups).min(axis=1, keepdims=True)
    group = np.maximum(np.minimum(group, last), np.minimum(first, last))
    flat = (group + np.arange(size)[:, None] * groups).ravel()

    def merged(counts: Ints) -> Ints:
        sums = np.bincount(flat, counts.ravel(), minlength=size * groups)
        return sums.reshape(size, groups).astype(np.int64)

    return Cells(merged(r), merged(w), np.zeros(size, np.bool_))


def category_cells(reference: CategoryCounts, window: CategoryCounts) -> Cells:
    """The frequent categories, and all the rest as one cell.

    Which categories count as frequent, and which as known, was chosen by looking at the reference, so
    the reference has too many rows in the chosen ones. By Good and Turing the rest cell then lacks
    (c + 1) N_{c+1} reference rows, c being the largest count in it and N_k the number of categories
    seen k times, which the categories just above c have too many. Categories join the rest, rarest
    first, until that is small against the chance variation of one category of c + 1 rows: until a
    wide enough gap in the counts.
    """
    ranked, top = _ranked(reference), reference.vocabularies.top
    r, w = reference.counts[:, : top + 2], window.counts[:, : top + 2]
    n, m = r.sum(axis=1), w.sum(axis=1)
    noise = ranked.noise * np.sqrt(1.0 + n / np.maximum(m, 1))[:, None]
    harmless = ranked.excess <= _NEGLIGIBLE * noise
    complete = (ranked.outside == 0) & (w[:, top] + w[:, top + 1] == 0)  # nothing was cut, nothing is new
    harmless[complete, top] = True
    keep = np.where(harmless, np.arange(top + 1), 0).max(axis=1)
    chosen = ranked.rank < keep[:, None]

    def merged(columns: Ints, total: Ints) -> Ints:
        out = np.empty((len(columns), top + 1), np.int64)
        np.multiply(columns[:, :top], chosen, out=out[:, :top])
        out[:, top] = total - out[:, :top].sum(axis=1)
        return out

    several = ((r[:, :top] + w[:, :top]) > 0).sum(axis=1) + (ranked.outside > 0) > 1
    return Cells(merged(r, n), merged(w, m), (keep == 0) & several)


class _Ranked(NamedTuple):
    """A reference's counted categories by frequency; candidate j of top + 1 keeps the j most frequent."""

    rank: Ints
    """int64[C, top]: of each category, from 0."""
    outside: Ints
    """int64[C]: rows of categories that are not counted."""
    excess: Floats
    """float64[C, top + 1]: rows that the rest would lack."""
    noise: Floats
    """float64[C, top + 1]: standard deviation of a category that has one row more than any in the rest."""


@per_reference
def _ranked(reference: CategoryCounts) -> _Ranked:
    top = reference.vocabularies.top
    counts = reference.counts[:, :top]
    outside = reference.counts[:, top] + reference.counts[:, top + 1]
    order = np.argsort(-counts, axis=1, kind="stable")
    falling = np.take_along_axis(counts, order, axis=1)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(top), order.shape), axis=1)
    # c[j] is the largest count in the rest of candidate j.
    beyond = np.where(outside > 0, falling[:, -1], 0)
    c = np.concatenate((falling, beyond[:, None]), axis=1).astype(np.float64)
    near = c + 2.0 * np.sqrt(c + 1.0)
    above = (falling[:, None, :] > near[:, :, None]).sum(axis=2)
    density = np.maximum(np.arange(top + 1) - above, 0) / (near - c)
    return _Ranked(rank, outside, (c + 1.0) * density, np.sqrt(c + 1.0))
