"""One window by itself: every detector's verdict, corrected as one family."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import cast

from detectors import catalog
from detectors.base import Status, Verdict, named_tuples
from detectors.statistical.multiple import correct
from detectors.statistical.spec import Kind
from detectors.summaries.table import TableSummary
from observer.judge.spec import JudgeSpec
from observer.model import Judged

TABLE = "@table"

log = logging.getLogger(__name__)


class WindowJudge:
    """Runs the detectors over a window and corrects their verdicts as one family."""

    def __init__(self, spec: JudgeSpec) -> None:
        self._alpha = spec.alpha
        self._correction = spec.correction
        chosen = spec.detectors
        self._detectors: dict[Kind, Sequence[catalog.ColumnDetector]] = {
            kind: catalog.defaults(kind)
            if chosen is None
            else [
                cast("catalog.ColumnDetector", detector) for detector in chosen if kind in detector.applies_to
            ]
            for kind in ("number", "category", "embedding", "table")
        }
        self._failing: set[str] = set()

    def judge(self, reference: TableSummary, window: TableSummary) -> tuple[Judged, ...]:
        """Every verdict on the window, corrected for how many there are."""
        subjects: list[str] = []
        detectors: list[str] = []
        verdicts: list[Verdict] = []
        sides = (
            ("number", reference.numbers, window.numbers, window.numbers.names),
            ("category", reference.categories, window.categories, window.categories.names),
            ("embedding", reference.embeddings, window.embeddings, window.embeddings.names),
            ("table", reference, window, (TABLE,)),
        )
        for kind, before, now, names in sides:
            if not names:
                continue
            for detector in self._detectors[cast("Kind", kind)]:
                found = detector.compare(before, now, self._alpha)
                self._note(detector.name, found)
                verdicts += found
                subjects += names[: len(found)]
                detectors += [detector.name] * len(found)
        corrected = correct(verdicts, self._alpha, self._correction)
        return tuple(named_tuples(Judged, subjects, detectors, corrected))

    def _note(self, name: str, verdicts: Sequence[Verdict]) -> None:
        """Log that a detector fails, and that it works again, once each."""
        why = next((one.reason for one in verdicts if one.status is Status.FAILED), "")
        if why and name not in self._failing:
            log.warning("detector %s fails: %s", name, why)
            self._failing.add(name)
        elif name in self._failing and any(one.status in {Status.STABLE, Status.DRIFT} for one in verdicts):
            log.warning("detector %s works again", name)
            self._failing.remove(name)
