"""The demo's streams, in event time that runs faster than the clock."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from observer.model import Messages, Origin, Partition, Stream
from observer.ports import Clock
from observer.sources.demo.messages import SLICE, MessageLog, count, due
from observer.sources.demo.script import HOUR, Script
from observer.sources.demo.serving import Serving

_AT_ONCE = 20
"""Messages given in one poll at most: an hour or so of event time, after which others have their turn."""


_SLACK = 4 * SLICE
"""Milliseconds by which event time may be ahead of what was read."""


class EventClock:
    """Event time: a clock that starts at `start` (seconds since the epoch) and runs `speed` times as fast.

    It waits for a machine that cannot keep up: event time stays near what streams have been read to. For
    several threads. One that is not `running` stands still until it is told to `begin`.
    """

    def __init__(self, clock: Clock, start: float, speed: float, *, running: bool = True) -> None:
        if not speed > 0:
            msg = f"speed {speed:g}: accepted: seconds of event time per second, more than 0"
            raise ValueError(msg)
        self.speed = speed
        self._clock = clock
        self._began = clock.now() if running else math.inf
        self._start = start
        self._read: dict[Stream, float] = {}
        self._lock = threading.Lock()

    def now(self) -> float:
        """Event time, seconds since the epoch."""
        with self._lock:
            return self._now()

    def begin(self) -> None:
        """Run from now on."""
        with self._lock:
            self._began = self._clock.now()

    def skip_to(self, event_time: float) -> None:
        """Go on from `event_time` if it lies ahead; event time never runs back."""
        with self._lock:
            self._start += max(event_time - self._now(), 0.0)

    def wait_for(self, stream: Stream, event_time: float) -> None:
        """Do not run past `event_time` before the stream says a later one."""
        with self._lock:
            now = self._now()
            self._start -= self._flown() - now
            self._read[stream] = max(event_time, now)

    def _flown(self) -> float:
        return self._start + max(self._clock.now() - self._began, 0.0) * self.speed

    def _now(self) -> float:
        return min(self._flown(), *self._read.values(), math.inf)


@dataclass(frozen=True, slots=True)
class Archive:
    """Logged events of one model as files, for whoever learns from them.

    Attributes
    ----------
    folder : Path
        `live` in it holds all events, `copy` those of the first `copied` hours: whatever wrote the copy has
        stopped.
    """

    folder: Path
    model: str
    copied: float

    def keep(self, stream: Stream, offset: int, message: bytes) -> None:
        """Write a message down."""
        tables = ("live", "copy") if due(offset) <= self.copied * HOUR else ("live",)
        for table in tables:
            (self.folder / table).mkdir(parents=True, exist_ok=True)
            (self.folder / table / f"{stream}-{offset:06d}.arrow").write_bytes(message)


class DemoSource:
    """One stream of a script, a partition per model, as far as event time has come.

    Parameters
    ----------
    clock : EventClock
        Shared by both streams; opening at later positions moves it ahead.
    sleep : callable
        Waits that many seconds of the clock behind `clock`.
    serving : Serving, optional
        The servers of one of the models.
    archive : Archive, optional
        Where the events of one of the models are kept too.
    """

    def __init__(
        self,
        script: Script,
        stream: Stream,
        clock: EventClock,
        sleep: Callable[[float], None] = time.sleep,
        serving: Serving | None = None,
        archive: Archive | None = None,
    ) -> None:
        self._script = script
        self._stream: Stream = stream
        self._clock = clock
        self._sleep = sleep
        self._serving = serving
        self._archive = archive
        self._partitions = script.partitions(stream)
        self._next: list[int] = [0] * len(self._partitions)
        self._logs: list[MessageLog] = []

    def open(self, positions: Mapping[Partition, int]) -> None:
        """Start reading; without a position from the script's start."""
        self._next = [positions.get(partition, 0) for partition in self._partitions]
        served = self._serving.model if self._serving is not None else ""
        self._logs = [
            MessageLog(self._script, model, self._stream, self._serving if model.name == served else None)
            for model in self._script.models
        ]
        read = max((due(position - 1) for position in self._next if position), default=0)
        self._clock.skip_to((self._script.start + read) / 1000)

    def poll(self, limit: int, timeout: float) -> Messages:
        """Messages that have come, oldest first; waits for the first at most `timeout` seconds."""
        if not any(self.lag().values()):
            first = self._script.start + min(map(due, self._next))
            self._sleep(min(timeout, max(first / 1000 - self._clock.now(), 0.0) / self._clock.speed))
        end = count(self._elapsed())
        values: list[bytes] = []
        where: list[tuple[int, int]] = []
        while len(values) < min(limit, _AT_ONCE):
            at = min(range(len(self._next)), key=lambda i: (self._next[i], i))
            if self._next[at] >= end:
                break
            where.append((at, self._next[at]))
            values.append(self._logs[at].message(self._next[at]))
            if self._archive is not None and self._archive.model == self._script.models[at].name:
                self._archive.keep(self._stream, self._next[at], values[-1])
            self._next[at] += 1
        self._clock.wait_for(self._stream, (self._script.start + min(map(due, self._next)) + _SLACK) / 1000)

        def origin(message: int) -> Origin:
            number, offset = where[message]
            return Origin(self._partitions[number].source, number, offset)

        moved = sorted({number for number, _ in where})
        return Messages(
            values=values,
            partition=np.array([number for number, _ in where], np.int32),
            partitions=self._partitions,
            positions={self._partitions[number]: self._next[number] for number in moved},
            origin=origin,
            caught_up=frozenset(i for i, position in enumerate(self._next) if position >= end),
        )

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Nobody outside needs to know."""

    def lag(self) -> Mapping[Partition, int]:
        """Messages that have come and were not read."""
        end = count(self._elapsed())
        pairs = zip(self._partitions, self._next, strict=True)
        return {partition: max(end - position, 0) for partition, position in pairs}

    def close(self) -> None:
        """Forget the labels that were to come."""
        self._logs = []

    def _elapsed(self) -> float:
        # Rounded, so that sleeping until a message is due suffices.
        return round(self._clock.now() * 1000) - self._script.start
