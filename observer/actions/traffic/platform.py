"""What all platforms share: objects as Kubernetes gives them, and rules about the challenger's share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias

from observer.errors import Permanent

Object: TypeAlias = Mapping[str, Any]
"""A Kubernetes object as JSON."""
Patch: TypeAlias = dict[str, Any]
"""A merge patch (RFC 7386): a list in it replaces the whole list."""


class Resource(NamedTuple):
    """A kind of object."""

    group: str
    version: str
    kind: str
    plural: str


class Platform(Protocol):
    """One way of dividing traffic. Pure: objects in, patches out; shares are percent of the challenger.

    A shadow is a copy of requests that the challenger answers too, and nobody is given its answer; it is
    percent of the requests. Every method raises `Permanent`, in words for people, for an object that is not
    as it must be, and where the platform cannot do what is asked.
    """

    can_shadow: ClassVar[bool]
    """Whether the platform can copy requests."""

    @property
    def resource(self) -> Resource:
        """The kind of object."""

    def share(self, thing: Object) -> float:
        """What the object asks for."""

    def shadow(self, thing: Object) -> float:
        """Of how many requests, percent, the object asks for a copy to the challenger."""

    def served(self, thing: Object) -> float | None:
        """The share that the platform says it serves; None while it, or the shadow, has not settled."""

    def problems(self, thing: Object, share: float, shadow: float = 0.0) -> list[str]:
        """What the vendor's own webhook, or good sense, would refuse; a line each."""

    def patch(self, thing: Object, share: float, shadow: float | None = None) -> Patch:
        """The change that makes the object ask for both; nothing else of it changes.

        `shadow` None leaves that as it is.
        """

    def promote(self, thing: Object, shadow: float | None = None) -> Patch:
        """As `patch` to 100, the way the vendor makes a challenger the new champion."""

    def why(self, thing: Object) -> str:
        """What the platform says of itself while it has not settled."""


def change(old: Mapping[str, Any], new: Mapping[str, Any]) -> Patch:
    """The merge patch that makes one of the other: what is gone becomes null."""
    patch: Patch = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            inner = change(before, value)
            if inner:
                patch[key] = inner
        elif key not in old or value != before:
            patch[key] = value
    return patch


def condition(thing: Object, kind: str) -> str | None:
    """Status of a condition, `True`, `False` or `Unknown`; None without it."""
    for one in thing.get("status", {}).get("conditions") or ():
        if one.get("type") == kind:
            return str(one.get("status"))
    return None


def observed(thing: Object) -> bool:
    """Whether the status is about the object as it is now."""
    seen = thing.get("status", {}).get("observedGeneration")
    return seen is None or seen >= thing.get("metadata", {}).get("generation", 0)


def complaints(thing: Object) -> str:
    """The conditions that are not true, in a line."""
    wrong = [
        f"{one.get('type')}: {one.get('message') or one.get('reason') or one.get('status')}"
        for one in thing.get("status", {}).get("conditions") or ()
        if one.get("status") != "True"
    ]
    return "; ".join(wrong)[:500] or ("its status is not up to date" if not observed(thing) else "")


def whole(share: float) -> int:
    """The share as platforms take it; raises `Permanent` for a fraction of a percent, or outside 0..100."""
    if not 0 <= share <= 100 or share != int(share):
        raise Permanent(f"a share of {share:g}%; accepted: a whole number of percent, 0 to 100")
    return int(share)


def no_copies(shadow: float | None, kind: str) -> None:
    """Raise `Permanent` when a shadow is asked of a platform that has none."""
    if shadow:
        raise Permanent(f"{kind} cannot copy requests to a challenger; accepted: a rollout without `shadow`")


def entry(
    entries: Sequence[Mapping[str, Any]], name: str, where: str, key: str = "name"
) -> Mapping[str, Any]:
    """The entry of this name; raises `Permanent` naming those that are there."""
    found = [one for one in entries if one.get(key) == name]
    if len(found) != 1:
        there = ", ".join(str(one.get(key)) for one in entries) or "none"
        raise Permanent(f"{where}: {name!r} is there {len(found)} times; there are: {there}")
    return found[0]


def weighted(
    entries: Sequence[Mapping[str, Any]], weights: Mapping[str, int], key: str = "name", field: str = "weight"
) -> list[dict[str, Any]]:
    """The whole list again, in its order, with some weights changed."""
    return [
        {**one, **({field: weights[str(one.get(key))]} if str(one.get(key)) in weights else {})}
        for one in entries
    ]
