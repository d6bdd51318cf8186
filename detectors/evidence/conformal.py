"""Conformal ranks: evidence that is exact for exchangeable windows, without any model of them.

References
----------
Vovk, Gammerman, Shafer: Algorithmic learning in a random world, 2nd edition (2022), chapter 8. Shin, Ramdas,
Rinaldo: E-detectors, arXiv 2203.03532.
"""

from __future__ import annotations

import numpy as np

from detectors.base import Bools, DetectorError, Floats
from detectors.evidence.restarting import Restarting
from detectors.summaries.packing import pack, unpack

POWERS = np.array([0.1, 0.25, 0.5, 0.75, 0.9])
"""κ of the bets κ p^(κ - 1): small ones win from a few extreme ranks, large ones from many slightly high."""


class ConformalRank(Restarting):
    """K streams of a windowed statistic, each window ranked among the reference's and all since.

    If the reference windows and those that follow are exchangeable, the smoothed ranks p are independent
    and uniform, so every bet is fair and the expected number of false alarms in n windows is at most n / A,
    exactly, with no estimated mean, variance or season. What that costs:

    - One window multiplies evidence by no more than about κ (R + 1)^(1 - κ), R being the windows it is
      ranked among: 35 at R = 672. A huge shift is found no sooner than a plain one.
    - A shift that lasts is ranked among itself, so its evidence fades; small ones are found early or never.
    - Autocorrelation and season are not exchangeable: with them it alarms far more often than it says.
      `Adapter` is for those.

    Ties are broken by hashing the value and its place, so that a replay is identical.

    Parameters
    ----------
    reference : float64[R, K]
        The statistic of the reference's windows; NaN where missing.
    rising : bool[K]
        Streams, such as distances, of which only a rise is a change.
    memory : int or None
        Windows after which those since the reference are forgotten, and the evidence with them; None for as
        many as the reference has. The expected number of false alarms holds across that.
    """

    def __init__(self, reference: Floats, rising: Bools, memory: int | None = None) -> None:
        reference = np.asarray(reference, np.float64)
        if reference.ndim != 2 or reference.shape[1:] != np.shape(rising) or not len(reference):
            shape = reference.shape
            msg = f"a reference of shape {shape} for {len(rising)} streams; accepted: windows x streams"
            raise DetectorError(msg)
        size = reference.shape[1]
        super().__init__(2 * len(POWERS), size)
        self.rising = np.asarray(rising, np.bool_)
        self._log_s[len(POWERS) :, self.rising] = -np.inf
        self.memory = len(reference) if memory is None else memory
        self._first = len(reference)
        self._known = np.concatenate((reference, np.empty((self.memory, size))))
        self._live = 0
        self._windows = 0

    @property
    def log_evidence(self) -> Floats:
        """float64[K]: ln of the mean of the S over a stream's bets."""
        total = super().log_evidence
        return np.where(self.rising, total + np.log(2), total)

    def reset(self, which: Bools) -> None:
        """Forget the evidence of the streams bool[K]; their ranks go on."""
        super().reset(which)
        self._log_s[len(POWERS) :, self.rising] = -np.inf

    def update(self, values: Floats) -> None:
        """Advance by one closed window: the statistic float64[K], NaN where a stream has none."""
        values = np.asarray(values, np.float64)
        if values.shape != self.rising.shape:
            msg = f"a window of shape {values.shape}; the reference has {len(self.rising)} streams"
            raise DetectorError(msg)
        if self._live == self.memory:
            self._live = 0
            self.reset(np.ones_like(self.rising))
        p, ranked = self._ranks(values)
        up, down = (np.log(POWERS)[:, None] + (POWERS - 1)[:, None] * np.log(q) for q in (p, 1 - p))
        super().update(np.where(ranked, np.concatenate((up, down)), 0.0))
        self._log_s[len(POWERS) :, self.rising] = -np.inf
        self._known[self._first + self._live] = values
        self._live += 1
        self._windows += 1

    def _ranks(self, values: Floats) -> tuple[Floats, Bools]:
        """Smoothed rank from above within 0..1, float64[K], and whether there is one."""
        known = self._known[: self._first + self._live]
        count = (~np.isnan(known)).sum(axis=0)
        above, equal = (known > values).sum(axis=0), (known == values).sum(axis=0)
        p = (above + self._ties(values) * (equal + 1)) / (count + 1)
        ranked = ~np.isnan(values) & (count > 0)
        return np.where(ranked, np.clip(p, 1e-12, 1 - 1e-12), 0.5), ranked

    def _ties(self, values: Floats) -> Floats:
        """Uniform within 0..1, float64[K], by hashing (splitmix64) values, stream and window."""
        place = np.arange(len(values), dtype=np.uint64) + np.uint64(self._windows * len(values) + 1)
        state = (values + 0.0).view(np.uint64) + place * np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
        state ^= state >> np.uint64(31)
        return np.asarray(((state >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53)

    def snapshot(self) -> bytes:
        """The whole state but the reference."""
        live = self._known[self._first : self._first + self._live]
        return pack({"bets": super().snapshot(), "live": live, "windows": self._windows})

    def restore(self, state: bytes) -> None:
        """Replace the state by one that `snapshot` gave for this reference; raises `ValueError` if not."""
        fields = unpack(state)
        live, windows = fields.array("live", np.float64, -1, len(self.rising)), fields.count("windows")
        if len(live) > self.memory:
            msg = f"field 'live' has {len(live)} windows, more than the memory of {self.memory}"
            raise ValueError(msg)
        super().restore(fields.packed("bets"))
        self._known[self._first : self._first + len(live)] = live
        self._live, self._windows = len(live), windows
