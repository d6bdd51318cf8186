"""Maximum mean discrepancy of the sampled rows, tested by permutation."""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from detectors.base import Floats, Verdict
from detectors.learned.kernels import Matrix, gaussian, median_bandwidth, relabelled, u_centred
from detectors.learned.rows import SAME_ROWS, Layout
from detectors.statistical.nulls import type_three_p_value
from detectors.statistical.spec import Kind, Spec, shortage, verdicts
from detectors.summaries.remember import per_reference
from detectors.summaries.table import TableSummary

_REACHED = 10  # permutations that must reach the statistic for their share to be the p-value
_LEAST_SKEWNESS = 0.01


class MaximumMeanDiscrepancy(Spec):
    """Distance of the mean embeddings of all columns together, under a Gaussian kernel.

    Statistic: the unbiased MMD²_u between the rows that both summaries sample, numbers standardised and
    categories one-hot by the reference (see `detectors.learned.rows`); the kernel's width is the median
    distance between reference rows. Effect: the root of it, or 0; its mean under no change is 0.
    P-value: the share of random relabellings of the pooled rows that reach the statistic while ten of them
    do, and beyond these a Pearson type III with mean, variance and skewness of all relabellings, so that it
    can be as small as the level asks. The draws depend on the rows' keys alone.

    Sees any joint change, given enough rows; a change of one column in many is better seen by that column's
    own tests. Source: Gretton et al., Journal of Machine Learning Research 13 (2012).
    """

    applies_to: ClassVar[tuple[Kind, ...]] = ("table",)
    type: Literal["mmd"] = "mmd"
    minimum_effect: float = Field(0.02, ge=0, description="MMD, from 0 to 1.41.")
    permutations: int = Field(100, ge=20, le=10_000, description="Random relabellings.")

    def compare(
        self, reference: TableSummary, window: TableSummary, alpha: float | None = None
    ) -> list[Verdict]:
        """One verdict in all; `alpha` overrides the detector's level."""
        sizes = np.array([len(reference.sample)]), np.array([len(window.sample)])
        insufficient = shortage(*sizes, self.min_rows)
        found = MmdResult(0.0, 1.0, 1.0)
        if not insufficient:
            known = _learnt(reference)
            if known.bandwidth > 0:
                y = known.layout.rows(window.sample)
                seed = int(np.bitwise_xor.reduce(window.sample.keys))
                found = _test(known.x, y, known.bandwidth, known.gram, self.permutations, seed)
            else:
                insufficient = {0: SAME_ROWS}
        statistic, p_value = np.array([found.statistic]), np.array([found.p_value])
        effect = np.sqrt(np.maximum(statistic, 0.0))
        return verdicts(self, statistic, effect, p_value, *sizes, alpha, insufficient)


class MmdResult(NamedTuple):
    """A permutation test of MMD²_u.

    Attributes
    ----------
    statistic : float
    p_value : float
        `permuted` while at least ten relabellings reach the statistic, beyond them the tail.
    permuted : float
        (1 + relabellings that reach the statistic) / (1 + permutations).
    """

    statistic: float
    p_value: float
    permuted: float


def mmd_test(
    x: Floats, y: Floats, *, permutations: int = 100, seed: int = 0, bandwidth: float | None = None
) -> MmdResult:
    """Whether the rows of x and of y come from one distribution; two rows a side at least.

    Parameters
    ----------
    x, y : float64[n, d], float64[m, d]
    permutations, seed : int
        Random relabellings, and where their generator starts.
    bandwidth : float or None
        Of the Gaussian kernel; None for the median heuristic over x. Where no two rows of x differ
        nothing can be told: the p-value is 1.
    """
    width = median_bandwidth(x) if bandwidth is None else bandwidth
    if not width > 0:
        return MmdResult(0.0, 1.0, 1.0)
    return _test(x, y, width, gaussian(x, x, width), permutations, seed)


def _test(x: Floats, y: Floats, width: float, gram: Matrix, permutations: int, seed: int) -> MmdResult:
    n, m = len(x), len(y)
    size = n + m
    kernel = np.empty((size, size), np.float32)
    kernel[:n, :n] = gram
    kernel[:n, n:] = gaussian(x, y, width)
    kernel[n:, :n] = kernel[:n, n:].T
    kernel[n:, n:] = gaussian(y, y, width)
    # Row and column effects cancel in MMD²_u; without them all four blocks sum to plus or minus the
    # same, and one block is enough.
    centred = u_centred(kernel)
    factor = 1.0 / (n * (n - 1)) + 1.0 / (m * (m - 1)) + 2.0 / (n * m)
    # The smaller side's block: fewer terms. Blocks of x and y have equal sums.
    side = slice(0, n) if n <= m else slice(n, size)
    few = min(n, m)
    observed = float(centred[side, side].sum(dtype=np.float64))
    labels = _labels(size, few, permutations, seed)
    sums = np.einsum("ij,ij->j", labels, centred @ labels, dtype=np.float64)
    moments = relabelled(centred, few)
    reached = int(np.count_nonzero(sums >= observed - 1e-6 * moments.deviation))
    permuted = p_value = (1 + reached) / (1 + permutations)
    if reached < _REACHED:
        p_value = 1.0
        if moments.deviation > 0:
            standard = np.array(observed / moments.deviation)
            p_value = float(type_three_p_value(standard, max(moments.skewness, _LEAST_SKEWNESS)))
    return MmdResult(observed * factor, p_value, permuted)


def _labels(size: int, picked: int, permutations: int, seed: int) -> Matrix:
    """1 for the rows that a relabelling picks, else 0: float32[size, permutations]."""
    labels = np.zeros((permutations, size), np.float32)
    labels[:, :picked] = 1.0
    rng: np.random.Generator = np.random.default_rng(seed)
    rng.permuted(labels, axis=1, out=labels)
    return np.ascontiguousarray(labels.T)


class _Learnt(NamedTuple):
    layout: Layout
    x: Floats
    bandwidth: float
    gram: Matrix


@per_reference
def _learnt(reference: TableSummary) -> _Learnt:
    layout = Layout.of(reference)
    x = layout.rows(reference.sample)
    width = median_bandwidth(x)
    return _Learnt(layout, x, width, gaussian(x, x, width) if width > 0 else np.empty((0, 0), np.float32))
