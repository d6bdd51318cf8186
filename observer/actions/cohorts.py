"""What the two versions of a rollout showed, paired by window: of equal age, each once, in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import numpy as np

from detectors.experiment.arms import Arms
from detectors.summaries.answers import Answers
from observer.actions.guards import Answered
from observer.actions.steps import Cohort
from observer.model import QualityReport, WindowReport

_MOST: Final = 2_000
"""Windows that wait for the other arm."""
T = TypeVar("T", QualityReport, WindowReport)


@dataclass(slots=True)
class _Waiting(Generic[T]):
    """Reports by window and version, until both arms have theirs."""

    _reports: dict[int, dict[str, T]] = field(default_factory=dict)
    _newest: int = 0
    """Start of the latest window that was there at the last look: those of one moment come one by one."""

    def keep(self, start: int, version: str, report: T) -> None:
        self._reports.setdefault(start, {})[version] = report
        while len(self._reports) > _MOST:
            del self._reports[min(self._reports)]

    def whole(self, champion: str, challenger: str, due: Callable[[T], bool]) -> list[tuple[T, T | None]]:
        """The champion's and the challenger's of the windows that are due, in order, taken out.

        One without the challenger's had no request of it, once a later window was there at the last look.
        """
        newest, self._newest = self._newest, max(self._reports, default=self._newest)
        whole = []
        for start, reports in sorted(self._reports.items()):
            if champion in reports:
                if challenger not in reports and start >= newest:
                    break  # none after it may come before it
                if due(reports[champion]):
                    whole.append(start)
        taken = [self._reports.pop(start) for start in whole]
        return [(reports[champion], reports.get(challenger)) for reports in taken]


@dataclass(slots=True)
class Pairs:
    """Pairs the reports of both arms by window.

    Of a window's quality only what has matured; hits are predictions that were right. Regression models have
    the sizes of their errors instead.
    """

    champion: str
    challenger: str
    _quality: _Waiting[QualityReport] = field(default_factory=_Waiting)
    _windows: _Waiting[WindowReport] = field(default_factory=_Waiting)

    def take(self, report: QualityReport) -> None:
        """Keep what a report says of quality, if it is one of ours."""
        ours = report.version in (self.champion, self.challenger) and not report.arm and not report.segment
        # Without labels nothing is right or wrong, but its requests were divided as all are.
        known = report.correct is not None or bool(report.losses) or not report.labelled
        if ours and known and (report.maturity == "matured" or report.final):
            self._quality.keep(report.start, report.version, report)

    def answered(self, report: WindowReport) -> None:
        """Keep how a window's requests were answered, if it is one of ours."""
        if report.key.version in (self.champion, self.challenger) and report.answers is not None:
            self._windows.keep(report.key.start, report.key.version, report)

    def cohorts(self, share: float, verified: float) -> list[Cohort]:
        """The windows whose labels have matured; `share` is percent of the challenger.

        Only those that ended before `verified` (seconds since the epoch), until when the platform is known to
        have divided requests with this share: a patch may be under way, or somebody else's.
        """
        if not 0 < share < 100:
            return []
        whole = self._quality.whole(self.champion, self.challenger, lambda one: one.end <= verified * 1000)
        return [_cohort(other, one, share / 100) for other, one in whole]

    def windows(self, drawn: float, verified: float) -> list[Answered]:
        """How requests were answered, as soon as windows close; `drawn` is the challenger's chance."""
        if not drawn:
            return []
        whole = self._windows.whole(self.champion, self.challenger, lambda one: one.end <= verified * 1000)
        return [
            Answered(
                other.key.start / 1000,
                other.end / 1000,
                drawn,
                _answers(one),
                _answers(other),
            )
            for other, one in whole
        ]


def _answers(report: WindowReport | None) -> Answers:
    counts = report.answers if report else None
    if report is None or counts is None:
        return Answers()
    return Answers(counts.n, counts.failed, np.array(counts.latency, np.int64), report.copied)


def _cohort(other: QualityReport, one: QualityReport | None, share: float) -> Cohort:
    n1, l1, x1 = (one.predictions, one.labelled, one.correct or 0) if one else (0, 0, 0)
    outcomes = Arms(share, l1, other.labelled, x1, other.correct or 0)
    labelled = Arms(share, n1, other.predictions, l1, other.labelled)
    losses = None
    known = other.losses or (one.losses if one else ())
    if known:
        none = (0.0,) * len(known)
        mine = (one.losses if one else ()) or none
        losses = (np.array(mine, np.float64), np.array(other.losses or none, np.float64))
    return Cohort(other.start / 1000, other.end / 1000, outcomes, labelled, losses)
