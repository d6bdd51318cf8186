"""The e-detector: evidence that a stream has changed, at any time since it was last reset.

References
----------
Shin, Ramdas, Rinaldo: E-detectors: a nonparametric framework for sequential change detection. New
England Journal of Statistics in Data Science (2024); arXiv 2203.03532.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.base import Bools, Floats, Ints

BETS = np.array([0.25, 0.5, 1.0, 2.0, 3.0])
"""λ: each bet grows fastest for a shift of λ standard deviations of a window."""


def log_mean_exp(logs: Floats, count: Floats | float) -> Floats:
    """ln(sum of exp(logs) over axis 0 / count), without overflow; -inf where all logs are."""
    top = logs.max(axis=0, initial=-np.inf)
    shift = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        total: Floats = shift + np.log(np.exp(logs - shift).sum(axis=0) / count)
    return total


def log_mean(logs: Floats) -> float:
    """Ln of the mean of exp(logs), float64[K]; -inf of none."""
    return float(log_mean_exp(logs, float(max(len(logs), 1))))


@dataclass(slots=True, eq=False)
class EDetector:
    """Ten bets per stream, five up and five down: S <- max(S, 1) exp(λ(±z - ε) - λ²/2).

    With z of mean 0 and variance at most 1 (sub-Gaussian), the expected number of windows before the mean of
    the S reaches A is at least A.

    Attributes
    ----------
    log_s : float64[2, B, K]
        ln S; axis 0 is up, down. Down is -inf for streams that can only rise.
    age : int64[2, B, K]
        Windows since S was last at most 1, the present one included; 0 when fresh.
    rising : bool[K]
        Streams that can only rise.
    """

    log_s: Floats
    age: Ints
    rising: Bools

    @classmethod
    def fresh(cls, rising: Bools) -> EDetector:
        """One without any evidence."""
        shape = (2, len(BETS), len(rising))
        return cls(np.where(rising & _DOWN, -np.inf, np.zeros(shape)), np.zeros(shape, np.int64), rising)

    def update(self, z: Floats, charge: Floats) -> None:
        """Advance by one window: z float64[K], NaN where a stream has none and so stays as it is."""
        bets = BETS[:, None]
        gained = bets * (np.stack((z, -z))[:, None] - charge) - bets**2 / 2
        seen = np.isfinite(z)
        begun = self.log_s > 0
        after = np.where(begun, self.log_s, 0.0) + gained
        after[1][:, self.rising] = -np.inf
        self.log_s = np.where(seen, after, self.log_s)
        self.age = np.where(seen, np.where(begun, self.age, 0) + 1, self.age)

    def reset(self, which: Bools) -> None:
        """Forget the evidence of the streams bool[K]."""
        self.log_s = np.where(which, np.where(self.rising & _DOWN, -np.inf, 0.0), self.log_s)
        self.age = np.where(which, 0, self.age)

    @property
    def log_evidence(self) -> Floats:
        """float64[K]: ln M, M the mean of the S (not of their logarithms) over the stream's bets."""
        flat = self.log_s.reshape(2 * len(BETS), len(self.rising))
        return log_mean_exp(flat, np.where(self.rising, len(BETS), 2 * len(BETS)))

    def leading(self, charge: Floats) -> tuple[Floats, Ints, Ints]:
        """The bet that has gained most, per stream.

        Returns
        -------
        total : float64[K]
            Sum of z over its windows, in its direction.
        age : int64[K]
            How many windows those are; 0 when fresh.
        direction : int64[K]
            1 up, -1 down.
        """
        size = len(self.rising)
        flat, ages = (each.reshape(2 * len(BETS), size) for each in (self.log_s, self.age))
        lead = flat.argmax(axis=0)
        columns = np.arange(size)
        log_s, age, bet = flat[lead, columns], ages[lead, columns], BETS[lead % len(BETS)]
        # S has multiplied since `age` windows ago, so its logarithm still holds the sum of z.
        total = log_s / bet + age * (bet / 2 + charge)
        return total, age, np.where(lead < len(BETS), 1, -1)


_DOWN = np.array([False, True])[:, None, None]
