"""Bytes of a summary: named arrays, numbers and strings, small and readable without pickle.

Layout: magic, whether the body is compressed, sizes; a JSON header that names the fields; the body, arrays
and byte strings one after another, little-endian; CRC-32 of all that.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zlib
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

Packable: TypeAlias = (
    "NDArray[Any] | int | float | str | bytes | list[Any] | tuple[Any, ...] | dict[str, Any] | None"
)

LARGEST = 2**28
"""Bytes that a packed body may have before compression; a forged header cannot make us allocate more."""
_MAGIC = b"OB1"
_HEAD = struct.Struct("<3sBII")  # magic, compressed, header length, body length before compression
_CRC = struct.Struct("<I")
_COMPRESS_FROM = 512
_MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_DTYPES = {dtype.str: dtype for dtype in (np.dtype(code).newbyteorder("<") for code in "?bBhHiIqQefd")}


class Fields(dict[str, Any]):
    """What `unpack` gives; each way of reading raises `ValueError` when the field is not what is wanted."""

    def __missing__(self, name: str) -> Any:
        msg = f"it has no field {name!r}"
        raise ValueError(msg)

    def count(self, name: str) -> int:
        """A whole number of at least 0."""
        value: int = self._of(int, name)
        if value < 0:
            msg = f"field {name!r} is {value} instead of a count"
            raise ValueError(msg)
        return value

    def packed(self, name: str) -> bytes:
        """The bytes of another summary."""
        value: bytes = self._of(bytes, name)
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        """An object of JSON."""
        value: dict[str, Any] = self._of(dict, name)
        return value

    def _of(self, kind: type, name: str) -> Any:
        value = self[name]
        if type(value) is not kind:
            msg = f"field {name!r} is {value!r:.50} instead of {kind.__name__}"
            raise ValueError(msg)
        return value

    def array(self, name: str, dtype: DTypeLike, *shape: int) -> NDArray[Any]:
        """An array of just this dtype and shape; -1 stands for any length."""
        value = self[name]
        wanted = np.dtype(dtype)
        fits = (
            isinstance(value, np.ndarray)
            and value.dtype == wanted
            and len(value.shape) == len(shape)
            and all(want in (-1, have) for want, have in zip(shape, value.shape, strict=True))
        )
        if not fits:
            what = f"{value.dtype}{value.shape}" if isinstance(value, np.ndarray) else f"{value!r:.50}"
            msg = f"field {name!r} is {what} instead of {wanted}{shape}"
            raise ValueError(msg)
        array: NDArray[Any] = value
        return array


def _smallest(values: NDArray[Any]) -> NDArray[Any]:
    """Integers in the narrowest type that holds them: counts are mostly small."""
    if values.dtype.kind not in "iu" or values.size == 0:
        return values
    low, high = values.min(), values.max()
    narrow = np.promote_types(np.min_scalar_type(low), np.min_scalar_type(high))
    # (An unsigned type for `high` beside a negative `low` may promote to floats.)
    return values.astype(narrow) if np.can_cast(narrow, values.dtype, "safe") else values


def pack(fields: Mapping[str, Packable]) -> bytes:
    """Bytes of `fields`: numeric arrays (any shape; dtype kept), JSON values, and bytes."""
    header: dict[str, Any] = {}
    buffers: list[bytes] = []
    worth = 0  # bytes of counts: floats, hashes and what was packed before hardly shrink
    for name, value in fields.items():
        if isinstance(value, np.ndarray):
            wanted = value.dtype.newbyteorder("<").str
            if wanted not in _DTYPES:
                msg = (
                    f"field {name!r}: cannot pack arrays of {value.dtype}; accepted: integers, floats of at"
                    " most 64 bits, bools"
                )
                raise TypeError(msg)
            stored = _smallest(value)
            stored = stored.astype(stored.dtype.newbyteorder("<"), copy=False)
            buffers.append(stored.tobytes())
            worth += len(buffers[-1]) if stored.dtype.kind in "iu" and stored.itemsize <= 4 else 0
            header[name] = [stored.dtype.str, wanted, list(value.shape)]
        elif isinstance(value, bytes):
            buffers.append(value)
            header[name] = ["bytes", len(value)]
        else:
            header[name] = {"value": value}
    head = json.dumps(header, separators=(",", ":")).encode()
    body = b"".join(buffers)
    size = len(body)
    if size > LARGEST:
        msg = f"cannot pack {size} bytes; accepted: at most {LARGEST}"
        raise ValueError(msg)
    compressed = size >= _COMPRESS_FROM and worth >= size / 2
    if compressed:
        body = zlib.compress(body, 1)
    data = _HEAD.pack(_MAGIC, compressed, len(head), size) + head + body
    return data + _CRC.pack(zlib.crc32(data))


def unpack(data: bytes) -> Fields:
    """What `pack` was given. Raises `ValueError` when `data` is damaged or of another format."""
    try:
        magic, compressed, head_size, size = _HEAD.unpack_from(data)
        if magic != _MAGIC:
            raise ValueError("not a packed summary")
        end, start = len(data) - _CRC.size, _HEAD.size + head_size
        if _CRC.unpack_from(data, end)[0] != zlib.crc32(memoryview(data)[:end]):
            raise ValueError("truncated or altered")
        header = json.loads(data[_HEAD.size : start])
        body = data[start:end]
        if size > LARGEST:
            msg = f"{size} bytes; accepted: at most {LARGEST}"
            raise ValueError(msg)
        if compressed:
            body = zlib.decompressobj().decompress(body, size + 1)
        if len(body) != size:
            msg = f"a body of {len(body)} bytes instead of {size}"
            raise ValueError(msg)
        return _read(header, body)
    except (struct.error, zlib.error, *_MALFORMED) as error:
        msg = f"damaged summary of {len(data)} bytes: {error}"
        raise ValueError(msg) from error
    except RecursionError as error:
        msg = f"damaged summary of {len(data)} bytes: its header is nested too deeply"
        raise ValueError(msg) from error


def _read(header: dict[str, Any], body: bytes) -> Fields:
    fields, at = Fields(), 0
    for name, kind in header.items():
        if isinstance(kind, dict):
            fields[name] = kind["value"]
            continue
        if kind[0] == "bytes":
            size = kind[1]
            fields[name] = body[at : at + size]
        else:
            stored, wanted, shape = _DTYPES[kind[0]], _DTYPES[kind[1]], kind[2]
            if not np.can_cast(stored, wanted, "safe"):
                msg = f"field {name!r} cannot be {wanted} stored as {stored}"
                raise ValueError(msg)
            size = stored.itemsize * math.prod(shape)
            array: NDArray[Any] = np.ndarray(shape, stored, body, at)
            fields[name] = array.astype(wanted)  # a copy: callers may write
        at += size
        if not 0 <= size <= at <= len(body):
            msg = f"field {name!r} lies outside the body"
            raise ValueError(msg)
    return fields


def digest(data: bytes) -> bytes:
    """Hash (16 bytes) of what packed `data` holds, packed values within it too, however it was compressed."""
    state = hashlib.blake2b(digest_size=16)
    for name, value in unpack(data).items():
        if isinstance(value, np.ndarray):
            what, content = f"{value.dtype.str}{value.shape}", value.tobytes()
        elif isinstance(value, bytes):
            what, content = "bytes", digest(value) if value.startswith(_MAGIC) else value
        else:
            what, content = "value", json.dumps(value, sort_keys=True).encode()
        state.update(json.dumps([name, what, len(content)]).encode())
        state.update(content)
    return state.digest()
