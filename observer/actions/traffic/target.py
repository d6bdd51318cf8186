"""The target that divides traffic between champion and challenger by an object of a platform."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Protocol

from observer.actions.base import Foreign, Order, Progress
from observer.actions.traffic.platform import Object, Patch, Platform
from observer.errors import Permanent, Retryable

log = logging.getLogger(__name__)

CONFLICTS: Final = 5
"""Patches of one order that may meet another writer before it is put off."""


class Conflict(Retryable):
    """Somebody else changed the object since it was read."""


class Objects(Protocol):
    """One object of a cluster."""

    name: str

    def read(self) -> Object:
        """As it is now; raises `Permanent` when it is not there or access is refused."""

    def patch(self, change: Patch) -> Object:
        """Apply a merge patch; raises `Conflict` when its resourceVersion is not the object's."""

    def refused(self) -> list[str]:
        """Verbs that the service would need and does not have, a line each."""


class TrafficTarget:
    """Gives the challenger a share of the traffic, and reads back whether it has it.

    An order's parameters are `share`, percent, and `before`, the share that the decision was made under. What
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

    def read(self) -> tuple[float, float | None]:
        """The share that the object asks for, and that which the platform serves; None: not settled."""
        thing = self._thing.read()
        return self._platform.share(thing), self._served(thing)

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
        wanted = float(order.parameters["share"])
        for _ in range(CONFLICTS):
            thing = self._thing.read()
            if self._same(thing, wanted):
                return f"{self._thing.name}@{thing['metadata'].get('resourceVersion', '')}"
            self._own(thing, order)
            problems = self._platform.problems(thing, wanted)
            if problems:
                raise Permanent(f"{self._thing.name}: " + "; ".join(problems))
            version = thing["metadata"].get("resourceVersion")
            made = self._platform.promote if order.kind == "promote" else self._to(wanted)
            change = {**made(thing), "metadata": {"resourceVersion": version}}
            try:
                patched = self._thing.patch(change)
            except Conflict as error:
                log.info("%s; reading it again", error)
                continue
            return f"{self._thing.name}@{patched['metadata'].get('resourceVersion', '')}"
        raise Retryable(f"{self._thing.name}: others kept changing it, {CONFLICTS} times")

    def find(self, order: Order) -> str | None:
        """Whether the object asks for the share."""
        thing = self._thing.read()
        if self._same(thing, float(order.parameters["share"])):
            return f"{self._thing.name}@{thing['metadata'].get('resourceVersion', '')}"
        self._own(thing, order)
        return None

    def progress(self, order: Order, reference: str) -> Progress:
        """What the platform's status says; `foreign` once the object asks for another share."""
        del reference
        wanted = float(order.parameters["share"])
        thing = self._thing.read()
        if not self._same(thing, wanted):
            return Progress("foreign", self._foreign(thing, wanted))
        served = self._served(thing)
        if served is not None and abs(served - wanted) < 0.5:
            return Progress("succeeded", f"{wanted:g}% served", {"share": served})
        said = "not settled" if served is None else f"{served:g}% served"
        why = self._platform.why(thing)
        return Progress("running", f"{said}, {wanted:g}% wanted" + (f": {why}" if why else ""))

    def stop(self, order: Order, reference: str) -> None:
        """A patch cannot be taken back by itself; roll back instead."""
        del reference
        raise Permanent(f"{order.kind} is done already; roll back instead")

    def check(self) -> list[str]:
        """Ask whether the service may read and patch the object, and whether that is as it must be."""
        try:
            missing = self._thing.refused()
            if missing:
                return missing
            thing = self._thing.read()
            problems = self._platform.problems(thing, self._platform.share(thing))
            if self._witness is not None:
                self._witness[0].share(self._witness[1].read())
        except (Permanent, Retryable) as error:
            return [str(error)]
        return [f"{self._thing.name}: {problem}" for problem in problems]

    def _to(self, share: float) -> Callable[[Object], Patch]:
        return lambda thing: self._platform.patch(thing, share)

    def _same(self, thing: Object, share: float) -> bool:
        return abs(self._platform.share(thing) - share) < 1e-6

    def _own(self, thing: Object, order: Order) -> None:
        """Raise `Foreign` when the object asks for a share that is not the one decided under."""
        before = order.parameters.get("before")
        if before is not None and not self._same(thing, float(before)):
            raise Foreign(self._foreign(thing, float(before)))

    def _foreign(self, thing: Object, expected: float) -> str:
        asks = self._platform.share(thing)
        by = last_writer(thing)
        return (
            f"{self._thing.name} asks for {asks:g}% where {expected:g}% was set{by}: somebody else changed it"
        )


def last_writer(thing: Object) -> str:
    """`, last changed by argocd`: the manager of the newest entry, where the object names one."""
    fields = thing.get("metadata", {}).get("managedFields") or ()
    entries = [one for one in fields if one.get("subresource") != "status"]
    newest = max(entries, key=lambda one: str(one.get("time", "")), default=None)
    return f", last changed by {newest['manager']}" if newest and newest.get("manager") else ""
