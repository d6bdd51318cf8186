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

    def cohorts(self, share: float, verified: float) -> list[Cohort]:
        """The windows that are whole, in order, taken out; `share` is percent of the challenger.

        Only those that ended before `verified` (seconds since the epoch), until when the platform is known to
        have divided requests with this share: a patch may be under way, or somebody else's.

        A window in which the challenger has no report had no request of it, once a later window has matured.
        """
        if not 0 < share < 100:
            return []
        newest = max(self._waiting, default=0)
        whole = [
            start
            for start, reports in sorted(self._waiting.items())
            if self.champion in reports
            and (self.challenger in reports or start < newest)
            and reports[self.champion].end <= verified * 1000
        ]
        return [self._cohort(self._waiting.pop(start), share / 100) for start in whole]

    def _cohort(self, reports: dict[str, QualityReport], share: float) -> Cohort:
        other, one = reports[self.champion], reports.get(self.challenger)
        n1, l1, x1 = (one.predictions, one.labelled, one.correct or 0) if one else (0, 0, 0)
        outcomes = Arms(share, l1, other.labelled, x1, other.correct or 0)
        labelled = Arms(share, n1, other.predictions, l1, other.labelled)
        return Cohort(other.start / 1000, other.end / 1000, outcomes, labelled)
