"""Bounded e-CUSUM: evidence that a rate, or a mean loss within 0..1, has risen.

References
----------
Shin, Ramdas, Rinaldo: E-detectors: a nonparametric framework for sequential change detection. New
England Journal of Statistics in Data Science (2024); arXiv 2203.03532.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betaincinv, ndtr

from detectors.base import DetectorError, Floats, Ints
from detectors.evidence.restarting import Restarting

GAINS = np.array([0.05, 0.1, 0.2, 0.5, 1.0])
"""Rises that the bets are best at, relative to the rate."""
_LEVEL = float(ndtr(2.0))  # two standard errors


def upper_rate(rate: Floats, rows: Ints) -> Floats:
    """Upper confidence bound, two standard errors, of rates float64[K] seen in so many rows int64[K].

    Clopper and Pearson's where fewer than ten hits, or fewer than ten misses, were seen.
    """
    hits = rate * rows
    normal = rate + 2 * np.sqrt(rate * (1 - rate) / rows)
    exact = betaincinv(np.minimum(hits, rows - 0.5) + 1, np.maximum(rows - hits, 0.5), _LEVEL)
    few = np.minimum(hits, rows - hits) < 10
    return np.asarray(np.where(few | (normal >= 1), exact, normal))


class ECusum(Restarting):
    """K rates, each against its reference: S <- max(S, 1) prod(1 + λ(x - m)) over a window's x.

    m is an upper confidence bound of the reference rate, so that a rate which has not risen gives, on
    average, at least A windows before the mean of the S reaches A. What a window gains is a sum over
    rows: parts of a window can be added up in any order. Windows of one row each give the e-CUSUM
    of events.

    Parameters
    ----------
    rate : float64[K]
        Of the reference, 0..1.
    rows : int64[K]
        That the rate was seen in; at least 1.
    minimum : float, or float64[K]
        Rise that does not matter yet; evidence then speaks of rises beyond it, and so grows faster where
        the reference rate is near 0.
    """

    def __init__(self, rate: Floats, rows: Ints, minimum: float | Floats = 0.0) -> None:
        rate, rows = np.asarray(rate, np.float64), np.asarray(rows, np.int64)
        if rate.shape != rows.shape or not ((rate >= 0) & (rate <= 1) & (rows >= 1)).all():
            raise DetectorError("reference rates: accepted are values of 0..1, each seen in at least 1 row")
        # A rate of 1 cannot rise; the bound stays just below so that its bets stay finite.
        self.bound = np.minimum(upper_rate(rate, rows) + minimum, 1 - 1e-9)
        rise = GAINS[:, None] * np.maximum.reduce([rate, 1 / rows, np.broadcast_to(minimum, rate.shape)])
        self.bets = np.minimum(rise / (self.bound * (1 - self.bound)), 0.9 / self.bound)
        super().__init__(*self.bets.shape)

    def counted(self, hits: Ints | Floats, rows: Ints | Floats) -> Floats:
        """What a window gains, float64[G, K]: `hits` of its `rows`, each float64[K], are 1, the others 0."""
        hit, miss = np.log1p(self.bets * (1 - self.bound)), np.log1p(-self.bets * self.bound)
        return np.asarray(hits * hit + (np.asarray(rows) - hits) * miss)

    def gained(self, losses: Floats, streams: Ints) -> Floats:
        """What a window gains, float64[G, K], from losses float64[n] of 0..1 and the stream of each int64[n].

        Raises `DetectorError` when a loss lies outside 0..1 or is no number.
        """
        if not ((losses >= 0) & (losses <= 1)).all():
            raise DetectorError("losses outside 0..1; scale a bounded loss to 0..1 first")
        size = len(self.bound)
        excess = losses - self.bound[streams]
        return np.stack(
            [np.bincount(streams, np.log1p(bet[streams] * excess), minlength=size) for bet in self.bets]
        )
