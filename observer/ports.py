"""What the service needs from the outside, in small protocols; `app` hands the implementations over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from detectors.summaries.outcomes import Outcomes
from detectors.summaries.table import TableSummary
from observer.model import (
    EvidenceReport,
    Finding,
    Judged,
    Messages,
    ObjectiveStanding,
    Partition,
    QualityReport,
    ReferenceState,
    Rejected,
    Said,
    Tier,
    VersionState,
    WindowReport,
)


class Clock(Protocol):
    """The only reader of the wall clock."""

    def now(self) -> float:
        """Seconds since the epoch."""


class Source(Protocol):
    """A stream of payloads in numbered partitions that can be read again from a position."""

    def open(self, positions: Mapping[Partition, int]) -> None:
        """Start reading; a partition without a position starts where the source's Spec says."""

    def poll(self, limit: int, timeout: float) -> Messages:
        """Up to `limit` messages, waiting at most `timeout` seconds for the first; may be empty."""

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Tell the outside (a consumer group) how far we are; never what we resume from."""

    def lag(self) -> Mapping[Partition, int]:
        """Messages not yet read, per partition, as last known without asking the server."""

    def close(self) -> None:
        """Stop reading and free everything."""


class DeadLetters(Protocol):
    """Where rejected payloads go."""

    @property
    def full(self) -> bool:
        """Whether so many wait to be written that nothing more should be read until `flush` succeeds."""

    def reject(self, rejected: Sequence[Rejected]) -> None:
        """Take them; may buffer."""

    def flush(self) -> None:
        """Return once all are durable; raises `Retryable` when that fails."""

    def close(self) -> None:
        """Flush and free everything."""


class Checkpoints(Protocol):
    """Named values in tables; nothing is visible to others, or survives a crash, before `commit`."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value, uncommitted changes included."""

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """Set the value."""

    def delete(self, table: str, key: bytes) -> None:
        """Remove the value if it is there."""

    def scan(self, table: str, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Key and value of everything under `prefix`, in key order."""

    def commit(self) -> None:
        """Make every change since the last commit durable at once, those of `PendingJoins` too."""


class PendingJoins(Protocol):
    """Fixed-width records by 128-bit key, in named spaces; part of the same transaction as `Checkpoints`."""

    def fetch(self, space: str, keys: NDArray[np.uint64], width: int) -> NDArray[np.uint8]:
        """uint8[n, width]: the record of each row of `keys` (uint64[n, 2]), all zero where absent."""

    def add(self, space: str, keys: NDArray[np.uint64], records: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Set the records whose keys are new, and say which are; of a repeated key the first row stays."""

    def store(self, space: str, keys: NDArray[np.uint64], records: NDArray[np.uint8]) -> None:
        """Set the records (uint8[n, width]); of a repeated key the last row stays."""

    def spaces(self) -> dict[str, int]:
        """The spaces that exist, by name in order, and how many records each holds."""

    def drop(self, space: str) -> None:
        """Remove a space and its records."""


class Judge(Protocol):
    """Judges the windows of one model: each by itself, and all of a version in their order."""

    def judge(self, reference: TableSummary, window: TableSummary) -> tuple[Judged, ...]:
        """Every verdict on the window, corrected for how many there are."""

    def inputs(
        self,
        version: str,
        reference: TableSummary,
        name: str,
        start: int,
        windows: Mapping[str, TableSummary],
        judged: Mapping[str, Sequence[Judged]],
    ) -> Said:
        """Advance the watch of a version's inputs by one window; each once, in order of time.

        `name` identifies the reference: with another one the watch begins anew. `windows` are the segments
        that had enough events, `""` for all events; `judged` is what `judge` said of them.
        """

    def quality(self, version: str, start: int, cohorts: Mapping[str, Outcomes]) -> Said:
        """Advance the watch of a version's quality by one final cohort, by segment; as `inputs`."""

    def remember(
        self,
        version: str,
        reference: TableSummary,
        name: str,
        lessons: Iterable[tuple[int, TableSummary]],
        history: Sequence[bytes] = (),
    ) -> None:
        """Begin the watch of a version's inputs with reference windows, in time order, if it is new.

        They are those that came with the reference, `history` (`detectors.watch.history.Row` in bytes), or
        else `lessons`: start and summary of each.
        """

    def resume(
        self, version: str, reference: TableSummary | None, name: str
    ) -> Mapping[str, tuple[int, Said]]:
        """Where a version's watches stood at the last checkpoint: by kind, the last window and what was said.

        The report is that of now: a page has reset the evidence, say.
        """

    def close(self, version: str) -> int:
        """A person ends the version's incidents; returns how many were open."""

    def release(self, version: str) -> None:
        """Let go of a version's watches: it is not watched any more, or begins anew."""

    def save(self) -> None:
        """Write what changed into the state; the caller commits."""


class Reports(Protocol):
    """Receives results, in event-time order per model; must tolerate seeing one again after a crash."""

    def window(self, report: WindowReport) -> None:
        """A window closed and was judged."""

    def quality(self, report: QualityReport) -> None:
        """A cohort's quality changed, or became final."""


class History(Protocol):
    """Past results, for the page and the API; from any thread.

    Whatever fails behind it raises `Retryable`. Lists are newest first unless said otherwise; `before` leaves
    out what starts (of findings: ends) at that time, milliseconds, or later.
    """

    def revision(self) -> int:
        """Grows whenever anything was written."""

    def versions(self, model: str | None = None) -> list[VersionState]:
        """Every model version with its latest windows, by name."""

    def began(self, model: str) -> dict[str, int]:
        """Start of the first window that is kept of each version, milliseconds."""

    def windows(
        self, model: str, version: str, segment: str = "", *, before: int | None = None, limit: int = 100
    ) -> list[WindowReport]:
        """Windows without their findings and evidence."""

    def segments(self, model: str, version: str, start: int) -> list[WindowReport]:
        """The windows of all segments that start at `start`, by name."""

    def evidence(
        self, model: str, version: str, watch: str, *, before: int | None = None, limit: int = 100
    ) -> list[tuple[int, EvidenceReport]]:
        """Start of each window, and where the watch stood after it."""

    def quality(
        self,
        model: str,
        version: str,
        arm: str = "",
        segment: str = "",
        *,
        before: int | None = None,
        limit: int = 100,
    ) -> list[QualityReport]:
        """Cohorts as they are now known."""

    def findings(
        self,
        model: str | None = None,
        version: str | None = None,
        tiers: Sequence[Tier] = (),
        *,
        before: int | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[tuple[str, Finding]]:
        """Findings, each with its id; of some tiers, or of all.

        Of those that end at one time ids are in order; with `after` the answer goes on in that of `before`,
        from after that id: end and id of the last finding of one page give the next.
        """

    def finding(self, identity: str) -> Finding | None:
        """The finding of that id."""

    def objectives(self, model: str | None = None) -> list[ObjectiveStanding]:
        """Where every objective stands, by model and name."""

    def references(self, model: str | None = None) -> list[ReferenceState]:
        """What the windows of each version are compared with, by model."""
