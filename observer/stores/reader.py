"""Reading the tables of a state while its service runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, Self, TypeVar

import lmdb

from observer.errors import ObserverError, Permanent, Retryable
from observer.stores.lmdb import MAX_SIZE, META, TABLES, check_format, entry_key, open_environment

_TRIES = 5
T = TypeVar("T")


class LmdbReader:
    """The tables of a state that another process may be writing; never writes, and needs no lock.

    Each call sees the last commit. LMDB leaves the pages of a commit alone until the second commit after
    it is done; a call that the writer overtook by that much is made again. A context manager.

    Raises
    ------
    Permanent
        There is no state in the folder, or one of a format that this service does not know.
    """

    def __init__(self, path: Path, max_size: int = MAX_SIZE) -> None:
        self._path = path
        if not (path / "data.mdb").exists():
            raise Permanent(f"{path}: there is no state here; accepted: state.path of a service that has run")
        self._env, _ = open_environment(path, max_size, readonly=True)
        try:
            with self._env.begin() as txn:
                names = [name for name, _ in txn.cursor()]
            if META not in names or TABLES not in names:
                raise Permanent(f"{path}: the state is empty; its service has saved nothing yet")
            meta = self._env.open_db(META, create=False)
            self._tables = self._env.open_db(TABLES, create=False)
            check_format(path, self._read(lambda txn: txn.get(b"format", db=meta)))
        except lmdb.Error as error:
            self._env.close()
            raise Permanent(f"{path}: cannot read the state: {error}") from error
        except ObserverError:
            self._env.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value as of the last commit."""
        whole = entry_key(table, key)
        value: bytes | None = self._read(lambda txn: txn.get(whole, db=self._tables))
        return value

    def scan(self, table: str, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Key and value of everything under `prefix`, in key order; each step sees the last commit."""
        start, skip = entry_key(table, prefix), len(entry_key(table, b""))

        def following(key: bytes) -> tuple[bytes, bytes] | None:
            def look(txn: Any) -> tuple[bytes, bytes] | None:
                with txn.cursor(self._tables) as cursor:
                    return cursor.item() if cursor.set_range(key) else None

            return self._read(look)

        found = following(start)
        while found is not None and found[0].startswith(start):
            yield found[0][skip:], found[1]
            found = following(found[0] + b"\0")

    def put(self, table: str, key: bytes, value: bytes) -> NoReturn:
        """Refused."""
        del table, key, value
        raise self._read_only()

    def delete(self, table: str, key: bytes) -> NoReturn:
        """Refused."""
        del table, key
        raise self._read_only()

    def commit(self) -> NoReturn:
        """Refused."""
        raise self._read_only()

    def close(self) -> None:
        """Free everything; closing twice is harmless."""
        self._env.close()

    def _read_only(self) -> Permanent:
        return Permanent(f"{self._path}: the state is open for reading only")

    def _read(self, look: Callable[[Any], T]) -> T:
        """What `look` finds in a transaction that the writer left intact until it was done."""
        try:
            for _ in range(_TRIES):
                with self._env.begin() as txn:
                    try:
                        found = look(txn)
                    except lmdb.Error:
                        if self._intact(txn):
                            raise
                    else:
                        if self._intact(txn):
                            return found
        except lmdb.Error as error:
            raise Permanent(f"{self._path}: cannot read the state: {error}") from error
        raise Retryable(f"{self._path}: the state is written faster than it can be read; try again")

    def _intact(self, txn: Any) -> bool:
        return bool(self._env.info()["last_txnid"] <= txn.id() + 1)
