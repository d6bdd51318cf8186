"""Design-based evidence that two arms differ, exact under randomisation.

Under "no difference" the arm of a request says nothing of its outcome. Given the outcome, each request is a
bet on the arm it went to, whose odds are known: the share that was set. So neither a ramp of the share nor
any drift, trend or season of the base rate can be mistaken for a difference.

References
----------
Ramdas, Grunwald, Vovk, Shafer: Game-theoretic statistics and safe anytime-valid inference. Statistical
Science 38 (2023). The bet on the treatment given the outcome is the exact, sequential form of the
randomisation test of Fisher (1935).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from detectors.base import DetectorError, Floats
from detectors.evidence.edetector import log_mean_exp
from detectors.experiment.arms import Arms
from detectors.summaries.packing import pack, unpack

TILTS = np.array([0.05, 0.1, 0.2, 0.4])
"""Relative differences in odds that the bets are best at."""
_FEWEST = 10.0
"""Requests that the prior guess of the base rate counts for."""


def _zeros() -> Floats:
    return np.zeros((2, len(TILTS)))


@dataclass(slots=True)
class DesignTest:
    """Evidence, in both directions, that the challenger's chance of a hit differs from the champion's.

    Each of the two mixtures is a test martingale: under "no difference" (and so, for a challenger that is
    worse, of "better") it ever reaches 1/alpha with a chance of at most alpha.

    Attributes
    ----------
    hits, n : float
        Of both arms in the past; the rate that the bets take for the next cohort.
    log_e : float64[2, G]
        Natural logarithms by direction (more hits, fewer hits) and tilt.
    """

    hits: float = _FEWEST / 2
    n: float = _FEWEST
    log_e: Floats = field(default_factory=_zeros)

    @classmethod
    def expecting(cls, rate: float) -> DesignTest:
        """One that begins with a guess of the rate, within 0..1: the champion's past one, say."""
        if not 0 <= rate <= 1:
            raise DetectorError(f"a rate of {rate:g}; accepted are values of 0..1")
        return cls(hits=rate * _FEWEST, n=_FEWEST)

    def update(self, cohort: Arms) -> None:
        """Advance by one cohort; each once, with its final counts."""
        arms = cohort.checked()
        share = arms.share
        rate = min(max(self.hits / self.n, 1e-6), 1 - 1e-6)
        odds = rate / (1 - rate) * np.stack((1 + TILTS, 1 - TILTS))
        tilted = odds / (1 + odds)
        gained = np.zeros_like(self.log_e)
        outcomes = (
            (rate, tilted, arms.challenger_hits, arms.champion_hits),
            (
                1 - rate,
                1 - tilted,
                arms.challenger - arms.challenger_hits,
                arms.champion - arms.champion_hits,
            ),
        )
        for usual, bet, challenger, champion in outcomes:
            expected = share * bet + (1 - share) * usual
            # Chance of the arm given the outcome, over the chance that was set.
            gained += challenger * np.log(bet / expected) + champion * np.log(usual / expected)
        self.log_e += gained
        self.hits, self.n = self.hits + arms.hits, self.n + arms.n

    @property
    def more(self) -> float:
        """Natural logarithm of the evidence that the challenger has more hits."""
        return float(log_mean_exp(self.log_e[0], float(len(TILTS))))

    @property
    def fewer(self) -> float:
        """Natural logarithm of the evidence that the challenger has fewer hits."""
        return float(log_mean_exp(self.log_e[1], float(len(TILTS))))

    def to_bytes(self) -> bytes:
        """The whole state."""
        return pack({"hits": self.hits, "n": self.n, "log_e": self.log_e})

    @classmethod
    def from_bytes(cls, data: bytes) -> DesignTest:
        """What `to_bytes` gave; raises `ValueError` for anything else."""
        fields = unpack(data)
        log_e = fields.array("log_e", np.float64, 2, len(TILTS))
        return cls(float(fields["hits"]), float(fields["n"]), log_e.copy())
