"""The nouns of a rollout: what it is shown, and what it decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from detectors.base import Floats
from detectors.experiment.arms import Arms

Result = Literal["promoted", "rolled_back", "aborted"]
Verb = Literal["wait", "shadow", "advance", "promote", "rollback", "pause", "finish"]
Reason = Literal[
    # wait
    "shadowing",
    "baking",
    "samples_too_few",
    "gathering",
    "not_better_yet",
    "held",
    "frozen",
    "dry_run",
    "gate_closed",
    # shadow
    "shadow_first",
    # advance
    "no_harm",
    "gross_harm_excluded",
    # promote
    "better",
    "not_worse",
    "by_hand",
    # advance, too
    "by_rule",
    # rollback
    "worse",
    "more_errors",
    "slower",
    "watch",
    # pause
    "sample_ratio",
    "copies_missing",
    "copies_unmarked",
    "label_mismatch",
    "no_data",
    "challenger_drift",
    "foreign_change",
    "inconclusive",
    "not_randomised",
    # finish
    "stable",
]


class Cohort(NamedTuple):
    """What both arms showed of the requests of one window.

    Attributes
    ----------
    start, end : float
        Event time, seconds since the epoch.
    outcomes : Arms
        Labelled requests; hits were predicted right.
    labelled : Arms
        All requests; hits are those with a label.
    losses : float64[B], float64[B], or None
        Of a regression: labelled requests of challenger and champion by the size of their error, in bins; no
        hits are counted then.
    """

    start: float
    end: float
    outcomes: Arms
    labelled: Arms
    losses: tuple[Floats, Floats] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What to do now, and why; `share` and `shadow` (percent) are what the challenger gets afterwards."""

    verb: Verb
    share: float
    reason: Reason
    detail: str
    shadow: float = 0.0


class Point(NamedTuple):
    """Where the comparison stood after a cohort."""

    end: float
    share: float
    estimate: float
    lower: float
    upper: float
    better: float
    worse: float
