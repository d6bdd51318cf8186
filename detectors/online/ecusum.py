"""Bounded e-CUSUM: evidence that a rate, or a mean loss within 0..1, has risen.

References
----------
Shin, Ramdas, Rinaldo: E-detectors: a nonparametric framework for sequential change detection. New
England Journal of Statistics in Data Science (2024); arXiv 2203.03532.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betaincinv, ndtr

from detectors.base import Bools, DetectorError, Floats, Ints
from detectors.evidence.edetector import log_mean_exp
from detectors.summaries.packing import pack, unpack

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


class ECusum:
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
    minimum : float
        Rise that does not matter yet; evidence then speaks of rises beyond it, and so grows faster where
        the reference rate is near 0.
    """

    def __init__(self, rate: Floats, rows: Ints, minimum: float = 0.0) -> None:
        rate, rows = np.asarray(rate, np.float64), np.asarray(rows, np.int64)
        if rate.shape != rows.shape or not ((rate >= 0) & (rate <= 1) & (rows >= 1)).all():
            raise DetectorError("reference rates: accepted are values of 0..1, each seen in at least 1 row")
        # A rate of 1 cannot rise; the bound stays just below so that its bets stay finite.
        self.bound = np.minimum(upper_rate(rate, rows) + minimum, 1 - 1e-9)
        rise = GAINS[:, None] * np.maximum.reduce([rate, 1 / rows, np.full(rate.shape, minimum)])
        self.bets = np.minimum(rise / (self.bound * (1 - self.bound)), 0.9 / self.bound)
        self._log_s = np.zeros_like(self.bets)
        self._age = np.zeros(self.bets.shape, np.int64)

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

    def update(self, gained: Floats) -> None:
        """Advance by one closed window; a gain of 0 leaves a stream as it is."""
        seen = (gained != 0).any(axis=0)
        begun = self._log_s > 0
        self._log_s = np.where(seen, np.where(begun, self._log_s, 0.0) + gained, self._log_s)
        self._age = np.where(seen, np.where(begun, self._age, 0) + 1, self._age)

    def reset(self, which: Bools) -> None:
        """Forget the evidence of the streams bool[K]."""
        self._log_s = np.where(which, 0.0, self._log_s)
        self._age = np.where(which, 0, self._age)

    @property
    def log_evidence(self) -> Floats:
        """float64[K]: ln of the mean of the S over the bets; stands beside the adapter's in an alarm."""
        return log_mean_exp(self._log_s, float(len(GAINS)))

    @property
    def age(self) -> Ints:
        """int64[K]: windows since the rise, if it is one, began."""
        return np.asarray(self._age[self._log_s.argmax(axis=0), np.arange(len(self.bound))])

    def snapshot(self) -> bytes:
        """The whole state but the reference."""
        return pack({"log_s": self._log_s, "age": self._age})

    def restore(self, state: bytes) -> None:
        """Replace the state by one that `snapshot` gave for this reference; raises `ValueError` if not."""
        fields = unpack(state)
        log_s = fields.array("log_s", np.float64, *self._log_s.shape)
        self._age = fields.array("age", np.int64, *self._age.shape)
        self._log_s = log_s
