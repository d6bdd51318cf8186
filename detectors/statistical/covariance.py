"""Change of the covariance of normal scores: correlations and spreads of all columns at once."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from detectors.base import Floats, Verdict
from detectors.statistical.nulls import type_three_p_value
from detectors.statistical.spec import Kind, Spec, verdicts
from detectors.summaries.remember import per_reference
from detectors.summaries.scores import NormalScores
from detectors.summaries.table import TableSummary

_Columns: TypeAlias = NDArray[np.intp]

_LEAST_VARIANCE = 0.05  # of a column's scores; below, it is all but constant
_MOST_KURTOSIS = 10.0  # above, a few rare values make up the variance
_LEAST_EIGENVALUE = (
    0.05  # of the mean one; below, a column all but follows from others, and only noise varies
)
_CUBED = 300  # rows of it that the skewness is taken from
_SAMPLE = (200, 1000)  # rows of a side's sample: needed, and used


class Covariance(Spec):
    """Whitened covariance of the columns' normal scores against the identity.

    Statistic: ||W S_w W - I||_F with W = S_r^(-1/2), S the covariances of the normal scores. Effect:
    the root of its square less that square's mean under no change, or 0 (a pair whose
    correlation moves by r gives about 1.4 r). P-value: a chi-square for the squared statistic.
    Its mean is that of jointly normal columns (Wishart and inverse Wishart moments, so it allows for a
    finite reference), times how much heavier the products of scores are in the reference's sample;
    its spread and skewness come from that sample too. Corrections fitted to simulations of 2 to 50
    columns allow for ranks taken from the reference, and for the reference's share of the variance.
    A p-value below the level is held against the null of both sides' sampled rows together too, and the
    larger one counts: where rows go to extremes together, those that moved the statistic by chance are
    often the window's own. Without a sample (200 rows) joint normality is assumed.

    Columns all but constant, or varying by a few rare values only, are left out; so are directions in
    which the reference hardly varies, as when a score follows from the features. A table wider than
    100 columns is judged by its projection.
    Sees correlations, spreads and many non-linear changes; blind to changes of the mean, which `ks`
    sees. Source of the moments: von Rosen, Scandinavian Journal of Statistics 15 (1988).
    """

    applies_to: ClassVar[tuple[Kind, ...]] = ("table",)
    type: Literal["covariance"] = "covariance"
    minimum_effect: float = Field(0.2, ge=0, description="Frobenius norm, in whitened scores.")
    min_rows: int = Field(500, ge=2, description="Rows that each side must hold; also 4 a column.")
    named: int = Field(3, ge=0, description="Pairs of columns that a finding names.")

    def compare(
        self, reference: TableSummary, window: TableSummary, alpha: float | None = None
    ) -> list[Verdict]:
        """One verdict in all; `alpha` overrides the detector's level."""
        n, m = reference.scores.n, window.scores.n
        whitened = _whitened(reference)
        usable, rank, null = whitened.usable, whitened.rank, whitened.null
        size = len(usable)
        needed = max(self.min_rows, 4 * size)
        sizes = np.array([n]), np.array([m])
        zero = np.zeros(1)
        if size < 2 or min(n, m) < needed:
            reason = (
                f"{size} columns vary enough to compare, 2 are needed"
                if size < 2
                else f"{size} columns need {needed} rows on both sides; there are {n} and {m}"
            )
            return verdicts(self, zero, zero, zero, *sizes, alpha, {0: reason})
        now, moved = _moved(whitened, window)
        squared = np.array([np.sum(moved**2)])
        level = self.alpha if alpha is None else alpha
        p_value, notes = null.p_value(squared, rank, n, m), {}
        if p_value[0] < level:
            both = _null_of_both(reference, window, whitened)
            p_value = np.maximum(p_value, both.p_value(squared, rank, n, m))
            notes[0] = _describe(reference, whitened, now, moved, self.named)
        effect = np.sqrt(np.maximum(squared - null.mean(rank, n, m), 0.0))
        return verdicts(self, np.sqrt(squared), effect, p_value, *sizes, alpha, {}, notes)


class _Null(NamedTuple):
    scale: float
    """Mean of the squared statistic, relative to jointly normal scores."""
    spread: float
    """Its standard deviation over its mean, for large samples."""
    skewness: float
    outliers: float
    """Variance of |z|⁴ over its limit for normal z, relative to the squared mean: what single rows add."""

    def mean(self, rank: int, n: int, m: int) -> float:
        """Of the squared statistic under no change."""
        limit = rank * (rank + 1) * (1 / n + 1 / m)
        # What the estimated whitening adds grows with the weight of the tails once more.
        return self.scale * (limit + self.scale * (expected_square(rank, n, m) - limit))

    def p_value(self, squared: Floats, rank: int, n: int, m: int) -> Floats:
        """Upper tail of the squared statistic of n reference rows and m of the window."""
        variance = self.spread**2 * (1.0 + self.scale * (excess_variance(rank, n, m) - 1.0))
        variance += self.outliers * (m**-3.0 + n**-3.0) / (1 / n + 1 / m) ** 2
        spread = math.sqrt(variance)
        skewness = max(self.skewness, 2.0 * spread)
        return type_three_p_value((squared / self.mean(rank, n, m) - 1.0) / spread, skewness)


class _Whitened(NamedTuple):
    """What follows from a reference alone."""

    usable: _Columns
    covariance: Floats
    white: Floats
    whole: Floats
    """Whitened: the identity within the directions that the reference varies in."""
    rank: int
    null: _Null


@per_reference
def _whitened(reference: TableSummary) -> _Whitened:
    usable = _usable(reference)
    if len(usable) < 2 or reference.scores.n < 2:
        none = np.empty((0, 0))
        return _Whitened(usable, none, none, none, 0, _Null(1.0, 1.0, 0.0, 0.0))
    covariance = _covariance(reference.scores, usable)
    white, rank = _whitening(covariance)
    rows = _sampled(reference, usable, white)
    null = _null(rows, rank, reference.scores.n, reference.scores.n)
    return _Whitened(usable, covariance, white, white @ covariance @ white, rank, null)


class Change(NamedTuple):
    """The covariance of the normal scores of D columns, before and now, and whitened.

    Attributes
    ----------
    columns : tuple of str
        Those that vary enough to be compared.
    before, now : float64[D, D]
        Covariances of the reference and of the window.
    moved : float64[D, D]
        W S_w W - I within the directions that the reference varies in.
    """

    columns: tuple[str, ...]
    before: Floats
    now: Floats
    moved: Floats


def change(reference: TableSummary, window: TableSummary) -> Change | None:
    """What `Covariance` judges, pair by pair; None where pairs have no names (a projection) or no rows."""
    whitened = _whitened(reference)
    scores = reference.scores, window.scores
    if (
        reference.table.scores.projection is not None
        or len(whitened.usable) < 2
        or min(s.n for s in scores) < 2
    ):
        return None
    names = tuple(reference.numbers.names[i] for i in whitened.usable)
    return Change(names, whitened.covariance, *_moved(whitened, window))


def _moved(whitened: _Whitened, window: TableSummary) -> tuple[Floats, Floats]:
    """The window's covariance, and how far it lies from the reference's, whitened."""
    now = _covariance(window.scores, whitened.usable)
    return now, whitened.white @ now @ whitened.white - whitened.whole


def expected_square(d: int, n: int, m: int) -> float:
    """Mean of ||S_r^(-1/2) S_w S_r^(-1/2) - I||² of two normal samples of d columns, n and m rows."""
    a, b = n - 1.0, m - 1.0
    cubic = (a - d) * (a - d - 1) * (a - d - 3)
    trace = d * a / (a - d - 1)
    trace_of_square = d * a**2 * (a - 1) / cubic
    square_of_trace = d * a**2 * (d * (a - d - 2) + 2) / cubic
    return ((b + 1) * trace_of_square + square_of_trace) / b - 2 * trace + d


def estimated_ranks(n: int) -> float:
    """How much that mean grows when scores are ranks among n reference rows; fitted."""
    return 1.0 + min(0.042, 5.5 * math.pow(n, -0.75))


def excess_variance(d: int, n: int, m: int) -> float:
    """Relative variance of that square over its limit 4 / (d (d + 1)); fitted for d <= n / 4."""
    return 1.0 + 2.0 * d / m + 17.0 * d / n + 20.0 * (d / n) ** 2


def _usable(reference: TableSummary) -> _Columns:
    """Columns of the scores that vary, and not by rare values only."""
    scores = reference.scores
    if scores.n == 0 or len(scores.sum) == 0:
        return np.empty(0, np.intp)
    variance = np.diag(_covariance(scores))
    usable = variance > _LEAST_VARIANCE
    if reference.table.scores.projection is None:
        table, share = reference.table.scores.table, reference.numbers.counts / scores.n
        mean = (table * share).sum(axis=1, keepdims=True)
        fourth = ((table - mean) ** 4 * share).sum(axis=1)
        usable &= fourth <= _MOST_KURTOSIS * variance**2
    return np.flatnonzero(usable)


def _covariance(scores: NormalScores, columns: _Columns | slice = slice(None)) -> Floats:
    n, sums = scores.n, scores.sum[columns]
    products = scores.products[columns][:, columns]
    return np.asarray((products - np.outer(sums, sums / n)) / (n - 1))


def _whitening(covariance: Floats) -> tuple[Floats, int]:
    """The symmetric inverse root on the directions that vary, and their number."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > _LEAST_EIGENVALUE * values.mean()
    roots = np.where(kept, 1.0 / np.sqrt(np.where(kept, values, 1.0)), 0.0)
    return (vectors * roots) @ vectors.T, int(kept.sum())


def _null_of_both(reference: TableSummary, window: TableSummary, whitened: _Whitened) -> _Null:
    sides = [_sampled(side, whitened.usable, whitened.white) for side in (reference, window)]
    if sides[0] is None or sides[1] is None:
        return whitened.null
    n, m = reference.scores.n, window.scores.n
    return _null(np.concatenate((sides[0], sides[1])), whitened.rank, n + m, n)


def _null(z: Floats | None, rank: int, n: int, ranked: int) -> _Null:
    """The null from whitened rows z, float64[rows, D], of n, and as many as scores were `ranked` among."""
    degrees = rank * (rank + 1) / 2
    normal = _Null(estimated_ranks(ranked), math.sqrt(2.0 / degrees), math.sqrt(8.0 / degrees), 0.0)
    if z is None:
        return normal
    size, length = len(z), (z**2).sum(axis=1)
    # Between rows, the inner products of z z' - I; the mean over a row with itself is the trace of
    # the covariance of z z', the mean square over two rows the trace of that matrix's square, and so
    # on. The rows were whitened by a covariance they belong to: undo what that takes away (Mardia 1974).
    trace = float((length**2).mean()) * (n + 1) / (n - 1) * (n / (n - 1)) ** 2 - rank
    inner = z @ z.T
    inner *= inner
    inner -= length[:, None]
    inner -= length - rank
    np.fill_diagonal(inner, 0.0)
    square = float(np.vdot(inner, inner)) / (size * (size - 1))
    square *= 1.0 + 2.2 * rank / n
    if not (trace > 0 and square > 0):
        return normal
    few = min(size, _CUBED)
    pairs = np.ascontiguousarray(inner[:few, :few])
    cube = float(np.vdot(pairs @ pairs, pairs)) / (few * (few - 1) * (few - 2))
    scale = normal.scale * trace / (rank * (rank + 1))
    spread = max(math.sqrt(2.0 * square) / trace, normal.spread)
    skewness = max(math.sqrt(8.0) * cube / square**1.5, normal.skewness)
    fourth = rank * (rank + 2)
    usual = fourth * ((rank + 4) * (rank + 6) - fourth)
    return _Null(scale, spread, skewness, max(float((length**2).var()) - usual, 0.0) / trace**2)


def _sampled(summary: TableSummary, usable: _Columns, white: Floats) -> Floats | None:
    """Whitened scores of the sampled rows: float64[rows, D]; None when there are too few."""
    sample, table = summary.sample, summary.table
    if len(sample) < _SAMPLE[0] or not set(table.binning.names) <= set(sample.columns):
        return None
    keys = sample.keys[: _SAMPLE[1]]
    columns = {name: sample.column(name).take(slice(len(keys))) for name in table.binning.names}
    scores = table.scores.scores(table.encode(keys, columns).codes)[usable].T
    return np.asarray((scores - summary.scores.sum[usable] / summary.scores.n) @ white)


def _describe(reference: TableSummary, whitened: _Whitened, now: Floats, moved: Floats, most: int) -> str:
    if reference.table.scores.projection is not None:
        return "a projection of many columns"
    before, names = whitened.covariance, [reference.numbers.names[i] for i in whitened.usable]
    upper = np.argwhere(np.triu(np.ones_like(moved, np.bool_)))
    upper = upper[np.argsort(-np.abs(moved[upper[:, 0], upper[:, 1]]), kind="stable")][:most]
    spread = np.sqrt(np.diag(before)), np.sqrt(np.maximum(np.diag(now), 1e-300))
    parts = []
    for i, j in upper:
        if i == j:
            parts.append(f"spread of {names[i]} x{spread[1][i] / spread[0][i]:.2f}")
        else:
            old, new = (c[i, j] / (s[i] * s[j]) for c, s in zip((before, now), spread, strict=True))
            parts.append(f"correlation of {names[i]} and {names[j]} {old:+.2f} to {new:+.2f}")
    return "; ".join(parts)
