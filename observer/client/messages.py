"""Items -> messages: JSON, one event each; with pyarrow Arrow IPC, many events each."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, Protocol

from observer.client.items import Event, Item, Stream
from observer.client.values import finite, plain

if TYPE_CHECKING:
    from observer.client.spill import Segment

_BREATH = 20
"""Events encoded before another thread may run: the model waits for this one no longer than that."""


class Message:
    """Bytes on their way to a topic, and how many events they hold."""

    __slots__ = ("attempts", "rows", "segment", "stream", "value")

    def __init__(self, stream: Stream, value: bytes, rows: int, segment: Segment | None = None) -> None:
        self.stream: Stream = stream
        self.value = value
        self.rows = rows
        self.attempts = 0
        """How often the transport has answered."""
        self.segment = segment
        """The file on disk that holds it too."""


Refuse = Callable[[Literal["invalid", "too_large"], int, object], None]
"""Called with the reason, the number of events and what was wrong when events cannot be sent."""


class Encode(Protocol):
    """Turns items of one stream into messages."""

    def __call__(self, items: Sequence[Item], limit: int, refuse: Refuse) -> Iterator[Message]:
        """Messages of up to `limit` bytes that hold the items, in their order."""


_dumps = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=plain).encode


def to_json(event: dict[str, Any]) -> bytes:
    """The event as JSON, NaN and infinities in it as null; raises what `json` raises."""
    try:
        return _dumps(event).encode()
    except ValueError:
        return _dumps(finite(event)).encode()


def json_messages(items: Sequence[Item], limit: int, refuse: Refuse) -> Iterator[Message]:
    """One message per event."""
    made = 0
    for item in items:
        for event in (item.fields,) if isinstance(item, Event) else item.events():
            made += 1
            if not made % _BREATH:
                time.sleep(0)
            try:
                value = to_json(event)
            except (TypeError, ValueError, RecursionError) as error:
                refuse("invalid", 1, error)
                continue
            if len(value) > limit:
                refuse("too_large", 1, f"an event of {len(value)} bytes; accepted: up to {limit}")
                continue
            yield Message(item.stream, value, 1)


def by_stream(items: Sequence[Item], encode: Encode, limit: int, refuse: Refuse) -> list[Message]:
    """Messages of items of any streams."""
    messages: list[Message] = []
    of = attrgetter("stream")
    for _, some in groupby(sorted(items, key=of), of):
        messages.extend(encode(list(some), limit, refuse))
    return messages
