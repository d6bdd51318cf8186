"""The Gaussian kernel, and what relabelling rows at random does to sums over a kernel matrix."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.base import Floats

Matrix: TypeAlias = NDArray[np.float32]
"""Single precision: sums over a kernel matrix vary by far more than its rounding."""

_SUBSET = 512  # rows that triangles are counted over


def squared_distances(x: Floats, y: Floats) -> Floats:
    """Squared Euclidean distances of all rows of x to all of y: float64[n, m]."""
    out = x @ y.T
    out *= -2.0
    out += np.einsum("ij,ij->i", x, x)[:, None]
    out += np.einsum("ij,ij->i", y, y)
    return np.maximum(out, 0.0, out=out)


def median_bandwidth(x: Floats) -> float:
    """The usual heuristic: sigma² is half the median squared distance between two rows; 0 if none differ.

    Where most pairs are equal the median is that of those which differ.
    """
    distances = squared_distances(x, x)[np.triu_indices(len(x), 1)]
    if len(distances) == 0:
        return 0.0
    median = float(np.partition(distances, (len(distances) - 1) // 2)[(len(distances) - 1) // 2])
    rounding = 1e-12 * float(distances.max())
    if median <= rounding:
        apart = distances[distances > rounding]
        median = float(np.median(apart)) if len(apart) else 0.0
    return math.sqrt(median / 2.0)


def gaussian(x: Floats, y: Floats, bandwidth: float) -> Matrix:
    """exp(-|x - y|² / 2 sigma²) of all rows of x and y: float32[n, m]."""
    exponent = squared_distances(x, y).astype(np.float32)
    exponent *= np.float32(-0.5 / bandwidth**2)
    return np.asarray(np.exp(exponent, out=exponent))


def u_centred(kernel: Matrix) -> Matrix:
    """A symmetric matrix less row and column effects so that, without the diagonal, its rows sum to 0.

    In place; the diagonal becomes 0. Szekely and Rizzo, Annals of Statistics 42 (2014).
    """
    size = len(kernel)
    np.fill_diagonal(kernel, 0.0)
    effect = kernel.sum(axis=1, dtype=np.float64) / (size - 2)
    effect -= effect.sum() / (2 * (size - 1))
    single = effect.astype(np.float32)
    kernel -= single
    kernel -= single[:, None]
    np.fill_diagonal(kernel, 0.0)
    return kernel


class Moments(NamedTuple):
    """Of the sum of `centred` over all ordered pairs of n rows picked at random; its mean is 0."""

    deviation: float
    skewness: float


def relabelled(centred: Matrix, n: int) -> Moments:
    """Standard deviation and skewness of that sum when the rows are picked without replacement.

    With rows that sum to 0 every product over edges that share rows comes down to the sums of squares and
    cubes and the triangles. The deviation is exact; cubes and triangles come from at most 512 rows,
    evenly spaced.

    Parameters
    ----------
    centred : float32[N, N]
        As `u_centred` gives it.
    n : int
        Rows picked.
    """
    size = len(centred)
    # chance[v]: that v given rows are all picked
    chance = np.cumprod([1.0, *((n - k) / (size - k) if size > k else 0.0 for k in range(6))])
    square = float(np.vdot(centred, centred))
    variance = square * (2.0 * chance[2] - 4.0 * chance[3] + 2.0 * chance[4])
    if not variance > 0:
        return Moments(0.0, 0.0)
    few = np.unique(np.linspace(0, size - 1, min(size, _SUBSET)).astype(np.intp))
    part = centred[np.ix_(few, few)]
    triangles = float(np.vdot(part @ part, part)) / 6.0 * math.comb(size, 3) / math.comb(len(few), 3)
    cubes = float(np.vdot(part * part, part)) / 2.0 * math.comb(size, 2) / math.comb(len(few), 2)
    third = 8.0 * (
        cubes * (chance[2] - 6 * chance[3] + 13 * chance[4] - 12 * chance[5] + 4 * chance[6])
        + 6.0 * triangles * (chance[3] - 3 * chance[4] + 3 * chance[5] - chance[6])
    )
    return Moments(math.sqrt(variance), third / variance**1.5)
