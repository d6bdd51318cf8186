"""Maximum mean discrepancy of random Fourier features: of embeddings, and of the sampled rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from detectors.base import Floats, Ints, Verdict
from detectors.learned.kernels import median_bandwidth
from detectors.learned.rows import SAME_ROWS, Layout
from detectors.statistical.nulls import type_three_p_value
from detectors.statistical.spec import Kind, Spec, shortage, verdicts
from detectors.summaries.embeddings import EmbeddingSums, FeatureNull, fourier_features, unit
from detectors.summaries.remember import per_reference
from detectors.summaries.table import TableSummary

_LEAST_SKEWNESS = 0.01


class FourierMmd(Spec):
    """Distance of mean random Fourier features, which approximates MMD under a Gaussian kernel.

    Statistic: the squared distance of the mean features. Effect: the root of it freed of what chance adds
    (the unbiased MMD²_u), or 0. P-value: MMD²_u against a Pearson type III whose variance and skewness
    follow from both sizes and from the covariance S of the features in the reference: under no change it
    is a sum of chi-squares weighted by the eigenvalues of S.

    Embeddings: all rows of both sides enter, projected by the reference (`detectors.summaries.embeddings`);
    the kernel's width is the median distance between reference rows. As a scale for the effect: of a
    normal embedding, moving the mean by half a standard deviation along one of 32 components that vary
    alike gives about 0.05. The table: the rows that both summaries sample, as for `mmd`, which needs no
    features but more time.

    Sees shifts, spreads and new or vanished groups; blind to what happens outside the principal components.
    Sources: Rahimi and Recht, NIPS 20 (2007); Gretton et al., Journal of Machine Learning Research 13
    (2012); Sutherland and Schneider, UAI (2015).
    """

    applies_to: ClassVar[tuple[Kind, ...]] = ("embedding", "table")
    type: Literal["rff_mmd"] = "rff_mmd"
    minimum_effect: float = Field(0.03, ge=0, description="MMD, from 0 to 1.41.")
    min_rows: int = Field(100, ge=2, description="Vectors, or sampled rows, that each side must hold.")

    def compare(
        self,
        reference: EmbeddingSums | TableSummary,
        window: EmbeddingSums | TableSummary,
        alpha: float | None = None,
    ) -> list[Verdict]:
        """One verdict a column of embeddings, or one for a table; `alpha` overrides the detector's level."""
        if isinstance(reference, TableSummary) and isinstance(window, TableSummary):
            return self._rows(reference, window, alpha)
        if isinstance(reference, EmbeddingSums) and isinstance(window, EmbeddingSums):
            sizes = reference.counts[:, 0], window.counts[:, 0]
            nulls = [sketch.null for sketch in reference.embeddings.sketches]
            found = discrepancy(reference.means, window.means, *sizes, nulls)
            return verdicts(self, *found, *sizes, alpha)
        msg = f"{type(reference).__name__} and {type(window).__name__} cannot be compared"
        raise TypeError(msg)

    def _rows(self, reference: TableSummary, window: TableSummary, alpha: float | None) -> list[Verdict]:
        sizes = np.array([len(reference.sample)]), np.array([len(window.sample)])
        insufficient = shortage(*sizes, self.min_rows)
        found = Discrepancy(np.zeros(1), np.zeros(1), np.ones(1))
        if not insufficient:
            known = _learnt(reference)
            if known.bandwidth > 0:
                rows = known.layout.rows(window.sample) / known.bandwidth
                mean = unit(fourier_features(rows)).mean(axis=0, keepdims=True)
                found = discrepancy(known.mean, mean, *sizes, [known.null])
            else:
                insufficient = {0: SAME_ROWS}
        return verdicts(self, *found, *sizes, alpha, insufficient)


class Discrepancy(NamedTuple):
    """Of E columns: squared distance of the mean features, root of MMD²_u, p-value: float64[E] each."""

    statistic: Floats
    effect: Floats
    p_value: Floats


def discrepancy(before: Floats, now: Floats, n: Ints, m: Ints, nulls: Sequence[FeatureNull]) -> Discrepancy:
    """Compare mean features float64[E, D] of n and m rows, int64[E]; the features of a row have length 1.

    Where a side has fewer than two rows there is nothing to say: 0, 0 and 1.
    """
    statistic = ((now - before) ** 2).sum(axis=1)
    few = np.minimum(n, m) < 2
    a, b = np.maximum(n, 2).astype(np.float64), np.maximum(m, 2).astype(np.float64)
    inner = [(a * (before**2).sum(axis=1) - 1.0) / (a - 1.0), (b * (now**2).sum(axis=1) - 1.0) / (b - 1.0)]
    unbiased = inner[0] + inner[1] - 2.0 * (before * now).sum(axis=1)
    factor = 2.0 / (a * (a - 1.0)) + 2.0 / (b * (b - 1.0)) + 4.0 / (a * b)
    p_value = np.array(
        [_tail(u, f, null) for u, f, null in zip(unbiased.tolist(), factor.tolist(), nulls, strict=True)]
    )
    return Discrepancy(
        np.where(few, 0.0, statistic),
        np.where(few, 0.0, np.sqrt(np.maximum(unbiased, 0.0))),
        np.where(few, 1.0, p_value),
    )


def _tail(unbiased: float, factor: float, null: FeatureNull) -> float:
    """P-value of MMD²_u with variance `factor` times the trace of S²."""
    if not null.square > 0:
        return 1.0
    skewness = max(math.sqrt(8.0) * null.cube / null.square**1.5, _LEAST_SKEWNESS)
    return float(type_three_p_value(np.array(unbiased / math.sqrt(factor * null.square)), skewness))


class _Learnt(NamedTuple):
    layout: Layout
    bandwidth: float
    mean: Floats
    null: FeatureNull


@per_reference
def _learnt(reference: TableSummary) -> _Learnt:
    layout = Layout.of(reference)
    rows = layout.rows(reference.sample)
    width = median_bandwidth(rows)
    if not width > 0:
        return _Learnt(layout, 0.0, np.empty((0, 0)), FeatureNull(0.0, 0.0, 0.0))
    features = fourier_features(rows / width)
    return _Learnt(layout, width, unit(features).mean(axis=0, keepdims=True), FeatureNull.of(features))
