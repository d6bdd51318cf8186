"""The demo's streams, in event time that runs faster than the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from observer.model import Messages, Origin, Partition, Stream
from observer.ports import Clock
from observer.sources.demo.messages import MessageLog, count, due
from observer.sources.demo.script import Script

_AT_ONCE = 64
"""Messages given in one poll at most: at high speed a poll would otherwise never end."""


class EventClock:
    """Event time: a clock that starts at `start` (seconds since the epoch) and runs `speed` times as fast."""

    def __init__(self, clock: Clock, start: float, speed: float) -> None:
        if not speed > 0:
            msg = f"speed {speed:g}: accepted: seconds of event time per second, more than 0"
            raise ValueError(msg)
        self.speed = speed
        self._clock = clock
        self._began = clock.now()
        self._start = start

    def now(self) -> float:
        """Event time, seconds since the epoch."""
        return self._start + (self._clock.now() - self._began) * self.speed

    def skip_to(self, event_time: float) -> None:
        """Go on from `event_time` if it lies ahead; event time never runs back."""
        self._start += max(event_time - self.now(), 0.0)


class DemoSource:
    """One stream of a script, a partition per model, as far as event time has come.

    Parameters
    ----------
    clock : EventClock
        Shared by both streams; opening at later positions moves it ahead.
    sleep : callable
        Waits that many seconds of the clock behind `clock`.
    """

    def __init__(
        self, script: Script, stream: Stream, clock: EventClock, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._script = script
        self._stream: Stream = stream
        self._clock = clock
        self._sleep = sleep
        self._partitions = script.partitions(stream)
        self._next: list[int] = [0] * len(self._partitions)
        self._logs: list[MessageLog] = []

    def open(self, positions: Mapping[Partition, int]) -> None:
        """Start reading; without a position from the script's start."""
        self._next = [positions.get(partition, 0) for partition in self._partitions]
        self._logs = [MessageLog(self._script, model, self._stream) for model in self._script.models]
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
            self._next[at] += 1

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
