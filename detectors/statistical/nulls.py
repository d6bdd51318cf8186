"""Null distributions, as array functions over columns; `n` and `m` are the two sample sizes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache

import numpy as np
from scipy.special import chdtrc, gammaln, kolmogorov, ndtr

from detectors.base import Bools, Floats, Ints

KOLMOGOROV_SQUARE = np.pi**2 / 12
"""Mean of the square of the limit of `D sqrt(nm / (n + m))`."""
_EXACT_BELOW = 50.0
_TERMS = 128
_BLOCKS = (99, 200, 400, 1300)  # draws; another block only where the ones before leave a doubt
_DRAWS = sum(_BLOCKS)
_REACHED = 10  # draws that reach what was observed make a p-value good enough to report
_SCREEN = 0.2
_SEED = 20_261_101
_LEAST_SKEWNESS = 0.5  # heavier than normal, to be on the safe side
_LARGEST = 10**9  # rows the generator takes


def sampling(n: Ints, m: Ints) -> Floats:
    """`1/n + 1/m`: the variance of a difference of two means of unit variance; 1 where a side is empty."""
    with np.errstate(divide="ignore"):
        return np.where((n > 0) & (m > 0), 1.0 / np.asarray(n) + 1.0 / np.asarray(m), 1.0)


def ks_p_value(distance: Floats, n: Ints, m: Ints) -> Floats:
    """Asymptotic two-sided p-value of the Kolmogorov-Smirnov distance (Smirnov 1948)."""
    return np.asarray(kolmogorov(distance / np.sqrt(sampling(n, m))))


def g_statistic(reference: Ints, window: Ints) -> Floats:
    """G = 2 sum O ln(O / E) of 2 x K tables given as int[..., K] each (log-likelihood ratio)."""
    r, w = reference.astype(np.float64), window.astype(np.float64)
    n, m = r.sum(axis=-1, keepdims=True), w.sum(axis=-1, keepdims=True)
    total = n + m
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (r + w) / total
        terms = r * np.log(r / (share * n))
        terms[r == 0] = 0.0
        other = w * np.log(w / (share * m))
        other[w == 0] = 0.0
    return np.asarray(2.0 * np.maximum((terms + other).sum(axis=-1), 0.0))


def pearson_statistic(reference: Ints, window: Ints) -> Floats:
    """Pearson's X² of homogeneity of 2 x K tables given as int[..., K] each."""
    r, w = reference.astype(np.float64), window.astype(np.float64)
    n, m = r.sum(axis=-1, keepdims=True), w.sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        terms = (r / n - w / m) ** 2 / (r + w)
    terms[~np.isfinite(terms)] = 0.0
    return np.asarray((terms.sum(axis=-1, keepdims=True) * n * m)[..., 0])


def variation_statistic(reference: Ints, window: Ints) -> Floats:
    """Total variation distance of count tables int[..., K]: half the sum of |difference of shares|."""
    n = np.maximum(reference.sum(axis=-1, keepdims=True), 1)
    m = np.maximum(window.sum(axis=-1, keepdims=True), 1)
    return np.asarray(0.5 * np.abs(reference / n - window / m).sum(axis=-1))


def chi_square_p_value(statistic: Floats, degrees: Ints) -> Floats:
    """Upper tail of chi-square; 1 where there is no degree of freedom."""
    return np.where(degrees > 0, chdtrc(np.maximum(degrees, 1), statistic), 1.0)


def williams(reference: Ints, window: Ints) -> Floats:
    """Williams' (1976) divisor of G for 2 x K tables, which keeps its level at small counts."""
    pooled = (reference + window).astype(np.float64)
    cells = (pooled > 0).sum(axis=-1)
    n, m = reference.sum(axis=-1), window.sum(axis=-1)
    total = (n + m).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = np.where(pooled > 0, total[..., None] / pooled, 0.0).sum(axis=-1) - 1.0
        rows = total / n + total / m - 1.0
        divisor = 1.0 + rows * columns / (6.0 * total * np.maximum(cells - 1, 1))
    return np.where(np.isfinite(divisor), divisor, 1.0)


def sparse(reference: Ints, window: Ints) -> Bools:
    """Where a 2 x K table has a cell whose expected count is below 5."""
    pooled = reference + window
    n, m = reference.sum(axis=-1), window.sum(axis=-1)
    share = np.minimum(n, m) / np.maximum(n + m, 1)
    least = np.where(pooled > 0, pooled, np.iinfo(np.int64).max).min(axis=-1)
    return np.asarray(least * share < 5.0)


STATISTICS: dict[str, Callable[[Ints, Ints], Floats]] = {
    "g": g_statistic,
    "pearson": pearson_statistic,
    "variation": variation_statistic,
}
"""Statistics of 2 x K tables, all larger the more the rows differ."""


def enough(reached: Ints | int, level: float, draws: int) -> Bools:
    """Whether a Monte Carlo p-value of `draws` draws is bound to exceed `level`, and may stop.

    So many of the draws so far have `reached` what was observed that even if no other does,
    (1 + reached) / (1 + draws) is above the level: what is decided at this level or below, by Holm too,
    is what all draws would decide (Besag and Clifford, Biometrika 78, 1991).
    """
    return np.asarray(reached) >= max(_REACHED, level * (1 + draws))


def permutation_p_values(
    name: str, reference: Ints, window: Ints, statistic: Floats, p_value: Floats, level: float = 0.05
) -> Floats:
    """Asymptotic p-values, those of sparse tables replaced by Monte Carlo ones.

    The null redistributes the pooled rows over the two samples (multivariate hypergeometric), with a
    fixed seed: up to 1,999 draws, fewer once they are `enough`. An asymptotic p-value above 0.2
    stays as it is: that can lose a little power but never add a false alarm at levels below 0.1,
    since rejecting still needs the last p-value to be small. Where no draw reaches what was observed,
    a Pearson type III with the draws' mean, spread and skewness goes on from there.

    Parameters
    ----------
    name : str
        A key of `STATISTICS`.
    reference, window : int64[C, K]
    statistic, p_value : float64[C]
        As observed.
    level : float
        Largest level that the p-values will be held against.
    """
    out = p_value.copy()
    for i in np.flatnonzero(sparse(reference, window) & (p_value <= _SCREEN)):
        pooled = reference[i] + window[i]
        pooled = pooled[pooled > 0]
        n, m = int(reference[i].sum()), int(window[i].sum())
        if n + m >= _LARGEST or min(n, m) == 0 or len(pooled) < 2:
            continue
        reached, null = 0, np.empty(0)
        for block in range(len(_BLOCKS)):
            drawn = _drawn(pooled.tobytes(), min(n, m), block)
            rest = pooled - drawn
            more = STATISTICS[name](rest, drawn) if m <= n else STATISTICS[name](drawn, rest)
            null = np.append(null, more)
            reached += int(np.count_nonzero(more >= statistic[i] * (1 - 1e-12)))
            if enough(reached, level, _DRAWS):
                break
        out[i] = (1 + reached) / (1 + len(null))
        if reached == 0:
            out[i] = min(out[i], _beyond(null, float(statistic[i])))
    return out


@lru_cache(maxsize=16)
def _drawn(pooled: bytes, rows: int, block: int) -> Ints:
    """`rows` of the pooled ones, int64[draws, K]; kept, because several statistics ask for the same."""
    counts = np.frombuffer(pooled, np.int64)
    rng = np.random.default_rng((_SEED, block))
    out = rng.multivariate_hypergeometric(counts, rows, size=_BLOCKS[block], method="marginals")
    out.flags.writeable = False
    return out


def _beyond(draws: Floats, value: float) -> float:
    """P-value of a value beyond all draws."""
    mean, spread = draws.mean(), draws.std()
    if not spread > 0:
        return 1.0
    skewness = max(float((((draws - mean) / spread) ** 3).mean()), _LEAST_SKEWNESS)
    return float(type_three_p_value(np.array((value - mean) / spread), skewness))


def absolute_sum(weights: Floats, deviations: Floats, correlations: Floats) -> tuple[Floats, Floats]:
    """First two moments of sum_k w_k |Z_k|, Z jointly normal with mean 0.

    Parameters
    ----------
    weights, deviations : float64[C, K]
    correlations : float64[C, K, K]
    """
    scaled = weights * deviations
    mean = np.sqrt(2 / np.pi) * scaled.sum(axis=-1)
    rho = np.clip(correlations, -1.0, 1.0)
    kernel = (2 / np.pi) * (np.sqrt(1.0 - rho**2) + rho * np.arcsin(rho))
    second = np.einsum("ck,ckl,cl->c", scaled, kernel, scaled)
    return mean, second


@cache
def _chi_table() -> tuple[Floats, Floats]:
    """Squared mean over second moment of the chi distribution, against the log of its degrees."""
    degrees = np.logspace(0, 6, 4000)
    ratio = np.exp(np.log(2 / degrees) + 2 * (gammaln((degrees + 1) / 2) - gammaln(degrees / 2)))
    return ratio, np.log(degrees)


def chi_p_value(value: Floats, mean: Floats, second: Floats) -> Floats:
    """Upper tail of the scaled chi distribution with this mean and second moment.

    Exact for the absolute value of one normal variate, and close for sums of several.
    """
    ratio, log_degrees = _chi_table()
    with np.errstate(invalid="ignore", divide="ignore"):
        degrees = np.exp(np.interp(mean**2 / second, ratio, log_degrees))
        p = chdtrc(degrees, value**2 * degrees / second)
    return np.where(second > 0, p, 1.0)


def type_three_p_value(standard: Floats, skewness: float) -> Floats:
    """Upper tail of Pearson's type III, a moved and stretched chi-square.

    Parameters
    ----------
    standard : float64[...]
        Deviations from the mean, in standard deviations.
    skewness : float
        Above 0; of a chi-square with f degrees of freedom it is sqrt(8 / f).
    """
    degrees = 8.0 / skewness**2
    return np.asarray(chdtrc(degrees, np.maximum(degrees + standard * np.sqrt(2.0 * degrees), 0.0)))


def proportions_p_value(
    reference: Ints, n: Ints, window: Ints, m: Ints, *, increase_only: bool = False
) -> Floats:
    """P-values of equal rates: `reference` of `n` against `window` of `m`, arrays of one shape.

    Fisher's exact test (twice the smaller tail, at most 1) where an expected count is below 50, else
    the pooled score test. Exact p-values hold their level always and are conservative at low counts.
    """
    out = np.ones(np.shape(window))
    hits = reference + window
    some = np.nonzero((hits > 0) & (hits < n + m) & (n > 0) & (m > 0))
    if not len(some[0]):
        return out
    x, big_x, size_w, size_r = (np.asarray(a[some], np.float64) for a in (window, reference, m, n))
    rate = (x + big_x) / (size_w + size_r)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (x / size_w - big_x / size_r) / np.sqrt(rate * (1 - rate) * (1 / size_w + 1 / size_r))
    z = np.where(np.isfinite(z), z, 0.0)
    greater, less = ndtr(-z), ndtr(z)
    few = np.flatnonzero(np.minimum(size_w, size_r) * np.minimum(rate, 1 - rate) < _EXACT_BELOW)
    if len(few):
        greater[few], less[few] = _fisher_tails(x[few], size_w[few], big_x[few], size_r[few])
    out[some] = greater if increase_only else np.minimum(2 * np.minimum(greater, less), 1.0)
    return out


def _fisher_tails(x: Floats, m: Floats, big_x: Floats, n: Floats) -> tuple[Floats, Floats]:
    """P(X >= x) and P(X <= x) given the margins, for columns whose smallest expected count is small."""
    # Count the rarer outcome in the smaller sample: its tail has few terms of any size.
    rare = x + big_x <= (m + n) / 2
    x, big_x = np.where(rare, x, m - x), np.where(rare, big_x, n - big_x)
    small = m <= n
    count, draws, others = np.where(small, x, big_x), np.where(small, m, n), np.where(small, n, m)
    hits = x + big_x
    # No count exceeds the hits: beyond them all terms are 0.
    offsets = np.arange(min(_TERMS, hits.max() + 1.0))

    at = _log_choose(draws, count) + _log_choose(others, hits - count) - _log_choose(draws + others, hits)
    at = at[:, None]

    def masses(gained: Floats) -> Floats:
        """Of the count itself and onwards, from the ratios of neighbours; 0 beyond what is possible."""
        with np.errstate(divide="ignore"):
            logs = np.cumsum(np.log(np.maximum(gained, 0.0)), axis=1)
        return np.asarray(np.exp(np.concatenate((at, at + logs), axis=1)))

    spare = others - hits
    k = count[:, None] + offsets[:-1]
    up = (hits[:, None] - k) * (draws[:, None] - k) / ((k + 1) * np.maximum(spare[:, None] + k + 1, 1))
    k = count[:, None] - offsets[:-1]
    down = k * (spare[:, None] + k) / ((hits[:, None] - k + 1) * (draws[:, None] - k + 1))
    upper, at_most = masses(up).sum(axis=1), masses(down)
    lower = np.where(count < len(offsets), at_most.sum(axis=1), 1.0 - upper + at_most[:, 0])
    flipped = rare ^ small  # counting the other outcome, or the other sample, turns the tails round
    return np.where(flipped, lower, upper), np.where(flipped, upper, lower)


def _log_choose(n: Floats, k: Floats) -> Floats:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))
