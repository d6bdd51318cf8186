"""Squared differences of two distribution functions, summed over bins, and their null."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy.special import gammaincc, ndtr

from detectors.base import Floats, Ints
from detectors.statistical.nulls import sampling

_GROUPS = 32  # cells that the null is computed over
_NODES, _WEIGHTS = leggauss(48)


class Levels(NamedTuple):
    """Where the pooled cells of F columns lie: K cells, in order of value.

    Attributes
    ----------
    share, middle : float64[F, K]
        Of all values, those in each cell, and those below its middle.
    """

    share: Floats
    middle: Floats

    @classmethod
    def pooled(cls, reference: Ints, window: Ints) -> Levels:
        """The levels of counts int64[F, K]."""
        pooled = (reference + window).astype(np.float64)
        return cls.of(pooled / np.maximum(pooled.sum(axis=1, keepdims=True), 1.0))

    @classmethod
    def of(cls, share: Floats) -> Levels:
        """The levels of cells with these shares."""
        return cls(share, np.cumsum(share, axis=1) - share / 2)

    @property
    def variance(self) -> Floats:
        """Of a Brownian bridge's mean over the two ends of a cell (Scholz, Stephens 1987): float64[F, K]."""
        return np.asarray(np.maximum(self.middle * (1.0 - self.middle) - self.share / 4, 0.0))


class Squares(NamedTuple):
    """Of F columns, float64[F] each.

    Attributes
    ----------
    distance : float64[F]
        Weighted sum of (F_w - F_r)².
    chance : float64[F]
        Its mean under no change, exact in samples of any size.
    p_value : float64[F]
        From its limit: a weighted sum of chi-squares whose weights follow from the pooled ties.
    """

    distance: Floats
    chance: Floats
    p_value: Floats

    @property
    def effect(self) -> Floats:
        """Root of the distance less what chance adds, or 0."""
        return np.asarray(np.sqrt(np.maximum(self.distance - self.chance, 0.0)))


def squares(reference: Ints, window: Ints, levels: Levels, weights: Floats) -> Squares:
    """Compare counts int64[F, K] in order of value.

    Both distribution functions are taken at the middle of their jump, so that values which tie, or
    share a cell, are treated alike in either direction.

    Parameters
    ----------
    reference, window : int64[F, K]
    levels : Levels
        Of both.
    weights : float64[F, K]
        Of the squared difference in each cell.
    """
    n, m = reference.sum(axis=1), window.sum(axis=1)
    distance = (weights * _gap(reference, window) ** 2).sum(axis=1)
    unit = sampling(n, m) * finite(n, m)
    mean = (weights * levels.variance).sum(axis=1)
    p_value = chi_square_sum_p_value(distance / unit, _scales(levels.share, weights), mean)
    return Squares(distance, mean * unit, p_value)


def finite(n: Ints, m: Ints) -> Floats:
    """How much larger squares are on average than in the limit: n + m values are shared out at random."""
    total = np.maximum(n + m, 2).astype(np.float64)
    return np.asarray(total / (total - 1.0))


def _gap(reference: Ints, window: Ints) -> Floats:
    """F_w - F_r in the middle of each cell's jump: float64[F, K]."""
    gap = np.zeros(reference.shape)
    for sign, counts in ((1.0, window), (-1.0, reference)):
        total = np.maximum(counts.sum(axis=1, keepdims=True), 1)
        gap += sign * (np.cumsum(counts, axis=1) - counts / 2) / total
    return gap


def _scales(share: Floats, weights: Floats) -> Floats:
    """Scales of the chi-squares that the weighted sum of squares tends to, in increasing order."""
    size = len(share)
    middle = np.clip(Levels.of(share).middle, 0.0, 1.0)
    # Neighbours merge, least near the ends: the terms that vary most change little by it.
    group = (np.arcsin(np.sqrt(middle)) * (2 / np.pi) * _GROUPS).astype(np.int64)
    flat = (np.minimum(group, _GROUPS - 1) + np.arange(size)[:, None] * _GROUPS).ravel()

    def merged(of: Floats) -> Floats:
        sums = np.bincount(flat, of.ravel(), minlength=size * _GROUPS)
        return sums.reshape(size, _GROUPS).astype(np.float64)

    few, root = Levels.of(merged(share)), np.sqrt(merged(weights))
    a, b = few.middle[:, :, None], few.middle[:, None, :]
    covariance = np.minimum(a, b) - a * b
    cells = np.arange(_GROUPS)
    covariance[:, cells, cells] = few.variance
    scales = np.linalg.eigvalsh(covariance * root[:, :, None] * root[:, None, :])
    return np.asarray(np.maximum(scales, 0.0))


def chi_square_sum_p_value(value: Floats, scales: Floats, mean: Floats) -> Floats:
    """Upper tail of sum_k s_k Z_k² of independent standard normal Z: float64[F].

    The largest term decides the tail and is kept; the sum of the others is taken for a gamma variate with
    their first three cumulants.

    Parameters
    ----------
    value : float64[F]
    scales : float64[F, K]
        In increasing order.
    mean : float64[F]
        Of the sum; what the K scales leave out of it is taken for terms too small to vary.
    """
    first, others = scales[:, -1], scales[:, :-1]
    square, cube = (np.sum(others**k, axis=1)[:, None] for k in (2, 3))
    alone = square <= 1e-12 * first[:, None] ** 2
    theta = np.where(alone, 1.0, 2.0 * cube / np.where(alone, 1.0, square))
    shape = np.where(alone, 1.0, 2.0 * square / theta**2)
    start = (mean - first)[:, None] - np.where(alone, 0.0, shape * theta)
    reach = np.sqrt(np.maximum(value, 0.0) / np.where(first > 0, first, 1.0))
    z = reach[:, None] * (_NODES + 1.0) / 2.0
    left = value[:, None] - first[:, None] * z**2 - start
    beyond = np.where(alone, left <= 0, gammaincc(shape, np.maximum(left, 0.0) / theta))
    density = np.sqrt(2.0 / np.pi) * np.exp(-(z**2) / 2.0)
    p = 2.0 * ndtr(-reach) + reach / 2.0 * (beyond * density * _WEIGHTS).sum(axis=1)
    return np.where(first > 0, p, 1.0)
