"""The nouns of the service: columnar event batches, schemas, windows, findings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.base import Categories, Column, Floats, Ints, Numbers, Vectors, Verdict

FeatureType = Literal["number", "category", "boolean"]
Task = Literal["binary", "multiclass", "regression"]
Stream = Literal["predictions", "labels"]

REASONS = (
    "undecodable",  # not JSON, Arrow or Avro at all
    "invalid",  # decoded, but a required field is missing or of a wrong type
    "unknown_model",  # the configuration does not name the model and does not learn new ones
    "time_invalid",  # no time that can be read, or one outside 1970..2200
    "time_in_future",  # further ahead of the clock than `max_ahead`
    "too_large",  # more bytes, rows or columns than the limits allow
)
"""Every reason for which an event can be rejected: metric label, dead-letter header and log alike."""

ARMS = ("", "champion", "challenger")
"""By code; empty where an event names none."""


class Partition(NamedTuple):
    """One ordered part of a stream: a Kafka partition, or a file."""

    stream: Stream
    source: str
    """Topic or file name."""
    number: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a payload came from, for dead letters and messages to people."""

    source: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.source}[{self.partition}]@{self.offset}"


@dataclass(slots=True)
class Messages:
    """What one poll of a source gave: raw payloads, in order within each partition.

    Attributes
    ----------
    values : list of bytes
        One payload a message; a tombstone (null payload) is `b""`.
    partition : int32[len(values)]
        Index into `partitions`.
    partitions : tuple of Partition
        All partitions of the source, those without a message in this poll too.
    positions : mapping
        Next offset to read, for the partitions this poll advanced.
    origin : callable
        Message index -> where it came from; called for rejected messages only.
    caught_up : frozenset of int
        Indexes of partitions that were read to their end (so that a silent one can count as idle).
    """

    values: list[bytes]
    partition: NDArray[np.int32]
    partitions: tuple[Partition, ...]
    positions: Mapping[Partition, int]
    origin: Callable[[int], Origin]
    caught_up: frozenset[int] = frozenset()
    finished: bool = False
    """The source has ended: a file was read to its end (a Kafka topic never does)."""
    lost: Mapping[Partition, int] = field(default_factory=dict)
    """Messages newly found to have been deleted unread; at least so many."""

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A payload, or one row of it, that could not be used."""

    origin: Origin
    payload: bytes
    reason: str
    detail: str
    model: str = ""


@dataclass(slots=True)
class Predictions:
    """Prediction events of one model, columnar, in arrival order; n rows.

    Attributes
    ----------
    keys : uint64[n, 2]
        128-bit hash of the event id (`observer.codecs.keys.hash_ids`).
    time : int64[n]
        Event time, milliseconds since the epoch.
    row, message, partition : int64[n], int64[n], int32[n]
        Arrival order over all models of the poll; message index; index into `Messages.partitions`.
    version, arm : Categories
        `arm` is NULL where the event names none.
    arm_probability, latency_ms : float64[n]
        NaN where absent.
    scores : mapping
        `{"": p}` for a binary score, else one column a class.
    """

    model: str
    keys: NDArray[np.uint64]
    time: Ints
    row: Ints
    message: Ints
    partition: NDArray[np.int32]
    version: Categories
    arm: Categories
    arm_probability: Floats
    latency_ms: Floats
    features: dict[str, Column]
    prediction: Column
    scores: dict[str, Numbers]
    tags: dict[str, Categories]
    embeddings: dict[str, Vectors] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: NDArray[np.intp]) -> Predictions:
        """The events at `rows`."""
        return Predictions(
            self.model,
            self.keys[rows],
            self.time[rows],
            self.row[rows],
            self.message[rows],
            self.partition[rows],
            self.version.take(rows),
            self.arm.take(rows),
            self.arm_probability[rows],
            self.latency_ms[rows],
            {name: column.take(rows) for name, column in self.features.items()},
            self.prediction.take(rows),
            {name: column.take(rows) for name, column in self.scores.items()},
            {name: column.take(rows) for name, column in self.tags.items()},
            {name: column.take(rows) for name, column in self.embeddings.items()},
        )


@dataclass(slots=True)
class Labels:
    """Label events of one model, columnar, in arrival order; fields as in `Predictions`."""

    model: str
    keys: NDArray[np.uint64]
    time: Ints
    row: Ints
    message: Ints
    partition: NDArray[np.int32]
    label: Column
    weight: Floats
    """1 where the event names none."""

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: NDArray[np.intp]) -> Labels:
        """The events at `rows`."""
        return Labels(
            self.model,
            self.keys[rows],
            self.time[rows],
            self.row[rows],
            self.message[rows],
            self.partition[rows],
            self.label.take(rows),
            self.weight[rows],
        )


@dataclass(slots=True)
class Decoded:
    """One poll, decoded: a batch per model, and what could not be used."""

    predictions: list[Predictions] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    spoiled_cells: int = 0
    """Feature values of a wrong type, whose events were used without them."""
    dropped_cells: int = 0
    """Feature, tag and score values under names beyond the limits, whose events were used without them."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a model's events hold; from its reference, or from the configuration.

    Attributes
    ----------
    features : mapping
        Name -> type. A feature not named here is ignored by the fast decoder.
    task : str or None
        None while not known.
    classes : tuple of str
        Class names, canonical (`class_name`); empty for regression or while not known.
    positive : str or None
        The positive class of a binary task.
    """

    features: Mapping[str, FeatureType]
    task: Task | None = None
    classes: tuple[str, ...] = ()
    positive: str | None = None


@dataclass(frozen=True, slots=True, order=True)
class WindowKey:
    """A tumbling window of one model version and segment; times in milliseconds since the epoch."""

    model: str
    version: str
    segment: str
    """`""` overall, else `dimension=value`."""
    start: int


Tier = Literal["page", "ticket", "info"]
"""How far a finding goes: it calls somebody, waits for working hours, or is only shown."""


@dataclass(frozen=True, slots=True)
class StreamEvidence:
    """What one watched statistic says after a window."""

    segment: str
    subject: str
    """Column name, `@prediction`, `@score`, `@label`, or `@table` for all columns at once."""
    statistic: str
    """Such as `location`, `spread`, `total_variation`, `missing`, `error_rate`."""
    evidence: float
    """Decimal logarithm of the evidence against "unchanged"; 0 is none."""
    effect: float
    """Estimated shift since it began, signed, in the statistic's unit."""
    lower: float
    """Lower confidence bound of its size, valid at all times."""
    tier: Literal["page", "ticket", ""]
    """What the stream has been raised to; `page` while it belongs to an open incident."""
    since: int | None
    """When the shift that a tier is about began, milliseconds; None without one."""


@dataclass(frozen=True, slots=True)
class EvidenceReport:
    """Where the watch of a version stands after a window.

    Attributes
    ----------
    watch : str
        `inputs`: what comes in and what is predicted; `quality`: what labels say of it.
    stage : str
        `learning`: too few reference windows like this one (of its hour, of a weekend) for evidence;
        `tickets`: too few to page; `paging`.
    history, needed : int
        Reference windows so far, and how many paging needs.
    evidence, threshold : float
        Decimal logarithms: mean evidence of the streams that could page, and where it pages.
    incident : int or None
        Start of the window that opened the incident that is open, milliseconds.
    streams : tuple
        Every stream; empty while there is no evidence at all.
    closed : bool
        With this window an incident ended: all its streams are verified stable.
    online : tuple of Judged
        What online detectors say after the window, of all events.
    """

    watch: Literal["inputs", "quality"]
    stage: Literal["learning", "tickets", "paging"]
    history: int
    needed: int
    evidence: float
    threshold: float
    incident: int | None
    streams: tuple[StreamEvidence, ...]
    closed: bool = False
    online: tuple[Judged, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something worth a person's attention."""

    window: WindowKey
    end: int
    subject: str
    """Column name, `@prediction`, `@score`, or `@table` for all columns at once; of the first cause."""
    detector: str
    """The detector or, of a page or ticket, the watched statistic."""
    verdict: Verdict
    tier: Tier = "info"
    causes: tuple[StreamEvidence, ...] = ()
    """The streams that caused it, strongest first; none where a single window's verdict did."""
    since: int | None = None
    """When it began, milliseconds."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a watch says of one window: where it stands, and what is new."""

    report: EvidenceReport
    findings: tuple[Finding, ...]
    raised: frozenset[tuple[str, str, str]] = frozenset()
    """Segment, subject and detector of the window's own verdicts that become tickets: those newly of drift
    while there are too few reference windows for evidence."""


class Judged(NamedTuple):
    """One detector's verdict on one subject of a window."""

    subject: str
    """Column name, `@prediction`, `@score` ..., or `@table` for all columns at once."""
    detector: str
    verdict: Verdict


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

    @property
    def coverage(self) -> float:
        """Share of the predictions that have a label."""
        return self.labelled / self.predictions if self.predictions else 0.0


@dataclass(frozen=True, slots=True)
class BurnRate:
    """How fast an objective's error budget was spent over one window that ends now."""

    window: int
    """Milliseconds."""
    rate: float | None
    """Share of bad events over the share allowed: 1 spends just the budget, 14.4 that of 30 days in 50 hours;
    None without events."""
    events: int
    """What it rests on; each window's share is weighted by traffic."""


@dataclass(frozen=True, slots=True)
class BurnAlert:
    """A rule of multiwindow, multi-burn-rate alerting: it fires while both windows burn above the factor."""

    severity: Literal["page", "ticket"]
    short: int
    """Milliseconds, as `long`."""
    long: int
    factor: float
    firing: bool


@dataclass(frozen=True, slots=True)
class Exhaustion:
    """When the budget will be spent if traffic and errors go on as they are; milliseconds since the epoch."""

    earliest: int
    """At the upper end of the band of the present error ratio."""
    expected: int | None
    """None where the budget lasts at the present error ratio."""
    latest: int | None
    """At the lower end of the band; None where it lasts there."""


@dataclass(frozen=True, slots=True)
class ObjectiveStanding:
    """Where a service level objective stands.

    Attributes
    ----------
    name : str
        Of the objective, one of its model's.
    indicator : str
        What is measured, in words.
    version, arm, segment : str
        Which of the model's predictions it is about; empty for all of them.
    basis : str
        `realised`, or `estimated` without labels.
    target : float
        Share of events that has to be good.
    calendar : str
        `day`, `week`, `month`, `quarter` or `year`; empty for a rolling window.
    start, end : int
        The window the budget is of, milliseconds; a calendar window ends in the future.
    good, total : int
        Events in it by the time of the prediction, as far as their labels have come: what labels say late
        moves the past.
    remaining : float or None
        Share of the error budget that is left, negative once overspent; None without events.
    remaining_by_arrival : float or None
        The same with events counted when their label came, as Prometheus counts them.
    burn : tuple of BurnRate
        By arrival, shortest window first.
    alerts : tuple of BurnAlert
    exhaustion : Exhaustion or None
        None where the budget lasts, even at the upper end of the band, or is spent already.
    """

    model: str
    name: str
    description: str
    indicator: str
    version: str
    arm: str
    segment: str
    basis: Literal["realised", "estimated"]
    target: float
    calendar: str
    start: int
    end: int
    good: int
    total: int
    remaining: float | None
    remaining_by_arrival: float | None
    burn: tuple[BurnRate, ...]
    alerts: tuple[BurnAlert, ...]
    exhaustion: Exhaustion | None

    @property
    def ratio(self) -> float | None:
        """Share of good events; None without events."""
        return self.good / self.total if self.total else None

    @property
    def severity(self) -> Literal["page", "ticket", ""]:
        """The gravest of the alerts that fire."""
        firing = {alert.severity for alert in self.alerts if alert.firing}
        return "page" if "page" in firing else "ticket" if "ticket" in firing else ""


@dataclass(frozen=True, slots=True)
class ReferenceState:
    """What the windows of a model version are compared with.

    Attributes
    ----------
    reference : str
        Its version; empty while one is learnt.
    rows : int
        So far, while it is learnt.
    """

    model: str
    version: str
    reference: str
    rows: int
    description: str


@dataclass(frozen=True, slots=True)
class VersionState:
    """A model version as its latest windows leave it.

    Attributes
    ----------
    recent : tuple of (int, int, str)
        Start, rows and status of the last windows, oldest first.
    inputs, quality : EvidenceReport or None
        Where its watches stand.
    cohort : QualityReport or None
        The latest with values, of all arms and segments.
    seen : float
        When the latest window was recorded, seconds since the epoch.
    """

    model: str
    version: str
    start: int
    end: int
    rows: int
    status: str
    reference: str
    seen: float
    recent: tuple[tuple[int, int, str], ...]
    inputs: EvidenceReport | None
    quality: EvidenceReport | None
    cohort: QualityReport | None


class LedgerRow(NamedTuple):
    """One row of the ledger of actions.

    Attributes
    ----------
    number : int
        From 1, without gaps.
    at : float
        Seconds since the epoch.
    action : str
        Its id.
    event : str
        What happened; see `observer.actions.ledger.EVENTS`.
    actor : str
        Who: `observer`, or a person and the way they spoke (`token:...`, `silence:...`).
    data : dict
        JSON: of an intent the whole order, else what was sent or seen.
    previous, hash : str
        SHA-256, hexadecimal, of the row before and of this one.
    """

    number: int
    at: float
    action: str
    event: str
    actor: str
    data: dict[str, Any]
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that Alertmanager is told, for as long as it lasts.

    Attributes
    ----------
    labels : mapping
        What it is; two with the same are one.
    annotations : mapping
        What is said of it, which may change.
    starts, ends : float
        Seconds since the epoch; it lasts while `ends` is None.
    link : str
        Page that explains it.
    """

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts: float
    ends: float | None = None
    link: str = ""
