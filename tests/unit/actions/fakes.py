"""A ledger store in memory and targets that behave, or do not; and crashes at any point."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from observer.actions.base import Approval, Order, Progress
from observer.actions.ledger import EVENTS, FINAL, Action
from observer.errors import Permanent, Retryable, Unclear
from observer.model import LedgerRow

NOW = 1_800_000_000.0
AUTOMATIC = Approval("automatic")


DONE = Progress("succeeded", "done", {"version": "v2"})


class Crash(BaseException):
    """The process is gone."""


class MemoryStore:
    """Rows in a list; `before` and `after` run around every durable write."""

    def __init__(self) -> None:
        self.kept: list[LedgerRow] = []
        self.point: Callable[[], None] = lambda: None
        self.failing: list[str] = []
        self.lost = 0

    def append(self, row: LedgerRow) -> None:
        self.point()
        if self.failing and self.failing.pop(0) == "before":
            raise Retryable("the database is away")
        if row.number != len(self.kept) + 1:
            raise Permanent(f"row {row.number} is taken")
        self.kept.append(row)
        if self.lost:
            self.lost -= 1
            raise Retryable("the database went away")
        self.point()

    def rows(self, after: int = 0) -> Iterable[LedgerRow]:
        return list(self.kept[after:])

    def of(self, action: str) -> Iterable[LedgerRow]:
        return [row for row in self.kept if row.action == action]


@dataclass
class FakeTarget:
    """Does what it is told and counts it, per order; `faults` are raised before or after the effect."""

    can_be_asked: bool = True
    deduplicates: bool = False
    point: Callable[[], None] = lambda: None
    faults: list[tuple[str, Exception]] = field(default_factory=list)
    effects: Counter[str] = field(default_factory=Counter)
    sends: Counter[str] = field(default_factory=Counter)
    stopped: list[str] = field(default_factory=list)
    state: Progress = DONE

    def send(self, order: Order) -> str:
        self.point()
        self.sends[order.id] += 1
        when, fault = self.faults.pop(0) if self.faults else ("never", Retryable(""))
        if when == "before":
            raise fault
        if not (self.deduplicates and self.effects[order.id]):
            self.effects[order.id] += 1
        self.point()
        if when == "after":
            raise fault
        return f"run-{order.id}"

    def find(self, order: Order) -> str | None:
        self.point()
        assert self.can_be_asked
        return f"run-{order.id}" if self.effects[order.id] else None

    def progress(self, order: Order, reference: str) -> Progress:
        self.point()
        assert reference == f"run-{order.id}"
        return self.state

    def stop(self, order: Order, reference: str) -> None:
        if not self.can_be_asked:
            raise Permanent(f"{order.kind} cannot be stopped")
        self.stopped.append(reference)

    def check(self) -> list[str]:
        return []


def order(key: str = "credit/retrain/incident-1", **changes: Any) -> Order:
    given: dict[str, Any] = {
        "key": key,
        "model": "credit",
        "kind": "retrain",
        "target": "pipeline",
        "parameters": {"data_until": 5},
        "why": {"reason": "finding"},
        "approval": AUTOMATIC,
        "created": NOW,
        **changes,
    }
    return Order(**given)


def lost() -> Unclear:
    return Unclear("the connection broke while waiting for the answer")


def complete(action: Action) -> bool:
    """Each row follows from the one before; nothing is missing between intent and end."""
    may_follow = {
        "intended": {"approved"},
        "approved": {"attempted"},
        "attempted": {"accepted", "postponed", "unclear", "attempted", "stuck", "failed"},
        "postponed": {"attempted", "failed"},
        "unclear": {"accepted", "attempted", "unclear", "stuck", "failed"},
        "accepted": {"observed", "succeeded", "failed"},
        "observed": {"observed", "succeeded", "failed"},
        "stuck": {"approved", "rejected"},
    }
    events = [row.event for row in action.rows]
    assert all(after in may_follow[one] for one, after in zip(events, events[1:], strict=False)), events
    return events[0] == "intended" and EVENTS[events[-1]] in FINAL
