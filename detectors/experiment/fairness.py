"""Whether the requests were divided as they were meant to be: sample-ratio mismatch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from detectors.base import DetectorError, Floats
from detectors.evidence.edetector import log_mean_exp
from detectors.summaries.packing import pack, unpack

TILTS = np.array([0.01, 0.03, 0.1, 0.3, 1.0])
"""Relative differences in odds, each in both directions, that the bets are best at."""
_ODDS = np.concatenate((1 + TILTS, 1 / (1 + TILTS)))


@dataclass(slots=True)
class SampleRatio:
    """Evidence that requests do not go to the challenger with the share that was set.

    A mixture of bets on tilted odds, valid under any change of the share: the chance that it ever reaches
    1/alpha, though requests are divided as set, is at most alpha.

    References
    ----------
    Lindon, Malek: Anytime-valid inference for multinomial count data. NeurIPS 2022.
    """

    log_e: Floats = field(default_factory=lambda: np.zeros(len(_ODDS)))

    def update(self, share: float, challenger: float, champion: float) -> None:
        """Advance by so many requests of each arm, assigned with one share."""
        if not (0 < share < 1 and challenger >= 0 and champion >= 0):
            raise DetectorError(
                f"share {share:g}, requests {challenger:g} and {champion:g}; accepted are a share within "
                "0..1 and counts of at least 0"
            )
        odds = share / (1 - share) * _ODDS
        bet = odds / (1 + odds)
        self.log_e += challenger * np.log(bet / share) + champion * np.log((1 - bet) / (1 - share))

    @property
    def evidence(self) -> float:
        """Natural logarithm of the evidence of a mismatch."""
        return float(log_mean_exp(self.log_e, float(len(_ODDS))))

    def to_bytes(self) -> bytes:
        """The whole state."""
        return pack({"log_e": self.log_e})

    @classmethod
    def from_bytes(cls, data: bytes) -> SampleRatio:
        """What `to_bytes` gave; raises `ValueError` for anything else."""
        return cls(unpack(data).array("log_e", np.float64, len(_ODDS)).copy())
