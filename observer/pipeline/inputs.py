"""Open windows of one model's predictions: what came in, summarised per version and segment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from detectors.base import Bools, Column, Ints, Numbers, TableColumn
from detectors.summaries.answers import Answers
from detectors.summaries.packing import pack, unpack
from detectors.summaries.table import Encoded, Table, TableSummary
from observer.model import Predictions, WindowKey
from observer.ports import Checkpoints
from observer.references import EMBEDDING, LATENCY, PREDICTION, SCORE, Reference
from observer.segments import Dimension
from observer.windows import model_prefix, start_prefix, storage_key, storage_rest, window_storage_key

OPEN, CLOSED = "windows", "closed"
LEARNING_ROWS = 20_000
LEARNING_CELLS = 4_000_000
"""Of a sample that is learnt from: rows times columns; a wider table gets fewer rows."""


def groups(codes: Ints) -> Iterator[tuple[int, NDArray[np.intp] | None]]:
    """Distinct values of `codes` with the rows that bear them; None for "all rows"."""
    if len(codes) == 0:
        return
    low, high = int(codes.min()), int(codes.max())
    if low == high:
        yield low, None
        return
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    cuts = np.flatnonzero(np.diff(ordered)) + 1
    starts = np.concatenate(([0], cuts))
    for start, rows in zip(starts, np.split(order, cuts), strict=True):
        yield int(ordered[start]), rows


def _timed(starts: Ints, late: Bools) -> Iterator[tuple[int, bool, NDArray[np.intp] | None]]:
    """`groups` of events by window, those in time and those late."""
    for code, rows in groups(starts * 2 + late):
        yield code // 2, bool(code % 2), rows


def expired(state: Checkpoints, table: str, model: str, before: int) -> list[bytes]:
    """Keys of a model's windows in `table` that start before `before`."""
    stop = start_prefix(model, before)
    return [key for key, _ in takewhile(lambda item: item[0] < stop, state.scan(table, model_prefix(model)))]


def columns_of(batch: Predictions) -> dict[str, TableColumn]:
    """All columns of a batch that are summarised, by their names in references and metrics."""
    vectors = {f"{EMBEDDING}.{name}": column for name, column in batch.embeddings.items()}
    return {**values_of(batch), **vectors}


def values_of(batch: Predictions) -> dict[str, Column]:
    """`columns_of` but for vectors; features named as columns of the service's own are left out."""
    features = {name: column for name, column in batch.features.items() if not name.startswith(("@", "#"))}
    columns: dict[str, Column] = {**features, PREDICTION: batch.prediction}
    for name, score in batch.scores.items():
        columns[f"{SCORE}.{name}" if name else SCORE] = score
    columns[LATENCY] = Numbers(batch.latency_ms, nulls=np.isnan(batch.latency_ms))
    return columns


@dataclass(slots=True, eq=False)
class Window:
    """An open or stored window: its summary, and the reference it is summarised under.

    What came late is kept apart: the verdict does not know it, whether the window happened to be open still
    or not, so that the verdict depends neither on polls nor on how partitions interleaved.
    """

    key: WindowKey
    reference: str
    """Version of the reference; "" while one is being learnt."""
    summary: TableSummary
    """What came in time."""
    late: TableSummary | None = None
    """What came late; None for nothing."""
    dirty: bool = True
    answers: Answers = field(default_factory=Answers)
    """Of what came in time; of all events, of segments only how many were copies."""

    def whole(self) -> TableSummary:
        """All events of the window, late ones too; not to be changed."""
        if self.late is None:
            return self.summary
        both = self.summary.table.zero()
        both.sample.size = self.summary.sample.size
        both.merge(self.summary)
        both.merge(self.late)
        return both

    def part(self, *, late: bool) -> TableSummary:
        """The summary that events in time, or late ones, are to be added to."""
        self.dirty = True
        if not late:
            return self.summary
        if self.late is None:
            self.late = self.summary.table.zero()
            self.late.sample.size = self.summary.sample.size
        return self.late

    def shorten(self, rows: int, hidden: Iterable[str] = ()) -> None:
        """Keep samples of at most `rows` rows, and without the columns `hidden`."""
        for summary in (self.summary, self.late):
            if summary is not None:
                summary.sample.drop(hidden)
                summary.sample.shorten(min(summary.sample.size, rows))

    def vectors(self) -> frozenset[str]:
        """Columns of vectors that samples hold, which only learning needs."""
        parts = (self.summary, self.late)
        return frozenset(name for part in parts if part is not None for name in part.sample.vectors)

    def to_bytes(self) -> bytes:
        """Everything but the reference's own table."""
        return pack(
            {
                "version": self.key.version,
                "segment": self.key.segment,
                "start": self.key.start,
                "reference": self.reference,
                "late": self.late.to_bytes() if self.late else b"",
                "summary": self.summary.to_bytes(),
                "answers": self.answers.to_bytes(),
            }
        )


@dataclass(slots=True)
class Inputs:
    """The open windows of one model.

    Parameters
    ----------
    references : mapping
        Version of a model -> its reference; versions that lack one are being learnt.
    tables : mapping
        Version of a reference -> its table, old ones included: stored windows need them.
    sample_rows, hidden : int, frozenset of str
        Rows that a closed window keeps, and columns that it does not. While a version is being learnt its
        open windows keep more of both.
    """

    model: str
    state: Checkpoints
    references: Mapping[str, Reference]
    tables: Mapping[str, Table]
    sample_rows: int
    hidden: frozenset[str]
    open: dict[WindowKey, Window] = field(default_factory=dict)

    def restore(self) -> None:
        """Read the open windows of the last checkpoint."""
        for _, value in self.state.scan(OPEN, model_prefix(self.model)):
            window = self._read(value)
            self.open[window.key] = window

    def _read(self, value: bytes) -> Window:
        fields = unpack(value)
        key = WindowKey(self.model, fields["version"], fields["segment"], fields["start"])
        table = self._table(fields["reference"], key.segment)
        summary = TableSummary.from_bytes(fields["summary"], table)
        late = TableSummary.from_bytes(fields["late"], table) if fields["late"] else None
        answers = Answers.from_bytes(fields.packed("answers")) if "answers" in fields else Answers()
        return Window(key, fields["reference"], summary, late, dirty=False, answers=answers)

    def _table(self, reference: str, segment: str) -> Table:
        if not reference:
            return Table.unknown(0 if segment else LEARNING_ROWS)
        table = self.tables[reference]
        return replace(table, sample_size=0) if segment else table

    def add(
        self,
        version: str,
        batch: Predictions,
        columns: Mapping[str, TableColumn],
        starts: Ints,
        dimensions: tuple[Dimension, ...],
        segments: NDArray[np.uint8],
        late: Bools,
        closed: Bools,
        *,
        copied: bool = False,
    ) -> None:
        """Add events of one version; all of them copies of requests, or none.

        `columns` are the batch's, as they may be looked at; `starts` int64[n]: window of each event;
        `segments` uint8[n, D]: codes of `dimensions`; `late` bool[n]: it is kept apart from what came in
        time; `closed` bool[n]: its window was closed before.
        """
        reference = self.references.get(version)
        table = reference.table if reference else Table.unknown(LEARNING_ROWS)
        if reference is None:
            columns = {**columns, **{f"#{name}": column for name, column in batch.tags.items()}}
        encoded = table.encode(batch.keys[:, 0], columns)
        for start, is_late, rows in _timed(starts, late):
            part = encoded if rows is None else encoded.take(rows)
            is_closed = bool(closed[0 if rows is None else rows[0]])
            key = WindowKey(self.model, version, "", start)
            if not is_late and not is_closed:
                chosen = slice(None) if rows is None else rows
                failed = None if batch.errors is None else batch.errors[chosen]
                self._window(key, closed=False).answers.update(
                    batch.latency_ms[chosen], failed, copied=copied
                )
            self._update(key, part, late=is_late, closed=is_closed)
            for d, dimension in enumerate(dimensions):
                codes = segments[:, d] if rows is None else segments[rows, d]
                for code, members in groups(codes.astype(np.int64)):
                    key = WindowKey(self.model, version, dimension.name(code), start)
                    piece = part if members is None else part.take(members)
                    if copied and not is_late and not is_closed:
                        count = len(codes) if members is None else len(members)
                        self._window(key, closed=False).answers.copied += count
                    self._update(key, piece, late=is_late, closed=is_closed)

    def _update(self, key: WindowKey, part: Encoded, *, late: bool, closed: bool) -> None:
        window = self._window(key, closed=closed)
        reference = self.references.get(key.version)
        if window.reference != (reference.version if reference else ""):
            # Opened before its version's reference was learnt or replaced: it stays what it was.
            part = window.summary.table.encode(part.keys, part.columns)
        summary = window.part(late=late)
        summary.update(part)
        if not window.reference and summary.sample.columns:
            window.shorten(LEARNING_CELLS // len(summary.sample.columns))
        if closed:
            self._store(window)

    def duplicates(self, version: str, starts: Ints, late: Bools, closed: Bools) -> None:
        """Note events that repeated one already counted; arguments as in `add`."""
        for start, is_late, rows in _timed(starts, late):
            is_closed = bool(closed[0 if rows is None else rows[0]])
            window = self._window(WindowKey(self.model, version, "", start), closed=is_closed)
            window.part(late=is_late).counts.duplicates += len(starts) if rows is None else len(rows)
            if is_closed:
                self._store(window)

    def _window(self, key: WindowKey, *, closed: bool) -> Window:
        """The window, open or stored; a new one if there is none."""
        if not closed:
            window = self.open.get(key)
            if window is None:
                window = self.open[key] = self._new(key)
            return window
        value = self.state.get(CLOSED, window_storage_key(key))
        return self._new(key) if value is None else self._read(value)

    def _new(self, key: WindowKey) -> Window:
        reference = self.references.get(key.version)
        version = reference.version if reference else ""
        return Window(key, version, self._table(version, key.segment).zero())

    def due(self, before: int) -> list[Window]:
        """Open windows that start before `before`, oldest first."""
        due = [window for key, window in self.open.items() if key.start < before]
        return sorted(due, key=lambda window: (window.key.start, window.key.version, window.key.segment))

    def close(self, window: Window) -> None:
        """Move a window to the closed ones."""
        del self.open[window.key]
        self._store(window)
        self.state.delete(OPEN, window_storage_key(window.key))

    def _store(self, window: Window) -> None:
        if not window.reference:
            window.shorten(self.sample_rows, self.hidden | window.vectors())
        self.state.put(CLOSED, window_storage_key(window.key), window.to_bytes())

    def save(self) -> None:
        """Write what changed since the last call."""
        for key, window in self.open.items():
            if window.dirty:
                self.state.put(OPEN, window_storage_key(key), window.to_bytes())
                window.dirty = False

    def forget(self, before: int) -> None:
        """Delete closed windows that start before `before`."""
        for key in expired(self.state, CLOSED, self.model, before):
            self.state.delete(CLOSED, key)

    def closed_of(self, version: str, since: int) -> Iterator[Window]:
        """Stored windows of a version, all segments together, from `since` on, oldest first."""
        own = storage_rest(storage_key(self.model, 0, version, ""))
        first = start_prefix(self.model, since)
        for key, value in self.state.scan(CLOSED, model_prefix(self.model)):
            if storage_rest(key) == own and key >= first:
                yield self._read(value)

    def closed(self, start: int | None = None) -> Iterator[Window]:
        """Stored windows, oldest first; only those that start at `start` if it is given."""
        prefix = model_prefix(self.model) if start is None else start_prefix(self.model, start)
        for _, value in self.state.scan(CLOSED, prefix):
            yield self._read(value)
