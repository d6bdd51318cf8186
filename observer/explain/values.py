"""What an explanation holds, and its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from detectors.why import NOTE
from detectors.why.changes import CategoryChange, NumberChange
from detectors.why.covariance import Pair
from detectors.why.impact import Impact
from detectors.why.ranking import RankedFeature, RankedSegment
from detectors.why.slices import Slice
from observer.model import Judged, Performance, Period, StreamEvidence
from observer.plain import plain


class LackingError(Exception):
    """A part cannot be given; the message says why."""


@dataclass(frozen=True, slots=True)
class ImpactRanking:
    """What each column's changed shares alone would do to the expected loss."""

    loss: str
    """What is lost, and where its expectation comes from, in words."""
    columns: tuple[Impact, ...]


@dataclass(frozen=True, slots=True)
class SegmentRanking:
    """Segments by evidence that they differ from their own past."""

    baseline: Period
    segments: tuple[RankedSegment, ...]


@dataclass(frozen=True, slots=True)
class SliceFound:
    """A slice of rows that is more frequent in the window than in the reference."""

    slice: Slice
    reference_share: float
    window_share: float
    """Of the held-out sampled rows."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a window differs from its reference, as far as what is stored can say.

    Attributes
    ----------
    start, end : int
        Of the window, milliseconds.
    features : tuple of RankedFeature
        By evidence and effect; columns that nothing could be said of are left out.
    columns : mapping
        Column -> what it held before and holds now.
    pairs : tuple of Pair
        Where the covariance of the columns changed most.
    judged : tuple of Judged
        Every verdict.
    streams : tuple of StreamEvidence
        Evidence over time, strongest first.
    importance : tuple of (str, float) or None
        Column -> drop of the AUC of a classifier that tells the window's rows from the reference's.
    missing : mapping
        Name of a part -> why it is not given.
    note : str
        How all of it is to be read.
    """

    model: str
    version: str
    segment: str
    start: int
    end: int
    status: str
    rows: int
    reference: str
    reference_rows: int
    features: tuple[RankedFeature, ...]
    columns: Mapping[str, NumberChange | CategoryChange]
    pairs: tuple[Pair, ...]
    judged: tuple[Judged, ...]
    streams: tuple[StreamEvidence, ...] = ()
    impact: ImpactRanking | None = None
    segments: SegmentRanking | None = None
    performance: Performance | None = None
    importance: tuple[tuple[str, float], ...] | None = None
    slices: tuple[SliceFound, ...] | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    note: str = NOTE


def as_json(explanation: Explanation) -> dict[str, Any]:
    """What `json.dumps` takes; see `observer.plain`."""
    found = plain(explanation)
    assert isinstance(found, dict)  # noqa: S101 - of a dataclass
    return {"kind": "explanation", **found}
