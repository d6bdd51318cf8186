"""Bets that restart: the e-detector behind every stream whose windows gain evidence by themselves.

References
----------
Shin, Ramdas, Rinaldo: E-detectors: a nonparametric framework for sequential change detection. New
England Journal of Statistics in Data Science (2024); arXiv 2203.03532.
"""

from __future__ import annotations

import numpy as np

from detectors.base import Bools, Floats, Ints
from detectors.evidence.edetector import log_mean_exp
from detectors.summaries.packing import pack, unpack


class Restarting:
    """B bets on each of K streams: S <- max(S, 1) exp(gained), advanced once per closed window.

    If every bet's exp(gained) is at most 1 on average whatever came before, the expected number of windows
    before the mean of a stream's S reaches A is at least A.

    Parameters
    ----------
    bets, streams : int
    """

    def __init__(self, bets: int, streams: int) -> None:
        self._log_s = np.zeros((bets, streams))
        self._age = np.zeros((bets, streams), np.int64)

    def update(self, gained: Floats) -> None:
        """Advance by one closed window: `gained` float64[B, K]; a gain of 0 leaves a stream as it is."""
        seen = (gained != 0).any(axis=0)
        begun = self.begun
        self._log_s = np.where(seen, np.where(begun, self._log_s, 0.0) + gained, self._log_s)
        self._age = np.where(seen, np.where(begun, self._age, 0) + 1, self._age)

    def reset(self, which: Bools) -> None:
        """Forget the evidence of the streams bool[K]."""
        self._log_s = np.where(which, 0.0, self._log_s)
        self._age = np.where(which, 0, self._age)

    def limit(self, most: float) -> None:
        """Let no bet's ln S be above `most`, so that a change that is over does not outlive itself."""
        self._log_s = np.minimum(self._log_s, most)

    @property
    def log_evidence(self) -> Floats:
        """float64[K]: ln of the mean of the S over the bets; stands beside the adapter's in an alarm."""
        return log_mean_exp(self._log_s, float(len(self._log_s)))

    @property
    def age(self) -> Ints:
        """int64[K]: windows since the change, if it is one, began."""
        return np.asarray(self._age[self.leading, np.arange(self._log_s.shape[1])])

    @property
    def begun(self) -> Bools:
        """bool[B, K]: bets with S > 1, which the next window adds to; the others start with it."""
        return np.asarray(self._log_s > 0)

    @property
    def leading(self) -> Ints:
        """int64[K]: the bet that has gained most."""
        return np.asarray(self._log_s.argmax(axis=0))

    def snapshot(self) -> bytes:
        """The whole state but the reference."""
        return pack({"log_s": self._log_s, "age": self._age})

    def restore(self, state: bytes) -> None:
        """Replace the state by one that `snapshot` gave for this reference; raises `ValueError` if not."""
        fields = unpack(state)
        log_s = fields.array("log_s", np.float64, *self._log_s.shape)
        self._age = fields.array("age", np.int64, *self._age.shape)
        self._log_s = log_s
