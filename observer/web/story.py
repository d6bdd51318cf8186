"""What happened, in order: to an action, in a rollout, to a model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from observer.model import Finding
from observer.web.words import about
from observer.web.words import number as digits

EVENTS: Final[Mapping[str, tuple[str, str]]] = {
    "intended": ("decided", "quiet"),
    "approved": ("approved", "good"),
    "rejected": ("rejected", "bad"),
    "held": ("put on hold", "person"),
    "released": ("hold ended", "quiet"),
    "expired": ("expired undone", "bad"),
    "attempted": ("sent", "quiet"),
    "postponed": ("put off", "bad"),
    "unclear": ("no answer", "bad"),
    "accepted": ("taken by the target", "quiet"),
    "observed": ("read back", "quiet"),
    "commented": ("comment", "person"),
    "clock_set": ("the machine’s clock was set", "quiet"),
    "stop_refused": ("cannot be stopped", "bad"),
    "resulted": ("its result was told", "good"),
    "result_refused": ("a result was refused", "bad"),
    "rollout_refused": ("no rollout of what it made", "bad"),
    "stopped": ("stopped", "bad"),
    "stuck": ("stuck: a person has to look", "bad"),
    "succeeded": ("done, and read back", "good"),
    "failed": ("failed", "bad"),
    "rollout_started": ("rollout began", "good"),
    "rollout_paused": ("rollout paused", "person"),
    "rollout_resumed": ("rollout went on", "good"),
    "rollout_ended": ("rollout ended", "quiet"),
}
"""Rows of the ledger: in words, and how they look."""
ENDED: Final = frozenset({"succeeded", "failed", "rejected", "expired", "stopped"})
_REFUSED: Final = frozenset({"result_refused", "rollout_refused"})
_TOLD: Final = ENDED | _REFUSED | {"intended", "held", "stuck", "approved", "resulted"}
"""What a model's story tells of an action."""
_SELF: Final = "observer"
_KINDS: Final = {"set_weights": "share", "rollback": "roll-back", "promote": "promotion"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened.

    Attributes
    ----------
    at : float
        Milliseconds since the epoch.
    number : int
        Of the ledger's row: what comes after what at the same time.
    look : str
        `good`, `bad`, `person`, `version`, `page`, `ticket` or `quiet`.
    path, query : str, mapping
        Where it leads; nowhere where the path is empty.
    data : str
        JSON to unfold.
    """

    at: float
    look: str
    what: str
    number: int = 0
    detail: str = ""
    who: str = ""
    path: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    data: str = ""


def kind(name: str) -> str:
    """Of an action, as people say it."""
    return _KINDS.get(name, name.replace("_", " "))


def person(actor: str) -> str:
    """Who acted, and how they spoke."""
    way, _, name = actor.partition(":")
    if actor == _SELF:
        return "the service"
    ways = {"token": f"{name}, by token", "silence": f"{name}, by a silence", "rule": f"the rule {name}"}
    return ways.get(way, actor)


def of_action(action: Mapping[str, Any]) -> list[Entry]:
    """Every row of the ledger about an action, in order."""
    return [_row(row, _word(row)) for row in action["rows"]]


def of_rollout(actions: Iterable[Mapping[str, Any]], notes: Iterable[Mapping[str, Any]] = ()) -> list[Entry]:
    """Every row about a rollout and its steps, in order; those that needed nobody's word without that."""
    rows = ((row, action) for action in actions for row in action["rows"])
    steps = [
        _row(row, f"{_step(action)}: {_word(row)}", action)
        for row, action in rows
        if not (row["event"] == "approved" and row["actor"] == _SELF and action["approval"] == "automatic")
    ]
    return sorted([*steps, *(_row(row, _word(row)) for row in notes)], key=lambda one: one.number)


def of_model(
    findings: Iterable[tuple[str, Finding]],
    actions: Iterable[Mapping[str, Any]],
    notes: Iterable[Mapping[str, Any]],
    began: Mapping[str, int],
    most: int,
) -> list[Entry]:
    """Findings that called somebody, decisions and what became of them, new versions: the newest first."""
    told = [
        Entry(one.end, one.tier, f"{one.tier.title()}: {about(one)}", path="/finding", query={"id": identity})
        for identity, one in findings
    ]
    if len(began) > 1 or any(began):
        told += [Entry(start, "version", f"Version {name} is seen first") for name, start in began.items()]
    for action in actions:
        for row in action["rows"]:
            by_itself = row["actor"] == _SELF and action["approval"] == "automatic"
            if row["event"] in _TOLD and not (by_itself and row["event"] in ("intended", "approved")):
                told.append(_row(row, f"{_step(action)}: {_word(row)}", action))
    told += [_row(row, _word(row)) for row in notes]
    return sorted(told, key=lambda one: (-one.at, -one.number))[:most]


def _word(row: Mapping[str, Any]) -> str:
    word, _ = EVENTS.get(row["event"], (row["event"], ""))
    return f"{word}, attempt {row['data']['attempt']}" if row["event"] == "attempted" else word


def _step(action: Mapping[str, Any]) -> str:
    share = action["order"]["parameters"].get("share")
    if action["action"] == "shadow":
        return f"shadow of {digits(float(action['order']['parameters']['shadow']))} %"
    if action["action"] in _KINDS and share is not None:
        return f"{kind(action['action'])} to {digits(float(share))} %"
    return kind(action["action"])


def _row(row: Mapping[str, Any], what: str, action: Mapping[str, Any] | None = None) -> Entry:
    _, look = EVENTS.get(row["event"], ("", "quiet"))
    data = dict(row["data"])
    if row["event"] == "intended":
        detail = str(data.get("order", {}).get("why", {}).get("detail", ""))
    else:
        detail = str(data.pop("detail", ""))
    there = {"path": "/action", "query": {"id": row["action"]}} if action is not None else {}
    shown = pretty(data) if action is None and data else ""
    said = what[:1].upper() + what[1:]
    at, number = row["at"] * 1000, row["number"]
    return Entry(at, look, said, number, detail, person(row["actor"]), data=shown, **there)  # type: ignore[arg-type]


def pretty(value: object) -> str:
    """JSON for people."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, default=str)


def earlier(actions: Sequence[Mapping[str, Any]], latest: Iterable[str]) -> list[dict[str, Any]]:
    """Rollouts that only the ledger still knows, newest first: id, model, when, how the last step ended.

    Parameters
    ----------
    actions : sequence
        All, newest first.
    latest : iterable
        Ids of those rollouts that are known whole.
    """
    known, found = set(latest), dict[str, dict[str, Any]]()
    for action in actions:
        name = action["rollout"]
        if name and name not in known:
            one = found.setdefault(name, {"id": name, "model": action["model"], "last": action, "steps": 0})
            one["started"] = action["created"]
            one["steps"] += 1
    return list(found.values())
