"""Past results out of the database, as nouns of the model."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, Table, and_, func, literal, select, text, tuple_

from observer.model import (
    EvidenceReport,
    Finding,
    ObjectiveStanding,
    QualityReport,
    ReferenceState,
    Tier,
    VersionState,
    WindowReport,
)
from observer.stores.history import tables
from observer.stores.history.database import Database
from observer.stores.history.nouns import decode, fit

T = TypeVar("T")
_BEGINNING = -(2**62)
RECENT = 48
"""Windows in `VersionState.recent`."""


class HistoryReader:
    """The port `History`, for any thread; every method raises `Retryable` when the database fails.

    Parameters
    ----------
    current : callable, optional
        Model -> name, version, arm and segment of each objective that it has now: the last word of one that
        it has no more, which may be that it pages, would stand until it is old.
    """

    def __init__(
        self, database: Database, current: Callable[[str], Container[tuple[str, ...]]] | None = None
    ) -> None:
        self._database = database
        self._current = current

    def revision(self) -> int:
        """Grows whenever anything was written."""
        with self._database.reading() as connection:
            return int(connection.execute(select(tables.META.c.revision)).scalar_one())

    def versions(self, model: str | None = None) -> list[VersionState]:
        """Every model version with its latest windows, by name."""
        table = tables.VERSIONS
        wanted = select(table).order_by(table.c.model, table.c.version)
        if model is not None:
            wanted = wanted.where(table.c.model == fit(model))
        with self._database.reading() as connection:
            rows = connection.execute(wanted).all()
            recent = _recent(connection, model)
            watches = {
                watch: _latest(connection, tables.EVIDENCE, EvidenceReport, model, watch=watch)
                for watch in ("inputs", "quality")
            }
            cohorts = _latest(connection, tables.QUALITY, QualityReport, model, arm="", segment="", valued=1)
        return [
            VersionState(
                **row._asdict(),
                recent=tuple(recent.get((row.model, row.version), ())),
                inputs=watches["inputs"].get((row.model, row.version)),
                quality=watches["quality"].get((row.model, row.version)),
                cohort=cohorts.get((row.model, row.version)),
            )
            for row in rows
        ]

    def began(self, model: str) -> dict[str, int]:
        """Start of the first window that is kept of each version, milliseconds."""
        table = tables.WINDOWS
        wanted = select(table.c.version, func.min(table.c.start)).group_by(table.c.version)
        wanted = wanted.where(table.c.model == fit(model), table.c.segment == "")
        with self._database.reading() as connection:
            return {row[0]: row[1] for row in connection.execute(wanted)}

    def windows(
        self, model: str, version: str, segment: str = "", *, before: int | None = None, limit: int = 100
    ) -> list[WindowReport]:
        """The windows that start before `before` (milliseconds), newest first."""
        table = tables.WINDOWS
        wanted = _keyed(table, model=model, version=version, segment=segment)
        return self._nouns(_page(wanted, table, before, limit), WindowReport)

    def segments(self, model: str, version: str, start: int) -> list[WindowReport]:
        """The windows of all segments that start at `start`, by name."""
        table = tables.WINDOWS
        wanted = _keyed(table, model=model, version=version, start=start).where(table.c.segment != "")
        return self._nouns(wanted.order_by(table.c.segment).limit(200), WindowReport)

    def evidence(
        self, model: str, version: str, watch: str, *, before: int | None = None, limit: int = 100
    ) -> list[tuple[int, EvidenceReport]]:
        """Start of each window and where the watch stood after it, newest first."""
        table = tables.EVIDENCE
        wanted = _page(_keyed(table, model=model, version=version, watch=watch), table, before, limit)
        with self._database.reading() as connection:
            rows = connection.execute(wanted.add_columns(table.c.start)).all()
        return [(row.start, decode(row.data, EvidenceReport)) for row in rows]

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
        """The cohorts that start before `before`, newest first."""
        table = tables.QUALITY
        wanted = _keyed(table, model=model, version=version, arm=arm, segment=segment)
        return self._nouns(_page(wanted, table, before, limit), QualityReport)

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
        """Findings of windows that end before `before`, newest first, each with its id.

        With `after` also those that end at `before` itself, from after that id on.
        """
        table = tables.FINDINGS
        wanted = select(table.c.id, table.c.data)
        for column, value in ((table.c.model, model), (table.c.version, version)):
            wanted = wanted.where(column == fit(value)) if value is not None else wanted
        wanted = wanted.where(table.c.tier.in_(tiers)) if tiers else wanted
        if tiers and "info" not in tiers:  # says nothing new, but to databases, which then take its index
            wanted = wanted.where(text("tier <> 'info'"))
        if before is not None and after is not None:
            wanted = wanted.where(table.c.end <= before, (table.c.end < before) | (table.c.id > fit(after)))
        elif before is not None:
            wanted = wanted.where(table.c.end < before)
        wanted = wanted.order_by(table.c.end.desc(), table.c.id).limit(limit)
        with self._database.reading() as connection:
            return [(row.id, decode(row.data, Finding)) for row in connection.execute(wanted)]

    def finding(self, identity: str) -> Finding | None:
        """The finding of that id."""
        wanted = select(tables.FINDINGS.c.data).where(tables.FINDINGS.c.id == fit(identity))
        return next(iter(self._nouns(wanted, Finding)), None)

    def objectives(self, model: str | None = None) -> list[ObjectiveStanding]:
        """Where every objective stands, by model and name."""
        table = tables.OBJECTIVES
        keys = [table.c[name] for name in ("model", "name", "version", "arm", "segment")]
        whole = (*keys, table.c.end)
        last = select(*keys, table.c.data).order_by(*(column.desc() for column in whole)).limit(1)
        wanted = last if model is None else last.where(table.c.model == fit(model))
        found: list[ObjectiveStanding] = []
        # From one objective to the one before it, each a step into the primary key: none of the rows between
        # is read, of which there are months. (SQLite would read those that equal only a part of the key.)
        with self._database.reading() as connection:
            row = connection.execute(wanted).one_or_none()
            while row is not None and (model is None or row.model == fit(model)):
                found.append(decode(row.data, ObjectiveStanding))
                first = (*row[: len(keys)], _BEGINNING)
                row = connection.execute(
                    last.where(tuple_(*whole) < tuple_(*map(literal, first)))
                ).one_or_none()
        current = self._current
        return [
            one
            for one in reversed(found)
            if current is None or (one.name, one.version, one.arm, one.segment) in current(one.model)
        ]

    def references(self, model: str | None = None) -> list[ReferenceState]:
        """What the windows of each version are compared with, by model."""
        table = tables.REFERENCES
        wanted = select(table.c.data).order_by(table.c.model, table.c.version)
        wanted = wanted if model is None else wanted.where(table.c.model == fit(model))
        return self._nouns(wanted, ReferenceState)

    def _nouns(self, wanted: Select[Any], kind: type[Any]) -> list[Any]:
        with self._database.reading() as connection:
            rows = connection.execute(wanted).all()
        return [decode(row.data, kind) for row in rows]


def _keyed(table: Table, **key: str | int) -> Select[Any]:
    wanted = select(table.c.data)
    for name, value in key.items():
        wanted = wanted.where(table.c[name] == fit(value))
    return wanted


def _page(wanted: Select[Any], table: Table, before: int | None, limit: int) -> Select[Any]:
    wanted = wanted.where(table.c.start < before) if before is not None else wanted
    return wanted.order_by(table.c.start.desc()).limit(limit)


def _recent(connection: Connection, model: str | None) -> dict[tuple[str, str], list[tuple[int, int, str]]]:
    """Start, rows and status of the last windows of all events of each version, oldest first."""
    last, window = tables.VERSIONS, tables.WINDOWS
    span = RECENT * (last.c.end - last.c.start)
    wanted = (
        select(window.c.model, window.c.version, window.c.start, window.c.rows, window.c.status)
        .join(
            last,
            (window.c.model == last.c.model)
            & (window.c.version == last.c.version)
            & (window.c.segment == "")
            & (window.c.start > last.c.start - span),
        )
        .order_by(window.c.model, window.c.version, window.c.start)
    )
    wanted = wanted if model is None else wanted.where(last.c.model == fit(model))
    found: dict[tuple[str, str], list[tuple[int, int, str]]] = {}
    for name, version, start, rows, status in connection.execute(wanted):
        found.setdefault((name, version), []).append((start, rows, status))
    return found


def _latest(
    connection: Connection, table: Table, kind: type[T], model: str | None, **key: str | int
) -> dict[tuple[str, str], T]:
    """The latest row of each version that has `key`."""
    last = tables.VERSIONS
    fits = [table.c[name] == value for name, value in key.items()]
    fits += [table.c.model == last.c.model, table.c.version == last.c.version]
    newest = select(func.max(table.c.start)).where(*fits).correlate(last).scalar_subquery()
    wanted = select(table.c.model, table.c.version, table.c.data).join(
        last, and_(*fits, table.c.start == newest)
    )
    wanted = wanted if model is None else wanted.where(last.c.model == fit(model))
    return {(row.model, row.version): decode(row.data, kind) for row in connection.execute(wanted)}
