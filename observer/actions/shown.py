"""Actions and rollouts as people and programs see them: JSON."""

from __future__ import annotations

import math
from typing import Any, Final

from observer.actions.ledger import Action
from observer.actions.rollout import Rollout

_TEN: Final = math.log(10)
_SAID: Final = frozenset({"approved", "rejected", "held", "stopped", "commented"})
"""Rows by which somebody says something of an action."""


def brief(action: Action) -> dict[str, Any]:
    """One action in a line of a list; times in seconds since the epoch.

    `deadline` is when something happens without anybody's word, and `then` what; `by` who spoke last.
    """
    order, why = action.order, action.order.why
    deadline, then = _deadline(action)
    spoke = [row.actor for row in action.rows if row.event in _SAID]
    evidence = why.get("evidence") or {}
    return {
        "id": action.id,
        "model": order.model,
        "version": str(order.parameters.get("version", "")),
        "action": order.kind,
        "target": order.target,
        "state": action.state,
        "detail": action.detail,
        "reason": why.get("reason", ""),
        "why": why.get("detail", ""),
        "rule": why.get("rule", ""),
        "rollout": why.get("rollout", ""),
        "finding": str(evidence.get("finding", "")),
        "created": order.created,
        "changed": action.rows[-1].at,
        "by": spoke[-1] if spoke else action.rows[0].actor,
        "approval": order.approval.mode,
        "deadline": deadline,
        "then": then,
        "attempts": action.attempts,
    }


def whole(action: Action) -> dict[str, Any]:
    """One action with its order, its result, and every row of the ledger about it."""
    return {
        **brief(action),
        "order": action.order.to_json(),
        "result": dict(action.result) if isinstance(action.result, dict) else action.result,
        "rows": [row._asdict() for row in action.rows],
    }


def rollout_shown(rollout: Rollout, said: str) -> dict[str, Any]:
    """A rollout: what it is about, where it stands, and how the estimate went; evidence as powers of ten."""
    spec = rollout.spec
    guard, verdict = math.log10(1 / spec.guard_alpha), math.log10(2 / spec.alpha)
    standing = {
        "better": (rollout.better, verdict),
        "worse": (rollout.worse, verdict),
        "copies_missing": (rollout.copies.ratio.evidence, guard),
        "sample_ratio": (rollout.ratio.evidence, guard),
        "label_mismatch": (max(rollout.arrival.more, rollout.arrival.fewer), guard),
        "more_errors": (rollout.guards.errors.test.more, guard),
        "slower": (rollout.guards.slow.test.more, guard),
    }
    return {
        "id": rollout.id,
        "model": rollout.model,
        "champion": rollout.champion,
        "challenger": rollout.challenger,
        "target": spec.target,
        "started": rollout.started,
        "share": rollout.share,
        "shadow": rollout.shadow,
        "copies": {
            "wanted": spec.shadow.percent if spec.shadow is not None else 0,
            "answered": rollout.copies.answered,
            "expected": round(rollout.copies.expected),
            "minimum": spec.shadow.minimum if spec.shadow is not None else 0,
        },
        "since": rollout.since,
        "paused": rollout.paused,
        "promoted_at": rollout.promoted_at,
        "result": rollout.result,
        "said": said,
        "steps": list(spec.steps),
        "labelled": rollout.at_step,
        "minimum": spec.minimum,
        "alpha": spec.alpha,
        "baked": rollout.since + (spec.shadow.bake if rollout.shadow and spec.shadow else spec.bake) / 1000,
        "deadline": rollout.deadline,
        "watched": None if rollout.promoted_at is None else rollout.promoted_at + spec.watch / 1000,
        "evidence": {
            name: {"now": value / _TEN, "limit": limit} for name, (value, limit) in standing.items()
        },
        "history": [point._asdict() for point in rollout.history],
    }


def _deadline(action: Action) -> tuple[float | None, str]:
    """When what happens, if nobody says anything."""
    order = action.order
    if action.state == "waiting":
        return action.until, "expires undone" if order.approval.mode == "required" else "starts by itself"
    if action.state in ("approved", "sending", "running"):
        approved = [row.at for row in action.rows if row.event == "approved"]
        return (approved[-1] if approved else order.created) + order.give_up, "is given up"
    return None, ""
