"""Frames between the service and a worker: a JSON header and a body of bytes, both with their lengths."""

from __future__ import annotations

import json
import struct
from typing import IO, Any

LARGEST = 2**26
"""Bytes of a body; more is refused on both sides."""
_HEADER = 2**20
_FRAME = struct.Struct("<4sII")  # magic, length of header, length of body
_MAGIC = b"OBW1"


def write_frame(stream: IO[bytes], header: dict[str, Any], body: bytes = b"") -> None:
    """Send a frame; raises `ValueError` when it is larger than the other side takes."""
    text = json.dumps(header).encode()
    if len(text) > _HEADER or len(body) > LARGEST:
        msg = f"{len(text)} + {len(body)} bytes; accepted are {_HEADER} + {LARGEST}"
        raise ValueError(msg)
    stream.write(_FRAME.pack(_MAGIC, len(text), len(body)))
    stream.write(text)
    stream.write(body)
    stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """The next frame; raises `EOFError` at the end of the stream, `ValueError` when it is not a frame."""
    magic, header, body = _FRAME.unpack(_exactly(stream, _FRAME.size))
    if magic != _MAGIC or header > _HEADER or body > LARGEST:
        msg = f"not a frame: {magic!r}, {header} + {body} bytes"
        raise ValueError(msg)
    fields = json.loads(_exactly(stream, header))
    if not isinstance(fields, dict):
        raise ValueError("not a frame: its header is no object")  # noqa: TRY004 - as for any other
    return fields, _exactly(stream, body)


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data
