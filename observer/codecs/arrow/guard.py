"""How large an IPC stream becomes, read from its metadata before anything is expanded.

Layouts: Arrow columnar format, "Serialization and Interprocess Communication", and its `Message.fbs`.
"""

from __future__ import annotations

from struct import Struct, error

_DICTIONARY, _RECORDS = 2, 3  # MessageHeader
_MAGIC = b"ARROW1\0\0"
_FRAME = Struct("<Ii").unpack_from
_FORWARD = Struct("<I").unpack_from
_BACK = Struct("<i").unpack_from
_VTABLE = Struct("<6H").unpack_from
_LONG = Struct("<q").unpack_from


class Malformed(Exception):
    """The bytes are no IPC stream."""


def stream_of(payload: bytes) -> memoryview:
    """The stream that a payload is, or, in the file format, holds between magic and footer."""
    view = memoryview(payload)
    return view[len(_MAGIC) :] if payload.startswith(_MAGIC) else view


def expanded_bytes(stream: memoryview) -> int:
    """Bytes of all buffers of all batches, once decompressed, shared ones counted each time.

    Raises
    ------
    Malformed
        The framing or a metadata table reaches beyond the stream.
    """
    try:
        return _expanded_bytes(stream)
    except (error, IndexError, OverflowError) as problem:
        raise Malformed(f"bad framing: {problem}") from problem


def _expanded_bytes(stream: memoryview) -> int:
    at, total = 0, 0
    while at + 8 <= len(stream):
        marker, size = _FRAME(stream, at)
        if marker != 0xFFFFFFFF:
            raise Malformed("no continuation marker")
        at += 8
        if size == 0:  # end of stream; a file's footer follows
            break
        _, kind, header, body_bytes = _table(stream, at)
        at += size
        body = _LONG(stream, body_bytes)[0] if body_bytes else 0
        if size < 0 or body < 0 or at + body > len(stream):
            raise Malformed("a part reaches beyond the message")
        kind = stream[kind] if kind else 0
        if kind in (_DICTIONARY, _RECORDS):
            batch = _table(stream, header)
            if kind == _DICTIONARY:
                batch = _table(stream, batch[1])
            total += _batch_bytes(stream, batch, at)
        at += body
    return total


def _batch_bytes(stream: memoryview, batch: tuple[int, int, int, int], body: int) -> int:
    _, _, vector, compression = batch
    if not vector:
        return 0
    vector += _FORWARD(stream, vector)[0]
    count = _FORWARD(stream, vector)[0]
    if count * 16 > len(stream):
        raise Malformed("a vector reaches beyond the message")
    flat: tuple[int, ...] = Struct(f"<{2 * count}q").unpack_from(stream, vector + 4)
    if min(flat, default=0) < 0:
        raise Malformed("a buffer has a negative offset or length")
    total = sum(flat[1::2])
    if compression:  # each buffer begins with its expanded length, -1 where it is stored as it is
        for offset, length in zip(flat[::2], flat[1::2], strict=True):
            if length:
                total += max(_LONG(stream, body + offset)[0], 0)
    return total


def _table(stream: memoryview, reference: int) -> tuple[int, int, int, int]:
    """Where the first four fields of a table lie, 0 where absent (FlatBuffers: through its vtable)."""
    if not reference:
        raise Malformed("a table is absent")
    table = reference + _FORWARD(stream, reference)[0]
    vtable = table - _BACK(stream, table)[0]
    if vtable < 0:
        raise Malformed("a table lies outside the message")
    size, _, a, b, c, d = _VTABLE(stream, vtable)
    return (
        table + a if a and size > 4 else 0,
        table + b if b and size > 6 else 0,
        table + c if c and size > 8 else 0,
        table + d if d and size > 10 else 0,
    )
