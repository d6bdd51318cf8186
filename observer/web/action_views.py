"""What the pages about actions and rollouts show: values for their templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from observer.errors import Absent, Retryable
from observer.ports import History
from observer.web import lines, story
from observer.web.actions import ControlPlane
from observer.web.endpoints import Parameter

WAITING: Final = frozenset({"waiting", "held", "stuck"})
"""States of an action in which a person is asked."""
VERBS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "waiting": (("approve", "Approve"), ("reject", "Reject"), ("hold", "Hold")),
    "held": (("approve", "Approve"), ("reject", "Reject")),
    "stuck": (("approve", "Send it again"), ("reject", "Leave it as it is")),
    "approved": (("reject", "Stop it"),),
    "running": (("reject", "Stop it"),),
}
"""State -> what a person can say of the action, and the button's words."""
LOOKS: Final[Mapping[str, tuple[str, str]]] = {
    "waiting": ("ticket", "Waiting"),
    "held": ("ticket", "On hold"),
    "stuck": ("page", "Stuck"),
    "approved": ("running", "Approved"),
    "sending": ("running", "Sending"),
    "running": ("running", "Running"),
    "succeeded": ("stable", "Done"),
    "failed": ("drift", "Failed"),
    "rejected": ("quiet", "Rejected"),
    "expired": ("quiet", "Expired"),
    "stopped": ("quiet", "Stopped"),
}
"""State of an action -> how it looks, and in words."""
GUARDS: Final[Mapping[str, tuple[str, str]]] = {
    "better": ("more right predictions than the champion", "promotes"),
    "worse": ("fewer right predictions than the champion", "rolls back"),
    "more_errors": ("requests fail more often", "rolls back"),
    "slower": ("requests are slow more often", "rolls back"),
    "copies_missing": ("fewer copies of requests are answered than were set, or more", "pauses"),
    "sample_ratio": ("requests are not divided as they were set to be", "pauses"),
    "label_mismatch": ("labels come for one arm more often", "pauses"),
}
"""What evidence of a rollout says, and what follows once it counts."""
_ENDED = 100
_EVALUATIONS = 50
_STORY = 40
_ROLLOUT_WORDS: Final = {"promoted": "Promoted", "rolled_back": "Rolled back", "aborted": "Aborted"}

PARAMETERS: Final[Mapping[str, tuple[Parameter, ...]]] = {
    "actions": (Parameter("model", "Only of this model."),),
    "action": (Parameter("id", "Of the action.", required=True),),
    "rollouts": (),
    "rollout": (Parameter("id", "Of the rollout.", required=True),),
}


class ActionViews:
    """Questions to the control plane, a method for each page; without one nothing can be done."""

    def __init__(self, history: History, control: ControlPlane | None) -> None:
        self._history = history
        self._control = control

    def revision(self) -> str:
        """Changes whenever anything of it may look different."""
        if self._control is None:
            return ""
        try:
            return self._control.revision()
        except Retryable as error:
            return str(error)

    def actions(self, model: str | None) -> dict[str, Any]:
        """Those that a person is asked about, those under way, those that ended."""
        if self._control is None:
            return {"configured": False, "model": model}
        every = [one for one in self._control.listed() if model in (None, one["model"])]
        told = [one for one in self._control.evaluated() if model in (None, one["model"])]
        return {
            "configured": True,
            "model": model,
            "waiting": [one for one in every if one["state"] in WAITING],
            "running": [one for one in every if one["state"] not in WAITING | story.ENDED],
            "ended": [one for one in every if one["state"] in story.ENDED][:_ENDED],
            "evaluations": told[::-1][:_EVALUATIONS],
        }

    def action(self, id: str) -> dict[str, Any]:  # noqa: A002 - as in the address
        """One action: what was ordered and why, and its story."""
        found = self._there().shown(id)
        order = found["order"]
        sent = {"id": found["id"], "target": order["target"], "parameters": order["parameters"]}
        return {
            "found": found,
            "story": story.of_action(found),
            "sent": story.pretty(sent),
            "result": story.pretty(found["result"]) if found["result"] else "",
            "evidence": story.pretty(order["why"]),
            "finding": self._finding(found["finding"]),
            "verbs": VERBS.get(found["state"], ()),
        }

    def rollouts(self) -> dict[str, Any]:
        """Every model's latest rollout, and what the ledger still knows of earlier ones."""
        if self._control is None:
            return {"configured": False}
        latest = self._control.rolling()
        past = story.earlier(self._control.listed(), (one["id"] for one in latest))
        order = sorted(latest, key=lambda one: (bool(one["result"]), -one["started"]))
        return {"configured": True, "latest": [_standing(one) for one in order], "past": past}

    def rollout(self, id: str) -> dict[str, Any]:  # noqa: A002 - as in the address
        """One rollout: where it stands, how the estimate went, and its story."""
        control = self._there()
        one = next((one for one in control.rolling() if one["id"] == id), None)
        actions = self._whole([action for action in control.listed() if action["rollout"] == id])
        if one is None and not actions:
            raise Absent(f"no rollout {id!r:.200}")
        charts = lines.rollout(one["history"], one["evidence"]["better"]["limit"]) if one else {}
        return {
            "id": id,
            "one": _standing(one) if one else None,
            "model": one["model"] if one else actions[0]["model"],
            "charts_of": charts,
            "story": story.of_rollout(actions, one["notes"] if one else ()),
            "open": [action for action in actions if action["state"] not in story.ENDED],
        }

    def of_model(self, model: str) -> dict[str, Any]:
        """A model's rollout, its open actions, and its story, newest first."""
        alarms = self._history.findings(model, tiers=("page", "ticket"), limit=_STORY)
        actions: list[dict[str, Any]] = []
        rollout, problem = None, ""
        if self._control is not None:
            try:
                own = [one for one in self._control.listed() if one["model"] == model]
                actions = self._whole(own[:_STORY])
                rollout = next((one for one in self._control.rolling() if one["model"] == model), None)
            except Retryable as error:
                problem = str(error)
        notes = rollout["notes"] if rollout else ()
        return {
            "rollout": _standing(rollout) if rollout else None,
            "open_actions": [one for one in actions if one["state"] not in story.ENDED],
            "has_actions": bool(actions),
            "actions_problem": problem,
            "story": story.of_model(alarms, actions, notes, self._history.began(model), _STORY),
        }

    def _there(self) -> ControlPlane:
        if self._control is None:
            raise Absent("no targets are configured, so there are no actions")
        return self._control

    def _whole(self, actions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [self._there().shown(one["id"]) for one in actions]

    def _finding(self, name: str) -> str:
        """Its id, if it is still kept."""
        return name if name and self._history.finding(name) is not None else ""


def _standing(one: Mapping[str, Any]) -> dict[str, Any]:
    """A rollout as templates show it: with its state, its last decision and its last estimate."""
    head, _, detail = one["said"].partition(": ")
    verb, _, reason = head.partition(" ")
    if one["result"]:
        state, look = _ROLLOUT_WORDS[one["result"]], "stable" if one["result"] == "promoted" else "drift"
    elif one["paused"]:
        state, look = "Paused", "ticket"
    else:
        under_way = "Shadow" if one["shadow"] else "Under way"
        state, look = ("Watched" if one["promoted_at"] else under_way, "running")
    paused = one["paused"]
    return {
        **one,
        "state": state,
        "look": look,
        "verb": verb,
        "reason": reason.replace("_", " "),
        "detail": detail,
        "paused": story.person(paused[3:]) if paused.startswith("by ") else paused.replace("_", " "),
        "last": one["history"][-1] if one["history"] else None,
        "places": _places(one["steps"], one["share"]),
    }


def _places(steps: Sequence[float], share: float) -> list[tuple[float, str]]:
    """Every step, promotion and the share itself, which may lie between: `done`, `now` or `next`."""
    every = sorted({*steps, share, 100.0} - {0.0})
    return [(step, "now" if step == share else "done" if step < share else "next") for step in every]
