"""The service's state on local disk: checkpoints and pending joins in one LMDB environment.

Everything happens in one write transaction that lives from `commit` to `commit`, so open windows, closed
summaries, source positions and pending joins become durable together, and a crash goes back to the last
commit exactly. LMDB never overwrites a page that the last commit uses, so nothing needs repair on start.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

import lmdb
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from observer.errors import ObserverError, Permanent, Retryable

log = logging.getLogger(__name__)

FORMAT = 1
"""Layout of the environment; raised when an older service could not read it."""
MAX_SIZE = 1 << 40
MAX_SPACES = 16_384
"""Of a rare event with a short horizon each may need one of its own, and one poll holds thousands of them."""
_SMALLEST_MAP = 1 << 20
TABLES = b"tables"
META = b"meta"
_SPACE = b"space/"


class StateSpec(BaseModel):
    """Where the state lies and how large it may grow.

    Attributes
    ----------
    path : Path
        A folder on a local disk, owned by one process at a time.
    max_size : int
        Upper bound of the file, bytes. It is address space, not disk space, until it is used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["lmdb"] = "lmdb"
    path: Path
    max_size: Annotated[int, Field(ge=_SMALLEST_MAP)] = MAX_SIZE


class LmdbState:
    """Both `Checkpoints` and `PendingJoins`, over one environment and one write transaction.

    For use by one thread. After an error of the disk or of the size limit the transaction is lost: the state
    closes itself, every later call raises the same error, and opening it again starts at the last commit.

    Parameters
    ----------
    path : Path
        The folder; created if missing.
    max_size : int
        See `StateSpec`. Where the system refuses so much address space, the largest power-of-two fraction
        that it grants is used, with a warning.

    Raises
    ------
    Retryable
        Another process holds the state, or the disk is full.
    Permanent
        The folder cannot be used, or was written in a format that this service does not know.
    """

    def __init__(self, path: Path, max_size: int = MAX_SIZE) -> None:
        self._path = path
        self._failed: ObserverError | None = None
        self._spaces: dict[str, Any] = {}
        self._lock = _lock(path)
        try:
            self._env, self._max_size = open_environment(path, max_size)
            try:
                self._txn = self._env.begin(write=True)
                self._check_format()
                self._tables = self._env.open_db(TABLES, txn=self._txn)
                names = [name for name, _ in self._txn.cursor() if name.startswith(_SPACE)]
                for name in names:
                    self._spaces[name[len(_SPACE) :].decode()] = self._env.open_db(name, txn=self._txn)
            except lmdb.Error as error:
                raise self._fail(error) from error
            except ObserverError:
                self.close()
                raise
        except BaseException:
            self._lock.close()
            raise

    # Checkpoints

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value, uncommitted changes included."""
        try:
            value: bytes | None = self._txn.get(entry_key(table, key), db=self._tables)
        except lmdb.Error as error:
            raise self._fail(error) from error
        return value

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """Set the value; raises `ValueError` when table and key together pass 510 bytes."""
        try:
            self._txn.put(entry_key(table, key), value, db=self._tables)
        except lmdb.Error as error:
            raise self._fail(error) from error

    def delete(self, table: str, key: bytes) -> None:
        """Remove the value if it is there."""
        try:
            self._txn.delete(entry_key(table, key), db=self._tables)
        except lmdb.Error as error:
            raise self._fail(error) from error

    def scan(self, table: str, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Key and value of everything under `prefix`, in key order.

        The state may be changed and committed between two steps: each step looks up the next key anew.
        """
        start = entry_key(table, prefix)
        skip = len(entry_key(table, b""))
        found = self._next(start)
        while found is not None and found[0].startswith(start):
            yield found[0][skip:], found[1]
            found = self._next(found[0] + b"\0")

    def commit(self) -> None:
        """Make every change since the last commit durable; returns once the disk has it."""
        try:
            self._txn.commit()
            self._txn = self._env.begin(write=True)
        except lmdb.Error as error:
            raise self._fail(error) from error

    # PendingJoins

    def fetch(self, space: str, keys: NDArray[np.uint64], width: int) -> NDArray[np.uint8]:
        """uint8[n, width]: the record of each row of `keys`, all zero where absent."""
        database = self._spaces.get(space)
        records = np.zeros((len(keys), width), np.uint8)
        if database is None or not len(keys):
            return records
        order = _locality(keys)
        try:
            found = b"".join(
                map(self._txn.get, _as_bytes(keys, order), repeat(bytes(width)), repeat(database))
            )
        except lmdb.Error as error:
            raise self._fail(error) from error
        if len(found) != records.size:
            raise Permanent(
                f"{self._path}: space {space!r} holds records of another width than {width} bytes"
            )
        _opaque(records)[order] = np.frombuffer(found, np.dtype((np.void, width)))
        return records

    def add(self, space: str, keys: NDArray[np.uint64], records: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Set the records whose keys are new, and say which are; of a repeated key the first row stays."""
        added = np.zeros(len(keys), np.bool_)
        if not len(keys):
            return added
        order = _locality(keys)
        try:
            insert = partial(self._txn.put, overwrite=False, db=self._database(space))
            values = _rows(records, order)
            added[order] = np.fromiter(map(insert, _as_bytes(keys, order), values), np.bool_, len(keys))
        except lmdb.Error as error:
            raise self._fail(error) from error
        return added

    def store(self, space: str, keys: NDArray[np.uint64], records: NDArray[np.uint8]) -> None:
        """Set the records; of a repeated key the last row stays."""
        if not len(keys):
            return
        order = _locality(keys)
        try:
            with self._txn.cursor(self._database(space)) as cursor:
                cursor.putmulti(zip(_as_bytes(keys, order), _rows(records, order), strict=True))
        except lmdb.Error as error:
            raise self._fail(error) from error

    def spaces(self) -> dict[str, int]:
        """The spaces that exist, by name in order, and how many records each holds."""
        try:
            return {name: self._txn.stat(self._spaces[name])["entries"] for name in sorted(self._spaces)}
        except lmdb.Error as error:
            raise self._fail(error) from error

    def drop(self, space: str) -> None:
        """Remove a space and its records: the pages are freed whole, no record is visited."""
        database = self._spaces.pop(space, None)
        if database is None:
            return
        try:
            self._txn.drop(database)
        except lmdb.Error as error:
            raise self._fail(error) from error

    # Life cycle

    def close(self) -> None:
        """Give up what was not committed and free everything; closing twice is harmless."""
        if self._failed is None:
            self._failed = Permanent(f"{self._path}: the state is closed")
            self._release()

    def _release(self) -> None:
        self._env.close()  # aborts the transaction
        self._lock.close()

    def _fail(self, error: lmdb.Error) -> ObserverError:
        """What the error means; the first one closes the state, since its transaction is lost."""
        if self._failed is None:
            self._failed = self._explain(error)
            self._release()
        return self._failed

    def _explain(self, error: lmdb.Error) -> ObserverError:
        if isinstance(error, lmdb.MapFullError):
            return Permanent(
                f"{self._path}: the state has reached max_size ({self._max_size} bytes); raise it"
            )
        if isinstance(error, lmdb.DbsFullError):
            return Permanent(
                f"{self._path}: more than {MAX_SPACES} spaces; events spread over too long a time"
            )
        if getattr(error, "code", None) in {
            errno.EIO,
            errno.ENOSPC,
            errno.EDQUOT,
        }:  # a full disk shows as EIO
            free = shutil.disk_usage(self._path).free
            return Retryable(
                f"{self._path}: the disk refused to write ({error}; {free} bytes free); "
                "what was committed is intact, start again once there is room"
            )
        return Permanent(f"{self._path}: {error}")

    def _check_format(self) -> None:
        meta = self._env.open_db(META, txn=self._txn)
        found = self._txn.get(b"format", db=meta)
        if found is None and self._txn.stat()["entries"] == 1:
            self._txn.put(b"format", str(FORMAT).encode(), db=meta)
        else:
            check_format(self._path, found)

    def _next(self, key: bytes) -> tuple[bytes, bytes] | None:
        try:
            with self._txn.cursor(self._tables) as cursor:
                return cursor.item() if cursor.set_range(key) else None
        except lmdb.Error as error:
            raise self._fail(error) from error

    def _database(self, space: str) -> Any:
        database = self._spaces.get(space)
        if database is None:
            database = self._spaces[space] = self._env.open_db(_SPACE + space.encode(), txn=self._txn)
        return database


def check_format(path: Path, found: bytes | None) -> None:
    """Raise `Permanent` unless a state with this entry for its format can be read."""
    if found != str(FORMAT).encode():
        is_newer = found is not None and found.isdigit() and int(found) > FORMAT
        raise Permanent(
            f"{path}: state of format {found.decode(errors='replace') if found else 'unknown'}"
            f"{', written by a newer service' if is_newer else ''}; this one reads format {FORMAT}"
        )


def entry_key(table: str, key: bytes) -> bytes:
    """Where a table's entry lies; raises `ValueError` when that is too long."""
    whole = table.encode() + b"\0" + key
    if len(whole) > 511:
        raise ValueError(f"key of {len(key)} bytes in table {table!r}: table and key may have 510 in all")
    return whole


def _locality(keys: NDArray[np.uint64]) -> NDArray[np.intp]:
    """An order in which neighbours share pages; equal keys stay in arrival order.

    The row number replaces the key's lowest bits: sorting values is several times faster than `argsort`.
    """
    low = np.uint64((1 << (len(keys) - 1).bit_length()) - 1)
    marked = keys[:, 0] & ~low | np.arange(len(keys), dtype=np.uint64)
    marked.sort()
    return (marked & low).astype(np.intp)


def _as_bytes(keys: NDArray[np.uint64], order: NDArray[np.intp]) -> list[bytes]:
    """16 bytes a key, big-endian, so that LMDB's order is the numeric one."""
    listed: list[bytes] = _opaque(keys.take(order, axis=0).astype(">u8").view(np.uint8)).tolist()
    return listed


def _rows(records: NDArray[np.uint8], order: NDArray[np.intp]) -> list[bytes]:
    listed: list[bytes] = _opaque(np.ascontiguousarray(records)).take(order).tolist()
    return listed


def _opaque(records: NDArray[np.uint8]) -> NDArray[np.void]:
    """The rows as single values, which numpy moves faster than rows of bytes."""
    return records.view(np.dtype((np.void, records.shape[1])))[:, 0]


def _lock(path: Path) -> TextIO:
    """The open lock file, held until it is closed or the process ends in whatever way."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        file = (path / "owner").open("a+")
    except OSError as error:
        raise Permanent(f"{path}: cannot hold the state: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        owner = file.read().strip() or "unknown"
        file.close()
        raise Retryable(
            f"{path}: the state is in use by process {owner}; stop it or give another path"
        ) from error
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def open_environment(path: Path, max_size: int, *, readonly: bool = False) -> tuple[Any, int]:
    """The environment and its size in address space; raises `Permanent` where it cannot be had."""
    size = max_size
    while True:
        try:
            # Our own lock keeps other processes out, so LMDB's reader table has no use. A writable map is
            # not used: with it a full disk would kill the process instead of raising an error.
            env = lmdb.open(
                str(path),
                map_size=size,
                max_dbs=MAX_SPACES,
                lock=False,
                readahead=False,
                meminit=False,
                readonly=readonly,
            )
        except (lmdb.MemoryError, MemoryError) as error:
            if size // 2 < _SMALLEST_MAP:
                raise Permanent(f"{path}: no address space for the state: {error}") from error
            size //= 2
        except lmdb.Error as error:
            raise Permanent(f"{path}: cannot open the state: {error}") from error
        else:
            if size < max_size:
                log.warning("%s: the system grants %d bytes of address space, not %d", path, size, max_size)
            return env, size
