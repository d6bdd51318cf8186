"""The nouns of actions, and what a target must be able to do."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, Protocol

from observer.errors import Permanent

Kind = Literal[
    "retrain",
    "shadow",
    "set_weights",
    "promote",
    "rollback",
    "notify",
    "start_rollout",
    "advance_rollout",
    "pause_rollout",
]
Verb = Literal["approve", "reject", "hold"]
"""What a person can say of an action."""
Mode = Literal["automatic", "unless_rejected", "required"]

LOWERS_EXPOSURE = frozenset({"rollback", "notify", "pause_rollout"})
"""Kinds that cannot make things worse for more requests than before."""

ROLLOUTS: Final = "the rollout"
"""What rules about rollouts speak to, in the place of a target; no configured one can have the name."""

_SPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:ml-observer:action")


class Foreign(Permanent):
    """Somebody else changed what an order was about."""


@dataclass(frozen=True, slots=True)
class Approval:
    """Whose word an action needs.

    Attributes
    ----------
    mode : str
        `automatic`; `unless_rejected`: at once after `wait` seconds in which nobody objected; `required`.
    wait : float
        Seconds: until it starts by itself, or (`required`) until it expires undone.
    by_silence : bool
        Whether a silence in Alertmanager, whose author nobody has verified, can approve it.
    """

    mode: Mode
    wait: float = 0.0
    by_silence: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done, whole: recorded before anything is sent.

    Attributes
    ----------
    key : str
        What the decision is about; a second order of the same key is the same decision.
    parameters : mapping
        Exactly what the target is given, as JSON.
    why : mapping
        `reason`, and what it rests on: finding, objective, rollout.
    give_up : float
        Seconds after which it counts as failed.
    """

    key: str
    model: str
    kind: Kind
    target: str
    parameters: Mapping[str, Any]
    why: Mapping[str, Any]
    approval: Approval
    created: float
    give_up: float = 86_400.0

    @property
    def id(self) -> str:
        """Derived from the key, so that every process and every attempt gives the same."""
        return str(uuid.uuid5(_SPACE, self.key))

    def to_json(self) -> dict[str, Any]:
        """All of it, for the ledger."""
        approval = {"mode": self.approval.mode, "wait": self.approval.wait}
        return {
            "key": self.key,
            "model": self.model,
            "kind": self.kind,
            "target": self.target,
            "parameters": dict(self.parameters),
            "why": dict(self.why),
            "approval": {**approval, "by_silence": self.approval.by_silence},
            "created": self.created,
            "give_up": self.give_up,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Order:
        """What `to_json` gave, here or in a later release that says more."""
        approval = Approval(**_own(Approval, data["approval"]))
        return cls(**{**_own(cls, data), "approval": approval})


def _own(kind: type[Approval | Order], data: Mapping[str, Any]) -> dict[str, Any]:
    return {one.name: data[one.name] for one in fields(kind) if one.name in data}


@dataclass(frozen=True, slots=True)
class Progress:
    """What a target says of an order that it took.

    Attributes
    ----------
    state : str
        `running`, `succeeded`, `failed`, or `foreign`: somebody else changed what the order had set.
    result : mapping
        What came of it: the version that was trained, the weights that are served.
    """

    state: Literal["running", "succeeded", "failed", "foreign"]
    detail: str = ""
    result: Mapping[str, Any] | None = None


class Target(Protocol):
    """Where orders are carried out. Every call may raise `Retryable` (nothing was done) or `Permanent`."""

    can_be_asked: bool
    """Whether `find` can tell what became of an order."""
    deduplicates: bool
    """Whether sending an order again, with the same id, does it only once."""

    def send(self, order: Order) -> str:
        """Do it; returns what to ask `progress` with. Raises `Unclear` when the answer was lost."""

    def find(self, order: Order) -> str | None:
        """What an earlier `send` of the order would have returned; None when it never arrived."""

    def progress(self, order: Order, reference: str) -> Progress:
        """How far it is, as the target itself reports it."""

    def stop(self, order: Order, reference: str) -> None:
        """End it before its time; raises `Permanent` where that cannot be."""

    def check(self) -> list[str]:
        """Prove access without changing anything; a line for each problem."""


def canonical(value: object) -> str:
    """JSON in one form only: sorted keys, no spaces; raises `ValueError` on NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
