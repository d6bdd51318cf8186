"""How much the arms differ: the Cochran-Mantel-Haenszel score and a confidence sequence about it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Self

from detectors.base import DetectorError
from detectors.experiment.arms import Arms


class Band(NamedTuple):
    """Difference in rates, challenger less champion, with bounds that hold at every time at once."""

    estimate: float
    lower: float
    upper: float


_UNKNOWN = Band(0.0, -1.0, 1.0)
_STEPS = 60


class Difference(NamedTuple):
    """Sums over cohorts from which estimate and band follow; they add up in any order.

    Within a cohort the arms are compared with each other only, so that neither a ramp of the share nor a
    trend of the rate biases the estimate (Simpson's paradox).

    Attributes
    ----------
    score : float
        U at no difference: the sum of x1 - n1 p, p the cohort's rate over both arms.
    weight : float
        Sum of n1 n0 / n: what one unit of difference adds to the score.
    spread, slope, curve : float
        Variance of the score at a difference d is `spread + slope d - curve d²`.

    References
    ----------
    Mantel, Haenszel: Statistical aspects of the analysis of data from retrospective studies. JNCI 22
    (1959). Robbins, Siegmund: Boundary crossing probabilities for the Wiener process. Annals of
    Mathematical Statistics 41 (1970), for the normal mixture. The band is asymptotic: it leans on
    the score being nearly normal, the design-based evidence does not.
    """

    score: float = 0.0
    weight: float = 0.0
    spread: float = 0.0
    slope: float = 0.0
    curve: float = 0.0

    @classmethod
    def of(cls, cohort: Arms) -> Self:
        """The sums of one cohort; zero where an arm is empty."""
        arms = cohort.checked()
        n1, n0, n = arms.challenger, arms.champion, arms.n
        if n1 == 0 or n0 == 0 or n <= 1:
            return cls()
        rate = arms.hits / n
        one, zero = n1 / n, n0 / n
        size = n1 * n0 / (n - 1)
        return cls(
            arms.challenger_hits - n1 * rate,
            n1 * n0 / n,
            size * rate * (1 - rate),
            size * (1 - 2 * rate) * (zero**2 - one**2),
            size * (one**3 + zero**3),
        )

    def plus(self, other: Difference) -> Difference:
        """The sums of both."""
        return Difference(*(mine + more for mine, more in zip(self, other, strict=True)))

    def band(self, alpha: float, planned: float) -> Band:
        """Estimate and bounds; the chance that the band ever leaves the truth is at most `alpha`.

        Parameters
        ----------
        alpha : float
        planned : float
            Variance (`spread`) at which the band is tightest: a third of what the whole experiment is
            planned to reach.
        """
        if not (0 < alpha < 1 and planned > 0):
            raise DetectorError(f"alpha {alpha:g}, planned {planned:g}; accepted are 0..1 and above 0")
        if self.weight <= 0:
            return _UNKNOWN
        estimate = min(max(self.score / self.weight, -1.0), 1.0)
        surprise = -2 * math.log(alpha)
        rho = (surprise + math.log(surprise) + 1) / planned

        def rejects(difference: float) -> bool:
            variance = self.spread + self.slope * difference - self.curve * difference**2
            # Where every outcome was the same the variance is 0; one request's worth keeps the band open.
            scaled = 1 + rho * max(variance, 0.25)
            distance = self.score - difference * self.weight
            return rho * distance**2 / (2 * scaled) - math.log(scaled) / 2 >= -math.log(alpha)

        return Band(estimate, _edge(rejects, estimate, -1.0), _edge(rejects, estimate, 1.0))


def _edge(rejects: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where `rejects` turns from false to true between the two, by halving."""
    if not rejects(outside):
        return outside
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        if rejects(middle):
            outside = middle
        else:
            inside = middle
    return outside
