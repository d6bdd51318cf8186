"""Windows, what was found in them, and the evidence for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, NamedTuple

from detectors.base import Verdict
from detectors.why.covariance import Pair
from detectors.why.decomposition import Decomposition


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
class SegmentEvidence:
    """What a watch says of one segment.

    Attributes
    ----------
    segment : str
    evidence : float
        Decimal logarithm of the mean evidence of its streams.
    named : bool
        Whether e-BH names it at the level of pages: of the segments named, hardly any did not change.
    stream : StreamEvidence
        The one with the most.
    """

    segment: str
    evidence: float
    named: bool
    stream: StreamEvidence


@dataclass(frozen=True, slots=True)
class Period:
    """Windows of event time, milliseconds: from the start of the first to the end of the last."""

    start: int
    end: int
    windows: int


@dataclass(frozen=True, slots=True)
class Performance:
    """A change of realised loss between labelled cohorts.

    Attributes
    ----------
    loss : str
        `error rate` or `mean absolute error`.
    cohort, baseline : Period
        Now and before.
    predictions, labelled, baseline_labelled : int
    change : Decomposition
        Of all rows together, in one cell.
    by : mapping
        Dimension -> the change split exactly over its segments: a changed mix of them, and changes within.
    """

    loss: str
    cohort: Period
    baseline: Period
    predictions: int
    labelled: int
    baseline_labelled: int
    change: Decomposition
    by: Mapping[str, Decomposition]


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
    pairs: tuple[Pair, ...] = ()
    """Pairs of columns whose correlation, or columns whose spread, moved most; of findings of `covariance`,
    and of pages and tickets about inputs."""
    segments: tuple[SegmentEvidence, ...] = ()
    """Segments with evidence of their own, most first; of pages and tickets."""
    performance: Performance | None = None
    """The change of quality since it began, split into mix and within; of pages and tickets about quality."""

    @property
    def id(self) -> str:
        """16 hexadecimal digits that name it, whoever sees it and however often."""
        window = self.window
        parts = (window.model, window.version, window.segment, str(window.start), str(self.end))
        whole = "\0".join((*parts, self.subject, self.detector, self.tier))
        return blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


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
