"""Joins requests with their responses, whichever comes first, in bounded time and memory.

What waits is part of the service's state: it is saved in the transaction that saves the positions in Kafka,
so after a crash reading goes on with exactly those halves that waited then.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.base import Ints
from observer.codecs import times
from observer.codecs.events import refused_time
from observer.codecs.inference.collector import uncollected
from observer.codecs.inference.halves import Half, Reader, Side, times_of
from observer.model import Messages, Origin, Rejected
from observer.ports import Checkpoints

_TABLE = "halves"
_OTHER: Mapping[Side, Side] = {"request": "response", "response": "request"}
_pack = msgspec.msgpack.Encoder().encode


class Pair(NamedTuple):
    """A request and its response."""

    model: str
    id: str
    time: int
    """Of the request, milliseconds."""
    arm: str
    request: bytes
    response: bytes

    def letter(self) -> bytes:
        """Both in one JSON document, for people; as `observer map infer` reads them."""
        told: dict[str, Any] = {"model": self.model, "id": self.id, "time": self.time}
        for name, payload in (("request", self.request), ("response", self.response)):
            try:
                told[name] = json.loads(payload)
            except ValueError:
                told[f"{name}_base64"] = base64.b64encode(payload).decode()
        return json.dumps(told).encode()


@dataclass(slots=True)
class Paired(Messages):
    """The pairs that a poll completed, each as the message that completed it."""

    pairs: list[Pair] = field(default_factory=list)


class _Waiting(NamedTuple):
    half: Half
    time: int
    origin: Origin

    @property
    def size(self) -> int:
        """Bytes that it holds, about."""
        return len(self.half.payload) + 500


class Progress(NamedTuple):
    """How far the halves of a poll have come: partition and time of each, in arrival order."""

    partition: NDArray[np.int32]
    time: Ints


class Pairing:
    """Pairs the halves of one stream; one thread.

    Parameters
    ----------
    read : Reader
        Messages -> halves.
    state : Checkpoints or None
        Where halves wait over a restart; None to forget them.
    wait : float
        Seconds of event time that a half waits.
    pending_bytes : int
        Memory for halves that wait; beyond it the oldest go.
    max_bytes : int
        Of one half.
    max_ahead : float
        Seconds that a half may lie ahead of the clock.
    """

    def __init__(
        self,
        read: Reader,
        state: Checkpoints | None = None,
        *,
        wait: float = 300.0,
        pending_bytes: int = 256 << 20,
        max_bytes: int = 1 << 20,
        max_ahead: float = 3600.0,
    ) -> None:
        self._read = read
        self._state = state
        self._wait = int(wait * 1000)
        self._limit = pending_bytes
        self._max_bytes = max_bytes
        self._max_ahead = max_ahead
        self._waiting: dict[tuple[bytes, Side], _Waiting] = {}
        self._saved: dict[tuple[bytes, Side], bytes] = {}
        self._refused: list[Rejected] = []
        self._looked = -(2**62)
        self.bytes = 0
        self.progress = Progress(np.zeros(0, np.int32), np.zeros(0, np.int64))
        for name, value in state.scan(_TABLE) if state is not None else ():
            self._restore(name, value)

    def __len__(self) -> int:
        return len(self._waiting)

    @uncollected()
    def take(self, messages: Messages, now: float) -> Paired:
        """Take a poll of halves; the pairs that it completes."""
        halves: list[Half] = []
        indexes: list[int] = []
        for index, found in enumerate(self._read(messages)):
            if isinstance(found, str):
                self._refuse(messages, index, "invalid", found)
            elif len(messages.values[index]) > self._max_bytes:
                size = len(messages.values[index])
                told = f"the message has {size} bytes; accepted: up to {self._max_bytes}"
                self._refuse(messages, index, "too_large", told, found.model)
            else:
                halves.append(found)
                indexes.append(index)
        time = times_of(halves)
        good = (time != times.INVALID_TIME) & (time <= (now + self._max_ahead) * 1000)
        kept, pairs = list[int](), list[Pair]()
        for half, index, at, fine in zip(halves, indexes, time.tolist(), good.tolist(), strict=True):
            if not fine:
                self._refuse(messages, index, *refused_time(half.time, at, now, self._max_ahead), half.model)
                continue
            pair = self._join(half, index, at, messages)
            if pair is not None:
                kept.append(index)
                pairs.append(pair)
        self._make_room()
        accepted = np.array(indexes, np.int64)[good] if halves else np.zeros(0, np.int64)
        self.progress = Progress(messages.partition[accepted], time[good])
        return Paired(
            values=[messages.values[index] for index in kept],
            partition=messages.partition[kept],
            partitions=messages.partitions,
            positions=messages.positions,
            origin=lambda message: messages.origin(kept[message]),
            pairs=pairs,
        )

    def expire(self, watermark: int | None) -> None:
        """Refuse what has waited too long once event time has come to `watermark`, milliseconds."""
        if watermark is None or watermark < self._looked + self._wait // 8:
            return
        self._looked = watermark
        told = f"no {{}} came within {self._wait / 1000:g} s of event time"
        for key in [key for key, one in self._waiting.items() if one.time + self._wait < watermark]:
            self._drop(key, "unmatched", told.format(_OTHER[key[1]]))

    def refused(self) -> list[Rejected]:
        """What was refused since the last call."""
        refused, self._refused = self._refused, []
        return refused

    def save(self) -> None:
        """Write what changed into the state; the caller commits."""
        if self._state is None:
            return
        for key in self._waiting.keys() - self._saved.keys():
            name = hashlib.blake2b(key[0] + key[1].encode(), digest_size=16).digest()
            half, time, origin = self._waiting[key]
            value = _pack([*half, time, origin.source, origin.partition, origin.offset])
            self._state.put(_TABLE, name, value)
            self._saved[key] = name

    def _restore(self, name: bytes, value: bytes) -> None:
        *fields, time, source, partition, offset = msgspec.msgpack.decode(value)
        half = Half(*fields)
        half = half._replace(headers=tuple((name, value) for name, value in half.headers))
        key = half.key, half.side
        one = _Waiting(half, time, Origin(source, partition, offset))
        self._waiting[key] = one
        self._saved[key] = name
        self.bytes += one.size

    def _join(self, half: Half, index: int, time: int, messages: Messages) -> Pair | None:
        """The pair that a half completes; else it waits."""
        other = self._waiting.get((half.key, _OTHER[half.side]))
        if other is None:
            key = half.key, half.side
            if key in self._waiting:
                told = f"another {half.side} of this id waits already"
                self._refuse(messages, index, "unmatched", told, half.model)
                return None
            one = _Waiting(half, time, messages.origin(index))
            self._waiting[key] = one
            self.bytes += one.size
            return None
        self._forget((half.key, other.half.side))
        request, response = (half, other.half) if half.side == "request" else (other.half, half)
        asked = time if half.side == "request" else other.time
        pair = Pair(request.model, request.id, asked, request.arm, request.payload, response.payload)
        if response.error:
            told = f"answered with an error by {response.error}"[:500]
            refused = Rejected(messages.origin(index), pair.letter(), "failed", told, pair.model)
            self._refused.append(refused)
            return None
        return pair

    def _make_room(self) -> None:
        told = f"{self._limit} bytes of requests and responses waited already (`pending_bytes`)"
        while self.bytes > self._limit:
            self._drop(next(iter(self._waiting)), "overflow", told)

    def _drop(self, key: tuple[bytes, Side], reason: str, detail: str) -> None:
        one = self._forget(key)
        half = one.half
        self._refused.append(Rejected(one.origin, half.payload, reason, detail, half.model, half.headers))

    def _forget(self, key: tuple[bytes, Side]) -> _Waiting:
        one = self._waiting.pop(key)
        self.bytes -= one.size
        name = self._saved.pop(key, None)
        if name is not None and self._state is not None:
            self._state.delete(_TABLE, name)
        return one

    def _refuse(self, messages: Messages, index: int, reason: str, detail: str, model: str = "") -> None:
        headers = tuple(messages.envelopes.headers[index] or ()) if messages.envelopes else ()
        value = messages.values[index]
        self._refused.append(Rejected(messages.origin(index), value, reason, detail, model, headers))
