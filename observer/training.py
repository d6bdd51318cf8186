"""Rows for a reference: files of events, or plain tables such as a training set."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.json
import pyarrow.parquet
from numpy.typing import NDArray

from detectors.base import Categories, Column, Numbers, Vectors
from observer.clock import SystemClock
from observer.codecs import AutoSpec, Limits, codec
from observer.codecs.arrow import columns as arrow
from observer.codecs.columns import concatenate, concatenate_vectors
from observer.codecs.keys import hash_ids
from observer.errors import ConfigError, Permanent
from observer.model import Predictions, Schema
from observer.pipeline.inputs import values_of
from observer.references import EMBEDDING, LATENCY, PREDICTION, SCORE
from observer.sources.files import FileSource, FilesSpec

MOST_ROWS = 1_000_000
"""Of more rows those with the smallest hashed ids are used: a uniform sample, the same at every run."""
MOST_VECTORS = 10_000
"""Rows whose embeddings are used, chosen likewise: 15 MB a column of 384 numbers."""
_EVENT = {"id", "model", "time", "prediction"}
_ROWS = 100_000
_PARQUET, _CSV, _ARROW = {".parquet"}, {".csv"}, {".arrow", ".feather", ".ipc"}
_LINES = {".ndjson", ".jsonl", ".json"}
_PACKED = {f"{suffix}.gz" for suffix in (*_CSV, *_LINES)}
Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Roles:
    """What the columns of a plain table are; the rest are features."""

    prediction: str | None = None
    score: str | None = None
    id: str | None = None
    drop: tuple[str, ...] = ()

    def named(self) -> dict[str, str]:
        """Option -> column, as given."""
        given = {"--prediction": self.prediction, "--score": self.score, "--id": self.id}
        given |= {f"--drop {name}": name for name in self.drop}
        return {option: name for option, name in given.items() if name is not None}


@dataclass(slots=True)
class Rows:
    """Rows of one model, ready for `observer.references.build`.

    Attributes
    ----------
    notes : dict
        Column of the file -> why it was left out.
    total : int
        Rows that the file holds of the model.
    rejected, first_problem
        Events that could not be used, and what was wrong with the first.
    """

    keys: NDArray[np.uint64]
    columns: dict[str, Column]
    tags: dict[str, Categories] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    total: int = 0
    rejected: int = 0
    first_problem: str = ""
    vectors: dict[str, Vectors] = field(default_factory=dict)
    """Embeddings of at most `MOST_VECTORS` rows, in order of their keys."""
    timed: bool = False
    """They are events, which have times."""


def read(path: Path, model: str, roles: Roles | None = None, most: int = MOST_ROWS) -> Rows:
    """Read rows of `model` from a file: Parquet, CSV, NDJSON or Arrow.

    A file whose columns include id, model, time and prediction holds events, of which those of `model`
    are taken. Any other file is a plain table of that model, in which every column is a feature unless
    `roles` says else, or an embedding if it holds lists of numbers. Nested columns are named with dots;
    where there are some under `features`, the table is laid out as events are: those are the features,
    further members are what they are in events, and what events do not have is left out. CSV and plain
    NDJSON are held in memory whole, so for many gigabytes take Parquet.

    Raises
    ------
    ConfigError
        The file has no rows of the model, or lacks a column that `roles` names.
    Permanent
        The file cannot be read.
    """
    roles = roles or Roles()
    try:
        is_events = set(_names(path)) >= _EVENT
        rows = _events(path, model, roles, most) if is_events else _plain(path, roles, most)
    except (OSError, EOFError, pa.ArrowException, ValueError) as error:
        said = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise Permanent(f"{path}: cannot be read: {said}") from error
    order = np.argsort(rows.keys, kind="stable")  # sums then do not depend on the order in the file
    rows.keys = rows.keys[order]
    rows.columns = {name: column.take(order) for name, column in rows.columns.items()}
    rows.tags = {name: column.take(order) for name, column in rows.tags.items()}
    return rows


def _kind(path: Path) -> str:
    kind = path.suffixes[-2] + ".gz" if path.suffix == ".gz" and len(path.suffixes) > 1 else path.suffix
    known = _PARQUET | _CSV | _LINES | _ARROW | _PACKED
    if kind not in known:
        raise ValueError(f"unknown kind of file; accepted: {', '.join(sorted(known))}")
    return kind.removesuffix(".gz")


def _names(path: Path) -> list[str]:
    """Names of the columns, without reading more than the beginning."""
    kind = _kind(path)
    if kind in _PARQUET:
        return list(pa.parquet.read_schema(path).names)
    if kind in _CSV:
        with pa.csv.open_csv(path) as reader:
            return list(reader.schema.names)
    if kind in _ARROW:
        return next((list(batch.schema.names) for batch in _arrow(path)), [])
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        first = next((line for line in file if line.strip()), b"{}")
    try:
        row = json.loads(first)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise ValueError("the first line is no JSON object; accepted: one object a line")  # noqa: TRY004
    return list(row)


class _Sample(Generic[Part]):
    """Parts of a table, cut down to the rows with the smallest keys once they are too many."""

    def __init__(self, most: int, take: Callable[[Part, NDArray[np.intp]], Part]) -> None:
        self.parts: list[tuple[NDArray[np.uint64], Part]] = []
        self.total = 0
        self._most = most
        self._take = take
        self._held = 0

    def add(self, keys: NDArray[np.uint64], part: Part) -> None:
        self.total += len(keys)
        self._held += len(keys)
        self.parts.append((keys, part))
        if self._held > 2 * self._most:
            self.cut()

    def cut(self) -> None:
        if self._held <= self._most:
            return
        every = np.concatenate([keys for keys, _ in self.parts])
        limit = np.partition(every, self._most - 1)[self._most - 1]
        kept = [(keys, part, np.flatnonzero(keys <= limit)) for keys, part in self.parts]
        self.parts = [(keys[rows], self._take(part, rows)) for keys, part, rows in kept if len(rows)]
        self._held = sum(len(keys) for keys, _ in self.parts)


class _Vectors(_Sample[Mapping[str, Vectors]]):
    """Embeddings of the rows with the smallest keys."""

    def __init__(self, most: int) -> None:
        super().__init__(most, lambda part, rows: {name: part[name].take(rows) for name in part})

    def columns(self) -> dict[str, Vectors]:
        """The columns, rows in order of their keys."""
        self.cut()
        order = np.argsort(np.concatenate([keys for keys, _ in self.parts]), kind="stable")
        names = sorted({name for _, part in self.parts for name in part})
        return {
            name: concatenate_vectors([(part.get(name), len(keys)) for keys, part in self.parts]).take(order)
            for name in names
        }


# Events


def _events(path: Path, model: str, roles: Roles, most: int) -> Rows:
    if roles.named():
        told = ", ".join(roles.named())
        raise ConfigError([f"{path} holds events, which say what their members are; leave out {told}"])
    source = FileSource(FilesSpec(path=str(path)), "predictions")
    limits = Limits(max_ahead=1e12)  # training data may be dated as they please
    decoder = codec(AutoSpec(), {model: Schema({})}, limits, learn_unknown=True)
    now = SystemClock().now()
    sample: _Sample[Predictions] = _Sample(most, Predictions.take)
    vectors = _Vectors(min(most, MOST_VECTORS))
    rejected, problem, others = 0, "", set()
    source.open({})
    try:
        finished = False
        while not finished:
            messages = source.poll(_ROWS, 0.0)
            finished = messages.finished
            decoded = decoder.predictions(messages, now)
            rejected += len(decoded.rejected)
            if decoded.rejected and not problem:
                first = decoded.rejected[0]
                problem = f"{first.origin}: {first.reason}: {first.detail}"
            for batch in decoded.predictions:
                if batch.model == model:
                    sample.add(batch.keys[:, 0], replace(batch, embeddings={}))
                    vectors.add(batch.keys[:, 0], batch.embeddings)
                else:
                    others.add(batch.model)
    finally:
        source.close()
    sample.cut()
    if not sample.parts:
        found = ", ".join(sorted(others)[:10]) or f"no usable event at all ({problem or 'the file is empty'})"
        raise ConfigError([f"{path}: no events of model {model!r}; the file has: {found}"])
    batches = [batch for _, batch in sample.parts]
    columns = _joined([(values_of(batch), len(batch)) for batch in batches])
    tags = _joined([(batch.tags, len(batch)) for batch in batches])
    return Rows(
        np.concatenate([keys for keys, _ in sample.parts]),
        {name: column for name, column in columns.items() if not (name in _OURS and _empty(column))},
        {name: column for name, column in tags.items() if isinstance(column, Categories)},
        total=sample.total,
        rejected=rejected,
        first_problem=problem,
        vectors={f"{EMBEDDING}.{name}": column for name, column in vectors.columns().items()},
        timed=True,
    )


_OURS = {LATENCY, SCORE, PREDICTION}
"""Columns that are there for every event; a reference needs those that hold something."""


def _joined(parts: list[tuple[Mapping[str, Column], int]]) -> dict[str, Column]:
    names = sorted({name for part, _ in parts for name in part})
    return {name: concatenate([(part.get(name), n) for part, n in parts]) for name in names}


def _empty(column: Column) -> bool:
    return isinstance(column, Numbers) and bool(np.isnan(column.values).all())


# Plain tables


def _plain(path: Path, roles: Roles, most: int) -> Rows:
    sample: _Sample[pa.Table] = _Sample(most, lambda part, rows: part.take(pa.array(rows)))
    vectors, longest = _Vectors(min(most, MOST_VECTORS)), Limits().max_embedding_length
    id_column, seen = roles.id, 0
    for batch in _tables(path):
        part = _flat(batch)
        if not seen:
            _check(path, part.column_names, roles)
            id_column = roles.id or ("id" if _is_eventlike(part.column_names) else None)
        if id_column in part.column_names:
            ids = part.column(id_column).combine_chunks()
            ids = arrow.text(ids).fill_null("")
        else:
            ids = pa.array(np.arange(seen, seen + part.num_rows)).cast(pa.large_string())
        keys = hash_ids(ids, "")[:, 0]
        listed = [column.name for column in part.schema if arrow.is_vectors(column.type)]
        sample.add(keys, part.drop_columns(listed))
        arrays = {name: part.column(name).combine_chunks() for name in listed}
        vectors.add(keys, {name: arrow.vectors(array, longest) for name, array in arrays.items()})
        seen += part.num_rows
    sample.cut()
    if not seen:
        raise ConfigError([f"{path}: has no rows"])
    table = pa.concat_tables([part for _, part in sample.parts], promote_options="default")
    rows = Rows(np.concatenate([keys for keys, _ in sample.parts]), {}, total=seen)
    embeddings = vectors.columns()
    named = _roles([*table.column_names, *embeddings], roles)
    for name, column in embeddings.items():
        _place(rows, name, named[name], column)
    for name in table.column_names:
        role = named[name]
        if role is None:
            continue
        array = table.column(name).combine_chunks()
        if unusable := _unusable(arrow.plain_type(array)):
            rows.notes[name] = f"left out: it holds {unusable}, which no feature of an event can be"
        elif role.startswith("tags."):
            rows.tags[role.removeprefix("tags.")] = arrow.categories(array)
        else:
            rows.columns[role] = arrow.inferred(array)
    return rows


def _place(rows: Rows, name: str, role: str | None, column: Vectors) -> None:
    """Enter an embedding of a plain table, or say why not."""
    if role == name and not name.startswith("tags."):
        role = f"{EMBEDDING}.{name}"
    if role is not None and role.startswith(EMBEDDING):
        rows.vectors[role] = column
    elif role is not None:
        rows.notes[name] = "left out: it holds lists, which only an embedding of an event can be"


def _unusable(kind: pa.DataType) -> str:
    """What values of a type are, if no event can hold them; else nothing."""
    if pa.types.is_temporal(kind):
        return "times"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return "bytes that are no text in UTF-8"
    if pa.types.is_boolean(kind) or pa.types.is_null(kind) or arrow.is_text(kind) or arrow.is_number(kind):
        return ""
    return f"values of type {kind}"


def _tables(path: Path) -> Iterable[pa.RecordBatch | pa.Table]:
    kind = _kind(path)
    if kind in _CSV:
        convert = pa.csv.ConvertOptions(strings_can_be_null=True)
        return [pa.csv.read_csv(path, convert_options=convert)]
    if kind in _LINES:
        return [pa.json.read_json(path)]
    if kind in _ARROW:
        return _arrow(path)
    return _parquet(path)


def _parquet(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.parquet.ParquetFile(path) as file:
        yield from file.iter_batches(_ROWS)


def _arrow(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(path)) as source:
        try:
            file = pa.ipc.open_file(source)
        except pa.ArrowInvalid:  # the other of the two IPC formats
            source.seek(0)
            with pa.ipc.open_stream(source) as stream:
                yield from stream
            return
        for number in range(file.num_record_batches):
            yield file.get_batch(number)


def _flat(batch: pa.RecordBatch | pa.Table) -> pa.Table:
    """A table whose nested columns stand side by side, named with dots."""
    table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
    while any(pa.types.is_struct(column.type) for column in table.schema):
        table = table.flatten()
    return table.replace_schema_metadata(None)


def _check(path: Path, columns: list[str], roles: Roles) -> None:
    given = roles.named()
    have = ", ".join(columns)
    problems = [
        f"{path}: {option}: no column {name!r}; there are: {have}"
        for option, name in given.items()
        if name not in columns
    ]
    names = list(given.values())
    again = sorted({name for name in names if names.count(name) > 1})
    problems += [f"{path}: column {name!r} is given twice; accepted: one role a column" for name in again]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    problems += [f"{path}: has two columns {name!r}; rename one" for name in twice]
    if problems:
        raise ConfigError(problems)


def _is_eventlike(columns: list[str]) -> bool:
    return any(name.startswith("features.") for name in columns)


def _roles(columns: list[str], roles: Roles) -> dict[str, str | None]:
    """Column of the file -> its name in the reference; None for those that are no part of it."""
    found: dict[str, str | None] = {name: name for name in columns}
    if _is_eventlike(columns):
        for name in columns:
            if name == "prediction":
                found[name] = PREDICTION
            elif name == "scores" or name.startswith("scores."):
                found[name] = name.replace("scores", SCORE, 1)
            elif name.startswith("features."):
                found[name] = name.removeprefix("features.")
            elif name.startswith("embeddings."):
                found[name] = name.replace("embeddings", EMBEDDING, 1)
            elif not name.startswith("tags."):
                found[name] = None  # as in events, whose further members are ignored
    found |= dict.fromkeys(filter(None, (roles.id, *roles.drop)))
    own = {roles.prediction: PREDICTION, roles.score: SCORE}
    return found | {name: role for name, role in own.items() if name is not None}
