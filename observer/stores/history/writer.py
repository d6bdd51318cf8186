"""Results into the database, in a thread of its own: however slow or broken it is, nothing else waits."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Table, case, delete, func, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from observer.errors import ObserverError
from observer.model import (
    EvidenceReport,
    Finding,
    ObjectiveStanding,
    QualityReport,
    ReferenceState,
    WindowReport,
)
from observer.stores.history import tables
from observer.stores.history.database import Database
from observer.stores.history.nouns import encode, fit, shortened
from observer.stores.history.spec import HistorySpec

log = logging.getLogger(__name__)

T = TypeVar("T")
Row = dict[str, Any]
Key = tuple[str, tuple[Any, ...]]
_BATCH = 1_000
_PRUNE_EVERY = 600.0
_PIECE = 2_000
"""Rows that one transaction drops."""
_OVERHEAD = 500
"""Bytes of a waiting row beside its data."""


class HistoryWriter:
    """Receives results and keeps them; one seen again replaces itself.

    What the database has not taken yet waits in a buffer of at most `limit` bytes, of which the oldest are
    dropped and counted when it is full.

    Parameters
    ----------
    now : callable
        Seconds since the epoch.
    gather : float
        Seconds that results gather before they are written together.
    """

    def __init__(
        self,
        database: Database,
        spec: HistorySpec,
        now: Callable[[], float],
        *,
        limit: int = 64 << 20,
        gather: float = 0.5,
        retry: float = 2.0,
    ) -> None:
        self._database = database
        self._spec = spec
        self._now = now
        self._limit = limit
        self._gather = gather
        self._retry = retry
        self._waiting: OrderedDict[Key, Row] = OrderedDict()
        self._bytes = 0
        self._writing = 0
        self._changed = threading.Condition()
        self._ending = threading.Event()
        self._pruned: float | None = None
        self._counts: Mapping[str, int] = {"written": 0, "full": 0, "refused": 0}
        self.problem = ""
        """What is wrong with the database now, in words; empty while it takes what it is given."""
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    # Results, from any thread

    def window(self, report: WindowReport) -> None:
        """Keep a window, its findings, and where its version's watch stands."""
        self._safely(self._window, report)

    def _window(self, report: WindowReport) -> None:
        key = report.key
        row = {
            **_of(key.model, key.version),
            "segment": key.segment,
            "start": key.start,
            "end": report.end,
            "rows": report.rows,
            "status": report.status,
            "data": encode(replace(report, findings=(), evidence=None, answers=None)),
        }
        self._put(tables.WINDOWS, row)
        if not key.segment:
            shown = {name: row[name] for name in ("model", "version", "start", "end", "rows", "status")}
            self._put(tables.VERSIONS, {**shown, "reference": report.reference, "seen": self._now()})
        if report.evidence is not None:
            self._evidence(key.model, key.version, key.start, report.end, report.evidence)
        self._findings(report.findings)

    def quality(self, report: QualityReport) -> None:
        """Keep a cohort's quality as it is now known."""
        self._safely(self._quality, report)

    def _quality(self, report: QualityReport) -> None:
        row = {
            **_of(report.model, report.version),
            "arm": report.arm,
            "segment": report.segment,
            "start": report.start,
            "end": report.end,
            "valued": int(bool(report.values)),
            "data": encode(replace(report, findings=(), evidence=None, losses=())),
        }
        self._put(tables.QUALITY, row)
        if report.evidence is not None:
            self._evidence(report.model, report.version, report.start, report.end, report.evidence)
        self._findings(report.findings)

    def objective(self, standing: ObjectiveStanding, at: int) -> None:
        """Keep where an objective stands at `at`, milliseconds."""
        names = ("name", "arm", "segment")
        row = {**_of(standing.model, standing.version), **{name: getattr(standing, name) for name in names}}
        self._put(tables.OBJECTIVES, {**row, "end": at, "data": encode(standing)})

    def reference(self, state: ReferenceState) -> None:
        """Keep what a version's windows are compared with."""
        rank = 0 if state.reference else 1
        self._put(tables.REFERENCES, {**_of(state.model, state.version), "rank": rank, "data": encode(state)})

    def _evidence(self, model: str, version: str, start: int, end: int, report: EvidenceReport) -> None:
        row = {**_of(model, version), "watch": report.watch, "start": start, "end": end}
        self._put(tables.EVIDENCE, {**row, "data": encode(shortened(report))})

    def _findings(self, findings: tuple[Finding, ...]) -> None:
        for finding in findings:
            window = finding.window
            row = {**_of(window.model, window.version), "segment": window.segment, "start": window.start}
            more = {"end": finding.end, "tier": finding.tier, "data": encode(finding)}
            self._put(tables.FINDINGS, {"id": finding.id, **row, **more})

    def _put(self, table: Table, row: Row) -> None:
        row = {name: fit(value) for name, value in row.items()}
        key = (table.name, tuple(row[column.name] for column in table.primary_key))
        with self._changed:
            if self._ending.is_set():
                return
            before = self._waiting.pop(key, None)
            self._forget(before)
            if before is not None and table is tables.VERSIONS and before["start"] >= row["start"]:
                # A window told again after a restart neither turns the latest back nor was seen just now.
                row = before if before["start"] > row["start"] else {**row, "seen": before["seen"]}
            self._waiting[key] = row
            self._bytes += _size(row)
            while self._bytes > self._limit and self._waiting:
                self._forget(self._waiting.popitem(last=False)[1])
                self._count("full")
            self._changed.notify_all()

    def _safely(self, keep: Callable[[T], None], report: T) -> None:
        """Whatever cannot be kept is counted: the pipeline must not end for it."""
        try:
            keep(report)
        except (ValueError, TypeError):
            self._count("refused")
            log.exception("history: a result cannot be kept")

    def _forget(self, row: Row | None) -> None:
        self._bytes -= _size(row) if row is not None else 0

    def _count(self, what: str, number: int = 1) -> None:
        self._counts = {**self._counts, what: self._counts[what] + number}

    @property
    def counts(self) -> Mapping[str, int]:
        """Rows `written`, and dropped because the buffer was `full` or the database `refused` them."""
        return self._counts

    @property
    def waiting(self) -> int:
        """Rows that the database has not taken yet."""
        return len(self._waiting) + self._writing

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until everything so far is written; False when that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._writing, timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Write what waits, for at most `timeout` seconds, and end the thread."""
        if not self.problem:
            self.flush(timeout)
        self._ending.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(timeout)

    # The thread

    def _run(self) -> None:
        pause = self._gather
        while not self._ending.is_set():
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting) or self._ending.is_set(), 60.0)
            self._ending.wait(0.0 if self._ending.is_set() else pause)
            try:
                self._write_some()
                self._prune()
                self._say("")
                pause = self._gather
            except ObserverError as error:
                self._say(str(error))
                pause = self._retry
            except SQLAlchemyError as error:
                self._say(self._database.words(error))
                pause = self._retry
            except Exception as error:
                log.exception("history: unforeseen")
                self._say(f"unforeseen: {type(error).__name__}")
                pause = self._retry

    def _say(self, problem: str) -> None:
        if problem and not self.problem:
            log.warning("history cannot be kept, the service goes on without: %s", problem)
        elif self.problem and not problem:
            log.warning("history is kept again; %d rows were dropped", self._counts["full"])
        self.problem = problem

    def _write_some(self) -> None:
        with self._changed:
            batch = [self._waiting.popitem(last=False) for _ in range(min(len(self._waiting), _BATCH))]
            for _, row in batch:
                self._forget(row)
            self._writing = len(batch)
        left = batch
        try:
            try:
                self._write(batch)
                left = []
            except (DataError, IntegrityError):  # something in it is refused: one by one
                while left:
                    try:
                        self._write(left[:1])
                    except (DataError, IntegrityError) as error:
                        self._count("refused")
                        log.warning("history: a row of %s is refused: %s", left[0][0][0], error.orig)
                    left = left[1:]
        finally:
            with self._changed:
                for key, row in reversed(left):
                    if key not in self._waiting:  # else there is a newer one
                        self._waiting[key] = row
                        self._waiting.move_to_end(key, last=False)
                        self._bytes += _size(row)
                self._writing = 0
                self._changed.notify_all()

    def _write(self, batch: list[tuple[Key, Row]]) -> None:
        grouped: dict[str, list[Row]] = {}
        for (table, _), row in batch:
            grouped.setdefault(table, []).append(row)
        if not grouped:
            return
        with self._database.writing() as connection:
            for name in sorted(grouped):  # one order, so that two processes never wait for each other
                _upsert(connection, tables.METADATA.tables[name], grouped[name], self._database.is_sqlite)
            connection.execute(update(tables.META).values(revision=tables.META.c.revision + 1))
        self._count("written", len(batch))

    def _prune(self) -> None:
        now = self._now()
        if self._pruned is not None and abs(now - self._pruned) < _PRUNE_EVERY:
            return
        self._pruned = now
        prune(self._database, self._spec, self._ending.is_set)


def _of(model: str, version: str) -> Row:
    return {"model": model, "version": version}


def _size(row: Row) -> int:
    return _OVERHEAD + len(row.get("data", b""))


def _upsert(connection: Connection, table: Table, rows: list[Row], is_sqlite: bool) -> None:
    keys = {column.name for column in table.primary_key}
    insert = (sqlite if is_sqlite else postgresql).insert(table)
    changed: dict[str, Any] = {
        column.name: insert.excluded[column.name] for column in table.c if column.name not in keys
    }
    newer = None
    if table is tables.VERSIONS:
        newer = insert.excluded.start >= table.c.start
        told_again = insert.excluded.start == table.c.start
        changed["seen"] = case((told_again, table.c.seen), else_=insert.excluded.seen)
    connection.execute(
        insert.on_conflict_do_update(index_elements=sorted(keys), set_=changed, where=newer), rows
    )


def prune(database: Database, spec: HistorySpec, stopping: Callable[[], bool] = lambda: False) -> None:
    """Drop what is older than the retention, by each model's own event time, and beyond the most rows.

    A piece at a time, each in a transaction of its own: the ledger waits for none of them long, and a
    database that cuts off long statements cuts off none.
    """
    for table in tables.ENDING:
        newest = select(table.c.model, func.max(table.c.end)).group_by(table.c.model)
        with database.reading() as connection:
            ends = connection.execute(newest).all()
        for model, end in ends:
            old = (table.c.model == model) & (table.c.end < end - spec.retention)
            _delete(database, table, old, stopping)
        with database.reading() as connection:
            number = connection.execute(select(func.count()).select_from(table)).scalar_one()
            if number <= spec.max_rows:
                continue
            ordered = select(table.c.end).order_by(table.c.end).offset(number - spec.max_rows).limit(1)
            first = connection.execute(ordered).scalar_one()
        _delete(database, table, table.c.end < first, stopping)


def _delete(database: Database, table: Table, old: ColumnElement[bool], stopping: Callable[[], bool]) -> None:
    keys = list(table.primary_key)
    piece = delete(table).where(tuple_(*keys).in_(select(*keys).where(old).limit(_PIECE)))
    while not stopping():
        with database.writing() as connection:
            if connection.execute(piece).rowcount < _PIECE:
                return
