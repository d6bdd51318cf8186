"""The target that divides traffic between champion and challenger by an object of a platform."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

from observer.actions.base import Foreign, Order, Progress
from observer.actions.traffic.platform import Object, Patch, Platform
from observer.errors import Permanent, Retryable

log = logging.getLogger(__name__)

CONFLICTS: Final = 5
"""Patches of one order that may meet another writer before it is put off."""


class Conflict(Retryable):
    """Somebody else changed the object since it was read."""


class Division(NamedTuple):
    """How requests are divided, percent.

    Attributes
    ----------
    share, shadow : float
        What the object asks that the challenger be given, and be given copies of.
    served : float or None
        The share that the platform serves; None while it has not settled.
    """

    share: float
    shadow: float = 0.0
    served: float | None = None


class Objects(Protocol):
    """One object of a cluster."""

    name: str

    def read(self) -> Object:
        """As it is now; raises `Permanent` when it is not there or access is refused."""

    def patch(self, change: Patch, *, dry: bool = False) -> Object:
        """Apply a merge patch; raises `Conflict` when its resourceVersion is not the object's.

        `dry` changes nothing: the object as it would be.
        """

    def refused(self) -> list[str]:
        """Verbs that the service would need and does not have, a line each."""


class TrafficTarget:
    """Gives the challenger a share of the traffic, and reads back whether it has it.

    An order's parameters are `share`, percent, `before`, the share that the decision was made under, and in
    rollouts that have one `shadow`, percent of the requests that the challenger gets a copy of. What
    an object asks for that is neither was set by somebody else, and is not fought over.

    Parameters
    ----------
    witness : platform and object, optional
        What really divides the traffic, where the platform writes it for itself: only read.
    """

    can_be_asked = True
    deduplicates = True

    def __init__(
        self, platform: Platform, thing: Objects, witness: tuple[Platform, Objects] | None = None
    ) -> None:
        self._platform = platform
        self._thing = thing
        self._witness = witness

    def read(self) -> Division:
        """As it is now."""
        thing = self._thing.read()
        return Division(self._platform.share(thing), self._platform.shadow(thing), self._served(thing))

    def _served(self, thing: Object) -> float | None:
        """What the platform says; with a witness only where that says the same."""
        served = self._platform.served(thing)
        if self._witness is None or served is None:
            return served
        platform, other = self._witness
        seen = platform.served(other.read())
        return served if seen is not None and abs(seen - served) < 0.5 else None

    def send(self, order: Order) -> str:
        """Patch the object; nothing where it asks for the share already."""
        for _ in range(CONFLICTS):
            thing = self._thing.read()
            if self._done(thing, order):
                return f"{self._thing.name}@{thing['metadata'].get('resourceVersion', '')}"
            self._own(thing, order)
            share, shadow = _wanted(order)
            problems = self._platform.problems(thing, share, shadow or 0.0)
            if problems:
                raise Permanent(f"{self._thing.name}: " + "; ".join(problems))
            try:
                if shadow:
                    self._try_copies(thing, share, shadow)
                if order.kind == "promote":
                    change = self._platform.promote(thing, shadow)
                else:
                    change = self._platform.patch(thing, share, shadow)
                patched = self._thing.patch(_of(thing, change))
            except Conflict as error:
                log.info("%s; reading it again", error)
                continue
            return f"{self._thing.name}@{patched['metadata'].get('resourceVersion', '')}"
        raise Retryable(f"{self._thing.name}: others kept changing it, {CONFLICTS} times")

    def find(self, order: Order) -> str | None:
        """Whether the object asks for the share."""
        thing = self._thing.read()
        if self._done(thing, order):
            return f"{self._thing.name}@{thing['metadata'].get('resourceVersion', '')}"
        self._own(thing, order)
        return None

    def progress(self, order: Order, reference: str) -> Progress:
        """What the platform's status says; `foreign` once the object asks for another share."""
        del reference
        wanted, shadow = _wanted(order)
        thing = self._thing.read()
        if not self._done(thing, order):
            return Progress("foreign", self._foreign(thing, wanted, shadow))
        served = self._served(thing)
        if served is not None and abs(served - wanted) < 0.5:
            copied = {} if shadow is None else {"shadow": shadow}
            detail = f"{wanted:g}% served" + (f", {shadow:g}% copied" if shadow else "")
            return Progress("succeeded", detail, {"share": served, **copied})
        said = "not settled" if served is None else f"{served:g}% served"
        why = self._platform.why(thing)
        return Progress("running", f"{said}, {wanted:g}% wanted" + (f": {why}" if why else ""))

    def stop(self, order: Order, reference: str) -> None:
        """A patch cannot be taken back by itself; roll back instead."""
        del reference
        raise Permanent(f"{order.kind} is done already; roll back instead")

    def check(self, shadow: float = 0.0) -> list[str]:
        """Ask whether the service may read and patch the object, and whether that is as it must be.

        `shadow` is percent of the requests that a rollout would copy.
        """
        try:
            missing = self._thing.refused()
            if missing:
                return missing
            thing = self._thing.read()
            problems = self._platform.problems(thing, self._platform.share(thing), shadow)
            if shadow and not problems:
                self._try_copies(thing, 0.0, shadow)
            if self._witness is not None:
                self._witness[0].share(self._witness[1].read())
        except (Permanent, Retryable) as error:
            return [str(error)]
        return [f"{self._thing.name}: {problem}" for problem in problems]

    def _try_copies(self, thing: Object, share: float, shadow: float) -> None:
        """Raise `Permanent` when the object would not keep the number: older definitions drop it."""
        would = self._platform.shadow(
            self._thing.patch(_of(thing, self._platform.patch(thing, share, shadow)), dry=True)
        )
        if abs(would - shadow) > 1e-6:
            kept = f"the API server would make {would:g}% of a shadow of {shadow:g}%: its definition is older"
            raise Permanent(f"{self._thing.name}: {kept}; accepted: 100")

    def _done(self, thing: Object, order: Order) -> bool:
        """Whether the object asks for what the order wants."""
        share, shadow = _wanted(order)
        copied = shadow is None or abs(self._platform.shadow(thing) - shadow) < 1e-6
        return self._same(thing, share) and copied

    def _same(self, thing: Object, share: float) -> bool:
        return abs(self._platform.share(thing) - share) < 1e-6

    def _own(self, thing: Object, order: Order) -> None:
        """Raise `Foreign` when the object asks for a share that is not the one decided under."""
        before = order.parameters.get("before")
        if before is not None and not self._same(thing, float(before)):
            raise Foreign(self._foreign(thing, float(before)))

    def _foreign(self, thing: Object, share: float, shadow: float | None = None) -> str:
        asks, was = f"{self._platform.share(thing):g}%", f"{share:g}%"
        if shadow is not None and self._same(thing, share):
            asks, was = f"copies of {self._platform.shadow(thing):g}%", f"{shadow:g}%"
        by = last_writer(thing)
        return f"{self._thing.name} asks for {asks} where {was} was set{by}: somebody else changed it"


def _wanted(order: Order) -> tuple[float, float | None]:
    """Share and shadow that an order sets; a shadow of None is left as it is."""
    given: Mapping[str, Any] = order.parameters
    return float(given["share"]), None if given.get("shadow") is None else float(given["shadow"])


def _of(thing: Object, change: Patch) -> Patch:
    """The change, of the object as it was read only."""
    return {**change, "metadata": {"resourceVersion": thing["metadata"].get("resourceVersion")}}


def last_writer(thing: Object) -> str:
    """`, last changed by argocd`: the manager of the newest entry, where the object names one."""
    fields = thing.get("metadata", {}).get("managedFields") or ()
    entries = [one for one in fields if one.get("subresource") != "status"]
    newest = max(entries, key=lambda one: str(one.get("time", "")), default=None)
    return f", last changed by {newest['manager']}" if newest and newest.get("manager") else ""
