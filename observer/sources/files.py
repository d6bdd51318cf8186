"""Events from files, for replays and references, and rejected events into a file."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from detectors.base import Ints
from observer.errors import Permanent, Retryable
from observer.model import Messages, Origin, Partition, Rejected, Stream

ROWS = 10_000
"""Rows of a columnar file that make one message."""

_Parts = Generator[tuple[pa.RecordBatch, int], None, None]
_CSV_BLOCK_BYTES = 4 << 20
_CSV_TEXT = {"id", "model", "version", "arm"}
_MAGIC = frozenset("*?[")
_UNREADABLE = (OSError, EOFError, zlib.error, pa.ArrowException)


class FilesSpec(BaseModel):
    """Files that carry one stream of events.

    Attributes
    ----------
    path : str
        One file, or a glob such as `events/**/*.parquet`. The suffix tells the format: `.ndjson`, `.jsonl`,
        `.json` (one event a line), each also with `.gz`; `.parquet`; `.arrow`, `.feather`, `.ipc`; `.csv`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["files"] = "files"
    path: str = Field(min_length=1)


class FileSource:
    """Reads every file of a Spec side by side; each is a partition, numbered in the order of names.

    A line of NDJSON is a message at the position of its line number, counted from 0; blank lines are
    left out. Of a columnar file every 10,000 rows (fewer where a row group, a record batch or a block
    ends) become one message, an Arrow IPC stream, at the position of its number. A poll takes from all
    files, so that each one's event time is known from the start; a file is read to the end it has then.
    """

    def __init__(self, spec: FilesSpec, stream: Stream) -> None:
        self._spec = spec
        self._stream: Stream = stream
        self._partitions: tuple[Partition, ...] = ()
        self._readers: list[_Reader] = []
        self._turn = 0
        self.total_bytes = 0

    @property
    def read_bytes(self) -> int:
        """How many of `total_bytes` have been read, nearly."""
        return sum(reader.done for reader in self._readers)

    def open(self, positions: Mapping[Partition, int]) -> None:
        """Open the files at their positions, or at their beginning; raises `Permanent` if one cannot be."""
        paths = find(self._spec.path)
        names = [str(path) for path in paths]
        # By name: a file that has come since may have changed the numbers.
        saved = {
            place.source: position for place, position in positions.items() if place.stream == self._stream
        }
        self.total_bytes = sum(path.stat().st_size for path in paths)
        self._partitions = tuple(Partition(self._stream, name, number) for number, name in enumerate(names))
        try:
            for path, name in zip(paths, names, strict=True):
                self._readers.append(_open(path, saved.get(name, 0)))
        except BaseException:
            self.close()
            raise

    def poll(self, limit: int, timeout: float) -> Messages:  # noqa: ARG002  (a file never keeps waiting)
        """Up to `limit` messages, the same number from each file; raises `Permanent` on a broken file."""
        going = [number for number, reader in enumerate(self._readers) if not reader.ended]
        first = self._turn % max(len(going), 1)
        going = [*going[first:], *going[:first]][:limit]
        self._turn += len(going)
        values: list[bytes] = []
        places: list[Ints] = [np.zeros(0, np.int64)]
        counts = []
        for number in going:
            payloads, numbers = self._readers[number].read(max(1, limit // len(going)))
            values += payloads
            places.append(numbers)
            counts.append(len(payloads))
        partition = np.repeat(np.array(going, np.int32), counts)
        place = np.concatenate(places)
        partitions = self._partitions
        ended = frozenset(number for number, reader in enumerate(self._readers) if reader.ended)

        def origin(message: int) -> Origin:
            number = int(partition[message])
            return Origin(partitions[number].source, number, int(place[message]))

        return Messages(
            values=values,
            partition=partition,
            partitions=partitions,
            positions={partitions[number]: self._readers[number].position for number in going},
            origin=origin,
            caught_up=ended,
            finished=len(ended) == len(partitions),
        )

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Nobody watches how far files are read."""

    def lag(self) -> Mapping[Partition, int]:
        """Not known: files tell bytes, not messages; see `read_bytes`."""
        return {}

    def close(self) -> None:
        """Close the files."""
        for reader in self._readers:
            reader.close()
        self._readers = []


class FileDeadLetters:
    """Appends a line of JSON per rejected payload: `reason, detail, origin, model, payload, encoding`.

    `encoding` is `utf-8`, or `base64` where the payload is not text.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
            if self._file.seek(0, os.SEEK_END):
                self._file.seek(-1, os.SEEK_END)
                if self._file.read(1) != b"\n":  # a crash cut the last line short
                    self._file.write(b"\n")
        except OSError as error:
            raise Permanent(f"dead letters: {path} cannot be written: {error.strerror}") from error

    @property
    def full(self) -> bool:
        """Never: what cannot be written ends the process."""
        return False

    def reject(self, rejected: Sequence[Rejected]) -> None:
        """Take them into the file's buffer."""
        self._keep(lambda: self._file.writelines(map(_line, rejected)))

    def flush(self) -> None:
        """Return once all are on disk; raises `Retryable` when they cannot be written."""
        self._keep(self._file.flush)
        self._keep(lambda: os.fsync(self._file.fileno()))

    def close(self) -> None:
        """Flush and close the file."""
        try:
            self.flush()
        finally:
            with suppress(OSError):
                self._file.close()

    def _keep(self, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError as error:
            raise Retryable(f"dead letters: {self._path} cannot be written: {error.strerror}") from error


def _line(rejected: Rejected) -> bytes:
    try:
        payload, encoding = rejected.payload.decode(), "utf-8"
    except UnicodeDecodeError:
        payload, encoding = base64.b64encode(rejected.payload).decode(), "base64"
    letter = {
        "reason": rejected.reason,
        "detail": rejected.detail,
        "origin": str(rejected.origin),
        "model": rejected.model,
        "payload": payload,
        "encoding": encoding,
    }
    return json.dumps(letter).encode() + b"\n"


class _Reader(Protocol):
    """One file on its way from a position to its end."""

    position: int
    done: int
    """Bytes read so far, nearly."""
    ended: bool

    def read(self, limit: int) -> tuple[list[bytes], Ints]:
        """The next payloads and the position of each."""

    def close(self) -> None:
        """Close the file."""


class _Lines:
    """NDJSON, a message a line."""

    def __init__(self, path: Path, position: int) -> None:
        self._path = path
        self._raw = path.open("rb")
        packed = path.suffix == ".gz"
        self._file = io.BufferedReader(gzip.GzipFile(fileobj=self._raw)) if packed else self._raw
        self.position = position
        self.done = 0
        self.ended = False
        try:
            deque(islice(self._file, position), maxlen=0)
        except _UNREADABLE as error:
            self.close()
            raise _broken(path, error) from error

    def read(self, limit: int) -> tuple[list[bytes], Ints]:
        try:
            lines = list(islice(self._file, limit))
        except _UNREADABLE as error:
            raise _broken(self._path, error) from error
        values = list(map(bytes.strip, lines))
        numbers = np.arange(self.position, self.position + len(lines))
        if not all(values):
            full: NDArray[np.bool_] = np.fromiter(map(bool, values), np.bool_, len(values))
            values, numbers = list(filter(None, values)), numbers[full]
        self.position += len(lines)
        self.done = self._raw.tell()
        self.ended = len(lines) < limit
        return values, numbers

    def close(self) -> None:
        self._file.close()
        self._raw.close()


class _Batches:
    """A columnar file, a message per batch; `batches` yields each with the bytes read so far."""

    def __init__(self, path: Path, position: int, batches: _Parts) -> None:
        self._path = path
        self._batches = batches
        self.position = position
        self.done = 0
        self.ended = False
        try:
            deque(islice(batches, position), maxlen=0)
        except _UNREADABLE as error:
            raise _broken(path, error) from error

    def read(self, limit: int) -> tuple[list[bytes], Ints]:  # noqa: ARG002  (one batch is plenty)
        try:
            batch, self.done = next(self._batches)
        except StopIteration:
            self.ended = True
            self.done = self._path.stat().st_size
            return [], np.zeros(0, np.int64)
        except _UNREADABLE as error:
            raise _broken(self._path, error) from error
        sink = pa.BufferOutputStream()
        batch = batch.replace_schema_metadata(None)
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        self.position += 1
        return [sink.getvalue().to_pybytes()], np.array([self.position - 1])

    def close(self) -> None:
        self._batches.close()


def _parquet(path: Path) -> _Parts:
    size, seen = path.stat().st_size, 0
    with pa.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(ROWS):
            seen += batch.num_rows
            yield batch, size * seen // file.metadata.num_rows


def _arrow(path: Path) -> _Parts:
    with pa.memory_map(str(path)) as source:
        try:
            file = pa.ipc.open_file(source)
        except pa.ArrowInvalid:  # the other of the two IPC formats
            source.seek(0)
            with pa.ipc.open_stream(source) as stream:
                for batch in stream:
                    yield from ((part, source.tell()) for part in _parts(batch))
            return
        for number in range(file.num_record_batches):
            read = source.size() * (number + 1) // file.num_record_batches
            yield from ((part, read) for part in _parts(file.get_batch(number)))


def _csv(path: Path) -> _Parts:
    read = pa.csv.ReadOptions(block_size=_CSV_BLOCK_BYTES)
    with pa.csv.open_csv(path, read_options=read) as first:
        types = {field.name: _csv_type(field) for field in first.schema}
    convert = pa.csv.ConvertOptions(column_types=types, strings_can_be_null=True)
    with pa.OSFile(str(path)) as source, pa.csv.open_csv(source, read, convert_options=convert) as reader:
        for batch in reader:
            yield from ((part, source.tell()) for part in _parts(batch))


def _csv_type(field: pa.Field) -> pa.DataType:
    """A type that holds for the whole file, where the first rows suggest one that may not."""
    if field.name in _CSV_TEXT or field.name.startswith("tags."):
        return pa.string()
    if pa.types.is_integer(field.type):
        return field.type if field.name == "time" else pa.float64()
    if pa.types.is_floating(field.type) or pa.types.is_boolean(field.type):
        return field.type
    return pa.string()  # times too: the codec reads them


def _parts(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    return (batch.slice(start, ROWS) for start in range(0, batch.num_rows, ROWS))


_COLUMNAR = {".parquet": _parquet, ".arrow": _arrow, ".feather": _arrow, ".ipc": _arrow, ".csv": _csv}
_LINES = (".ndjson", ".jsonl", ".json")


def _open(path: Path, position: int) -> _Reader:
    suffix = path.suffixes[-2] if path.suffix == ".gz" and len(path.suffixes) > 1 else path.suffix
    try:
        if suffix in _LINES:
            return _Lines(path, position)
        if path.suffix in _COLUMNAR:
            return _Batches(path, position, _COLUMNAR[path.suffix](path))
    except OSError as error:
        raise _broken(path, error) from error
    accepted = ", ".join([*_LINES, *(f"{suffix}.gz" for suffix in _LINES), *_COLUMNAR])
    raise Permanent(f"{path}: unknown kind of file; accepted: {accepted}")


def find(pattern: str) -> list[Path]:
    """The files that a path or a glob names, sorted; raises `Permanent` if there are none."""
    path = Path(pattern)
    fixed = [part for part in path.parts if not _MAGIC.isdisjoint(part)]
    if fixed and not path.exists():
        split = path.parts.index(fixed[0])
        found = sorted(Path(*path.parts[:split]).glob("/".join(path.parts[split:])))
        found = [one for one in found if one.is_file()]
        if not found:
            raise Permanent(f"no file matches {pattern}")
        return found
    if not path.is_file():
        hint = f"; give a glob such as {path / '*.parquet'}" if path.is_dir() else ""
        raise Permanent(f"{pattern} is not a file{hint}")
    return [path]


def _broken(path: Path, error: BaseException) -> Permanent:
    return Permanent(f"{path} cannot be read as {path.suffix}: {error}")
