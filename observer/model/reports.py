"""What is reported of each closed window and of each cohort's quality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from observer.model.findings import EvidenceReport, Finding, Judged, WindowKey


@dataclass(frozen=True, slots=True)
class ColumnState:
    """What a window's column holds, as shares of the rows; None where the kind of column has none."""

    column: str
    missing: float
    invalid: float
    unseen: float | None = None
    out_of_range: float | None = None
    mean: float | None = None
    quantiles: tuple[tuple[float, float], ...] = ()
    """Pairs of probability and value."""


@dataclass(frozen=True, slots=True)
class QualityEstimate:
    """One quality metric of a window's predictions, as far as can be told before their labels come.

    Attributes
    ----------
    metric : str
        As in `QualityValue`, which replaces it.
    value, low, high : float or None
        With a band that holds the realised value in 95 of 100 windows if what the method assumes is true;
        None where nothing can be said, and then `reason` says why.
    method : str
        `cbpe`, `pape`, `bbse` or `dle`.
    rows : int
        Predictions it rests on.
    skill : float or None
        1 less its mean error over that of assuming no change, over the last cohorts whose labels came: 1 is
        perfect, at most 0 no better. None while that is not known.
    cohorts : int
        How many that were.
    backtest : bool
        They are parts of the reference, since too few labels have come since.
    """

    metric: str
    value: float | None
    low: float | None
    high: float | None
    method: str
    rows: int
    skill: float | None = None
    cohorts: int = 0
    backtest: bool = False
    reason: str = ""

    @property
    def usable(self) -> bool:
        """Whether anything may rest on it: its skill is positive."""
        return self.value is not None and self.skill is not None and self.skill > 0


@dataclass(frozen=True, slots=True)
class Distribution:
    """How a column is spread in a window and in its reference, coarse enough for a picture.

    Attributes
    ----------
    edges : tuple of float
        Of the bars of a number that varies, one more than there are bars; empty where bars have names.
    names : tuple of str
        Of the bars of a category, or of a number with few values.
    reference, window : tuple of float
        Share of the rows in each bar. What lies beyond the edges is in the outermost bars.
    """

    column: str
    edges: tuple[float, ...]
    names: tuple[str, ...]
    reference: tuple[float, ...]
    window: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class AnswerCounts:
    """How a model answered: requests, those that failed, and those of each bin of latency.

    The bins are those of `detectors.summaries.answers`.
    """

    n: int
    failed: int
    latency: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WindowReport:
    """A closed window and what was said of it."""

    key: WindowKey
    end: int
    rows: int
    duplicates: int
    reference: str
    """Version of the reference it was judged against; "" while one is learnt."""
    status: Literal["stable", "drift", "insufficient", "learning"]
    judged: tuple[Judged, ...]
    findings: tuple[Finding, ...]
    columns: tuple[ColumnState, ...]
    evidence: EvidenceReport | None = None
    """Of the version's watch, on the report of all events; None on those of segments."""
    estimates: tuple[QualityEstimate, ...] = ()
    """Its quality before labels, where the reference carries what that needs."""
    answers: AnswerCounts | None = None
    """How the model answered, on the report of all events."""
    copied: int = 0
    """Of the events in time, answers to copies of requests, which nobody was given."""
    distributions: tuple[Distribution, ...] = ()
    """Of each column, on the report of all events and on those of segments that drift."""


@dataclass(frozen=True, slots=True)
class QualityValue:
    """One quality metric of one cohort."""

    metric: str
    value: float
    error: float | None
    """Bound on the error of computing it from bins; None where it is exact."""
    rows: int


@dataclass(frozen=True, slots=True)
class QualityReport:
    """The quality of the predictions of one window, as far as their labels have come."""

    model: str
    version: str
    arm: str
    segment: str
    start: int
    end: int
    maturity: Literal["matured", "provisional"]
    """`matured`: older than the 99th percentile of label delays; values hardly move any more."""
    final: bool
    """No label can join any more."""
    predictions: int
    labelled: int
    values: tuple[QualityValue, ...]
    findings: tuple[Finding, ...] = ()
    evidence: EvidenceReport | None = None
    """Of the version's watch of quality, on its final report over all arms and segments."""
    estimates: tuple[QualityEstimate, ...] = ()
    """What was said of it before its labels came, on final reports over all arms."""
    correct: int | None = None
    """Labelled predictions that were right, however few there are; None for a regression."""
    losses: tuple[int, ...] = ()
    """Of a regression: labelled predictions by the magnitude of their error, `LogBuckets.magnitudes`."""

    @property
    def coverage(self) -> float:
        """Share of the predictions that have a label."""
        return self.labelled / self.predictions if self.predictions else 0.0
