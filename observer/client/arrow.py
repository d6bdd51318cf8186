"""Arrow IPC messages; imported only where pyarrow is installed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from observer.client.items import NESTED, Event, Frame, Item, listed, times
from observer.client.messages import Message, Refuse, json_messages
from observer.client.values import BASIC, name, plain

_UNFIT = (pa.ArrowException, TypeError, ValueError, OverflowError)


def column(values: Any) -> pa.Array:
    """A copy of a column as an Arrow array, NaN as null."""
    if hasattr(values, "to_arrow"):  # polars
        values = values.to_arrow()
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.Array):
        return _fit(values)
    kind = getattr(getattr(values, "dtype", None), "kind", "")
    if getattr(values, "ndim", 1) == 2:
        if kind in "fiu" and hasattr(values, "ravel"):
            return pa.FixedSizeListArray.from_arrays(pa.array(values.flatten()), values.shape[1])
        values = listed(values)
    elif kind in "fiub" and hasattr(values, "copy"):
        values = values.copy()  # Arrow would share the memory that the model writes to
    try:
        return _fit(pa.array(values, from_pandas=True))
    except _UNFIT:
        return _cells(listed(values))


def times_column(values: Any) -> pa.Array:
    """A copy of a column of times."""
    if hasattr(values, "to_arrow"):  # polars
        values = values.to_arrow()
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.Array) and (
        pa.types.is_timestamp(values.type) or pa.types.is_integer(values.type)
    ):
        return values
    return pa.array(times(values))


def _fit(array: pa.Array) -> pa.Array:
    """The array in a type that events have."""
    kind = array.type
    if (
        _is_text(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
        or pa.types.is_dictionary(kind)
        or pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
    ):
        return array
    if pa.types.is_decimal(kind):
        return array.cast(pa.float64())
    return _cells(listed(array))


def _cells(values: list[Any]) -> pa.Array:
    """Cells of any Python types; where they are mixed, their names."""
    cells = [plain(value) for value in values]
    try:
        return _fit(pa.array(cells, from_pandas=True))
    except _UNFIT:
        return pa.array([None if one is None else name(one) for one in cells])


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def arrow_messages(items: Sequence[Item], limit: int, refuse: Refuse) -> Iterator[Message]:
    """As few messages as the limit allows; events that have no Arrow form go as JSON."""
    events = [item for item in items if isinstance(item, Event)]
    tables: list[tuple[pa.RecordBatch, Sequence[Item]]] = []
    if events:
        try:
            tables.append((_of_events(events), events))
        except _UNFIT:
            yield from json_messages(events, limit, refuse)
    for frame in (item for item in items if isinstance(item, Frame)):
        try:
            tables.append((_of_frame(frame), [frame]))
        except _UNFIT as error:
            refuse("invalid", frame.rows, error)
    groups: list[list[pa.RecordBatch]] = []
    for batch, _ in tables:
        if groups and groups[-1][0].schema.equals(batch.schema):
            groups[-1].append(batch)
        else:
            groups.append([batch])
    stream = items[0].stream
    for group in groups:
        for batch in pa.Table.from_batches(group).combine_chunks().to_batches():
            yield from _split(stream, batch, limit, refuse)


def _split(stream: Any, batch: pa.RecordBatch, limit: int, refuse: Refuse) -> Iterator[Message]:
    """The batch as messages of up to `limit` bytes."""
    time.sleep(0)  # lets the model run
    if batch.num_rows == 1 or batch.nbytes <= limit:
        value = _encoded(batch)
        if len(value) <= limit:
            yield Message(stream, value, batch.num_rows)
            return
        if batch.num_rows == 1:
            refuse("too_large", 1, f"an event of {len(value)} bytes; accepted: up to {limit}")
            return
    # A part of a dictionary column carries the whole dictionary: such columns are made anew for each part.
    for at, array in enumerate(batch.columns):
        if pa.types.is_dictionary(array.type):
            batch = batch.set_column(at, batch.schema.names[at], array.dictionary_decode())
    half = batch.num_rows // 2
    for part in (batch.slice(0, half), batch.slice(half)):
        yield from _split(stream, part, limit, refuse)


def _encoded(batch: pa.RecordBatch) -> bytes:
    """An Arrow IPC stream; text as dictionaries of its values, which read fastest."""
    for at, (field, array) in enumerate(zip(batch.schema.names, batch.columns, strict=True)):
        if field != "id" and _is_text(array.type):
            batch = batch.set_column(at, field, array.dictionary_encode())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    encoded: bytes = sink.getvalue().to_pybytes()
    return encoded


def _of_frame(frame: Frame) -> pa.RecordBatch:
    arrays = {"id": pa.array(frame.ids, pa.string())}
    arrays.update((field, _constant(value, frame.rows)) for field, value in frame.constants.items())
    arrays.update(frame.columns)
    return pa.record_batch(list(arrays.values()), names=list(arrays))


def _constant(value: Any, rows: int) -> pa.Array:
    if isinstance(value, str):
        return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int8()), rows), [value])
    return pa.repeat(pa.scalar(value), rows)


def _of_events(events: Sequence[Event]) -> pa.RecordBatch:
    """A batch of single events, a column per field and name that any of them has.

    Raises
    ------
    TypeError, pyarrow.ArrowException
        A column's values are of several types, and JSON keeps them apart.
    """
    rows = [event.fields for event in events]
    arrays: dict[str, pa.Array] = {}
    for field in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(field) for row in rows]
        if field not in NESTED:
            arrays[field] = pa.array(values) if field == "id" else _strict(values)
            continue
        single = [None if isinstance(value, dict) else value for value in values]
        if any(value is not None for value in single):
            arrays[field] = _strict(single)
        parts = [value if isinstance(value, dict) else {} for value in values]
        for key in dict.fromkeys(key for part in parts for key in part):
            array = _strict([part.get(key) for part in parts], vectors=field == "embeddings")
            arrays[f"{field}.{key}"] = array
            time.sleep(0)  # lets the model run
    return pa.record_batch(list(arrays.values()), names=list(arrays))


def _strict(values: list[Any], *, vectors: bool = False) -> pa.Array:
    """Cells of one type, numbers being one; raises `TypeError` where they are of several."""
    if vectors:
        return pa.array(values, pa.list_(pa.float32()))
    kinds = set(map(type, values))
    if not kinds <= BASIC:
        values = [plain(value) for value in values]
        kinds = set(map(type, values))
    if len(kinds - {type(None), int, float}) > (0 if kinds & {int, float} else 1):
        raise TypeError("values of several types")
    return _fit(pa.array(values, from_pandas=True))
