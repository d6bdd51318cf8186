"""Says what is wrong with a configuration the way a person would: where, what, and what is accepted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from observer.config.document import Document, Place
from observer.config.keys import Key, children, find, places, variants

_CHOICE = re.compile(r"'([^']*)'")
_OWN = {"value_error", "assertion_error"}
_ACCEPTED = {
    ("predictions",): "where predictions come from, as in {type: kafka, brokers: 'host:9092', topic: name}",
}


def explain(found: Sequence[Any], document: Document, settled: dict[str, Any]) -> Iterator[tuple[Place, str]]:
    """Place and message of each error of pydantic's; those of one value become one.

    Parameters
    ----------
    found : sequence
        `ValidationError.errors()`.
    settled : dict
        What was validated: `document.data`, models over the defaults.
    """
    told: set[tuple[Place, str]] = set()
    for problem in found:
        place, value = _place(problem, settled)
        if _is_derived(problem, place) or any(place[: len(one)] == one for one in document.unresolved):
            continue
        if place[0:1] == ("models",) and not _is_at(place[:-1] if _of_key(problem) else place, document.data):
            place = ("defaults", *place[2:])  # said there, and merged into the model
        variant = _variant(place[:-1], document.data)
        for message in _messages(problem, place, value, variant, document):
            if (place, message) not in told:
                told.add((place, message))
                yield place, message


def _is_derived(problem: Any, place: Place) -> bool:
    """Whether it is about a default made of a value that is wrong, which is told of that value."""
    last = str(problem["loc"][-1]) if problem["loc"] else ""
    return place[-1:] != (last,) and problem["type"] != "missing" and find((*place, last)) is not None


def _of_key(problem: Any) -> bool:
    return bool(problem["type"] == "missing" or problem["loc"][-1:] == ("[key]",))


def _place(problem: Any, settled: dict[str, Any]) -> tuple[Place, Any]:
    """The keys of the file among pydantic's steps, which also name members of unions."""
    place: list[str] = []
    value: Any = settled
    for number, step in enumerate(problem["loc"]):
        if (isinstance(value, dict) and step in value) or (isinstance(value, list) and isinstance(step, int)):
            value = value[step]
            place.append(str(step))
        elif problem["type"] == "missing" and number == len(problem["loc"]) - 1:
            place.append(str(step))
    return tuple(place), value


def _is_at(place: Place, data: object) -> bool:
    """Whether the file itself has a value there."""
    for number, step in enumerate(place):
        if isinstance(data, dict) and step in data:
            data = data[step]
        elif isinstance(data, list) and step.isdigit() and int(step) < len(data):
            data = data[int(step)]
        else:  # a model in a list of names has nothing below
            return isinstance(data, list) and step in data and number == len(place) - 1
    return True


def _variant(place: Place, data: Any) -> str:
    """The `type` that is given in the mapping at a place."""
    for step in place:
        data = data.get(step) if isinstance(data, dict) else None
    kind = data.get("type") if isinstance(data, dict) else None
    return kind if isinstance(kind, str) else ""


def _messages(problem: Any, place: Place, value: Any, variant: str, document: Document) -> Iterator[str]:
    kind = problem["type"]
    key = _nearest(place, variant)
    if kind in _OWN:
        written = document.written.get(place)
        for line in problem["msg"].removeprefix("Value error, ").splitlines():
            yield line.replace(repr(value), repr(written)) if written is not None else line
    elif problem["loc"][-1:] == ("[key]",):
        yield "is no name; accepted: 1 to 200 characters"
    elif kind == "missing":
        meaning = f" ({key.meaning.rstrip('.')})" if key and key.meaning and place not in _ACCEPTED else ""
        yield f"is missing; accepted: {_accepted(place, key)}{meaning}".replace("`", "")
    elif kind == "extra_forbidden":
        yield f"unknown key; {_instead(place, variant)}"
    elif kind == "union_tag_not_found":
        yield f"type is missing; accepted: {', '.join(variants(place))}"
    elif kind == "union_tag_invalid":
        tag, at, said = value, place, ""
        if isinstance(value, dict):
            tag, at, said = value.get("type"), (*place, "type"), "type "
        written = document.written.get(at)
        yield _refusal(said + (_shown(tag) if written is None else repr(written)), tag, variants(place))
    elif kind == "literal_error":
        yield _refusal(_show(place, value, key, document), value, _CHOICE.findall(problem["ctx"]["expected"]))
    else:
        refused = "is empty" if value is None else f"{_show(place, value, key, document)} is not accepted"
        yield f"{refused}; accepted: {_accepted(place, key)}{_quotes(kind, value)}"


def _nearest(place: Place, variant: str) -> Key | None:
    key = find(place, variant)
    while key is None and place:
        place = place[:-1]
        key = find(place, variant)
    return key


def _accepted(place: Place, key: Key | None) -> str:
    if place in _ACCEPTED:
        return _ACCEPTED[place]
    below = children(place)
    told = "a mapping"
    if key is not None:
        told = (key.accepted if len(place) == len(key.path) else key.accepted_inside).replace("`", "")
    return f"{told} with {', '.join(below)}" if below and told.endswith("mapping") else told


def _instead(place: Place, variant: str) -> str:
    name, around = place[-1], place[:-1]
    here = children(around, variant)
    close = get_close_matches(name, here, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    elsewhere = [] if close else places(name)
    if other := find(place):
        hint = f"it is a key of type {other.variant}; "
    elif elsewhere:
        hint = f"it belongs into {' or '.join(elsewhere[:3])}; "
    return f"{hint}accepted here: {', '.join(here) or 'nothing'}"


def _refusal(shown: str, given: object, choices: Sequence[str]) -> str:
    close = get_close_matches(given, choices, n=1) if isinstance(given, str) else []
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"{shown} is not accepted; accepted: {', '.join(choices)}{hint}"


def _quotes(kind: str, value: object) -> str:
    if kind == "string_type" and isinstance(value, int | float):
        return f'; put it in quotes: "{_shown(value)}"'
    return ""


def _show(place: Place, value: object, key: Key | None, document: Document) -> str:
    """The value as the file has it; never one that may be a secret."""
    if place in document.written:
        return repr(document.written[place])
    if isinstance(value, str | int | float) and (key is None or key.is_secret):
        return "this value"
    return _shown(value)


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    text = repr(value)
    text = text if len(text) <= 80 else f"{text[:77]}..."
    return re.sub(r"://[^/@\s]+@", "://***@", text)
