"""An open action is an alert: who is on call sees it, and answers with a silence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from observer.actions.approval import LABEL
from observer.actions.ledger import Action
from observer.model import Alert

NAME: Final = "ObserverAction"
_SEVERITY: Final = {"waiting": "ticket", "held": "ticket", "stuck": "page"}


def action_alerts(
    actions: Iterable[Action], base_url: str = "", owner: Callable[[str], str] = lambda _: ""
) -> dict[str, Alert]:
    """The alerts of open actions, by id of the action; `owner` gives that of a model, "" for nobody.

    Labels stay the same while the action is open, but for its severity: a person is needed at once where an
    action is stuck, in time where it waits, and not at all while it runs.
    """
    alerts = {}
    for action in actions:
        if action.final:
            continue
        order = action.order
        link = f"{base_url}/action?id={action.id}" if base_url else ""
        alerts[action.id] = Alert(
            labels={
                "alertname": NAME,
                LABEL: action.id,
                "model": order.model,
                "action": order.kind,
                "severity": _SEVERITY.get(action.state, "info"),
                **({"owner": owner(order.model)} if owner(order.model) else {}),
            },
            annotations={
                "summary": f"{order.kind} {order.model} through {order.target}: {action.state}",
                "description": _description(action),
                "evidence": str(order.why.get("detail", "")),
                "link": link,
            },
            starts=order.created,
            link=link,
        )
    return alerts


def _description(action: Action) -> str:
    order = action.order
    if action.state == "stuck":
        return f"Nobody can tell whether it was done: {action.detail}. Look, then approve (again) or reject."
    if action.state in ("waiting", "held"):
        may = (
            "approve ..., reject ..."
            if order.approval.by_silence
            else "reject ... (to approve takes a token)"
        )
        ends = {
            "required": "It expires undone",
            "unless_rejected": "It starts by itself",
            "automatic": "It starts",
        }[order.approval.mode]
        wait = f"{order.approval.wait / 60:g} minutes"
        held = " On hold." if action.state == "held" else f" {ends} {wait} after it was decided."
        return f"Silence it by {LABEL} with the comment {may}; any other comment holds it.{held}"
    return f"{action.state}: {action.detail}"
