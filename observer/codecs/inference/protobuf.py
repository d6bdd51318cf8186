"""`ModelInferRequest` and `ModelInferResponse` of the V2 protocol as protobuf -> tables of tensors.

Both messages number their fields alike, but for the raw contents (7 in a request, 6 in a response), so one
small reader does for both; the package `protobuf` would make an object of every value, and be one more thing
to install and to agree on a version of. Contents are not looked at one by one: numbers of fixed size are
taken as they lie, variable ones (base-128) decoded all at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from math import prod
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from detectors.base import Ints
from observer.codecs.inference.tensors import (
    Decoded,
    Table,
    Tensor,
    Unreadable,
    as_text,
    from_bytes,
    lengths,
)

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Tags: number and wire type of a field. One of another wire type is another field, which is left out.
_NAME, _DATATYPE, _SHAPE, _SIZE, _CONTENTS = (
    1 << 3 | _BYTES, 2 << 3 | _BYTES, 3 << 3 | _BYTES, 3 << 3 | _VARINT, 5 << 3 | _BYTES,
)  # fmt: skip
_VERSION, _TENSORS = 2 << 3 | _BYTES, 5 << 3 | _BYTES
_RAW = {False: 7 << 3 | _BYTES, True: 6 << 3 | _BYTES}
FIELD = {
    "BOOL": 1, "INT8": 2, "INT16": 2, "INT32": 2, "INT64": 3, "UINT8": 4, "UINT16": 4, "UINT32": 4,
    "UINT64": 5, "FP32": 6, "FP64": 7, "BYTES": 8,
}  # fmt: skip
"""Where `InferTensorContents` keeps a datatype."""
_FIXED = {6: (_FIXED32, "<f4"), 7: (_FIXED64, "<f8")}


class _Head(NamedTuple):
    """What precedes the contents of a tensor: the same in most messages."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    @property
    def rows(self) -> int:
        """The first dimension."""
        return self.shape[0] if self.shape else 1


class _Body(NamedTuple):
    version: str
    tensors: list[_Head]
    contents: list[bytes]
    """Of each tensor: raw, or `InferTensorContents` that are not read yet."""


class _Heads:
    """Reads the tensors of messages; what was read once is known by its bytes."""

    def __init__(self) -> None:
        self._known: dict[bytes, _Head] = {}
        self._expected: dict[int, tuple[bytes, _Head]] = {}

    def tensor(self, data: bytes, number: int) -> tuple[_Head, bytes]:
        """The tensor that is the message's `number`-th, and its contents."""
        expected = self._expected.get(number)
        if expected is not None and data.startswith(expected[0]):
            at = len(expected[0])
            if at == len(data):
                return expected[1], b""
            if data[at] == _CONTENTS:
                size, at = _varint(data, at + 1)
                if at + size == len(data):
                    return expected[1], data[at:]
        head, contents = bytearray(), b""
        for tag, start, value, end in _places(data):
            if tag == _CONTENTS:
                contents += data[value:end]
            else:
                head += data[start:end]
        of = bytes(head)
        found = self._known.get(of)
        if found is None:
            found = _head(of)
            if len(self._known) < 10_000:
                self._known[of] = found
        self._expected[number] = of, found
        return found, contents


def tables(payloads: Sequence[bytes], *, response: bool) -> Decoded:
    """The tables of requests, or of responses."""
    groups: dict[tuple[bool, tuple[object, ...]], tuple[list[int], list[_Body]]] = {}
    structures: dict[tuple[_Head, ...], tuple[object, ...]] = {}
    refused: dict[int, str] = {}
    heads, raw_tag = _Heads(), _RAW[response]
    for index, payload in enumerate(payloads):
        try:
            body, is_raw = _body(payload, raw_tag, heads)
        except (Unreadable, UnicodeDecodeError, IndexError) as error:
            refused[index] = f"no ModelInfer{'Response' if response else 'Request'}: {error}"[:300]
            continue
        tensors = tuple(body.tensors)
        structure = structures.get(tensors)
        if structure is None:
            structure = tuple((one.name, one.datatype, one.shape[1:]) for one in tensors)
            structures[tensors] = structure
        indexes, bodies = groups.setdefault((is_raw, structure), ([], []))
        indexes.append(index)
        bodies.append(body)
    found: list[Table] = []
    for (is_raw, _), (indexes, bodies) in groups.items():
        try:
            found.append(_table(indexes, bodies, is_raw=is_raw))
        except Unreadable:
            for index, body in zip(indexes, bodies, strict=True):
                try:
                    found.append(_table([index], [body], is_raw=is_raw))
                except Unreadable as error:
                    refused[index] = str(error)
    return found, refused


def _table(indexes: list[int], bodies: list[_Body], *, is_raw: bool) -> Table:
    tensors = {}
    for number, one in enumerate(bodies[0].tensors):
        rows = np.array([body.tensors[number].rows for body in bodies], np.int64)
        contents = [body.contents[number] for body in bodies]
        if is_raw:
            tensors[one.name] = from_bytes(one.name, one.datatype, one.shape[1:], rows, contents)
        else:
            tensors[one.name] = _contents(one, rows, contents)
    return Table(np.array(indexes, np.int64), tensors, [body.version for body in bodies])


def _body(payload: bytes, raw_tag: int, heads: _Heads) -> tuple[_Body, bool]:
    """A message, and whether its contents are raw."""
    version, tensors, contents, raw = "", list[_Head](), list[bytes](), list[bytes]()
    for tag, _, start, end in _places(payload):
        if tag == _TENSORS:
            head, inside = heads.tensor(payload[start:end], len(tensors))
            tensors.append(head)
            contents.append(inside)
        elif tag == raw_tag:
            raw.append(payload[start:end])
        elif tag == _VERSION:
            version = payload[start:end].decode()
    if not tensors:
        raise Unreadable("no tensors in it")
    if raw and len(raw) != len(tensors):
        raise Unreadable(f"{len(raw)} raw contents for {len(tensors)} tensors")
    return _Body(version, tensors, raw or contents), bool(raw)


def _head(data: bytes) -> _Head:
    name = datatype = ""
    shape: list[int] = []
    for tag, _, start, end in _places(data):
        if tag == _NAME:
            name = data[start:end].decode()
        elif tag == _DATATYPE:
            datatype = data[start:end].decode()
        elif tag in (_SHAPE, _SIZE):
            shape += varints(data[start:end]).view(np.int64).tolist()
    if any(size < 0 for size in shape) or prod(shape) > 1 << 40:
        raise Unreadable(f"tensor `{name}` has shape {shape!r:.80}")
    return _Head(name, datatype, tuple(shape))


def _contents(one: _Head, rows: Ints, contents: list[bytes]) -> Tensor:
    """The tensor of which messages hold `InferTensorContents`."""
    width = prod(one.shape[1:])
    counts = rows * width
    field = FIELD.get(one.datatype)
    if field is None:
        raise Unreadable(
            f"tensor `{one.name}` is of datatype {one.datatype[:40]!r}, which only raw contents hold"
        )
    wrong = Unreadable(f"tensor `{one.name}` has another number of values than its shape says")
    each = [_values(data, field) for data in contents]
    if field == FIELD["BYTES"]:
        if (lengths(each) != counts).any():
            raise wrong
        cells = pa.array(list(chain.from_iterable(each)), pa.large_binary())
        return Tensor(as_text(one.name, cells), rows, width)
    data = [parts[0] if len(parts) == 1 else b"".join(parts) for parts in each]
    if field in _FIXED:
        kind = np.dtype(_FIXED[field][1])
        if (lengths(data) != counts * kind.itemsize).any():
            raise wrong
        return Tensor(pa.array(np.frombuffer(b"".join(data), kind)), rows, width)
    whole = b"".join(data)
    ends = np.concatenate([[0], np.cumsum(lengths(data))])
    last = np.frombuffer(whole, np.uint8) < 0x80
    before = np.concatenate([[0], np.cumsum(last)])
    if (np.diff(before[ends]) != counts).any() or (len(last) and not last[ends[1:][counts > 0] - 1].all()):
        raise wrong
    values = varints(whole)
    if one.datatype == "BOOL":
        return Tensor(pa.array(values != 0), rows, width)
    return Tensor(pa.array(values if field in (4, 5) else values.view(np.int64)), rows, width)


def _values(contents: bytes, field: int) -> list[bytes]:
    """What the field holds: texts, or pieces of numbers; packed or not."""
    if contents and contents[0] == field << 3 | _BYTES:
        size, at = _varint(contents, 1)
        if at + size == len(contents):
            return [contents[at:]]
    found = []
    for tag, _, start, end in _places(contents):
        if tag >> 3 == field:
            found.append(contents[start:end])
        elif end > start:
            raise Unreadable(f"contents of another type (field {tag >> 3}) than the datatype says")
    return found


def _places(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Tag of each field; where it, its value and the next begin."""
    at, end = 0, len(data)
    while at < end:
        begin, tag = at, data[at]
        at += 1
        if tag >= 0x80:
            tag, at = _varint(data, begin)
        if tag & 7 == _BYTES and at < end and data[at] < 0x80:  # most often
            start = at + 1
            at = start + data[at]
            if at > end:
                raise Unreadable("the message ends within a field")
        else:
            start, at = _skip(data, at, tag & 7)
        yield tag, begin, start, at


def _skip(data: bytes, at: int, wire: int) -> tuple[int, int]:
    """Where the value of a field begins and ends."""
    if wire == _BYTES:
        size, at = _varint(data, at)
        end = at + size
    elif wire == _VARINT:
        _, end = _varint(data, at)
    elif wire in (_FIXED32, _FIXED64):
        end = at + (4 if wire == _FIXED32 else 8)
    else:
        raise Unreadable(f"wire type {wire}")
    if end > len(data):
        raise Unreadable("the message ends within a field")
    return at, end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = data[at]
    at += 1
    if value < 0x80:
        return value, at
    value &= 0x7F
    for shift in range(7, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise Unreadable("a number of more than 10 bytes")


def varints(data: bytes) -> NDArray[np.uint64]:
    """Base-128 numbers, one after another; each byte of all of them at once."""
    raw = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(raw < 0x80)
    if len(raw) and (not len(ends) or ends[-1] != len(raw) - 1):
        raise Unreadable("the message ends within a number")
    starts = np.concatenate([[0], ends[:-1] + 1])[: len(ends)]
    sizes = ends - starts + 1
    if sizes.max(initial=0) > 10:
        raise Unreadable("a number of more than 10 bytes")
    values = np.zeros(len(ends), np.uint64)
    for byte in range(int(sizes.max(initial=0))):
        live = np.flatnonzero(sizes > byte)
        values[live] |= (raw[starts[live] + byte] & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * byte)
    return values


def unframed(payload: bytes) -> bytes:
    """The message without a schema registry's header (a zero byte, the schema's id, the message's place)."""
    if payload[:1] != b"\0":  # no field has the number 0
        return payload
    count, at = _varint(payload, 5)
    for _ in range(count >> 1):  # zigzag
        _, at = _varint(payload, at)
    return payload[at:]
