"""Messages that wait on disk, oldest first, and outlive the process."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from zlib import crc32

from observer.client.items import Stream
from observer.client.messages import Message

_HEADER = struct.Struct("<BIII")  # stream, rows, bytes and checksum of a message, which follows
_STREAMS: tuple[Stream, Stream] = ("predictions", "labels")


class Segment:
    """One file of messages; gone once all of them are settled."""

    def __init__(self, path: Path, size: int, rows: int) -> None:
        self.path = path
        self.size = size
        self.rows = rows
        self.open = 0
        """Of its messages, those loaded and not settled."""


class Spill:
    """A queue of segments in a folder of this process.

    Parameters
    ----------
    folder : Path
        May be shared by processes: each has its own folder in it, locked while it lives; those of processes
        that are gone are taken over.
    limit : int
        Bytes on disk. Beyond it the oldest segments are removed.

    Raises
    ------
    OSError
        The folder cannot be made.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._limit = limit
        self._lists = threading.Lock()  # messages may be settled by another thread
        self._number = 0
        self._waiting: deque[Segment] = deque()
        self._loaded: list[Segment] = []
        folder.mkdir(parents=True, exist_ok=True)
        # Under a hidden name until it is locked, so that no other process takes it over meanwhile.
        own = f"{os.getpid()}-{os.urandom(4).hex()}"
        hidden = folder / f".{own}"
        hidden.mkdir()
        lock = self._lock(hidden)
        if lock is None:
            raise OSError(f"{hidden} cannot be locked")
        self._held = lock
        self._folder = hidden.rename(folder / own)
        others = [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
        for other in sorted(others, key=lambda path: path.stat().st_mtime):
            if other != self._folder:
                self._take_over(other)

    @property
    def rows(self) -> int:
        """Events of all segments that are not loaded."""
        return sum(segment.rows for segment in self._waiting)

    @property
    def waiting(self) -> bool:
        """Whether there is a segment to load."""
        return bool(self._waiting)

    @property
    def bytes(self) -> int:
        """On disk."""
        with self._lists:
            return sum(segment.size for segment in (*self._waiting, *self._loaded))

    def put(self, messages: Sequence[Message]) -> int:
        """Write messages; how many events of older segments were removed to make room.

        Raises
        ------
        OSError
            They cannot be written; nothing has changed.
        """
        parts: list[bytes] = []
        for one in messages:
            check = crc32(one.value)
            parts += (_HEADER.pack(_STREAMS.index(one.stream), one.rows, len(one.value), check), one.value)
        path = self._folder / f"{self._number:012d}"
        unfinished = path.with_suffix(".unfinished")
        with unfinished.open("wb") as file:
            file.writelines(parts)
        unfinished.rename(path)
        self._number += 1
        segment = Segment(path, sum(map(len, parts)), sum(one.rows for one in messages))
        self._waiting.append(segment)
        removed = 0
        while self.bytes > self._limit and self._waiting:
            oldest = self._waiting.popleft()
            removed += oldest.rows
            oldest.path.unlink(missing_ok=True)
        return removed

    def take(self) -> tuple[list[Message], int]:
        """The messages of the oldest segment, and how many of its events turned out unreadable."""
        if not self._waiting:
            return [], 0
        segment = self._waiting.popleft()
        messages = list(_read(segment))
        segment.open = len(messages)
        lost = segment.rows - sum(one.rows for one in messages)
        segment.rows -= lost
        if messages:
            with self._lists:
                self._loaded.append(segment)
        else:
            segment.path.unlink(missing_ok=True)
        return messages, lost

    def settle(self, segment: Segment) -> None:
        """One of its messages is delivered or dropped."""
        with self._lists:
            segment.open -= 1
            if segment.open:
                return
            self._loaded.remove(segment)
        segment.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Leave what is there to a later process."""
        if not self._waiting and not self._loaded:
            shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._held)

    def forget(self) -> None:
        """Of a forked child: the folder is its parent's."""
        os.close(self._held)

    @staticmethod
    def _lock(folder: Path) -> int | None:
        """A descriptor that holds the folder's lock, or None."""
        held = os.open(folder / "lock", os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(held)
            return None
        return held

    def _take_over(self, other: Path) -> None:
        """Make the segments of a process that is gone ours."""
        try:
            lock = self._lock(other)
        except OSError:  # it has just been taken over
            return
        if lock is None:
            return
        try:
            for path in sorted(one for one in other.iterdir() if one.name.isdigit()):
                size, rows = path.stat().st_size, _count(path)
                mine = path.rename(self._folder / f"{self._number:012d}")
                self._number += 1
                self._waiting.append(Segment(mine, size, rows))
            shutil.rmtree(other, ignore_errors=True)
        finally:
            os.close(lock)


def _count(path: Path) -> int:
    """Events in a segment, as far as it can be read."""
    return sum(one.rows for one in _read(Segment(path, 0, 0)))


def _read(segment: Segment) -> Iterable[Message]:
    """The messages of a segment, up to the first that is damaged."""
    try:
        data = segment.path.read_bytes()
    except OSError:
        return
    at = 0
    while at + _HEADER.size <= len(data):
        stream, rows, size, check = _HEADER.unpack_from(data, at)
        at += _HEADER.size
        value = data[at : at + size]
        at += size
        if stream >= len(_STREAMS) or len(value) < size or crc32(value) != check:
            return
        yield Message(_STREAMS[stream], value, rows, segment)
