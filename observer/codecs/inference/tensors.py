"""Tensors of many messages, one under another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from detectors.base import Ints
from observer.codecs.columns import class_name

NUMBERS = {
    "FP64": "<f8", "FP32": "<f4", "FP16": "<f2", "INT64": "<i8", "INT32": "<i4", "INT16": "<i2",
    "INT8": "|i1", "UINT64": "<u8", "UINT32": "<u4", "UINT16": "<u2", "UINT8": "|u1",
}  # fmt: skip
"""Datatypes of the V2 protocol that are numbers, as numpy has them."""


class Unreadable(ValueError):
    """Cells that are not what their tensor says, or no cells at all; the message is for a person."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor in m messages.

    Attributes
    ----------
    cells : Arrow array of sum(rows) * width values
        Row by row, message by message.
    rows : int64[m]
        Rows of each message: its first dimension.
    width : int
        Cells of a row: all other dimensions.
    """

    cells: pa.Array
    rows: Ints
    width: int = 1

    def column(self, at: int) -> pa.Array:
        """One cell of every row."""
        if self.width == 1:
            return self.cells
        if not (self.cells.null_count or pa.types.is_boolean(self.cells.type)) and is_number(self.cells.type):
            return pa.array(np.ascontiguousarray(self.cells.to_numpy().reshape(-1, self.width)[:, at]))
        return self.cells.take(pa.array(np.arange(at, len(self.cells), self.width)))

    def take(self, messages: Ints) -> Tensor:
        """The tensor of some of the messages, in that order."""
        if len(messages) == len(self.rows) and np.array_equal(messages, np.arange(len(messages))):
            return self
        counts = self.rows * self.width
        cells = self.cells.take(pa.array(ranges((np.cumsum(counts) - counts)[messages], counts[messages])))
        return Tensor(cells, self.rows[messages], self.width)


@dataclass(slots=True)
class Table:
    """Messages of one structure: the same tensors, of the same widths.

    Attributes
    ----------
    messages : int64[m]
        Which they are among those that were decoded together.
    versions : list of str
        Version of the model that each names, or nothing.
    """

    messages: Ints
    tensors: dict[str, Tensor]
    versions: list[str]


Decoded = tuple[list[Table], dict[int, str]]
"""Tables, and what is wrong with the messages that are in none."""


def is_number(kind: pa.DataType) -> bool:
    """Whether cells of the type are numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def ranges(starts: Ints, counts: Ints) -> Ints:
    """Numbers from each start on, as many as its count, one range after another."""
    ends = np.cumsum(counts)
    return np.repeat(starts - (ends - counts), counts) + np.arange(ends[-1] if len(ends) else 0)


def from_bytes(name: str, datatype: str, inner: tuple[int, ...], rows: Ints, data: Sequence[bytes]) -> Tensor:
    """A tensor of raw contents: little-endian cells; texts with their length, 4 bytes, before each."""
    width = prod(inner)
    counts = rows * width
    sizes = lengths(data)
    if datatype == "BYTES":
        return Tensor(_prefixed(name, b"".join(data), sizes, counts), rows, width)
    kind = np.dtype("?" if datatype == "BOOL" else NUMBERS.get(datatype, "V0"))
    if not kind.itemsize:
        raise Unreadable(f"tensor `{name}` is of datatype {datatype[:40]!r}")
    if (sizes != counts * kind.itemsize).any():
        raise Unreadable(f"tensor `{name}` has another number of bytes than its shape says")
    values = np.frombuffer(b"".join(data), kind)
    if datatype == "FP16":
        values = values.astype(np.float32)
    elif datatype == "BOOL":
        values = values.view(np.uint8) != 0
    return Tensor(pa.array(values), rows, width)


def _prefixed(name: str, data: bytes, sizes: Ints, counts: Ints) -> pa.Array:
    """Texts with their lengths before them; the k-th of every message at once."""
    wrong = Unreadable(f"tensor `{name}` has texts whose lengths do not fit its size")
    raw = np.frombuffer(data, np.uint8)
    ends = np.cumsum(sizes)
    at = ends - sizes
    starts = np.cumsum(counts) - counts
    found = np.zeros(int(counts.sum()), np.int64)
    for number in range(int(counts.max(initial=0))):
        live = np.flatnonzero(counts > number)
        if (at[live] + 4 > ends[live]).any():
            raise wrong
        length = np.zeros(len(live), np.int64)
        for byte in range(4):
            length |= raw[at[live] + byte].astype(np.int64) << (8 * byte)
        at[live] += 4 + length
        if (at[live] > ends[live]).any():
            raise wrong
        found[starts[live] + number] = length
    if (at != ends).any():
        raise wrong
    # Lengths and texts alternate, so the texts are every second piece.
    pieces = np.full(2 * len(found), 4)
    pieces[1::2] = found
    offsets = np.concatenate([[0], np.cumsum(pieces)])
    whole = pa.Array.from_buffers(
        pa.large_binary(), len(pieces), [None, pa.py_buffer(offsets.astype(np.int64)), pa.py_buffer(data)]
    )
    return as_text(name, whole.take(pa.array(np.arange(1, len(pieces), 2))))


def as_text(name: str, cells: pa.Array) -> pa.Array:
    """Binary cells as text; raises `Unreadable` where they are none."""
    try:
        return cells.cast(pa.large_string())
    except pa.ArrowException as error:
        raise Unreadable(f"tensor `{name}` holds bytes that are no UTF-8 text") from error


def from_lists(name: str, datatype: str, inner: tuple[int, ...], rows: Ints, data: Sequence[Any]) -> Tensor:
    """A tensor of JSON values, flat or nested as its shape says; nulls are allowed."""
    width = prod(inner)
    wrong = Unreadable(f"tensor `{name}` has another number of values than its shape says")
    if not set(map(type, data)) <= {list}:
        raise Unreadable(f"tensor `{name}` has no list of data")
    cells = list(chain.from_iterable(data))
    if list not in set(map(type, cells)):
        if (lengths(data) != rows * width).any():
            raise wrong
        return Tensor(cells_of(name, datatype, cells), rows, width)
    cells = list(data)
    for size in (rows, *inner):
        if not set(map(type, cells)) <= {list} or (lengths(cells) != size).any():
            raise wrong
        cells = list(chain.from_iterable(cells))
    return Tensor(cells_of(name, datatype, cells), rows, width)


def lengths(values: Sequence[Any]) -> Ints:
    """How long each is."""
    return np.fromiter(map(len, values), np.int64, len(values))


def cells_of(name: str, datatype: str, cells: list[Any]) -> pa.Array:
    """Cells as JSON has them; without a datatype (V1) their own types say what they are."""
    kinds = set(map(type, cells)) - {type(None)}
    if kinds & {list, dict}:
        raise Unreadable(f"tensor `{name}` holds lists or objects where values belong")
    try:
        if datatype == "BYTES":
            return _texts(cells, kinds)
        if datatype == "BOOL" or (not datatype and kinds == {bool}):
            return pa.array(cells, pa.bool_())
        if datatype.startswith("FP"):
            return pa.array(cells, pa.float64())
        if datatype == "UINT64":
            return pa.array(cells, pa.uint64())
        if datatype in NUMBERS and float in kinds:  # 1.0 will do for 1, 1.5 will not
            return pa.array(cells, pa.float64()).cast(pa.int64())
        if datatype in NUMBERS:
            return pa.array(cells, pa.int64())
        if datatype:
            raise Unreadable(f"tensor `{name}` is of datatype {datatype[:40]!r}")
        return _inferred(cells, kinds)
    except (pa.ArrowException, OverflowError, TypeError) as error:
        raise Unreadable(f"tensor `{name}` of {datatype or 'V1'}: {error}"[:300]) from error


def _inferred(cells: list[Any], kinds: set[type]) -> pa.Array:
    if kinds <= {int}:
        try:
            return pa.array(cells, pa.int64())
        except (OverflowError, pa.ArrowInvalid):
            return pa.array(cells, pa.float64())
    return pa.array(cells, pa.float64()) if kinds <= {int, float} else _texts(cells, kinds)


def _texts(cells: list[Any], kinds: set[type]) -> pa.Array:
    if not kinds <= {str}:
        cells = [None if cell is None else class_name(cell) for cell in cells]
    return pa.array(cells, pa.large_string())


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors of one width, the messages of one after those of another."""
    if len(tensors) == 1:
        return tensors[0]
    arrays = [one.cells for one in tensors]
    if len({array.type for array in arrays}) > 1:
        number = all(is_number(array.type) for array in arrays)
        arrays = [pc.cast(array, pa.float64() if number else pa.large_string()) for array in arrays]
    cells = pa.concat_arrays(arrays)
    return Tensor(cells, np.concatenate([one.rows for one in tensors]), tensors[0].width)
