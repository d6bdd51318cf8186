"""What is compared with the model's own past: its segments, and its quality."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice, takewhile

import numpy as np

from detectors.base import Floats, Numbers
from detectors.summaries.outcomes import BinaryOutcomes
from detectors.summaries.table import TableSummary
from detectors.why.impact import calibrated, expected_error, impacts
from detectors.why.ranking import Said, rank_segments
from observer.explain.stored import Cohort, StoredModel
from observer.explain.values import ImpactRanking, LackingError, SegmentRanking
from observer.model import Judged, Performance, Period
from observer.pipeline.inputs import Window
from observer.pipeline.performance import performance
from observer.pipeline.quality import Shape, settle
from observer.references import PREDICTION, SCORE, Reference

WEEK = 7 * 86_400_000
"""How much event time the baseline spans at most: a whole season, of days and of the week."""
MOST_WINDOWS = 168
SEGMENT_ALPHA = 0.05
"""Share of the segments named that did not change, on average at most."""

WindowJudge = Callable[[TableSummary, TableSummary], tuple[Judged, ...]]
"""Every detector's verdict on a window, given its reference first."""


def said(judged: Iterable[Judged]) -> list[Said]:
    """Verdicts by subject; those on the whole table are a subject each."""
    return [
        (f"@table.{one.detector}" if one.subject == "@table" else one.subject, one.detector, one.verdict)
        for one in judged
    ]


class Past:
    """The earliest windows kept of a version: of the time before a window the earlier half, at most a week.

    The earlier half, since a change that is going on began in the later one, one hopes.

    Parameters
    ----------
    horizon : int
        Milliseconds within which labels join.
    """

    def __init__(self, stored: StoredModel, window: Window, reference: Reference, horizon: int) -> None:
        self._stored = stored
        self._window = window
        self._reference = reference
        self._horizon = horizon
        self._version, self._start = window.key.version, window.key.start

    def _period(self, starts: Sequence[int]) -> Period:
        return Period(starts[0], starts[-1] + self._stored.spec.window.size, len(starts))

    # Segments

    def segments(self, judge: WindowJudge) -> SegmentRanking:
        """Segments by evidence that they differ from their own past."""
        stored = self._stored
        if self._window.key.segment:
            raise LackingError("a segment has no segments of its own; ask without one")
        if not stored.dimensions:
            raise LackingError("the configuration gives the model no segments")
        names = [name for dimension in stored.dimensions for name in dimension.names]
        present = stored.windows(self._start)
        now = {name: present[self._version, name] for name in names if (self._version, name) in present}
        before: dict[str, TableSummary] = {}
        used = []
        for start in _earlier_half(stored.starts(self._version, "", self._start), self._start):
            windows = stored.windows(start)
            for name in now:
                past = windows.get((self._version, name))
                if past is not None and past.reference == self._window.reference:
                    before.setdefault(name, past.summary.table.zero()).merge(past.summary)
                    used.append(start)
        if not used:
            raise LackingError("no earlier window of a segment is kept to compare with")
        verdicts = {name: said(judge(past, now[name].summary)) for name, past in before.items()}
        return SegmentRanking(self._period(sorted(set(used))), rank_segments(verdicts, SEGMENT_ALPHA))

    # Quality

    def _labelled(self, start: int) -> Cohort | None:
        """The cohort over all segments, if it has matured with enough labels."""
        if not self._stored.matured(start, self._horizon):
            return None
        cohort = self._stored.cohort(self._version, "", start)
        least = self._stored.spec.min_labels
        return cohort if cohort is not None and cohort.outcomes.n >= least else None

    @cached_property
    def _latest(self) -> int:
        """Start of the latest labelled cohort, that of the window at the latest."""
        earlier = self._stored.starts(self._version, "", self._start, newest_first=True)
        found = next((start for start in (self._start, *earlier) if self._labelled(start)), None)
        if found is None:
            least = self._stored.spec.min_labels
            msg = f"no cohort of version {self._version!r} has matured with {least} labels yet"
            raise LackingError(msg)
        return found

    @cached_property
    def _earliest(self) -> list[int]:
        """Starts of the earliest labelled cohorts, before the latest."""
        kept = self._stored.starts(self._version, "", self._latest)
        labelled = (start for start in kept if self._labelled(start))
        found = list(_earlier_half(labelled, self._latest))
        if not found:
            raise LackingError("no earlier cohort has matured with enough labels to compare with")
        return found

    def performance(self) -> Performance:
        """The change of realised loss, split over the segments of each dimension."""
        stored = self._stored
        if self._window.key.segment:
            raise LackingError("quality is split over segments; ask without one")
        if stored.shape is None:
            raise LackingError("no labels are joined, or the model's task is not known yet")
        return performance(
            lambda segment, start: stored.cohort(self._version, segment, start),
            stored.dimensions,
            stored.shape.zero,
            stored.spec.window.size,
            self._earliest,
            [self._latest],
        )

    def impact(self) -> ImpactRanking:
        """Columns by what their changed shares alone would do to the expected loss."""
        shape = self._stored.shape or settle(self._reference.schema, self._reference)
        if shape is None:
            raise LackingError("the model's task is not known")
        if shape.task == "regression":
            raise LackingError("predictions of numbers carry no scores to expect errors from")
        sample = self._reference.summary.sample
        scores = _scores(shape, self._reference)
        words = "error rate expected from the reference's scores, taken to be calibrated"
        labels = self._calibration() if shape.task == "binary" else None
        if labels is not None:
            scores = calibrated(scores[:, 0], labels)[:, None]
            words = f"error rate expected from the reference's scores, calibrated by {labels.n:,} labels"
        predicted = np.full(len(sample), -1.0)
        if PREDICTION in sample.columns:
            predicted = shape.values(sample.column(PREDICTION))
        loss = expected_error(scores, predicted)
        return ImpactRanking(words, impacts(self._reference.summary, self._window.summary, loss))

    def _calibration(self) -> BinaryOutcomes | None:
        if self._stored.shape is None:
            return None
        try:
            starts = self._earliest
        except LackingError:
            return None
        labels = self._stored.shape.zero()
        assert isinstance(labels, BinaryOutcomes)  # noqa: S101 - the task is binary
        for start in starts:
            cohort = self._stored.cohort(self._version, "", start)
            assert cohort is not None  # noqa: S101 - it was looked at
            assert isinstance(cohort.outcomes, BinaryOutcomes)  # noqa: S101 - as above
            labels.merge(cohort.outcomes)
        return labels


def _earlier_half(starts: Iterable[int], end: int) -> Iterator[int]:
    """Those of some starts in the earlier half of the time to `end`, at most a week and `MOST_WINDOWS`."""
    first: list[int] = []

    def early(start: int) -> bool:
        first.append(start)
        return start < first[0] + min(WEEK, max((end - first[0]) // 2, 1))

    return islice(takewhile(early, starts), MOST_WINDOWS)


def _scores(shape: Shape, reference: Reference) -> Floats:
    """Scores of the reference's sampled rows, float64[n, K]."""
    sample = reference.summary.sample
    columns = {name: sample.column(name) for name in sample.columns if name.startswith(SCORE)}
    numbers = {
        name.removeprefix(SCORE).removeprefix("."): column
        for name, column in columns.items()
        if isinstance(column, Numbers)
    }
    scores = shape.scores(numbers, len(sample))
    if not np.isfinite(scores).any():
        raise LackingError("the reference's sample has no scores to expect errors from")
    return scores
