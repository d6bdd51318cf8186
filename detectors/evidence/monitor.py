"""Adapter and alarm together: one model version's streams, window by window."""

from __future__ import annotations

from dataclasses import fields as fields_of
from typing import Protocol

import numpy as np

from detectors.base import Bools, Floats, Ints
from detectors.evidence.adapter import Adapter, Evidence
from detectors.evidence.alarm import Alarm, Budget, Decision
from detectors.evidence.baseline import Baseline
from detectors.evidence.conformal import RankAdapter
from detectors.evidence.season import Season
from detectors.summaries.packing import pack, unpack


def may_page(baseline: Baseline, season: Season) -> Bools:
    """bool[K]: streams with `season.history` reference windows, of which a tenth may be missing."""
    return np.asarray(baseline.windows >= 0.9 * season.history)


def adapter_of(baseline: Baseline, patience: float, alpha: float, reference: Floats | None) -> Adapter:
    """The adapter, or where the reference windows are given that of ranks among them."""
    if reference is None:
        return Adapter(baseline, patience, alpha)
    return RankAdapter(baseline, patience, alpha, reference)


class Part(Protocol):
    """Streams with evidence of their own, beside those of the adapter: counted rates, say."""

    def __len__(self) -> int:
        """How many streams."""

    def standing(self) -> Evidence:
        """What the streams said last, without another window."""

    def reset(self, which: Bools) -> None:
        """Forget the evidence for a shift."""

    def distrust(self, which: Bools) -> None:
        """Forget the evidence for stability."""

    def snapshot(self) -> bytes:
        """The whole state."""

    def restore(self, state: bytes) -> None:
        """Replace the state."""


class Monitor:
    """What a judge holds per model version: update it once per closed window, in event-time order.

    A new reference (a retrain, an accepted change) is a new `Monitor`; that ends the incident of the old.

    Parameters
    ----------
    budget : Budget
    season : Season
    baseline : Baseline
        From `fit`.
    part : Part, optional
        Further streams, after those of the baseline.
    able : bool[len(part)], optional
        Which of them have a reference long enough to page; default: all.
    subjects : int64[K + len(part)], optional
        What each stream is about (`Alarm`).
    reference : float64[R, K], optional
        Windows that the baseline was fitted to: evidence of the K streams is then that of ranks among them.
    """

    def __init__(
        self,
        budget: Budget,
        season: Season,
        baseline: Baseline,
        part: Part | None = None,
        able: Bools | None = None,
        subjects: Ints | None = None,
        reference: Floats | None = None,
    ) -> None:
        pages = may_page(baseline, season)
        if part is not None:
            pages = np.concatenate((pages, np.ones(len(part), np.bool_) if able is None else able))
        self.alarm = Alarm(budget, season, pages, subjects)
        self.adapter = adapter_of(baseline, self.alarm.page_patience, budget.alpha, reference)
        self.part = part

    def update(
        self, values: Floats, stratum: int, further: Evidence | None = None, share: float = 1.0
    ) -> tuple[Evidence, Decision]:
        """Advance by one window.

        Parameters
        ----------
        values : float64[K]
            NaN where a stream has none (`Adapter.update`).
        stratum : int
        further : Evidence, optional
            Of `part`, which has seen the window already.
        share : float
            Among how many alarms the budget is divided.
        """
        evidence = self.adapter.update(values, stratum)
        if further is not None:
            evidence = _joined(evidence, further)
        decision = self.alarm.update(
            evidence.log_evidence, evidence.material, evidence.verified, evidence.age, share
        )
        alarmed, ticketed, cleared = map(self._streams, (decision.paged, decision.ticketed, decision.cleared))
        own = len(self.adapter.baseline.streams)
        distrusted, forgotten = alarmed | ticketed, alarmed | cleared | decision.page
        self.adapter.distrust(distrusted[:own])
        self.adapter.reset(forgotten[:own])
        if self.part is not None:
            self.part.distrust(distrusted[own:])
            self.part.reset(forgotten[own:])
        return evidence, decision

    def standing(self) -> tuple[Evidence, float]:
        """What all streams said last, and ln of the mean of those that could page."""
        evidence = self.adapter.standing()
        if self.part is not None:
            evidence = _joined(evidence, self.part.standing())
        return evidence, self.alarm.log_mean(evidence.log_evidence, evidence.material)

    def close(self) -> None:
        """A person ends the incident; if its shift lasts, it pages again."""
        self.alarm.close()

    def snapshot(self) -> bytes:
        """The whole state but the baseline."""
        return pack(
            {
                "adapter": self.adapter.snapshot(),
                "alarm": self.alarm.snapshot(),
                "part": self.part.snapshot() if self.part is not None else b"",
            }
        )

    def restore(self, state: bytes) -> None:
        """Replace the state by one that `snapshot` gave for this baseline; raises `ValueError` if not."""
        fields = unpack(state)
        adapter, alarm = fields.packed("adapter"), fields.packed("alarm")
        if self.part is not None:
            self.part.restore(fields.packed("part"))
        self.adapter.restore(adapter)
        self.alarm.restore(alarm)

    def _streams(self, indexes: Ints) -> Bools:
        mask = np.zeros(len(self.alarm.able), np.bool_)
        mask[indexes] = True
        return mask


def _joined(one: Evidence, other: Evidence) -> Evidence:
    pairs = ((getattr(one, field.name), getattr(other, field.name)) for field in fields_of(Evidence))
    return Evidence(*map(np.concatenate, pairs))
