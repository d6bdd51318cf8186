"""A change of realised quality, split over segments."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from detectors.base import DetectorError
from detectors.summaries.outcomes import Outcomes, RegressionOutcomes
from detectors.why.decomposition import Losses, decompose, partition
from observer.model import Finding, Performance, Period
from observer.pipeline.cohorts import CohortKey
from observer.pipeline.monitor import Monitor
from observer.segments import Dimension

MOST_COHORTS = 168
"""Of the past that a change is compared with: a week of hours."""
_WHOLE = "all"


class Labelled(Protocol):
    """Predictions of one window and segment, and the outcomes of those whose label came."""

    @property
    def predictions(self) -> int:
        """How many there were."""

    @property
    def outcomes(self) -> Outcomes:
        """Of the labelled ones."""


def performance(
    cohort: Callable[[str, int], Labelled | None],
    dimensions: Sequence[Dimension],
    zero: Callable[[], Outcomes],
    size: int,
    before: Sequence[int],
    now: Sequence[int],
) -> Performance:
    """Split the change of loss between the cohorts that start at `before` and those that start at `now`.

    Parameters
    ----------
    cohort : callable
        Segment (`""` for all) and start -> its cohort, if there is one.
    dimensions : sequence of Dimension
    zero : callable
        Gives outcomes without any row.
    size : int
        Of a window, milliseconds.
    before, now : sequence of int
        Starts, in order; at least one each.

    Raises
    ------
    DetectorError
        A side has no rows whose loss is known.
    """

    def merged(segment: str, starts: Sequence[int]) -> Outcomes:
        total = zero()
        for start in starts:
            found = cohort(segment, start)
            if found is not None:
                total.merge(found.outcomes)  # type: ignore[arg-type]  # of one shape, hence of one class
        return total

    old, new = merged("", before), merged("", now)
    by = {}
    for dimension in dimensions:
        sides = (old, before), (new, now)
        cells = [
            partition(whole, {name: merged(name, starts) for name in dimension.names})
            for whole, starts in sides
        ]
        by[dimension.spec.dimension] = decompose(*cells)
    said = (cohort("", start) for start in now)
    return Performance(
        "mean absolute error" if isinstance(new, RegressionOutcomes) else "error rate",
        Period(now[0], now[-1] + size, len(now)),
        Period(before[0], before[-1] + size, len(before)),
        sum(one.predictions for one in said if one is not None),
        new.n,
        old.n,
        decompose({_WHOLE: Losses.of(old)}, {_WHOLE: Losses.of(new)}),
        by,
    )


def with_performance(monitor: Monitor, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Pages and tickets about quality with the change since it began, against the cohorts before that."""
    return tuple(replace(one, performance=_since(monitor, one)) for one in findings)


def _since(monitor: Monitor, finding: Finding) -> Performance | None:
    cohorts, key = monitor.cohorts, finding.window
    if cohorts is None or monitor.shape is None:
        return None
    known = [CohortKey(key.version, "", "", start) for start in cohorts.starts(key.version, key.start)]
    starts = [one.start for one in known if cohorts.get(one).labelled >= monitor.spec.min_labels]
    begun = bisect_left(starts, key.start if finding.since is None else finding.since)
    before, now = starts[max(begun - MOST_COHORTS, 0) : begun], starts[begun:]
    if not before or not now:
        return None
    try:
        return performance(
            lambda segment, start: cohorts.kept(CohortKey(key.version, "", segment, start)),
            monitor.dimensions,
            monitor.shape.zero,
            monitor.spec.window.size,
            before,
            now,
        )
    except DetectorError:  # no prediction of a side was of a known class
        return None
