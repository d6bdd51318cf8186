"""The connection to the database, its schema, and words for what goes wrong with it."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from observer.errors import ObserverError, Permanent, Retryable

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x0B5E_0001
"""Of PostgreSQL's advisory locks: one process at a time changes the schema."""
_MIGRATING = threading.Lock()
"""Alembic's context is one for the whole process."""
_TURN = 0.05
"""Seconds until SQLite is asked again."""
logging.getLogger("alembic").setLevel(logging.WARNING)


class Database:
    """Short transactions on one database; for any thread.

    Parameters
    ----------
    url : str
        As SQLAlchemy takes it. No message holds its password.
    patience : float
        Seconds that a connection, a statement or a lock may take.
    """

    def __init__(self, url: str, patience: float = 5.0) -> None:
        try:
            self._url = make_url(url)
            self.is_sqlite = self._url.get_backend_name() == "sqlite"
            self._engine = _sqlite(url, patience) if self.is_sqlite else _postgresql(url, patience)
        except (ArgumentError, NoSuchModuleError) as error:
            raise Permanent("history.url cannot be read as the address of a database") from error
        except ModuleNotFoundError as error:
            raise Permanent("PostgreSQL needs psycopg; install ml-observer[postgresql]") from error
        self._writing = self._engine.execution_options(writes=True)
        self._ready = False

    @property
    def place(self) -> str:
        """Where it is, without secrets."""
        return self._url.render_as_string(hide_password=True)

    def prepare(self) -> None:
        """Bring the schema up to date; safe when several processes start at once.

        Raises
        ------
        Retryable, Permanent
            The database cannot be reached; or a newer service has changed the schema.
        """
        if self._ready:
            return
        with _MIGRATING, self._said(), self._writing.begin() as connection:
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            script, present = _script(), MigrationContext.configure(connection).get_current_revision()
            self._known(script, present)
            if present != script.get_current_head():
                if not self.is_sqlite:  # an index of a large table takes longer than any question may
                    connection.execute(text("SET LOCAL statement_timeout = 0"))
                config = _config()
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        self._ready = True

    def look(self) -> str:
        """Reach it and change nothing; what was found, for people.

        Raises
        ------
        Retryable, Permanent
            As `prepare`.
        """
        file = self._url.database
        if self.is_sqlite and file and not Path(file).exists():
            return f"{self.place} will be made"
        with self._said(), self._engine.connect() as connection:
            present = MigrationContext.configure(connection).get_current_revision()
        script = _script()
        if present is None:
            return f"{self.place} answers; its tables will be made"
        self._known(script, present)
        if present != script.get_current_head():
            return (
                f"{self.place} answers; its schema {present} will be brought to {script.get_current_head()}"
            )
        return f"{self.place} answers; its schema is current"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that reads; raises `Retryable` when the database fails."""
        self.prepare()
        with self._said(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes; raises as SQLAlchemy does, for whoever has to tell errors apart."""
        self.prepare()
        with self._writing.begin() as connection:
            yield connection

    def close(self) -> None:
        """Free every connection."""
        self._engine.dispose()

    def _known(self, script: ScriptDirectory, present: str | None) -> None:
        if present is not None and present not in {one.revision for one in script.walk_revisions()}:
            raise Permanent(f"{self.place}: written by a newer service; its schema {present} is unknown")

    def words(self, error: Exception) -> str:
        """What went wrong, in one line without secrets."""
        cause = getattr(error, "orig", None) or error
        said = next(iter(str(cause).strip().splitlines()), type(error).__name__)
        for secret in (self._url.password,):
            said = said.replace(str(secret), "***") if secret else said
        return f"{self.place}: {said[:300]}"

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except ObserverError:
            raise
        except SQLAlchemyError as error:
            raise Retryable(self.words(error)) from None


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def _script() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _postgresql(url: str, patience: float) -> Engine:
    limits = f"-c statement_timeout={int(patience * 1000)} -c lock_timeout={int(patience * 1000)}"
    connect = {"connect_timeout": max(int(patience), 2), "options": limits}
    return create_engine(
        url, connect_args=connect, pool_pre_ping=True, pool_timeout=patience, hide_parameters=True
    )


def _sqlite(url: str, patience: float) -> Engine:
    engine = create_engine(
        url, connect_args={"timeout": patience}, pool_timeout=patience, hide_parameters=True
    )

    def connected(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # transactions begin below
        try:
            cursor = connection.cursor()
            _to_wal(cursor, patience)
            cursor.execute("PRAGMA synchronous=FULL")
            cursor.close()
        except sqlite3.Error:  # nobody else knows it yet
            connection.close()
            raise

    def begun(connection: Connection) -> None:
        # A writer takes its lock at once: one that reads first could not wait for another's end.
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
    return engine


def _to_wal(cursor: sqlite3.Cursor, patience: float) -> None:
    """Have a write-ahead log. SQLite does not itself wait for another process that changes to it."""
    for last in [False] * int(patience / _TURN) + [True]:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if last:
                raise
            threading.Event().wait(_TURN)
        else:
            return
