"""Arrow IPC messages -> batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from observer.codecs.arrow import columns as arrow
from observer.codecs.arrow.guard import Malformed, expanded_bytes, stream_of
from observer.codecs.arrow.rows import Rows
from observer.codecs.base import ROW_BITS, Codec, Context, Limits, Poll, within
from observer.codecs.events import ACCEPTED
from observer.model import Schema, Stream

_GATHER_BYTES = 256 << 20  # decoded together at most; text columns of one chunk hold less than 2 GiB


@dataclass(slots=True)
class _Group:
    """Batches of one Arrow schema, in arrival order."""

    schema: pa.Schema
    problem: str
    batches: list[pa.RecordBatch] = field(default_factory=list)
    messages: list[int] = field(default_factory=list)
    first_rows: list[int] = field(default_factory=list)


class ArrowCodec(Codec):
    """Decodes Arrow IPC streams and files, compressed or not.

    Everything is validated before it is touched: a crafted offset would otherwise crash the process.

    Parameters
    ----------
    schemas, limits, learn_unknown
        As for `JsonCodec`.
    default_model : str or None
        The model of messages without a `model` column.
    """

    def __init__(
        self,
        schemas: Mapping[str, Schema],
        limits: Limits | None = None,
        *,
        learn_unknown: bool = False,
        default_model: str | None = None,
    ) -> None:
        self._context = Context(schemas, limits or Limits(), learn_unknown=learn_unknown)
        self._default_model = default_model

    def read(self, poll: Poll, stream: Stream, indexes: Sequence[int]) -> None:
        """Add the messages at `indexes` to the poll."""
        groups: list[_Group] = []
        gathered = 0
        for index in within(poll, indexes, self._context.limits.max_batch_bytes):
            size = len(poll.messages.values[index])
            if gathered and gathered + size > _GATHER_BYTES:
                self._add_groups(poll, stream, groups)
                groups, gathered = [], 0
            gathered += self._open(poll, stream, index, groups)
        self._add_groups(poll, stream, groups)

    def _open(self, poll: Poll, stream: Stream, index: int, groups: list[_Group]) -> int:
        """Validate a message and put its batches into the groups; its size once expanded."""
        limits = self._context.limits
        try:
            ipc = stream_of(poll.messages.values[index])
            size = expanded_bytes(ipc)
            if size > limits.max_batch_bytes:
                detail = f"the message expands to {size} bytes; accepted: up to {limits.max_batch_bytes}"
                poll.reject(index, "too_large", detail)
                return 0
            with pa.ipc.open_stream(pa.py_buffer(ipc)) as reader:
                schema, batches = reader.schema, list(reader)
            for batch in batches:
                batch.validate(full=True)
            _ = schema.names  # which need not be UTF-8
        except (pa.ArrowException, OSError, Malformed, UnicodeDecodeError) as error:
            poll.reject(index, "undecodable", f"not an Arrow IPC stream: {error}"[:300])
            return 0
        rows = sum(batch.num_rows for batch in batches)
        cells = rows * len(schema)
        if rows > limits.max_batch_rows or cells > limits.max_batch_bytes:
            accepted = f"up to {limits.max_batch_rows} rows and {limits.max_batch_bytes} cells"
            poll.reject(index, "too_large", f"{rows} rows of {len(schema)} columns; accepted: {accepted}")
            return 0
        group = next((group for group in groups if group.schema.equals(schema)), None)
        if group is None:
            group = _Group(schema, _problem(schema, stream, has_default=self._default_model is not None))
            groups.append(group)
        if group.problem:
            poll.reject(index, "invalid", group.problem)
            return 0
        first = 0
        for batch in batches:
            group.batches.append(batch)
            group.messages.append(index)
            group.first_rows.append(first)
            first += batch.num_rows
        return size

    def _add_groups(self, poll: Poll, stream: Stream, groups: list[_Group]) -> None:
        for group in groups:
            if not group.batches:
                continue
            try:
                self._add_group(poll, stream, group.batches, group.messages, group.first_rows)
            except (pa.ArrowException, ValueError, TypeError):
                # What joins badly (dictionaries too large for their index, say) may do one by one.
                for batch, message, first in zip(
                    group.batches, group.messages, group.first_rows, strict=True
                ):
                    try:
                        self._add_group(poll, stream, [batch], [message], [first])
                    except (pa.ArrowException, ValueError, TypeError) as error:
                        poll.reject(message, "undecodable", f"unusable Arrow columns: {error}"[:300])

    def _add_group(
        self,
        poll: Poll,
        stream: Stream,
        batches: list[pa.RecordBatch],
        messages: list[int],
        first_rows: list[int],
    ) -> None:
        """Add batches of one schema, all or none of them."""
        trial = Poll(poll.messages, poll.now)
        sizes = [batch.num_rows for batch in batches]
        message = np.repeat(np.array(messages, np.int64), sizes)
        starts = np.array(first_rows, np.int64) - np.concatenate([[0], np.cumsum(sizes)[:-1]])
        row = (message << ROW_BITS) + np.repeat(starts, sizes) + np.arange(len(message))
        batch = batches[0]
        if len(batches) > 1:
            joined = pa.Table.from_batches(batches).combine_chunks().to_batches()
            if not joined:
                return
            if len(joined) > 1:
                raise ValueError("the batches do not fit into one")
            batch = joined[0]
        if batch.num_rows:
            Rows(self._context, trial, batch, message, row, self._default_model).add(stream)
        poll.absorb(trial)


def _problem(schema: pa.Schema, stream: Stream, *, has_default: bool) -> str:
    """What makes every message of the schema unusable, or nothing."""
    outcome = "prediction" if stream == "predictions" else "label"
    required = ["id", "time", outcome] + ([] if has_default else ["model"])
    names = schema.names
    for name in required:
        if name not in names:
            return f"column `{name}` is missing; accepted: {ACCEPTED[name]}"
    for name, kind in zip(names, schema.types, strict=True):
        plain = kind.value_type if pa.types.is_dictionary(kind) else kind
        text, number = arrow.is_text(plain), arrow.is_number(plain)
        fits = {
            "id": text or pa.types.is_integer(plain),
            "model": text,
            "time": text
            or pa.types.is_timestamp(plain)
            or pa.types.is_floating(plain)
            or pa.types.is_integer(plain),
            outcome: text or number or pa.types.is_boolean(plain),
            "version": text or number or pa.types.is_null(plain),
            "arm": text or pa.types.is_null(plain),
            "arm_probability": number or pa.types.is_null(plain),
            "error": pa.types.is_boolean(plain) or pa.types.is_null(plain),
            "weight": number or pa.types.is_null(plain),
            "features": pa.types.is_struct(kind) or pa.types.is_null(kind),
        }
        if not fits.get(name, True):
            return f"column `{name}` is of type {str(kind)[:100]}; accepted: {ACCEPTED[name]}"
    return ""
