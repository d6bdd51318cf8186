"""A transport in memory that fails as it is told to, and what the service reads of what it took."""

from __future__ import annotations

import threading

from observer.client import TooLarge
from observer.codecs import AutoSpec, codec
from tests.unit.codecs.helpers import NOW, all_rows, messages


class Memory:
    """Takes messages; `up`, `room`, `answers` and `open_fails` may be changed at any time.

    `room` is how many messages it takes before it says that it is full; with `answers` "later" nothing is
    confirmed until `confirm`, with "fail" every message comes back, with "too_large" is refused for good.
    """

    def __init__(self, *, binary: bool = True) -> None:
        self.binary = binary
        self.up = True
        self.room = 1 << 60
        self.answers = "now"
        self.sent: list[tuple[str, bytes]] = []
        self.delivered: list[tuple[str, bytes]] = []
        self.waiting: list[tuple[str, bytes, object]] = []
        self.opened = 0
        self.closed = 0
        self.on_send = lambda: None
        self.trouble: str | None = None
        self.pause = threading.Event()
        self.pause.set()

    def open(self):
        self.opened += 1
        if not self.up:
            raise ConnectionError("nobody there")
        return Connection(self)

    def confirm(self, error: Exception | None = None) -> None:
        """Answer everything that waits."""
        waiting, self.waiting = self.waiting, []
        for topic, value, done in waiting:
            if error is None:
                self.delivered.append((topic, value))
            done(error)

    def values(self, topic: str) -> list[bytes]:
        return [value for name, value in self.delivered if name == topic]


class Connection:
    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def send(self, topic, value, done) -> bool:
        memory = self._memory
        memory.pause.wait(20)
        if not memory.up:
            raise ConnectionError("gone")
        if memory.room <= 0:
            return False
        memory.room -= 1
        memory.sent.append((topic, value))
        memory.on_send()
        if memory.answers == "later":
            memory.waiting.append((topic, value, done))
        elif memory.answers == "fail":
            done(ConnectionError("not stored"))
        elif memory.answers == "too_large":
            raise TooLarge("never")
        else:
            memory.delivered.append((topic, value))
            done(None)
        return True

    def poll(self) -> str | None:
        return self._memory.trouble

    def close(self) -> None:
        self._memory.closed += 1


def balanced(stats) -> bool:
    """Whether every event is in one place."""
    return stats.logged + stats.recovered == stats.delivered + stats.pending + sum(stats.dropped.values())


def read(memory: Memory, schema=None):
    """Rows of predictions and labels as the service decodes them; none may be rejected."""
    decoder = codec(AutoSpec(), schema or {}, learn_unknown=True)
    predictions = decoder.predictions(messages(memory.values("predictions")), NOW + 1e9)
    labels = decoder.labels(messages(memory.values("labels")), NOW + 1e9)
    assert predictions.rejected == labels.rejected == []
    assert predictions.spoiled_cells == labels.spoiled_cells == 0
    return all_rows(predictions), all_rows(labels)
