"""What a retraining made: the version that it names, held to what a version may look like."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+:@-]{0,127}")
_LONGEST: Final = 50_000
"""Characters of a result as JSON."""
ACCEPTED: Final = (
    "up to 128 letters, digits and . _ + : @ -, the first a letter or digit, as text or a whole number"
)


def version_of(value: object) -> str:
    """The version that a value names; raises `ValueError`, in words, when it can be none."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not _VERSION.fullmatch(text):
        raise ValueError(f"version {value!r:.60} was refused; accepted: {ACCEPTED}")
    return text


def only(found: Sequence[object], where: str) -> Mapping[str, Any]:
    """A result with the version that outputs of a run agree on, and why there is none when they do not."""
    distinct = [value for number, value in enumerate(found) if value not in found[:number]]
    if len(distinct) > 1:
        return {"refused": f"{len(distinct)} versions are named by {where}; `version_task` says which counts"}
    return {"version": distinct[0]} if distinct else {}


def checked(result: Mapping[str, Any], known: str) -> tuple[dict[str, Any], str]:
    """A target's result with a version only if that can be one; and why one was not taken, "" if none was.

    `known` is the version that was told before: it stays.
    """
    rest = {name: value for name, value in result.items() if name not in ("version", "refused")}
    if "version" not in result:
        return rest, str(result.get("refused", ""))[:300]
    try:
        version = version_of(result["version"])
    except ValueError as error:
        return rest, str(error)
    if known not in ("", version):
        return rest, f"version {version} was refused: {known} was named before"
    return {**rest, "version": version}, ""


def storable(result: Mapping[str, object]) -> object:
    """A target's result as JSON that the ledger can hold: numbers that are none become null."""
    text = json.dumps(result, default=str)[:_LONGEST]
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except ValueError:
        return {"cut": text[:1_000], **({"version": result["version"]} if "version" in result else {})}
