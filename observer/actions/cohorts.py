"""Cohorts of a rollout from the quality reports of its two versions: of equal age, each once, in order."""

from __future__ import annotations

from dataclasses import dataclass, field

from detectors.experiment.arms import Arms
from observer.actions.rollout import Cohort
from observer.model import QualityReport

_MOST = 2_000
"""Windows that wait for the other arm."""


@dataclass(slots=True)
class Pairs:
    """Pairs the reports of both arms by window; only those whose labels have matured.

    Hits are predictions that were right.
    """

    champion: str
    challenger: str
    _waiting: dict[int, dict[str, QualityReport]] = field(default_factory=dict)

    def take(self, report: QualityReport) -> None:
        """Keep what a report says, if it is one of ours."""
        ours = report.version in (self.champion, self.challenger) and not report.arm and not report.segment
        if ours and report.correct is not None and (report.maturity == "matured" or report.final):
            self._waiting.setdefault(report.start, {})[report.version] = report
            while len(self._waiting) > _MOST:
                del self._waiting[min(self._waiting)]

    def cohorts(self, share: float) -> list[Cohort]:
        """The windows that both arms have, in order, taken out; `share` is percent of the challenger."""
        whole = sorted(start for start, both in self._waiting.items() if len(both) == 2)
        if not 0 < share < 100:
            return []
        return [self._cohort(self._waiting.pop(start), share / 100) for start in whole]

    def _cohort(self, both: dict[str, QualityReport], share: float) -> Cohort:
        one, other = both[self.challenger], both[self.champion]
        outcomes = Arms(share, one.labelled, other.labelled, one.correct or 0, other.correct or 0)
        labelled = Arms(share, one.predictions, other.predictions, one.labelled, other.labelled)
        return Cohort(one.start / 1000, one.end / 1000, outcomes, labelled)
