"""The e-detector: evidence that a stream has changed, at any time since it was last reset.

References
----------
Shin, Ramdas, Rinaldo: E-detectors: a nonparametric framework for sequential change detection. New
England Journal of Statistics in Data Science (2024); arXiv 2203.03532.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from detectors.base import Bools, Floats, Ints

BETS = np.array([0.25, 0.5, 1.0, 2.0, 4.0])
"""λ: the steady bets grow fastest while every window is shifted by λ standard deviations, the bold ones when
the first is; in later windows they bet as much of λ as still shows in the innovations."""
STEADY = 3
"""How many are steady: the small ones, which come first."""
_BOLD = slice(STEADY, None)


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
    the S reaches A is at least A, for any λ that is known before the window. The bold bets use that: where
    neighbours resemble each other, a shift is all in the first innovation and little of it in the next ones.

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

    def update(self, z: Floats, charge: Floats, response: Floats) -> None:
        """Advance by one window.

        Parameters
        ----------
        z : float64[K]
            NaN where a stream has none and so stays as it is.
        charge : float64[K]
            ε.
        response : float64[L, K]
            What a unit shift adds to the innovations of its first L windows; to later ones as to the last.
        """
        begun = self.log_s > 0
        age = np.where(begun, self.age, 0)
        bets = np.broadcast_to(BETS[:, None], self.log_s.shape).copy()
        window = np.minimum(age[:, _BOLD], len(response) - 1)
        bets[:, _BOLD] *= response[window, np.arange(len(self.rising))]
        gained = bets * (np.stack((z, -z))[:, None] - charge) - bets**2 / 2
        seen = np.isfinite(z)
        after = np.where(begun, self.log_s, 0.0) + gained
        after[1][:, self.rising] = -np.inf
        self.log_s = np.where(seen, after, self.log_s)
        self.age = np.where(seen, age + 1, self.age)

    def reset(self, which: Bools) -> None:
        """Forget the evidence of the streams bool[K]."""
        self.log_s = np.where(which, np.where(self.rising & _DOWN, -np.inf, 0.0), self.log_s)
        self.age = np.where(which, 0, self.age)

    @property
    def log_evidence(self) -> Floats:
        """float64[K]: ln M, M the mean of the S (not of their logarithms) over the stream's bets."""
        flat = self.log_s.reshape(2 * len(BETS), len(self.rising))
        return log_mean_exp(flat, np.where(self.rising, len(BETS), 2 * len(BETS)))

    def leading(self, charge: Floats, response: Floats) -> Lead:
        """The bet that has gained most, per stream; arguments as for `update`."""
        size = len(self.rising)
        flat, ages = (each.reshape(2 * len(BETS), size) for each in (self.log_s, self.age))
        lead, columns = flat.argmax(axis=0), np.arange(size)
        log_s, age, bet = flat[lead, columns], ages[lead, columns], lead % len(BETS)
        weight = np.where(bet < STEADY, 1.0, response)
        total, squares, answered = (_sum(one, age) for one in (weight, weight**2, weight * response))
        # S has multiplied since `age` windows ago, so its logarithm still holds the sum of z.
        gained = log_s / BETS[bet] + total * charge + BETS[bet] / 2 * squares
        return Lead(gained, age, np.where(lead < len(BETS), 1, -1), total, squares, answered)


class Lead(NamedTuple):
    """What a bet gained from its windows, weighed by 1 if it is steady, else by the response: [K] each."""

    gained: Floats
    """Sum of the weighted z, in the bet's direction."""
    age: Ints
    """How many windows those are; 0 when fresh."""
    direction: Ints
    """1 up, -1 down."""
    weights: Floats
    """Sum of the weights."""
    squares: Floats
    """Sum of their squares: the most variance that `gained` can have."""
    answered: Floats
    """What a unit shift adds to `gained`."""


def _sum(terms: Floats, count: Ints) -> Floats:
    """Sum of the first `count` of the terms, float64[L, K]; those beyond are as the last."""
    last = len(terms) - 1
    sums = np.vstack((np.zeros_like(terms[:1]), np.cumsum(terms[:last], axis=0)))
    first = sums[np.minimum(count, last), np.arange(len(count))]
    return np.asarray(first + np.maximum(count - last, 0) * terms[last])


_DOWN = np.array([False, True])[:, None, None]
