"""Bytes of a summary: named arrays, numbers and strings, small and readable without pickle."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Packable: TypeAlias = (
    "NDArray[Any] | int | float | str | bytes | list[Any] | tuple[Any, ...] | dict[str, Any] | None"
)

_MAGIC = b"OB1"
_HEAD = struct.Struct("<3sBII")  # magic, compressed, header length, body length before compression
_COMPRESS_FROM = 512


def _smallest(values: NDArray[Any]) -> NDArray[Any]:
    """Integers in the narrowest type that holds them: counts are mostly small."""
    if values.dtype.kind not in "iu" or values.size == 0:
        return values
    return values.astype(np.result_type(np.min_scalar_type(values.min()), np.min_scalar_type(values.max())))


def pack(fields: Mapping[str, Packable]) -> bytes:
    """Bytes of `fields`: numeric arrays (any shape; dtype kept), JSON values, and bytes."""
    header: dict[str, Any] = {}
    buffers: list[bytes] = []
    for name, value in fields.items():
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "iufb":
                msg = (
                    f"field {name!r}: cannot pack arrays of {value.dtype}; accepted: integers, floats, bools"
                )
                raise TypeError(msg)
            stored = _smallest(value)
            buffers.append(np.ascontiguousarray(stored).tobytes())
            header[name] = [stored.dtype.str, value.dtype.str, list(value.shape)]
        elif isinstance(value, bytes):
            buffers.append(value)
            header[name] = ["bytes", len(value)]
        else:
            header[name] = {"value": value}
    head = json.dumps(header, separators=(",", ":")).encode()
    body = b"".join(buffers)
    compressed = len(body) >= _COMPRESS_FROM
    if compressed:
        body_out = zlib.compress(body, 1)
    else:
        body_out = body
    return _HEAD.pack(_MAGIC, compressed, len(head), len(body)) + head + body_out


def unpack(data: bytes) -> dict[str, Any]:
    """What `pack` was given. Raises `ValueError` when `data` is damaged or of another format."""
    try:
        magic, compressed, head_size, body_size = _HEAD.unpack_from(data)
        if magic != _MAGIC:
            raise ValueError("not a packed summary")
        start = _HEAD.size + head_size
        header = json.loads(data[_HEAD.size : start])
        body = data[start:]
        if compressed:
            inflate = zlib.decompressobj()
            body = inflate.decompress(body, body_size)
        if len(body) != body_size:
            raise ValueError("truncated")
        fields: dict[str, Any] = {}
        at = 0
        for name, kind in header.items():
            if isinstance(kind, dict):
                fields[name] = kind["value"]
            elif kind[0] == "bytes":
                fields[name] = body[at : at + kind[1]]
                at += kind[1]
            else:
                stored, wanted, shape = np.dtype(kind[0]), np.dtype(kind[1]), tuple(kind[2])
                size = int(np.prod(shape, dtype=np.int64))
                array = np.frombuffer(body, stored, size, at).reshape(shape)
                fields[name] = array.astype(wanted)  # a copy: callers may write
                at += stored.itemsize * size
    except (struct.error, zlib.error, KeyError, IndexError, TypeError, ValueError) as error:
        msg = f"damaged summary of {len(data)} bytes: {error}"
        raise ValueError(msg) from error
    return fields
