"""What the ledger has of a rollout: its orders, and what rules did to its traffic."""

from __future__ import annotations

from typing import Final

from observer.actions.engine import backoff
from observer.actions.ledger import Action, Ledger
from observer.actions.rollout import Rollout

_APPROVED: Final = frozenset({"approved", "sending", "running", "stuck", "succeeded"})


def own(ledger: Ledger, rollout: Rollout) -> list[Action]:
    """Its actions, in the order of their intents."""
    return [action for action in ledger.actions.values() if action.order.why.get("rollout") == rollout.id]


def asked(action: Action) -> tuple[float, float]:
    """Share and shadow that an order sets."""
    parameters = action.order.parameters
    return float(parameters["share"]), float(parameters.get("shadow", 0))


def ever_set(ledger: Ledger, rollout: Rollout) -> bool:
    """Whether anything of it may have reached the platform."""
    reached = ("attempted", "accepted")
    return bool(rollout.share or rollout.shadow) or any(
        row.event in reached for action in own(ledger, rollout) for row in action.rows
    )


def refused(ledger: Ledger, rollout: Rollout, last_order: str, now: float) -> str:
    """Why a roll-back that failed is not ordered again now; "" when it may be."""
    last = ledger.actions.get(last_order)
    if last is None or last.order.kind != "rollback" or last.state != "failed":
        return ""
    if last.rows[-1].data.get("foreign"):
        return f"a roll-back was undone by somebody else, a person decides: {last.detail}"
    failed = [one for one in own(ledger, rollout) if one.order.kind == "rollback"]
    passed = now - last.rows[-1].at
    return f"a roll-back failed: {last.detail}" if 0 <= passed < backoff(len(failed) - 1) else ""


def taken_back(ledger: Ledger, rollout: Rollout) -> str:
    """The rule that takes its traffic back since it began, in words; "" without one."""
    for action in ledger.actions.values():
        order = action.order
        of_rule = order.kind == "rollback" and "rule" in order.why and order.target == rollout.spec.target
        if of_rule and action.state in _APPROVED and action.rows[-1].at >= rollout.started:
            return f"rule {order.why['rule']} takes its traffic back: {order.why['detail']}"
    return ""
