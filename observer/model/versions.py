"""Versions of a model and their references."""

from __future__ import annotations

from dataclasses import dataclass

from observer.model.findings import EvidenceReport
from observer.model.reports import QualityReport


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
