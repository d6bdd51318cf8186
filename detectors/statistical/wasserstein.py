"""Wasserstein distance from bins, in standard deviations of the reference."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import psi as digamma

from detectors.base import Floats, Ints, Verdict
from detectors.statistical.nulls import enough, sampling
from detectors.statistical.spec import Kind, Spec, shortage, verdicts
from detectors.summaries.histogram import Histogram
from detectors.summaries.remember import per_reference

_FARTHEST = 1e100
_BEYOND = 5  # values of the smaller sample that must lie beyond a boundary for it to be evidence
_LEVELS = 128
_BLOCKS = (99, 499, 1499, 4999)  # bridges; the next only where these leave a doubt
_BRIDGES = _BLOCKS[-1]
_SEED = 20_261_102


class Wasserstein(Spec):
    """How far values moved on average: W1 / sigma of the reference.

    Statistic: W1 = integral of |F_w - F_r| over the bins, values spread evenly within a bin (or at
    its left end where a column has few distinct values) and, outside the reference's range, with an
    exponential tail that has the window's extremes; never less than the difference of the means, which
    is exact. Finite values only. Effect: the root of its square less the mean of that square under no
    change, or 0.
    P-value: the part of W1 where at least 5 values of either sample lie on both sides, against the
    integral of |Brownian bridge| it tends to, simulated once (4,999 bridges, fixed seed), and beyond
    these against Borell's bound on the tail of a supremum of normal variates; outliers cannot make it
    lie.

    Sees shifts and stretches in their own unit; blind to changes that move little mass a little way.
    Source: del Barrio, Gine and Matran, Annals of Probability 27 (1999); Borell, Inventiones
    Mathematicae 30 (1975).
    """

    applies_to: ClassVar[tuple[Kind, ...]] = ("number",)
    type: Literal["wasserstein"] = "wasserstein"
    minimum_effect: float = Field(0.1, ge=0, description="Standard deviations of the reference.")

    def compare(self, reference: Histogram, window: Histogram, alpha: float | None = None) -> list[Verdict]:
        """One verdict a column; `alpha` overrides the detector's level."""
        unit = _unit(reference)
        n, m = unit.n, window.finite
        insufficient = shortage(n, m, self.min_rows)
        with np.errstate(all="ignore"):  # odd columns are put right below
            parts = _parts(unit, window)
            moved = np.abs(window.sums / m - unit.mean) / unit.scale
        for i in np.flatnonzero(~(unit.sigma > 0) | ~np.isfinite(unit.sigma) | ~np.isfinite(moved)):
            what = "constant in the reference" if unit.sigma[i] == 0 else "values too large to have a spread"
            insufficient.setdefault(int(i), f"{what}: no unit to measure the distance in")
        moved = np.where(np.isfinite(moved), moved, 0.0)
        total = np.minimum(np.maximum(parts.inside + parts.outside, moved), _FARTHEST)
        level = self.alpha if alpha is None else alpha
        square, p_value = _null(parts, n, m, level)
        effect = np.sqrt(np.maximum(total**2 - square, 0.0))
        return verdicts(self, total, effect, p_value, n, m, alpha, insufficient)


class _Unit(NamedTuple):
    """What follows from a reference alone; lengths in its standard deviations."""

    n: Ints
    """[F]: finite values."""
    mean: Floats
    sigma: Floats
    """[F]: as values are."""
    scale: Floats
    """[F]: sigma, or inf where it is no unit: all distances are 0."""
    ends: tuple[Floats, Floats]
    """[F] each: least and largest value."""
    weights: Floats
    """[F, B + 1]: width that each boundary's difference counts for."""
    below: Ints
    """[F, B + 1]: values below each boundary."""


@per_reference
def _unit(reference: Histogram) -> _Unit:
    with np.errstate(all="ignore"):
        sigma = reference.deviation
        scale = np.where(np.isfinite(sigma) & (sigma > 0), sigma, np.inf)
        boundaries = reference.boundaries / scale[:, None]
        widths = np.diff(boundaries, axis=1)
        widths = np.where(np.isfinite(widths), widths, 0.0)
    distinct = (reference.binning.used < reference.bins)[:, None]
    left = np.where(distinct, 0.0, widths / 2)  # what a bin gives to the boundary at its left
    weights = np.zeros_like(boundaries)
    weights[:, 1:] += widths - left
    weights[:, :-1] += left
    ends = boundaries[:, 0], boundaries[:, -1]
    return _Unit(reference.finite, reference.mean, sigma, scale, ends, weights, _below(reference))


def _below(histogram: Histogram) -> Ints:
    """Finite values below each boundary."""
    return np.asarray(np.cumsum(histogram.counts[:, : histogram.bins + 1], axis=1))


class _Parts(NamedTuple):
    inside: Floats
    """[F]: W1 within the reference's range."""
    outside: Floats
    """[F]: W1 beyond it."""
    gap: Floats
    """[F, B + 1]: difference of the distribution functions at the boundaries."""
    weights: Floats
    """[F, B + 1]: width that each boundary's difference counts for."""
    levels: Floats
    """[F, B + 1]: the pooled distribution function at the boundaries."""


def _parts(unit: _Unit, window: Histogram) -> _Parts:
    n, m = np.maximum(unit.n, 1)[:, None], np.maximum(window.finite, 1)[:, None]
    below = _below(window)
    gap = np.abs(below / m - unit.below / n)
    low = _tail(unit.ends[0] - window.minimum / unit.scale, window.counts[:, 0])
    high = _tail(window.maximum / unit.scale - unit.ends[1], window.counts[:, window.bins + 1])
    outside = (low + high) / m[:, 0]
    return _Parts(
        (unit.weights * gap).sum(axis=1),
        np.where(np.isfinite(outside), outside, 0.0),
        gap,
        unit.weights,
        (unit.below + below) / (n + m),
    )


def _tail(reach: Floats, count: Ints) -> Floats:
    """Sum of `count` exponential distances of which the longest is `reach` on average."""
    longest = digamma(count + 1.0) + np.euler_gamma  # in means: the harmonic number
    return np.where(count > 0, np.maximum(reach, 0.0) * count / np.where(count > 0, longest, 1.0), 0.0)


def _levels() -> Floats:
    """sin²(pi j / 2(L + 1)), closer towards the ends."""
    return np.asarray(np.sin(np.pi * np.arange(1, _LEVELS + 1) / (2 * (_LEVELS + 1))) ** 2)


class _Bridges(NamedTuple):
    """Simulated Brownian bridges B at `_levels()`."""

    sizes: NDArray[np.float32]
    """|B|: [bridges, levels]; half as many bytes to read are half the time."""
    mean: Floats
    """E|B(s)|: [levels]."""
    products: Floats
    """E|B(s)||B(t)|: [levels, levels]."""
    covariance: Floats
    """E B(s) B(t), exact: [levels, levels]."""


@cache
def _bridges() -> _Bridges:
    u = _levels()
    steps = np.sqrt(np.diff(u, prepend=0.0, append=1.0))
    walk = np.cumsum(np.random.default_rng(_SEED).standard_normal((_BRIDGES, _LEVELS + 1)) * steps, axis=1)
    sizes = np.abs(walk[:, :-1] - u * walk[:, -1:])
    covariance = np.minimum(u[:, None], u) - u[:, None] * u
    mean, products = sizes.mean(axis=0), sizes.T @ sizes / _BRIDGES
    return _Bridges(sizes.astype(np.float32), mean, products, covariance)


def _null(parts: _Parts, n: Ints, m: Ints, level: float) -> tuple[Floats, Floats]:
    """Mean square of the inside part under no change, and the p-values.

    These are counted from as many bridges as are `enough` for decisions at `level`.
    """
    size = len(parts.inside)
    # Further out, too few values decide how wide the bins are and how much they differ.
    least = (_BEYOND / np.maximum(np.minimum(n, m), 1))[:, None]
    weights = np.where((parts.levels >= least) & (parts.levels <= 1 - least), parts.weights, 0.0)
    inside = (weights * parts.gap).sum(axis=1)
    place = np.arcsin(np.sqrt(parts.levels)) * (2 * (_LEVELS + 1) / np.pi)
    at: Ints = np.rint(place).astype(np.int64)  # 0 and L + 1, the fixed ends, drop out
    flat = (at + np.arange(size)[:, None] * (_LEVELS + 2)).ravel()
    grid = np.bincount(flat, weights.ravel(), minlength=size * (_LEVELS + 2))
    grid = grid.reshape(size, _LEVELS + 2)[:, 1:-1] * np.sqrt(sampling(n, m))[:, None]
    bridges = _bridges()
    square = ((grid @ bridges.products) * grid).sum(axis=1)
    unit = np.where(inside > 0, inside, 1.0)[:, None]  # lest a distance be too large for 32 bits
    scaled = np.minimum(grid / unit, 1e30).astype(np.float32)
    beyond = np.where(inside > 0, np.float32(1 - 1e-6), np.float32(0.0))
    reached, p_value = np.zeros(size, np.int64), np.ones(size)
    left = np.arange(size)
    for first, end in pairwise((0, *_BLOCKS)):
        reached[left] += (bridges.sizes[first:end] @ scaled[left].T >= beyond[left]).sum(axis=0)
        p_value[left] = (1.0 + reached[left]) / (1.0 + end)
        left = left[~enough(reached[left], level, _BRIDGES)]
        if not len(left):
            break
    # The integral of |B| is the supremum of integrals of s B over |s| <= 1, most variable at s = 1.
    grid = grid[left]
    variance = ((grid @ bridges.covariance) * grid).sum(axis=1)
    past = np.maximum(inside[left] - grid @ bridges.mean, 0.0) ** 2
    p_value[left] = np.minimum(p_value[left], np.exp(-past / np.maximum(2 * variance, 1e-300)))
    return square, p_value
