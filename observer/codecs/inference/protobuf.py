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

_NAME, _DATATYPE, _SHAPE, _CONTENTS = 1, 2, 3, 5
_VERSION, _TENSORS = 2, 5
_RAW = {False: 7, True: 6}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
FIELD = {
    "BOOL": 1, "INT8": 2, "INT16": 2, "INT32": 2, "INT64": 3, "UINT8": 4, "UINT16": 4, "UINT32": 4,
    "UINT64": 5, "FP32": 6, "FP64": 7, "BYTES": 8,
}  # fmt: skip
"""Where `InferTensorContents` keeps a datatype."""
_FIXED = {6: (_FIXED32, "<f4"), 7: (_FIXED64, "<f8")}


class _Tensor(NamedTuple):
    name: str
    datatype: str
    shape: tuple[int, ...]
    contents: bytes | None
    """`InferTensorContents`, not yet read; None where the contents are raw."""


def tables(payloads: Sequence[bytes], *, response: bool) -> Decoded:
    """The tables of requests, or of responses."""
    groups: dict[object, tuple[list[int], list[tuple[str, list[_Tensor], list[bytes]]]]] = {}
    refused: dict[int, str] = {}
    heads: dict[bytes, _Tensor] = {}
    for index, payload in enumerate(payloads):
        try:
            body = _body(payload, _RAW[response], heads)
        except (Unreadable, UnicodeDecodeError, IndexError) as error:
            refused[index] = f"no ModelInfer{'Response' if response else 'Request'}: {error}"[:300]
            continue
        _, tensors, raw = body
        structure = (bool(raw), *((one.name, one.datatype, *one.shape[1:]) for one in tensors))
        indexes, bodies = groups.setdefault(structure, ([], []))
        indexes.append(index)
        bodies.append(body)
    found: list[Table] = []
    for indexes, bodies in groups.values():
        try:
            found.append(_table(indexes, bodies))
        except Unreadable:
            for index, body in zip(indexes, bodies, strict=True):
                try:
                    found.append(_table([index], [body]))
                except Unreadable as error:
                    refused[index] = str(error)
    return found, refused


def _table(indexes: list[int], bodies: list[tuple[str, list[_Tensor], list[bytes]]]) -> Table:
    tensors = {}
    for number, one in enumerate(bodies[0][1]):
        each = [body[1][number] for body in bodies]
        rows = np.array([tensor.shape[0] if tensor.shape else 1 for tensor in each], np.int64)
        inner = one.shape[1:]
        if bodies[0][2]:
            data = [body[2][number] for body in bodies]
            tensors[one.name] = from_bytes(one.name, one.datatype, inner, rows, data)
        else:
            contents = [tensor.contents or b"" for tensor in each]
            tensors[one.name] = _contents(one, rows, contents)
    return Table(np.array(indexes, np.int64), tensors, [body[0] for body in bodies])


def _body(
    payload: bytes, raw_field: int, heads: dict[bytes, _Tensor]
) -> tuple[str, list[_Tensor], list[bytes]]:
    """Version of the model, tensors, raw contents."""
    version, tensors, raw = "", [], list[bytes]()
    for field, value in _fields(payload):
        if field == _TENSORS:
            tensors.append(_tensor(_bytes(value), heads))
        elif field == raw_field:
            raw.append(_bytes(value))
        elif field == _VERSION:
            version = _bytes(value).decode()
    if not tensors:
        raise Unreadable("no tensors in it")
    if raw and len(raw) != len(tensors):
        raise Unreadable(f"{len(raw)} raw contents for {len(tensors)} tensors")
    return version, tensors, raw


def _tensor(data: bytes, heads: dict[bytes, _Tensor]) -> _Tensor:
    """One tensor; what precedes its contents is the same in most messages, and read once."""
    known = heads.get(data)
    if known is not None:
        return known
    name = datatype = ""
    shape: list[int] = []
    contents: bytes | None = None
    for field, value in _fields(data):
        if field == _NAME:
            name = _bytes(value).decode()
        elif field == _DATATYPE:
            datatype = _bytes(value).decode()
        elif field == _SHAPE:
            shape += [value] if isinstance(value, int) else varints(value).view(np.int64).tolist()
        elif field == _CONTENTS:
            contents = (contents or b"") + _bytes(value)
    if any(size < 0 for size in shape) or prod(shape) > 1 << 40:
        raise Unreadable(f"tensor `{name}` has shape {shape!r:.80}")
    found = _Tensor(name, datatype, tuple(shape), contents)
    if contents is None and len(heads) < 10_000:
        heads[data] = found
    return found


def _contents(one: _Tensor, rows: Ints, contents: list[bytes]) -> Tensor:
    """The tensor of which messages hold `InferTensorContents`."""
    width = prod(one.shape[1:])
    counts = rows * width
    field = FIELD.get(one.datatype)
    if field is None:
        raise Unreadable(
            f"tensor `{one.name}` is of datatype {one.datatype[:40]!r}, which only raw contents hold"
        )
    wrong = Unreadable(f"tensor `{one.name}` has another number of values than its shape says")
    each = [list(_values(data, field)) for data in contents]
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


def _values(contents: bytes, field: int) -> Iterator[bytes]:
    """What the field holds: texts, or pieces of numbers; packed or not."""
    at, end = 0, len(contents)
    while at < end:
        tag, at = _varint(contents, at)
        start, at = _skip(contents, at, tag & 7)
        if tag >> 3 == field:
            yield contents[start:at]
        elif at > start:
            raise Unreadable(f"contents of another type (field {tag >> 3}) than the datatype says")


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Number and value of each field; of a fixed size, as bytes."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        if tag & 7 == _VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, value
        else:
            start, at = _skip(data, at, tag & 7)
            yield tag >> 3, data[start:at]


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


def _bytes(value: bytes | int) -> bytes:
    if isinstance(value, int):
        raise Unreadable("a number where bytes belong")
    return value


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
