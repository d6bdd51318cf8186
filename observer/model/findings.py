"""Windows, what was found in them, and the evidence for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from detectors.base import Verdict


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
