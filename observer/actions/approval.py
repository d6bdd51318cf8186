"""What a silence in Alertmanager says of an action.

A waiting or running action is an alert; who silences it has seen it. The comment says the rest:
`approve ...`, `reject ...`; anything else puts a waiting action on hold for as long as the silence lasts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from observer.actions.base import Verb
from observer.actions.engine import ActionEngine
from observer.actions.ledger import Action
from observer.errors import ConfigError

LABEL: Final = "action_id"
_VERBS: Final[Mapping[str, Verb]] = {
    "approve": "approve",
    "approved": "approve",
    "reject": "reject",
    "rejected": "reject",
}
REASONS: Final = (
    "taken",
    "too_broad",  # it does not name this action: one that mutes a whole model approves nothing
    "not_allowed",  # policy wants a token for this
)


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a silence wants, and whether it may.

    Attributes
    ----------
    silence : str
        Its id.
    verb : str
        What it asks for.
    reason : str
        `taken`, or why it is not followed; one that may not approve still holds.
    actor : str
        Author as the silence says, whom Alertmanager does not verify.
    """

    action: str
    silence: str
    verb: Verb
    reason: Literal["taken", "too_broad", "not_allowed"]
    actor: str
    comment: str
    started: str


def verb_of(comment: str) -> Verb:
    """The comment's first word, in any case and with any punctuation after it; `hold` for all others."""
    words = comment.split()
    first = words[0].strip(".:,;!-").lower() if words else ""
    return (
        "approve"
        if first in ("approve", "approved")
        else "reject"
        if first in ("reject", "rejected")
        else "hold"
    )


def rulings(silences: Iterable[Mapping[str, Any]], open_actions: Iterable[Action]) -> list[Ruling]:
    """What the active silences say of open actions, those that began first first.

    Of an action that several speak of a rejection counts most, then an approval, then a hold: whoever wants
    it stopped need not be faster than the others.
    """
    said: list[Ruling] = []
    by_id = {action.id: action for action in open_actions}
    for silence in silences:
        if silence.get("status", {}).get("state") != "active":
            continue
        matchers = silence.get("matchers") or []
        named = next((m for m in matchers if m.get("name") == LABEL), None)
        if named is None or named.get("isRegex") or not named.get("isEqual", True):
            # It may mute the alert, but was not written for this action.
            meant = (each for each in by_id.values() if named and _matches(matchers, each))
            said += [_ruling(each, silence, "too_broad") for each in meant]
            continue
        action = by_id.get(str(named.get("value")))
        if action is not None and _matches(matchers, action):
            wants = verb_of(str(silence.get("comment", "")))
            allowed = wants != "approve" or action.order.approval.by_silence
            said.append(_ruling(action, silence, "taken" if allowed else "not_allowed"))
    weight = {"reject": 0, "approve": 1, "hold": 2}
    return sorted(said, key=lambda one: (weight[one.verb], one.started, one.silence))


def _matches(matchers: Iterable[Mapping[str, Any]], action: Action) -> bool:
    """Whether they match the labels of the action's alert that never change; others are not looked at."""
    labels = {LABEL: action.id, "model": action.order.model, "action": action.order.kind}
    return all(_fits(one, labels[one["name"]]) for one in matchers if one.get("name") in labels)


def _fits(matcher: Mapping[str, Any], value: str) -> bool:
    pattern = str(matcher.get("value", ""))
    try:
        found = re.fullmatch(pattern if matcher.get("isRegex") else re.escape(pattern), value) is not None
    except re.error:  # Alertmanager's syntax knows more than ours
        return False
    return found == bool(matcher.get("isEqual", True))


def follow(engine: ActionEngine, said: Iterable[Ruling], now: float) -> None:
    """Do what silences ask, each once; what they may not ask is noted in the ledger.

    `said` must be all that is active now: an action on hold whose silences are over is released.
    """
    holding: set[str] = set()
    for ruling in said:
        action = engine.ledger.actions.get(ruling.action)
        if action is None or action.final:
            continue
        if ruling.reason == "too_broad":
            _note(engine, action, ruling, "it does not name this action alone, so it decides nothing", now)
            continue
        holding.add(action.id)
        verb: Verb = ruling.verb
        if ruling.reason == "not_allowed":
            _note(engine, action, ruling, "this needs a token: the page or `observer actions approve`", now)
            verb = "hold"
        if _heard(action, ruling, verb):
            continue
        if verb == "reject" or action.state == "waiting" or (verb == "approve" and action.state == "held"):
            try:
                engine.rule(action.id, verb, ruling.actor, ruling.comment, now, {"silence": ruling.silence})
            except ConfigError as error:  # of a rejection written down already
                if verb == "approve" and not action.final:
                    _note(engine, action, ruling, str(error), now)
    for action in engine.ledger.open:
        held = [row for row in action.rows if row.event == "held"]
        if action.state == "held" and action.id not in holding and held[-1].data.get("silence"):
            engine.release(action.id, held[-1].actor, now)


def _heard(action: Action, ruling: Ruling, verb: Verb) -> bool:
    """Whether the ledger has it that this silence said this."""
    events = {"approve": ("approved",), "reject": ("rejected", "stopped", "stop_refused"), "hold": ()}[verb]
    return any(row.data.get("silence") == ruling.silence and row.event in events for row in action.rows)


def _note(engine: ActionEngine, action: Action, ruling: Ruling, why: str, now: float) -> None:
    noted = (row.event == "commented" and row.data.get("silence") == ruling.silence for row in action.rows)
    if not any(noted):
        said = {"silence": ruling.silence, "reason": ruling.reason, "detail": f"{ruling.comment!r}: {why}"}
        engine.note(action.id, ruling.actor, said, now)


def _ruling(
    action: Action, silence: Mapping[str, Any], reason: Literal["taken", "too_broad", "not_allowed"]
) -> Ruling:
    comment = str(silence.get("comment", ""))[:500]
    author = str(silence.get("createdBy", ""))[:100] or "unknown"
    return Ruling(
        action.id,
        str(silence.get("id", "")),
        verb_of(comment),
        reason,
        f"silence:{author}",
        comment,
        str(silence.get("startsAt", "")),
    )
