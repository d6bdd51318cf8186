"""Counted rates under watch: e-CUSUMs for their rise, the opposite bet for "verified stable"."""

from __future__ import annotations

import numpy as np

from detectors.base import Bools, Floats, Ints
from detectors.evidence.adapter import Evidence
from detectors.evidence.confidence import half_width
from detectors.evidence.edetector import log_mean_exp
from detectors.online.ecusum import GAINS, ECusum
from detectors.summaries.packing import pack, unpack

_CALM = np.array([0.5, 1.0, 2.0])
"""Bets on a rate below what matters, relative to the best one while the rate is the reference's."""


class Rates:
    """K rates, or mean losses within 0..1, that may rise; a part of a `Monitor` beside its adapter.

    Evidence speaks of a rise by more than `minimum` over the reference's upper bound, so that it is material
    by itself.

    Parameters
    ----------
    rate : float64[K]
        Of the reference.
    rows : int64[K]
        That it was seen in.
    minimum : float64[K]
        Smallest rise that matters.
    patience : float
        Windows between false verifications of stability while a rise that matters lasts.
    alpha : float
        Chance that `Evidence.lower` ever exceeds the rise.
    """

    def __init__(self, rate: Floats, rows: Ints, minimum: Floats, patience: float, alpha: float) -> None:
        self.rate = np.asarray(rate, np.float64)
        self.rows = np.asarray(rows, np.int64)
        self.minimum = np.asarray(minimum, np.float64)
        self._ecusum = ECusum(self.rate, self.rows, self.minimum)
        limit = self._ecusum.bound
        best = np.maximum(limit - self.rate, 0.0) / (limit * (1 - limit))
        self._bets = np.minimum(_CALM[:, None] * best, 0.9 / np.maximum(limit, 1 - limit))
        self._patience, self._alpha = patience, alpha
        size = len(self.rate)
        self._hits = np.zeros((len(GAINS), size))
        self._rows = np.zeros((len(GAINS), size))
        self._calm = np.zeros((len(_CALM), size))
        self._verified = np.zeros(size, np.bool_)

    def __len__(self) -> int:
        return len(self.rate)

    def update(self, hits: Floats, rows: Floats) -> Evidence:
        """Advance by one window: `hits` of `rows`, float64[K] each; without rows a rate stays as it is."""
        seen = rows > 0
        begun = self._ecusum.begun
        self._ecusum.update(self._ecusum.counted(np.where(seen, hits, 0.0), np.where(seen, rows, 0.0)))
        self._hits = np.where(seen, np.where(begun, self._hits, 0.0) + hits, self._hits)
        self._rows = np.where(seen, np.where(begun, self._rows, 0.0) + rows, self._rows)
        self._settle(hits, rows, seen)
        rate = np.divide(hits, rows, out=np.full(len(self), np.nan), where=seen)
        return self._evidence(rate - self.rate)

    def standing(self) -> Evidence:
        """What the rates said last, without another window: deviations are NaN."""
        return self._evidence(np.full(len(self), np.nan))

    def _evidence(self, deviation: Floats) -> Evidence:
        lead = self._ecusum.leading
        columns = np.arange(len(self))
        total, count = self._hits[lead, columns], self._rows[lead, columns]
        effect = np.divide(total, count, out=self.rate.copy(), where=count > 0) - self.rate
        effect = np.maximum(effect, 0.0)
        # Whatever the distribution within 0..1, its standard deviation is at most a half.
        lower = np.maximum(effect - 0.5 * half_width(count, self._alpha, 5_000.0), 0.0)
        return Evidence(
            self._ecusum.log_evidence,
            deviation,
            effect,
            lower,
            np.ones(len(self), np.bool_),
            self._verified.copy(),
            self._ecusum.age,
        )

    def _settle(self, hits: Floats, rows: Floats, seen: Bools) -> None:
        """The opposite bet: that the rate is below what matters."""
        limit, bets = self._ecusum.bound, self._bets
        gained = hits * np.log1p(-bets * (1 - limit)) + (rows - hits) * np.log1p(bets * limit)
        after = np.maximum(self._calm, 0.0) + gained
        after = np.minimum(after, np.log(self._patience * len(_CALM)))
        self._calm = np.where(seen, after, self._calm)
        needed = np.where(self._verified, 0.5, 1.0) * np.log(self._patience)
        self._verified = log_mean_exp(np.maximum(self._calm, 0.0), float(len(_CALM))) >= needed

    def reset(self, which: Bools) -> None:
        """Forget the evidence for a rise of the rates bool[K]."""
        self._ecusum.reset(which)
        self._hits, self._rows = np.where(which, 0.0, self._hits), np.where(which, 0.0, self._rows)

    def distrust(self, which: Bools) -> None:
        """Forget the evidence for stability of the rates bool[K]."""
        self._calm = np.where(which, 0.0, self._calm)
        self._verified = self._verified & ~which

    def snapshot(self) -> bytes:
        """The whole state but the reference."""
        return pack(
            {
                "ecusum": self._ecusum.snapshot(),
                "hits": self._hits,
                "rows": self._rows,
                "calm": self._calm,
                "verified": self._verified,
            }
        )

    def restore(self, state: bytes) -> None:
        """Replace the state by one that `snapshot` gave for these rates; raises `ValueError` if not."""
        fields = unpack(state)
        hits = fields.array("hits", np.float64, *self._hits.shape)
        rows = fields.array("rows", np.float64, *self._rows.shape)
        calm = fields.array("calm", np.float64, *self._calm.shape)
        verified = fields.array("verified", np.bool_, *self._verified.shape)
        self._ecusum.restore(fields.packed("ecusum"))
        self._hits, self._rows, self._calm, self._verified = hits, rows, calm, verified
