"""The bounded buffer between the model and the sender, and the account of every event."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from zlib import crc32

from observer.client.items import Item

Overflow = Literal["drop_oldest", "sample", "spill"]
OVERFLOWS: tuple[Overflow, ...] = ("drop_oldest", "sample", "spill")

_FULL = 1 << 32
_HELD_UP = frozenset({"disk", "overflow", "sampled", "shutdown"})
"""Reasons that go back to events which could not be delivered."""


@dataclass(frozen=True, slots=True)
class Stats:
    """What became of the events; `logged + recovered` is the sum of all the others, always."""

    logged: int
    """Taken from the model."""
    recovered: int
    """Found on disk, left there by an earlier process."""
    delivered: int
    """Confirmed by the transport."""
    buffered: int
    """In memory, not yet sent."""
    in_flight: int
    """Sent and not yet confirmed."""
    spilled: int
    """On disk, to be sent."""
    dropped: Mapping[str, int]
    """By reason: `overflow`, `sampled`, `invalid`, `too_large`, `refused`, `disk`,
    `shutdown`, `closed`."""
    last_error: str
    """What last went wrong, for a person."""

    @property
    def pending(self) -> int:
        """Neither delivered nor dropped yet."""
        return self.buffered + self.in_flight + self.spilled


class Ledger:
    """Where every event is; changed under its lock only."""

    def __init__(self) -> None:
        # Reentrant: a signal handler may log while its thread holds the lock.
        self.lock = threading.RLock()
        self.settled = threading.Condition(self.lock)
        self.logged = self.recovered = self.delivered = 0
        self.buffered = self.in_flight = self.spilled = 0
        self.dropped: Counter[str] = Counter()
        self.turned_away = 0
        """Of those dropped, those that were never under way: older ones may still be."""
        self.last_error = ""
        self.trouble = ""
        """What keeps events from being delivered, as far as the transport says; nothing once one is."""

    @property
    def taken(self) -> int:
        """Logged, and not turned away since."""
        return self.logged - self.turned_away

    def is_done(self, taken: int) -> bool:
        """Whether as many are delivered or dropped on their way; or nothing is left."""
        if not self.buffered + self.in_flight + self.spilled:
            return True
        return self.delivered + self.dropped.total() - self.turned_away - self.recovered >= taken

    def stats(self) -> Stats:
        """A copy."""
        with self.lock:
            return Stats(
                logged=self.logged,
                recovered=self.recovered,
                delivered=self.delivered,
                buffered=self.buffered,
                in_flight=self.in_flight,
                spilled=self.spilled,
                dropped=dict(self.dropped),
                last_error=self.last_error,
            )

    def turn_away(self, reason: str, rows: int, error: object = "") -> None:
        """Count events as dropped before they were under way."""
        self.turned_away += rows
        self.drop(reason, rows, error)

    def drop(self, reason: str, rows: int, error: object = "") -> None:
        """Count events as dropped, and remember why."""
        if rows:
            self.dropped[reason] += rows
            if error:
                told = describe(error)
                held_up = self.trouble and reason in _HELD_UP
                self.last_error = f"{told}; {self.trouble}" if held_up else told
            self.settled.notify_all()

    def fail(self, error: object) -> None:
        """Remember what keeps events from being delivered, if anything does."""
        if error:
            with self.lock:
                self.last_error = self.trouble = describe(error)


def describe(error: object) -> str:
    """What went wrong, in one line of moderate length."""
    text = f"{type(error).__name__}: {error}" if isinstance(error, Exception) else str(error)
    return " ".join(text.split())[:500]


class Buffer:
    """First in, first out, bounded in bytes.

    Parameters
    ----------
    ledger : Ledger
        The account.
    limit : int
        Bytes, as items estimate them.
    overflow : "drop_oldest", "sample" or "spill"
        What to do as it fills. `sample` keeps, from half full on, ever fewer of the new events, chosen by
        their ids, and none when full; else the oldest make room.
    """

    def __init__(self, ledger: Ledger, limit: int, overflow: Overflow) -> None:
        self._ledger = ledger
        self._limit = limit
        self._sample = overflow == "sample"
        self._items: deque[Item] = deque()
        self.bytes = 0

    def put(self, item: Item) -> int:
        """Add an item, at the cost of others if it must be; how many rows are buffered now."""
        ledger = self._ledger
        with ledger.lock:
            ledger.logged += item.rows
            if self._sample and self.half_full:
                kept = self._sampled(item)
                if kept is None or self.bytes + kept.size > self._limit:
                    ledger.turn_away("sampled", 0 if kept is None else kept.rows)
                    return ledger.buffered
                item = kept
            self._items.append(item)
            self.bytes += item.size
            ledger.buffered += item.rows
            if self.bytes > self._limit:
                while self.bytes > self._limit:
                    rows = self._pop().rows
                    ledger.buffered -= rows
                    ledger.turn_away("overflow", rows, "the buffer is full")
            return ledger.buffered

    @property
    def half_full(self) -> bool:
        """Whether it is time to do something about it."""
        return self.bytes * 2 > self._limit

    def take(self, rows: int) -> list[Item]:
        """Up to `rows` of the oldest rows, at least one item if there is any; now in flight."""
        taken: list[Item] = []
        with self._ledger.lock:
            count = 0
            while self._items and (not taken or count + self._items[0].rows <= rows):
                taken.append(self._pop())
                count += taken[-1].rows
            self._ledger.buffered -= count
            self._ledger.in_flight += count
        return taken

    def _pop(self) -> Item:
        item = self._items.popleft()
        self.bytes -= item.size
        return item

    def _sampled(self, item: Item) -> Item | None:
        """The part of the item that is kept; at equal pressure the same for a prediction and its label."""
        share = max(0.0, 2 - 2 * self.bytes / self._limit)
        keep = [crc32(one.encode()) < share * _FULL for one in item.ids]
        dropped = len(keep) - sum(keep)
        if not dropped:
            return item
        self._ledger.turn_away("sampled", dropped, "the buffer is more than half full")
        return item.kept(keep)
