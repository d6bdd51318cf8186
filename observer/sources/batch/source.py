"""Label tables as a stream: read again and again, each row given once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from observer.codecs.keys import hash_ids
from observer.errors import ObserverError
from observer.model import Messages, Origin, Partition, Stream
from observer.ports import PendingJoins
from observer.sources.batch.readers import Reader

log = logging.getLogger(__name__)

_ROWS = 10_000
"""Rows of a message, and of a poll: the loop has other things to do."""
_RETRY = 60.0
"""Seconds after a failure, if the next reading is not due before."""
_DAY = 86_400_000
"""What was given of the rows of a day is forgotten as a whole."""
_SPACE = "read/"
_BETWEEN = pa.scalar("\x1f", pa.large_string())
_UNDATED = f"{_SPACE}undated"


def message(rows: pa.Table) -> bytes:
    """Label events as a message of Arrow."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return bytes(sink.getvalue().to_pybytes())


class BatchSource:
    """One partition: the tables. Its position is up to when rows have been read, milliseconds.

    A reading takes the rows dated from the position less `look_back` on, in another thread; those that were
    given before are known by their hashes, kept in the same transaction as what the join made of them. So a
    row counts once, whenever it came and wherever the service was stopped; one that is the
    same in id, model, time, label and weight is the same row.

    Parameters
    ----------
    seen : PendingJoins
        Remembers what was given.
    now : callable
        Seconds since the epoch: rows dated in the future move no position.
    every : int
        Milliseconds between readings; 0: one reading, and the source ends.
    look_back : int
        Milliseconds.
    """

    def __init__(
        self,
        reader: Reader,
        stream: Stream,
        seen: PendingJoins,
        now: Callable[[], float],
        *,
        every: int,
        look_back: int,
    ) -> None:
        self._reader = reader
        self._partition = Partition(stream, reader.name, 0)
        self._seen = seen
        self._now = now
        self._every = every
        self._look_back = look_back
        self._position: int | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._reading: Future[pa.Table] | None = None
        self._table: pa.Table | None = None
        self._given = 0
        self._messages = 0
        self._oldest = 0
        """What is dated before that no later reading takes."""
        self._due = 0.0
        self._problem = ""
        self._idle = False

    def open(self, positions: Mapping[Partition, int]) -> None:
        """Read on from the position; the first poll begins a reading."""
        self._position = positions.get(self._partition)
        self._threads = ThreadPoolExecutor(1, "labels")
        self._due = time.monotonic()

    def poll(self, limit: int, timeout: float) -> Messages:  # noqa: ARG002 - a message is plenty
        """The next rows, if a reading has some that are new; waits at most `timeout` seconds.

        Raises
        ------
        ObserverError
            What is read once cannot be read. Otherwise it is logged, and tried again.
        """
        if self._table is None and not self._advance(timeout):
            return self._nothing()
        assert self._table is not None  # noqa: S101 - that is what `_advance` says
        part = self._table.slice(self._given, _ROWS)
        self._given += part.num_rows
        fresh = self._fresh(part)
        if self._given < self._table.num_rows:
            return self._message(fresh, over=False)
        self._finish(self._table)
        self._table = None
        return self._message(fresh, over=True)

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Nobody watches how far tables are read."""

    def lag(self) -> Mapping[Partition, int]:
        """Not known."""
        return {}

    def close(self) -> None:
        """Give up a reading and free everything."""
        self._reader.close()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
            self._threads = None

    def _advance(self, timeout: float) -> bool:
        """Begin a reading when it is due, and wait for it; whether its rows are there now."""
        assert self._threads is not None, "the source is not open"  # noqa: S101
        if self._reading is None:
            wait = self._due - time.monotonic()
            if wait > 0:
                time.sleep(min(wait, timeout))
                return False
            since = None if self._position is None else self._position - self._look_back
            self._idle = False
            self._reading = self._threads.submit(self._reader.read, since)
        try:
            self._table = self._reading.result(timeout)
        except NotYet:
            return False
        except ObserverError as error:
            self._reading = None
            if not self._every:
                raise
            self._due = time.monotonic() + min(self._every / 1000, _RETRY)
            if str(error) != self._problem:
                log.warning("labels cannot be read; trying again: %s", error)
            self._problem = str(error)
            return False
        self._reading, self._given = None, 0
        self._oldest = self._newest(self._table) - self._look_back
        if self._problem:
            log.warning("labels can be read again: %s", self._reader.name)
        self._problem = ""
        return True

    def _fresh(self, part: pa.Table) -> pa.Table:
        """Rows that were not given before; from now on they were."""
        if not part.num_rows:
            return part
        texts = [pc.fill_null(part.column(name).cast(pa.large_string()), "\0") for name in part.column_names]
        keys = hash_ids(pc.binary_join_element_wise(*texts, _BETWEEN), self._reader.name)
        times = part.column("time").to_numpy()
        buckets = np.where(times < 0, -1, times // _DAY)
        # The first reading takes everything; what no later one takes need not be remembered.
        fresh = (times >= 0) & (times < self._oldest) & (self._position is None)
        for bucket in np.unique(buckets[~fresh]).tolist():
            rows = np.flatnonzero((buckets == bucket) & ~fresh)
            space = _UNDATED if bucket < 0 else f"{_SPACE}{bucket}"
            fresh[rows] = self._seen.add(space, keys[rows], np.ones((len(rows), 1), np.uint8))
        return part.filter(pa.array(fresh))

    def _finish(self, table: pa.Table) -> None:
        """The reading is over: move the position, and forget what no reading looks at any more."""
        self._due = time.monotonic() + self._every / 1000
        self._idle = True
        if not table.num_rows:
            return
        self._position = self._newest(table)
        for space in self._seen.spaces():
            day = space.removeprefix(_SPACE)
            if space not in (day, _UNDATED) and (int(day) + 1) * _DAY <= self._oldest:
                self._seen.drop(space)

    def _newest(self, table: pa.Table) -> int:
        """The position after a reading; what a later one takes begins a look-back before it."""
        newest = int(table.column("time").to_numpy().max()) if table.num_rows else 0
        return max(min(newest, int(self._now() * 1000)), self._position or 0)

    def _message(self, rows: pa.Table, *, over: bool) -> Messages:
        values, number = [], self._messages
        if rows.num_rows:
            values.append(message(rows))
            self._messages += 1
        there = over and self._position is not None
        return Messages(
            values=values,
            partition=np.zeros(len(values), np.int32),
            partitions=(self._partition,),
            positions={self._partition: self._position or 0} if there else {},
            origin=lambda _: Origin(self._reader.name, 0, number),
            caught_up=frozenset({0}) if over else frozenset(),
            finished=over and not self._every,
        )

    def _nothing(self) -> Messages:
        return Messages(
            values=[],
            partition=np.zeros(0, np.int32),
            partitions=(self._partition,),
            positions={},
            origin=lambda _: Origin(self._reader.name, 0, 0),
            caught_up=frozenset({0}) if self._idle else frozenset(),
        )
