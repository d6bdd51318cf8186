"""The ledger: every intent, attempt, ruling and outcome, in order, each row chained to the last by its hash.

The state of an action is what its rows add up to, nothing else: after a crash the rows are read and work
goes on from there.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from observer.actions.base import Order, canonical
from observer.errors import Permanent, Retryable
from observer.model import LedgerRow

State = Literal[
    "waiting",  # for a person, or for its time
    "held",  # by a person: time does not count
    "approved",
    "sending",  # what the target made of it is not known yet
    "running",
    "stuck",  # only a person can tell what happened
    "succeeded",
    "failed",
    "rejected",
    "expired",
    "stopped",
]
FINAL: Final = frozenset({"succeeded", "failed", "rejected", "expired", "stopped"})
EVENTS: Final[Mapping[str, State | None]] = {
    "intended": "waiting",
    "held": "held",
    "released": "waiting",
    "approved": "approved",
    "rejected": "rejected",
    "expired": "expired",
    "attempted": "sending",
    "postponed": "approved",  # the target surely did nothing; another attempt follows
    "unclear": "sending",
    "accepted": "running",
    "observed": None,
    "commented": None,
    "resulted": None,  # a retraining's version, told from outside
    "result_refused": None,
    "rollout_refused": None,  # of the version that a retraining named
    "clock_set": None,  # the machine's clock: the time that is left stays as it is
    "stop_refused": None,
    "stopped": "stopped",
    "stuck": "stuck",
    "succeeded": "succeeded",
    "failed": "failed",
}
"""Every kind of row, and the state that it leaves the action in.

After a way back to this release there may be kinds that a later one wrote: such a row stands in the chain, is
shown, and changes no state. So a later one needs its own kind of row only beside one of these that says, too,
what must not be overlooked.
"""

NOTES: Final = frozenset({"rollout_started", "rollout_paused", "rollout_resumed", "rollout_ended"})
"""Rows about a rollout that order nothing, under its id."""
NOTED: Final = 100
"""Rollouts whose notes are held in memory, and how many of each, the latest."""

GENESIS: Final = "0" * 64
KEPT: Final = 5_000
"""Ended actions that are held in memory, the latest; older ones are read from the store when asked for."""


class LedgerStore(Protocol):
    """Where rows are kept; only ever added to."""

    def append(self, row: LedgerRow) -> None:
        """Make it durable.

        Raises `Permanent` when its number is taken: somebody else writes too; `Retryable` when nobody knows
        whether it is there.
        """

    def rows(self, after: int = 0) -> Iterable[LedgerRow]:
        """Those with a number above `after`, in order."""

    def of(self, action: str) -> Iterable[LedgerRow]:
        """Those of one action, in order."""


def row_hash(row: LedgerRow) -> str:
    """SHA-256 over the row and the hash of the one before."""
    content = [row.number, row.at, row.action, row.event, row.actor, row.data, row.previous]
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def broken(rows: Iterable[LedgerRow], after: int = 0, previous: str = GENESIS) -> int | None:
    """Number of the first row that is not as it was written, or not in its place; None when all are.

    `after` and `previous` are number and hash of the row before the first.
    """
    for number, row in enumerate(rows, start=after + 1):
        if row.number != number or row.previous != previous or row.hash != row_hash(row):
            return number
        previous = row.hash
    return None


@dataclass(slots=True)
class Action:
    """An order and what became of it.

    Attributes
    ----------
    attempts : int
        How often it was sent.
    retry_at : float
        Not to be touched before this, seconds since the epoch.
    reference : str
        What the target calls it.
    until : float
        When waiting ends, seconds since the epoch; of an action on hold, seconds that were left.
    jumped : float
        Seconds by which the machine's clock was set since its approval.
    settled : float
        When it succeeded or its version was told, whichever came later, seconds since the epoch.
    rows : list
        Its rows, in order.
    """

    order: Order
    state: State = "waiting"
    attempts: int = 0
    retry_at: float = 0.0
    reference: str = ""
    detail: str = ""
    until: float = 0.0
    jumped: float = 0.0
    settled: float = 0.0
    result: Mapping[str, Any] = field(default_factory=dict)
    rows: list[LedgerRow] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Of the order."""
        return self.order.id

    @property
    def final(self) -> bool:
        """Whether nothing more can happen."""
        return self.state in FINAL

    @property
    def version(self) -> str:
        """That a retraining made, as far as it is known."""
        return str(self.result.get("version", ""))

    def apply(self, row: LedgerRow) -> None:
        """Advance by one row."""
        data = row.data
        if row.event == "held":
            self.until = max(self.until - row.at, 0.0)
        elif row.event == "released":
            self.until += row.at
        elif row.event == "intended":
            self.until = row.at + self.order.approval.wait
        elif row.event == "clock_set":
            jump = float(data["seconds"])
            self.jumped += jump
            self.until += jump if self.state != "held" else 0.0
            self.retry_at += jump
            self.rows.append(row)
            return
        elif row.event == "approved":
            self.jumped = 0.0
        elif row.event not in EVENTS:
            self.rows.append(row)
            return
        self.state = EVENTS[row.event] or self.state
        self.attempts += row.event == "attempted"
        self.retry_at = float(data.get("retry_at", 0.0))
        self.reference = str(data.get("reference", self.reference))
        self.detail = str(data.get("detail", self.detail))
        self.result = {**self.result, **data.get("result", {})}
        if row.event in ("succeeded", "resulted"):
            self.settled = row.at
        self.rows.append(row)


class Ledger:
    """The actions that the rows in a store add up to; raises `Permanent` when the chain is broken.

    Parameters
    ----------
    kept : int
        Ended actions that are held in memory.
    """

    def __init__(self, store: LedgerStore, kept: int = KEPT) -> None:
        self._store = store
        self._most = kept
        self._known: set[str] = set()
        self._ended: deque[str] = deque()
        self.actions: dict[str, Action] = {}
        """By id, in the order of their intents: those that are open, and the latest of those that ended."""
        self.fired: dict[tuple[str, str], float] = {}
        """When each model's rules fired last, seconds since the epoch."""
        self.notes: dict[str, deque[LedgerRow]] = {}
        """What was noted of rollouts, by id."""
        self.head = GENESIS
        self.length = 0
        self._unsure = False
        self._read()

    def _read(self) -> None:
        """Apply what the store has beyond what is known."""
        for row in self._store.rows(self.length):
            damaged = broken((row,), self.length, self.head)
            if damaged is not None:
                raise Permanent(
                    f"the ledger of actions was changed or lost rows at number {damaged}; no action is taken"
                    " before a person has looked at it: observer actions verify"
                )
            self._apply(row)
        self._unsure = False

    def refresh(self) -> list[Action]:
        """Read again where the store failed: the last row may be there all the same; the actions it ended."""
        if not self._unsure:
            return []
        before = {action.id for action in self.open}
        self._read()
        return [action for name, action in self.actions.items() if name in before and action.final]

    def append(self, action: str, event: str, actor: str, now: float, data: Mapping[str, Any]) -> LedgerRow:
        """Add a row; durable when this returns. Raises `Retryable` when the store cannot take it."""
        self.refresh()
        row = LedgerRow(self.length + 1, now, action, event, actor, dict(data), self.head, "")
        row = row._replace(hash=row_hash(row))
        try:
            self._store.append(row)
        except Retryable:
            self._unsure = True
            raise
        self._apply(row)
        return row

    def intend(self, order: Order, now: float, actor: str) -> Action | None:
        """Record what is going to be done; None when the same decision was recorded before."""
        self.refresh()
        if order.id in self._known:
            return None
        self.append(order.id, "intended", actor, now, {"order": order.to_json()})
        return self.actions[order.id]

    def get(self, action: str) -> Action | None:
        """An action, however long ago it ended."""
        found = self.actions.get(action)
        if found is None and action in self._known:
            for row in self._store.of(action):
                if row.event == "intended":
                    found = Action(Order.from_json(row.data["order"]))
                if found is not None:
                    found.apply(row)
        return found

    @property
    def open(self) -> list[Action]:
        """Actions to which something can still happen."""
        return [action for action in self.actions.values() if not action.final]

    def _note(self, row: LedgerRow) -> None:
        self.notes.setdefault(row.action, deque(maxlen=NOTED)).append(row)
        if len(self.notes) > NOTED:
            del self.notes[next(iter(self.notes))]
        self.head, self.length = row.hash, row.number

    def _apply(self, row: LedgerRow) -> None:
        if row.event in NOTES:
            self._note(row)
            return
        if row.event == "intended":
            order = Order.from_json(row.data["order"])
            self.actions[row.action] = Action(order)
            self._known.add(row.action)
            self.fired[order.model, str(order.why.get("rule", ""))] = order.created
        if row.event not in EVENTS and row.action not in self.actions:
            self.head, self.length = row.hash, row.number
            return
        action = self.actions[row.action]
        before = action.final
        action.apply(row)
        self.head, self.length = row.hash, row.number
        if action.final and not before:
            self._ended.append(row.action)
            if len(self._ended) > self._most:
                del self.actions[self._ended.popleft()]
