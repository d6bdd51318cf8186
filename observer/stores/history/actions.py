"""The ledger of actions and the states of rollouts, in the service's database."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from observer.errors import Permanent, Retryable
from observer.model import LedgerRow
from observer.stores.history.database import Database
from observer.stores.history.tables import LEDGER, STATES

_PAGE = 1_000


class SqlLedger:
    """Rows that are only ever added; see `observer.actions.ledger.LedgerStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, row: LedgerRow) -> None:
        """Make it durable."""
        values = {**row._asdict(), "data": json.dumps(row.data, sort_keys=True, allow_nan=False)}
        try:
            with self._database.writing() as connection:
                connection.execute(insert(LEDGER), values)
        except IntegrityError as error:
            there = next(iter(self.rows(row.number - 1)), None)
            if there is None or there.hash != row.hash:
                taken = f"row {row.number} of the ledger is taken: another service writes to it too"
                raise Permanent(f"{taken}, in {self._database.place}") from error
        except SQLAlchemyError as error:
            raise Retryable(self._database.words(error)) from None

    def rows(self, after: int = 0) -> Iterator[LedgerRow]:
        """Those with a number above `after`, in order."""
        while True:
            with self._database.reading() as connection:
                wanted = select(LEDGER).where(LEDGER.c.number > after).order_by(LEDGER.c.number).limit(_PAGE)
                page = connection.execute(wanted).mappings().all()
            yield from map(_row, page)
            if len(page) < _PAGE:
                return
            after = page[-1]["number"]

    def of(self, action: str) -> list[LedgerRow]:
        """Those of one action, in order."""
        with self._database.reading() as connection:
            wanted = select(LEDGER).where(LEDGER.c.action == action).order_by(LEDGER.c.number)
            return [_row(one) for one in connection.execute(wanted).mappings()]


def _row(one: Mapping[Any, Any]) -> LedgerRow:
    return LedgerRow(**{**one, "data": json.loads(one["data"])})


class SqlStates:
    """Small named values; see `observer.actions.rollouts.States`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> bytes | None:
        """The value."""
        with self._database.reading() as connection:
            found = connection.execute(select(STATES.c.data).where(STATES.c.key == key)).scalar()
        return None if found is None else bytes(found)

    def put(self, key: str, value: bytes) -> None:
        """Set it; durable when this returns."""
        try:
            with self._database.writing() as connection:
                connection.execute(delete(STATES).where(STATES.c.key == key))
                connection.execute(insert(STATES), {"key": key, "data": value})
        except SQLAlchemyError as error:
            raise Retryable(self._database.words(error)) from None

    def delete(self, key: str) -> None:
        """Remove it."""
        try:
            with self._database.writing() as connection:
                connection.execute(delete(STATES).where(STATES.c.key == key))
        except SQLAlchemyError as error:
            raise Retryable(self._database.words(error)) from None

    def scan(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """Keys and values under a prefix, in order."""
        with self._database.reading() as connection:
            wanted = select(STATES).where(STATES.c.key.startswith(prefix, autoescape=True))
            found = connection.execute(wanted.order_by(STATES.c.key)).all()
        yield from ((one.key, bytes(one.data)) for one in found)
