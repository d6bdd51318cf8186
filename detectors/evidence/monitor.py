"""Adapter and alarm together: one model version's streams, window by window."""

from __future__ import annotations

import numpy as np

from detectors.base import Bools, Floats, Ints
from detectors.evidence.adapter import Adapter, Evidence
from detectors.evidence.alarm import Alarm, Budget, Decision
from detectors.evidence.baseline import Baseline
from detectors.evidence.season import Season
from detectors.summaries.packing import pack, unpack


def may_page(baseline: Baseline, season: Season) -> Bools:
    """bool[K]: streams with `season.history` reference windows, of which a tenth may be missing."""
    return np.asarray(baseline.windows >= 0.9 * season.history)


class Monitor:
    """What a judge holds per model version: update it once per closed window, in event-time order.

    A new reference (a retrain, an accepted change) is a new `Monitor`; that ends the incident of the old.

    Parameters
    ----------
    budget : Budget
    season : Season
    baseline : Baseline
        From `fit`.
    """

    def __init__(self, budget: Budget, season: Season, baseline: Baseline) -> None:
        self.alarm = Alarm(budget, season, may_page(baseline, season))
        self.adapter = Adapter(baseline, self.alarm.page_patience, budget.alpha)

    def update(self, values: Floats, stratum: int) -> tuple[Evidence, Decision]:
        """Advance by one window: `values` float64[K], NaN where a stream has none (`Adapter.update`)."""
        evidence = self.adapter.update(values, stratum)
        decision = self.alarm.update(
            evidence.log_evidence, evidence.material, evidence.verified, evidence.age
        )
        alarmed, ticketed, cleared = map(self._streams, (decision.paged, decision.ticketed, decision.cleared))
        self.adapter.distrust(alarmed | ticketed)
        self.adapter.reset(alarmed | cleared | decision.page)
        return evidence, decision

    def close(self) -> None:
        """A person ends the incident; if its shift lasts, it pages again."""
        self.alarm.close()

    def snapshot(self) -> bytes:
        """The whole state but the baseline."""
        return pack({"adapter": self.adapter.snapshot(), "alarm": self.alarm.snapshot()})

    def restore(self, state: bytes) -> None:
        """Replace the state by one that `snapshot` gave for this baseline; raises `ValueError` if not."""
        fields = unpack(state)
        adapter, alarm = fields.packed("adapter"), fields.packed("alarm")
        self.adapter.restore(adapter)
        self.alarm.restore(alarm)

    def _streams(self, indexes: Ints) -> Bools:
        mask = np.zeros(len(self.adapter.baseline.streams), np.bool_)
        mask[indexes] = True
        return mask
