"""Rows for a reference: files of events, or plain tables such as a training set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.json
import pyarrow.parquet
from numpy.typing import NDArray

from detectors.base import Categories, Column, Numbers
from observer.clock import SystemClock
from observer.codecs import AutoSpec, Limits, codec
from observer.codecs.arrow import columns as arrow
from observer.codecs.columns import concatenate
from observer.codecs.keys import hash_ids
from observer.errors import ConfigError
from observer.model import Predictions
from observer.pipeline.inputs import columns_of
from observer.references import PREDICTION, SCORE
from observer.sources.files import FileSource, FilesSpec

_EVENT = {"id", "model", "time", "prediction"}
_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Roles:
    """What the columns of a plain table are; the rest are features."""

    prediction: str | None = None
    score: str | None = None
    id: str | None = None
    drop: tuple[str, ...] = ()


@dataclass(slots=True)
class Rows:
    """Rows of one model, ready for `observer.references.build`."""

    keys: NDArray[np.uint64]
    columns: dict[str, Column]
    tags: dict[str, Categories] = field(default_factory=dict)
    rejected: int = 0
    first_problem: str = ""


def read(path: Path, model: str, roles: Roles) -> Rows:
    """Read rows of `model` from a file: Parquet, CSV, Arrow or NDJSON.

    A file whose columns include id, model, time and prediction holds events, of which those of `model`
    are taken; any other file is a plain table and every column a feature, unless `roles` says else.

    Raises
    ------
    ConfigError
        The file cannot be read, has no rows of the model, or lacks a column that `roles` names.
    """
    try:
        table = _table(path)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise ConfigError([f"{path}: cannot be read: {' '.join(str(error).split())}"]) from error
    if set(table.column_names) >= _EVENT:
        return _events(path, model)
    return _plain(path, table, roles)


def _table(path: Path) -> pa.Table:
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    kind = suffixes[-1] if suffixes else ""
    if kind == ".parquet":
        return pa.parquet.read_table(path)
    if kind == ".csv":
        return pa.csv.read_csv(path)
    if kind in (".ndjson", ".jsonl", ".json"):
        return pa.json.read_json(path)
    if kind in (".arrow", ".feather", ".ipc"):
        return pa.feather.read_table(path)
    raise ValueError(
        "unknown kind of file; accepted: .parquet, .csv, .ndjson, .jsonl, .json, .arrow, .feather"
    )


def _events(path: Path, model: str) -> Rows:
    source = FileSource(FilesSpec(path=str(path)), "predictions")
    limits = Limits(max_ahead=10.0 * 365 * 86_400)  # training data may be dated as they please
    decoder = codec(AutoSpec(), {}, limits, learn_unknown=True)
    now = SystemClock().now()
    batches: list[Predictions] = []
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
                    batches.append(batch)
                else:
                    others.add(batch.model)
    finally:
        source.close()
    if not batches:
        found = ", ".join(sorted(others)[:10]) or f"no usable event at all ({problem or 'the file is empty'})"
        raise ConfigError([f"{path}: no events of model {model!r}; the file has: {found}"])
    parts = [(columns_of(batch), len(batch)) for batch in batches]
    tags = [(batch.tags, len(batch)) for batch in batches]
    columns = {name: concatenate([(part.get(name), n) for part, n in parts]) for name in _names(parts)}
    joined = {name: concatenate([(part.get(name), n) for part, n in tags]) for name in _names(tags)}
    return Rows(
        np.concatenate([batch.keys[:, 0] for batch in batches]),
        {name: column for name, column in columns.items() if not _empty(column)},
        {name: column for name, column in joined.items() if isinstance(column, Categories)},
        rejected,
        problem,
    )


def _names(parts: list[tuple[dict[str, Column], int]] | list[tuple[dict[str, Categories], int]]) -> list[str]:
    return sorted({name for part, _ in parts for name in part})


def _empty(column: Column) -> bool:
    """The service's own columns are there for every event; a reference needs those that hold something."""
    return isinstance(column, Numbers) and bool(np.isnan(column.values).all())


def _plain(path: Path, table: pa.Table, roles: Roles) -> Rows:
    named = [name for name in (roles.prediction, roles.score, roles.id, *roles.drop) if name is not None]
    missing = [name for name in named if name not in table.column_names]
    if missing:
        have = ", ".join(table.column_names)
        raise ConfigError([f"{path}: no column {name!r}; there are: {have}" for name in missing])
    own: Mapping[str | None, str] = {roles.prediction: PREDICTION, roles.score: SCORE}
    columns: dict[str, Column] = {}
    for name in table.column_names:
        if name == roles.id or name in roles.drop:
            continue
        array = table.column(name).combine_chunks()
        if pa.types.is_timestamp(array.type) or pa.types.is_date(array.type):
            array = array.cast(pa.timestamp("ms")).cast(pa.int64()).cast(pa.float64())
        columns[own.get(name, name)] = arrow.inferred(array)
    if roles.id is None:
        ids = list(map(str, range(table.num_rows)))
    else:
        ids = list(map(str, table.column(roles.id).to_pylist()))
    return Rows(hash_ids(ids, "")[:, 0], columns)
