"""How large an IPC stream becomes, read from its metadata before anything is expanded.

Layouts: Arrow columnar format, "Serialization and Interprocess Communication", and its `Message.fbs`.
"""

from __future__ import annotations

import struct

_DICTIONARY, _RECORDS = 2, 3  # MessageHeader
_MAGIC = b"ARROW1\0\0"


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
    except (struct.error, IndexError, OverflowError) as error:
        raise Malformed(f"bad framing: {error}") from error


def _expanded_bytes(stream: memoryview) -> int:
    at, total = 0, 0
    while at + 8 <= len(stream):
        marker, size = struct.unpack_from("<Ii", stream, at)
        if marker != 0xFFFFFFFF:
            raise Malformed("no continuation marker")
        at += 8
        if size == 0:  # end of stream; a file's footer follows
            break
        if size < 0 or at + size > len(stream):
            raise Malformed("metadata reaches beyond the message")
        metadata = stream[at : at + size]
        at += size
        _, kind, header, body_bytes, *_ = _table(metadata, 0)
        body = struct.unpack_from("<q", metadata, body_bytes)[0] if body_bytes else 0
        if body < 0 or at + body > len(stream):
            raise Malformed("a body reaches beyond the message")
        kind = metadata[kind] if kind else 0
        if kind in (_DICTIONARY, _RECORDS):
            batch = _table(metadata, _present(header))
            if kind == _DICTIONARY:
                batch = _table(metadata, _present(batch[1]))
            total += _batch_bytes(metadata, batch, stream[at : at + body])
        at += body
    return total


def _batch_bytes(metadata: memoryview, batch: list[int], body: memoryview) -> int:
    _, _, vector, compression, *_ = batch
    if not vector:
        return 0
    vector += struct.unpack_from("<I", metadata, vector)[0]
    count = struct.unpack_from("<I", metadata, vector)[0]
    if count * 16 > len(metadata):
        raise Malformed("a vector reaches beyond its metadata")
    flat: tuple[int, ...] = struct.unpack_from(f"<{2 * count}q", metadata, vector + 4)
    offsets, lengths = flat[::2], flat[1::2]
    if min(flat, default=0) < 0:
        raise Malformed("a buffer has a negative offset or length")
    total: int = sum(lengths)
    if compression:  # each buffer begins with its expanded length, -1 where it is stored as it is
        for offset, length in zip(offsets, lengths, strict=True):
            if length:
                total += max(struct.unpack_from("<q", body, offset)[0], 0)
    return total


def _table(metadata: memoryview, reference: int) -> list[int]:
    """Where the first four fields of a table lie, 0 where absent (FlatBuffers: through its vtable)."""
    table = reference + struct.unpack_from("<I", metadata, reference)[0]
    vtable = table - struct.unpack_from("<i", metadata, table)[0]
    if vtable < 0:
        raise Malformed("a table lies outside its metadata")
    size = min(struct.unpack_from("<H", metadata, vtable)[0] // 2, 6)
    fields = [
        table + offset if offset else 0 for offset in struct.unpack_from(f"<{size}H", metadata, vtable)[2:]
    ]
    return fields + [0] * (4 - len(fields))


def _present(reference: int) -> int:
    if not reference:
        raise Malformed("a batch has no header")
    return reference
