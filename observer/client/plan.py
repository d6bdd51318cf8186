"""How to send, in which format, and how the sending thread is woken."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from observer.client.buffer import Overflow
from observer.client.items import Stream
from observer.client.messages import Encode
from observer.client.transports import Transport

Format = Literal["auto", "json", "arrow"]
FORMATS = ("auto", "json", "arrow")


@dataclass(frozen=True, slots=True)
class Plan:
    """How to send; the same for a process and those forked from it."""

    transport: Transport
    topics: Mapping[Stream, str]
    encode: Encode
    overflow: Overflow
    buffer_bytes: int
    batch_rows: int
    linger: float
    message_bytes: int
    spill: Path | None
    spill_bytes: int


class Signal:
    """An event that a signal handler may set while its own thread is just setting it."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._set = False

    def is_set(self) -> bool:
        """Whether somebody has called."""
        return self._set

    def set(self) -> None:
        """Call."""
        with self._changed:
            self._set = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget the call."""
        self._set = False

    def wait(self, timeout: float) -> None:
        """Return once somebody has called, or time is up."""
        with self._changed:
            if not self._set:
                self._changed.wait(timeout)


def is_arrow(format: Format, transport: Transport) -> bool:  # noqa: A002
    """Whether to send Arrow messages."""
    if format == "json" or (format == "auto" and not transport.binary):
        return False
    if not transport.binary:
        raise ValueError("format: 'arrow'; this transport takes 'json' only")
    if find_spec("pyarrow") is not None:
        return True
    if format == "arrow":
        raise ImportError("format 'arrow' needs pyarrow, which is not installed")
    return False
