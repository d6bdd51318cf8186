"""The opposite bet: evidence that a stream's effect is smaller than what matters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.base import Bools, Floats
from detectors.evidence.edetector import log_mean_exp

BETS = np.array([0.1, 0.25, 0.5, 1.0, 2.0])
"""λ, as in the e-detector; smaller, because what matters is small beside the noise of a window."""

_LARGEST = 3.0
# A window counts for at most so many standard deviations: where neighbouring windows are alike, the first
# innovation after a fall from a large effect to a smaller one is far below what either would show.


@dataclass(slots=True, eq=False)
class Stability:
    """E-detectors against "the effect is at least the minimum", upwards and downwards.

    A stream is verified stable once both have reached the patience, and until one has lost half of that (as
    a logarithm). While an effect of the minimum or more lasts, a stream is wrongly verified at most once in
    `patience` windows on average.

    Attributes
    ----------
    log_s : float64[2, B, K]
        ln S against an effect upwards, downwards.
    verified : bool[K]
    rising : bool[K]
        Streams that can only rise.
    """

    log_s: Floats
    verified: Bools
    rising: Bools

    @classmethod
    def fresh(cls, rising: Bools) -> Stability:
        """One without any evidence."""
        return cls(np.zeros((2, len(BETS), len(rising))), np.zeros(len(rising), np.bool_), rising)

    def update(self, z: Floats, minimum: Floats, charge: Floats, patience: float) -> None:
        """Advance by one window.

        Parameters
        ----------
        z : float64[K]
            NaN where a stream has none and so stays as it is.
        minimum : float64[K]
            Mean of z under the smallest effect that matters.
        charge : float64[K]
            ε of the baseline.
        patience : float
            Windows between false verifications.
        """
        bets = BETS[:, None]
        below = np.minimum(minimum + np.stack((-z, z)), _LARGEST)
        after = np.maximum(self.log_s, 0.0) + bets * (below[:, None] - charge) - bets**2 / 2
        # What lies far in the past must not outweigh the present: no bet holds more than decides alone.
        after = np.minimum(after, np.log(patience * len(BETS)))
        seen = np.isfinite(z)
        self.log_s = np.where(seen, after, self.log_s)
        up, down = (log_mean_exp(side, float(len(BETS))) for side in self.log_s)
        least = np.where(self.rising, up, np.minimum(up, down))
        self.verified = least >= np.where(self.verified, 0.5, 1.0) * np.log(patience)

    def reset(self, which: Bools) -> None:
        """Forget the evidence of the streams bool[K]."""
        self.log_s = np.where(which, 0.0, self.log_s)
        self.verified = self.verified & ~which
