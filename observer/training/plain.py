"""Rows from plain tables, such as training sets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from detectors.base import Vectors
from observer.codecs import Limits
from observer.codecs.arrow import columns as arrow
from observer.codecs.keys import hash_ids
from observer.errors import ConfigError
from observer.references import EMBEDDING, PREDICTION, SCORE
from observer.training.files import tables
from observer.training.rows import Roles, Rows
from observer.training.sample import MOST_VECTORS, Sampled, SampledVectors

_LABEL = "@label"
_PLACE = "@place"
"""Column of the rows' places in the file."""


def plain_rows(paths: Sequence[Path], name: str, roles: Roles, most: int) -> Rows:
    """Rows from plain tables with the same columns; parameters and errors as of `read`."""
    sample: Sampled[pa.Table] = Sampled(most, lambda part, rows: part.take(pa.array(rows)))
    vectors, longest = SampledVectors(min(most, MOST_VECTORS)), Limits().max_embedding_length
    id_column, seen = roles.id, 0
    for batch in chain.from_iterable(map(tables, paths)):
        part = _flat(batch)
        if not seen:
            _check(name, part.column_names, roles)
            id_column = roles.id or ("id" if _is_eventlike(part.column_names) else None)
        if id_column in part.column_names:
            ids = part.column(id_column).combine_chunks()
            ids = arrow.text(ids).fill_null("")
        else:
            ids = pa.array(np.arange(seen, seen + part.num_rows)).cast(pa.large_string())
        keys = hash_ids(ids, "")[:, 0]
        listed = [column.name for column in part.schema if arrow.is_vectors(column.type)]
        place = pa.array(np.arange(seen, seen + part.num_rows))
        sample.add(keys, part.drop_columns(listed).append_column(_PLACE, place))
        arrays = {name: part.column(name).combine_chunks() for name in listed}
        vectors.add(keys, {name: arrow.vectors(array, longest) for name, array in arrays.items()})
        seen += part.num_rows
    sample.cut()
    if not seen:
        raise ConfigError([f"{name}: has no rows"])
    table = pa.concat_tables([part for _, part in sample.parts], promote_options="default")
    rows = Rows(np.concatenate([keys for keys, _ in sample.parts]), {}, total=seen)
    rows.order = table.column(_PLACE).to_numpy()
    table = table.drop_columns([_PLACE])
    embeddings = vectors.columns()
    named = _roles([*table.column_names, *embeddings], roles)
    for title, column in embeddings.items():
        _place(rows, title, named[title], column)
    for title in table.column_names:
        role = named[title]
        if role is None:
            continue
        array = table.column(title).combine_chunks()
        if unusable := _unusable(arrow.plain_type(array)):
            rows.notes[title] = f"left out: it holds {unusable}, which no feature of an event can be"
        elif role == _LABEL:
            rows.label = arrow.inferred(array)
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


def _flat(batch: pa.RecordBatch | pa.Table) -> pa.Table:
    """A table whose nested columns stand side by side, named with dots."""
    table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
    while any(pa.types.is_struct(column.type) for column in table.schema):
        table = table.flatten()
    return table.replace_schema_metadata(None)


def _check(place: str, columns: list[str], roles: Roles) -> None:
    given = roles.named()
    have = ", ".join(columns)
    problems = [
        f"{place}: {option}: no column {name!r}; there are: {have}"
        for option, name in given.items()
        if name not in columns
    ]
    names = list(given.values())
    again = sorted({name for name in names if names.count(name) > 1})
    problems += [f"{place}: column {name!r} is given twice; accepted: one role a column" for name in again]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    problems += [f"{place}: has two columns {name!r}; rename one" for name in twice]
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
    own = {roles.prediction: PREDICTION, roles.score: SCORE, roles.label: _LABEL}
    return found | {name: role for name, role in own.items() if name is not None}
