"""Evidence from ranks: exact for exchangeable windows, whatever their distribution.

No season, no autoregression, no variance is estimated, so there is nothing to charge for; in return
windows that depend on each other alarm. For streams whose windows are independent but skewed, or whose
reference is short.

References
----------
Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World (2005), chapters 2 and 8. Vovk: Testing
randomness online. Statistical Science (2021). Shin, Ramdas, Rinaldo: E-detectors (2024); arXiv 2203.03532.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from detectors.base import Bools, DetectorError, Floats, Ints
from detectors.evidence.adapter import Adapter, Evidence
from detectors.evidence.baseline import Baseline
from detectors.evidence.multiple import log_calibrated
from detectors.evidence.restarting import Restarting
from detectors.summaries.packing import pack, unpack

POWERS = np.array([0.1, 0.25, 0.4, 0.6, 0.8])
"""κ of the bets: `log_calibrated`."""


class ConformalRank:
    """K streams, each window ranked among all before it: S <- max(S, 1) κ p^(κ - 1), and likewise with 1 - p.

    While windows are exchangeable with the reference, their p are independent and uniform, and the expected
    number of windows before the mean of a stream's S reaches A is at least A. After `memory` live windows
    these are forgotten and ranks are again those among the reference alone: a lasting shift must not become
    the rule, and memory stays bounded. From then on the p are uniform still, but share a reference that the
    windows before were ranked among too, and the bound is approximate.

    Parameters
    ----------
    reference : float64[R, K]
        The statistic of each reference window; NaN where it has none.
    rising : bool[K]
        Streams that can only rise.
    memory : int, optional
        Default: R.
    """

    def __init__(self, reference: Floats, rising: Bools, memory: int | None = None) -> None:
        reference = _finite(reference)
        if reference.ndim != 2 or rising.shape != reference.shape[1:]:
            msg = (
                f"a reference of shape {reference.shape}, {len(rising)} streams; accepted: windows x streams"
            )
            raise DetectorError(msg)
        self._memory = len(reference) if memory is None else memory
        self._past = np.vstack((reference, np.full((self._memory, len(rising)), np.nan)))
        self._reference = len(reference)
        self._live = 0
        self._windows = 0
        self._rising = rising
        self._bets = Restarting(2 * len(POWERS), len(rising))

    def update(self, values: Floats) -> None:
        """Advance by one window: float64[K], NaN where a stream has none and so stays as it is."""
        values = _finite(values)
        p, ranked = self._ranks(values)
        up, down = (log_calibrated(q, POWERS[:, None]) for q in (p, 1 - p))
        gained = np.vstack((up, np.where(self._rising, up, down)))
        self._bets.update(np.where(ranked, gained, 0.0))
        self._live = 0 if self._live == self._memory else self._live
        if self._memory:
            self._past[self._reference + self._live] = values
            self._live += 1
        self._windows += 1

    def _ranks(self, values: Floats) -> tuple[Floats, Bools]:
        """Where the window stands, p float64[K] (small for large values; ties at random), where it does."""
        if values.shape != self._rising.shape:
            msg = f"a window of shape {values.shape}; the reference has {len(self._rising)} streams"
            raise DetectorError(msg)
        live = 0 if self._live == self._memory else self._live
        past = self._past[: self._reference + live]
        known = np.isfinite(past).sum(axis=0)
        larger, equal = (past > values).sum(axis=0), (past == values).sum(axis=0)
        # Drawn by the window's number, so that a replay draws the same; never 0 or 1.
        draw = np.random.default_rng(self._windows).random(len(values)) * (1 - 1e-12) + 5e-13
        p = (larger + draw * (equal + 1)) / (known + 1)
        return p, np.asarray(~np.isnan(values) & (known > 0))

    def reset(self, which: Bools) -> None:
        """Forget the evidence of the streams bool[K]."""
        self._bets.reset(which)

    @property
    def log_evidence(self) -> Floats:
        """float64[K]: ln of the mean of the S; stands beside the adapter's in an alarm."""
        return self._bets.log_evidence

    @property
    def age(self) -> Ints:
        """int64[K]: windows since the shift, if it is one, began."""
        return self._bets.age

    def snapshot(self) -> bytes:
        """The whole state but the reference."""
        live = self._past[self._reference : self._reference + self._live]
        return pack({"live": live, "windows": self._windows, "bets": self._bets.snapshot()})

    def restore(self, state: bytes) -> None:
        """Replace the state by one that `snapshot` gave for this reference; raises `ValueError` if not."""
        fields = unpack(state)
        live = fields.array("live", np.float64, -1, len(self._rising))
        if len(live) > self._memory:
            msg = f"{len(live)} live windows, more than the memory of {self._memory}"
            raise ValueError(msg)
        windows = fields.count("windows")
        self._bets.restore(fields.packed("bets"))
        self._past[self._reference : self._reference + len(live)] = live
        self._live, self._windows = len(live), windows


class RankAdapter(Adapter):
    """An `Adapter` whose evidence is that of ranks, so that false alarms keep their bound by theorem.

    Effects, their bounds and the verification of stability are the adapter's: they only hold alarms back.

    Parameters
    ----------
    reference : float64[R, K]
        The windows that the baseline was fitted to.
    """

    def __init__(self, baseline: Baseline, patience: float, alpha: float, reference: Floats) -> None:
        super().__init__(baseline, patience, alpha)
        self._ranks = ConformalRank(reference, baseline.streams.distance)

    def update(self, values: Floats, stratum: int) -> Evidence:
        """Advance by one window; see `Adapter.update`."""
        found = super().update(values, stratum)
        self._ranks.update(values)
        return self._ranked(found)

    def standing(self) -> Evidence:
        """What the streams said last; see `Adapter.standing`."""
        return self._ranked(super().standing())

    def _ranked(self, found: Evidence) -> Evidence:
        return replace(found, log_evidence=self._ranks.log_evidence, age=self._ranks.age)

    def reset(self, which: Bools) -> None:
        """Forget the evidence for a shift of the streams bool[K]."""
        super().reset(which)
        self._ranks.reset(which)

    def snapshot(self) -> bytes:
        """The whole state but the baseline and the reference."""
        return pack({"adapter": super().snapshot(), "ranks": self._ranks.snapshot()})

    def restore(self, state: bytes) -> None:
        """Replace the state by one that `snapshot` gave for this reference; raises `ValueError` if not."""
        fields = unpack(state)
        adapter, ranks = fields.packed("adapter"), fields.packed("ranks")
        self._ranks.restore(ranks)
        super().restore(adapter)


def _finite(values: Floats) -> Floats:
    values = np.asarray(values, np.float64)
    return np.where(np.isfinite(values), values, np.nan)
