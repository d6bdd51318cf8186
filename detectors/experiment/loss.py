"""Design-based evidence that two arms differ in an ordered outcome: an error, a latency, a score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.base import DetectorError, Floats
from detectors.evidence.edetector import log_mean_exp
from detectors.summaries.packing import pack, unpack

FRACTIONS = np.array([0.02, 0.05, 0.1, 0.2, 0.4])
"""Bets, as shares of the largest that keeps wealth positive."""
_FEWEST = 1.0


@dataclass(slots=True)
class LossTest:
    """Evidence, in both directions, that the challenger's losses are smaller or larger than the champion's.

    A request bets on its arm with e = 1 + λ (A - π) g(y): A is 1 for the challenger, π the share, g(y) the
    rank of its loss among those of both arms in the past, from 1 (the smallest) to -1 (the largest). Exact
    under randomisation, whatever the losses' distribution and however it moves.

    Attributes
    ----------
    past : float64[B]
        Requests of both arms by bin.
    log_e : float64[2, G]
        Natural logarithms by direction (smaller losses, larger losses) and bet.
    """

    past: Floats
    log_e: Floats

    @classmethod
    def fresh(cls, bins: int) -> LossTest:
        """One without evidence, for losses in so many bins, in ascending order."""
        if bins < 2:
            raise DetectorError(f"{bins} bins; accepted are at least 2")
        return cls(np.zeros(bins), np.zeros((2, len(FRACTIONS))))

    def update(self, share: float, challenger: Floats, champion: Floats) -> None:
        """Advance by one cohort: its share and the requests of each arm by bin, float64[B]."""
        challenger, champion = np.asarray(challenger, np.float64), np.asarray(champion, np.float64)
        shape = self.past.shape
        fits = 0 < share < 1 and challenger.shape == champion.shape == shape
        if not (fits and (challenger >= 0).all() and (champion >= 0).all()):
            raise DetectorError(
                f"accepted are a share within 0..1 and counts of at least 0 in {shape[0]} bins"
            )
        total = self.past.sum()
        if total >= _FEWEST:
            rank = (np.cumsum(self.past) - self.past / 2) / total
            bets = FRACTIONS / max(share, 1 - share)
            both = np.stack((bets, -bets))[..., None] * (1 - 2 * rank)
            self.log_e = (
                self.log_e
                + (np.log1p((1 - share) * both) * challenger).sum(-1)
                + (np.log1p(-share * both) * champion).sum(-1)
            )
        self.past = self.past + challenger + champion

    @property
    def smaller(self) -> float:
        """Natural logarithm of the evidence that the challenger's losses are smaller."""
        return float(log_mean_exp(self.log_e[0], float(len(FRACTIONS))))

    @property
    def larger(self) -> float:
        """Natural logarithm of the evidence that the challenger's losses are larger."""
        return float(log_mean_exp(self.log_e[1], float(len(FRACTIONS))))

    def to_bytes(self) -> bytes:
        """The whole state."""
        return pack({"past": self.past, "log_e": self.log_e})

    @classmethod
    def from_bytes(cls, data: bytes) -> LossTest:
        """What `to_bytes` gave; raises `ValueError` for anything else."""
        fields = unpack(data)
        log_e = fields.array("log_e", np.float64, 2, len(FRACTIONS))
        return cls(fields.array("past", np.float64, -1).copy(), log_e.copy())
