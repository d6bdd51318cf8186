"""Which drift is likely to matter: what each column's changed mix alone would do to the mean loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.base import Bools, DetectorError, Floats, Ints
from detectors.summaries.histogram import Histogram
from detectors.summaries.outcomes import BinaryOutcomes
from detectors.summaries.table import TableSummary

GROUPS = 10
"""Groups of equal reference mass that a numeric column's bins are merged into."""
_PRIOR = 10.0  # rows of mean loss that every cell is mixed with, so that a few rows do not decide
_MISSING, _INVALID = GROUPS, GROUPS + 1
_LEAST_ROWS = 200
_CALIBRATED = 30  # labels a score bin needs before they replace the score


@dataclass(frozen=True, slots=True)
class Impact:
    """What a column's changed shares alone would do to the mean loss.

    Attributes
    ----------
    effect : float
        In units of the loss; positive is worse.
    error : float
        Standard error: of the shares on both sides, and of the mean losses of few sampled rows.
    """

    name: str
    effect: float
    error: float

    @property
    def clear(self) -> bool:
        """Whether it is more than three times its standard error from 0: one of many columns is by twice."""
        return abs(self.effect) > 3 * self.error


def impacts(reference: TableSummary, window: TableSummary, loss: Floats) -> tuple[Impact, ...]:
    """Columns by the change of the mean loss that their changed shares would bring, largest first.

    For each column Σ over its cells of (share now - share before) x (mean loss of the cell in the
    reference's sample). Cells are ten groups of bins of equal reference mass (what lies beyond the range
    joins the outermost), categories, null, and wrong type. Mean losses are mixed with ten rows of the
    overall mean. A cell that no sampled row is in counts at the overall mean, so nothing follows from
    it: what a new category or a value never seen does to quality, the reference cannot say.

    It is the mix of one column with everything else as it was: effects of correlated columns overlap
    and must not be added up, and a change of what a value means (concept drift) does not show.

    Parameters
    ----------
    reference, window : TableSummary
        Over the same table; shares come from all their rows.
    loss : float64[rows]
        Loss, known or expected, of the rows of `reference.sample`; NaN where it has none.

    Raises
    ------
    DetectorError
        The sample has fewer than 200 rows with a loss.
    """
    sample, table = reference.sample, reference.table
    known = np.flatnonzero(np.isfinite(loss))
    if len(known) < _LEAST_ROWS:
        msg = f"{len(known)} sampled reference rows have a loss; {_LEAST_ROWS} are needed"
        raise DetectorError(msg)
    columns = {name: sample.column(name) for name in sample.columns}
    encoded = table.encode(sample.keys, columns).take(known)
    found = []
    numbers = reference.numbers
    if numbers.names:
        group = _groups(numbers)
        local = encoded.codes - np.arange(len(numbers.names))[:, None] * table.binning.width
        # Codes as encoded put "above" right after the bins in use, counts have it at its common place.
        above = local == table.binning.used[:, None] + 1
        cells = np.take_along_axis(group, np.where(above, numbers.bins + 1, local), axis=1)
        before, now = (_grouped(side.counts, group) for side in (numbers, window.numbers))
        found += _impacts(numbers.names, before, now, cells, loss[known])
    if reference.categories.names:
        categories = np.array(encoded.category_codes, np.int64)
        before, now = reference.categories.counts, window.categories.counts
        found += _impacts(reference.categories.names, before, now, categories, loss[known])
    held = [one for one in found if one.name in sample.columns]
    return tuple(sorted(held, key=lambda one: (-abs(one.effect), one.name)))


def _groups(numbers: Histogram) -> Ints:
    """Cell of every code of every column: int64[F, width]."""
    bins, counts = numbers.bins, numbers.counts
    ordered = np.array([bins + 4, *range(bins + 2), bins + 5])
    inner = counts[:, ordered]
    middle = (np.cumsum(inner, axis=1) - inner / 2) / np.maximum(inner.sum(axis=1, keepdims=True), 1)
    group = np.minimum((middle * GROUPS).astype(np.int64), GROUPS - 1)
    low = np.where(inner > 0, group, GROUPS - 1).min(axis=1, keepdims=True)
    high = np.where(inner > 0, group, 0).max(axis=1, keepdims=True)
    out = np.empty(counts.shape, np.int64)
    out[:, ordered] = np.clip(group, low, np.maximum(high, low))
    out[:, [bins + 2, bins + 3]] = _MISSING
    out[:, bins + 6] = _INVALID
    return out


def _grouped(counts: Ints, group: Ints) -> Ints:
    size, cells = len(counts), GROUPS + 2
    flat = (group + np.arange(size)[:, None] * cells).ravel()
    return np.bincount(flat, counts.ravel(), minlength=size * cells).reshape(size, cells).astype(np.int64)


def _impacts(names: tuple[str, ...], before: Ints, now: Ints, cells: Ints, loss: Floats) -> list[Impact]:
    """Effects from counts int64[C, K] of both sides and cells int64[C, n] of n rows with a loss."""
    size, width = before.shape
    n, m = (np.maximum(side.sum(axis=1, keepdims=True), 1) for side in (before, now))
    moved = now / m - before / n
    flat = (cells + np.arange(size)[:, None] * width).ravel()
    rows = np.bincount(flat, minlength=size * width).reshape(size, width)
    sums = np.bincount(flat, np.tile(loss, size), minlength=size * width).reshape(size, width)
    centred = (sums - rows * loss.mean()) / (rows + _PRIOR)
    effect = (moved * centred).sum(axis=1)
    pooled = (before + now) / (n + m)
    spread = (pooled * centred**2).sum(axis=1) - (pooled * centred).sum(axis=1) ** 2
    variance = spread * (1 / n + 1 / m)[:, 0] + (moved**2 / (rows + _PRIOR)).sum(axis=1) * loss.var()
    error = np.sqrt(np.maximum(variance, 0.0))
    return [Impact(*one) for one in zip(names, effect.tolist(), error.tolist(), strict=True)]


def expected_error(scores: Floats, predicted: Floats) -> Floats:
    """Chance that each prediction is wrong, if scores are calibrated: float64[n], NaN without scores.

    Parameters
    ----------
    scores : float64[n, K]
        Score of each class; one column, of the positive class, for a binary model.
    predicted : float64[n]
        Class codes; below 0, or K or more, where there is no known class.
    """
    p = np.clip(scores, 0.0, 1.0)
    if p.shape[1] == 1:
        p = np.concatenate((1.0 - p, p), axis=1)
    known: Bools = (predicted >= 0) & (predicted < p.shape[1])
    code = np.where(known, predicted, 0).astype(np.int64)
    right = np.where(known, p[np.arange(len(p)), code], p.max(axis=1))
    return np.asarray(1.0 - right)


def calibrated(scores: Floats, outcomes: BinaryOutcomes) -> Floats:
    """Scores replaced by the share of positives among labelled predictions with nearly the same score.

    By `outcomes`' calibration bins; the scores of bins with fewer than 30 labels stay as they are.
    """
    bins = outcomes.calibration_bin(np.arange(len(outcomes.edges) + 1))
    first = np.searchsorted(bins, np.arange(len(outcomes.score_sums)))
    rows = np.add.reduceat(outcomes.scores.rows, first, axis=1).sum(axis=0)
    weights = np.add.reduceat(outcomes.scores.weights, first, axis=1)
    total = weights.sum(axis=0)
    rate = np.divide(
        weights[1], total, out=np.full(len(total), np.nan), where=(rows >= _CALIBRATED) & (total > 0)
    )
    at = outcomes.calibration_bin(np.searchsorted(outcomes.edges, scores, side="right"))
    found = rate[at]
    return np.where(np.isnan(scores) | np.isnan(found), scores, found)
