"""Platforms that keep a list of weights, one entry an arm: graphs, predictors, candidates, backends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from observer.actions.traffic.platform import (
    Object,
    Patch,
    Resource,
    complaints,
    condition,
    entry,
    no_copies,
    observed,
    weighted,
    whole,
)
from observer.errors import Permanent

Entries = Sequence[Mapping[str, Any]]
_BACKEND: Final = ("group", "kind", "name", "namespace", "port")
"""What names a backend of a route."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two entries of a list, by name; a third would keep traffic that no share accounts for."""

    champion: str
    challenger: str
    name_key: ClassVar[str] = "name"
    weight_key: ClassVar[str] = "weight"
    usual: ClassVar[int] = 0
    """Weight of an entry that names none."""
    to_100: ClassVar[bool] = False
    """Whether the vendor's webhook wants the weights to sum to 100; else they count in proportion."""
    can_shadow: ClassVar[bool] = True

    def _where(self) -> str:
        raise NotImplementedError

    def _entries(self, thing: Object) -> Entries:
        raise NotImplementedError

    def _ready(self, thing: Object) -> bool:
        raise NotImplementedError

    def _changed(self, thing: Object, entries: list[dict[str, Any]], shadow: int | None) -> Patch:
        """The list with these entries, and as many copies; None: as many as there are."""
        raise NotImplementedError

    def _taken(self, thing: Object) -> str:
        """Why there can be no shadow, if somebody else's is in the only place; "" where there can."""
        del thing
        return ""

    def shadow(self, thing: Object) -> float:
        """What the object asks for."""
        raise NotImplementedError

    def _weight(self, one: Mapping[str, Any]) -> int:
        return int(one.get(self.weight_key, self.usual) or 0)

    def share(self, thing: Object) -> float:
        """What the object asks for."""
        entries = self._entries(thing)
        one, other = (
            self._weight(entry(entries, name, self._where(), self.name_key))
            for name in (self.challenger, self.champion)
        )
        if one + other <= 0:
            where = self._where()
            raise Permanent(f"{where}: {self.weight_key}s of {one} and {other}; accepted: one above 0")
        return float(100 * one / (one + other))

    def served(self, thing: Object) -> float | None:
        """The same once the platform says that it is ready, of the object as it is now."""
        return self.share(thing) if self._ready(thing) else None

    def problems(self, thing: Object, share: float, shadow: float = 0.0) -> list[str]:
        """The rules of the vendor's webhook, and that there is no third arm."""
        self.share(thing)
        whole(share)
        entries, where = self._entries(thing), self._where()
        found = []
        if whole(shadow):
            found += [taken] if (taken := self._taken(thing)) else []
        if len(entries) != 2:
            found.append(f"{where}: {len(entries)} entries; accepted: champion and challenger")
        total = sum(self._weight(one) for one in entries)
        if self.to_100 and total != 100:
            found.append(f"{where}: {self.weight_key} sums to {total}; accepted: 100")
        return found

    def patch(self, thing: Object, share: float, shadow: float | None = None) -> Patch:
        """The whole list again with other weights."""
        percent = whole(share)
        weights = {self.challenger: percent, self.champion: 100 - percent}
        changed = weighted(self._entries(thing), weights, self.name_key, self.weight_key)
        return self._changed(thing, changed, None if shadow is None else whole(shadow))

    def promote(self, thing: Object, shadow: float | None = None) -> Patch:
        """The whole traffic."""
        return self.patch(thing, 100, shadow)

    def why(self, thing: Object) -> str:
        """The conditions that are not true."""
        return complaints(thing)


@dataclass(frozen=True, slots=True)
class InferenceGraph(_Pair):
    """KServe's InferenceGraph: the steps of a splitter."""

    node: str = "root"
    resource: ClassVar[Resource] = Resource(
        "serving.kserve.io", "v1alpha1", "InferenceGraph", "inferencegraphs"
    )
    name_key: ClassVar[str] = "serviceName"
    to_100: ClassVar[bool] = True
    can_shadow: ClassVar[bool] = False

    def shadow(self, _: Object) -> float:
        """None: a splitter gives each request to one step."""
        return 0.0

    def _taken(self, _: Object) -> str:
        no_copies(100.0, "an InferenceGraph")
        return ""

    def _where(self) -> str:
        return f"spec.nodes.{self.node}.steps"

    def _entries(self, thing: Object) -> Entries:
        nodes = thing.get("spec", {}).get("nodes", {})
        if self.node not in nodes:
            raise Permanent(f"spec.nodes: no node {self.node!r}; there are: {', '.join(nodes) or 'none'}")
        node = nodes[self.node]
        if node.get("routerType") != "Splitter":
            kind = node.get("routerType")
            raise Permanent(f"spec.nodes.{self.node}.routerType: {kind}; accepted: Splitter")
        steps: Entries = node.get("steps") or ()
        return steps

    def _ready(self, thing: Object) -> bool:
        return observed(thing) and condition(thing, "Ready") == "True"

    def _changed(self, _: Object, entries: list[dict[str, Any]], shadow: int | None) -> Patch:
        no_copies(shadow, "an InferenceGraph")
        return {"spec": {"nodes": {self.node: {"steps": entries}}}}


@dataclass(frozen=True, slots=True)
class SeldonDeployment(_Pair):
    """Seldon Core v1: predictors; other shadows than the challenger are left as they are.

    A shadow's `traffic` is how much of the requests it is copied; the others' sum to 100 without it.
    """

    resource: ClassVar[Resource] = Resource(
        "machinelearning.seldon.io", "v1", "SeldonDeployment", "seldondeployments"
    )
    weight_key: ClassVar[str] = "traffic"
    to_100: ClassVar[bool] = True

    def _where(self) -> str:
        return "spec.predictors"

    def _entries(self, thing: Object) -> Entries:
        every: Entries = thing.get("spec", {}).get("predictors") or ()
        return [one for one in every if not one.get("shadow") or one.get("name") == self.challenger]

    def _weight(self, one: Mapping[str, Any]) -> int:
        return 0 if one.get("shadow") else int(one.get("traffic") or 0)

    def shadow(self, thing: Object) -> float:
        """What the challenger's predictor asks for."""
        own = entry(self._entries(thing), self.challenger, self._where())
        return float(own.get("traffic") or 0) if own.get("shadow") else 0.0

    def _taken(self, thing: Object) -> str:
        every: Entries = thing.get("spec", {}).get("predictors") or ()
        others = [one.get("name") for one in every if one.get("shadow") and one["name"] != self.challenger]
        return f"{self._where()}: {others[0]} is a shadow; accepted: one shadow only" if others else ""

    def _ready(self, thing: Object) -> bool:
        return observed(thing) and thing.get("status", {}).get("state") == "Available"

    def _changed(self, thing: Object, entries: list[dict[str, Any]], shadow: int | None) -> Patch:
        live = {str(one.get("name")): one for one in entries}
        copied = int(self.shadow(thing)) if shadow is None else shadow
        own = {key: value for key, value in live[self.challenger].items() if key != "shadow"}
        live[self.challenger] = {**own, "shadow": True, "traffic": copied} if copied else own
        return {
            "spec": {"predictors": [live.get(str(o.get("name")), o) for o in thing["spec"]["predictors"]]}
        }

    def why(self, thing: Object) -> str:
        """The conditions that are not true, or its state and description."""
        status = thing.get("status", {})
        said = " ".join(str(status.get(key)) for key in ("state", "description") if status.get(key))
        return complaints(thing) or said


@dataclass(frozen=True, slots=True)
class Experiment(_Pair):
    """Seldon Core v2: the candidates of an experiment."""

    resource: ClassVar[Resource] = Resource("mlops.seldon.io", "v1alpha1", "Experiment", "experiments")

    def _where(self) -> str:
        return "spec.candidates"

    def _entries(self, thing: Object) -> Entries:
        candidates: Entries = thing.get("spec", {}).get("candidates") or ()
        return candidates

    def _ready(self, thing: Object) -> bool:
        kinds = ["ExperimentReady", "CandidatesReady", *(["MirrorReady"] if self.shadow(thing) else [])]
        return observed(thing) and all(condition(thing, kind) == "True" for kind in kinds)

    def _mirror(self, thing: Object) -> Mapping[str, Any]:
        mirror: Mapping[str, Any] = thing.get("spec", {}).get("mirror") or {}
        return mirror

    def shadow(self, thing: Object) -> float:
        """What the mirror asks for, where it is the challenger."""
        mirror = self._mirror(thing)
        return float(mirror.get("percent") or 0) if mirror.get("name") == self.challenger else 0.0

    def _taken(self, thing: Object) -> str:
        name = self._mirror(thing).get("name")
        return f"spec.mirror: it is {name}; accepted: none" if name not in (None, self.challenger) else ""

    def _changed(self, thing: Object, entries: list[dict[str, Any]], shadow: int | None) -> Patch:
        patch: Patch = {"candidates": entries}
        if shadow:
            patch["mirror"] = {"name": self.challenger, "percent": shadow}
        elif shadow == 0 and self._mirror(thing).get("name") == self.challenger:
            patch["mirror"] = None
        return {"spec": patch}


@dataclass(frozen=True, slots=True)
class HttpRoute(_Pair):
    """Gateway API: the backends of one rule of a route, counted from 0."""

    rule: int = 0
    resource: ClassVar[Resource] = Resource("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes")
    usual: ClassVar[int] = 1

    def _where(self) -> str:
        return f"spec.rules[{self.rule}].backendRefs"

    def _rules(self, thing: Object) -> Entries:
        rules: Entries = thing.get("spec", {}).get("rules") or ()
        if self.rule >= len(rules):
            raise Permanent(f"spec.rules: no rule {self.rule}; there are {len(rules)}, counted from 0")
        return rules

    def _entries(self, thing: Object) -> Entries:
        backends: Entries = self._rules(thing)[self.rule].get("backendRefs") or ()
        return backends

    def _ready(self, thing: Object) -> bool:
        """Every gateway has accepted the route as it is now."""
        parents = thing.get("status", {}).get("parents") or ()
        generation = thing.get("metadata", {}).get("generation", 0)

        def holds(parent: Mapping[str, Any], kind: str) -> bool:
            return any(
                one.get("type") == kind
                and one.get("status") == "True"
                and one.get("observedGeneration", generation) >= generation
                for one in parent.get("conditions") or ()
            )

        return bool(parents) and all(
            holds(parent, kind) for parent in parents for kind in ("Accepted", "ResolvedRefs")
        )

    def shadow(self, thing: Object) -> float:
        """What the filters ask for that copy requests to the challenger."""
        return sum(_copied(one) for one in self._filters(thing) if self._own(thing, one))

    def _filters(self, thing: Object) -> Entries:
        filters: Entries = self._rules(thing)[self.rule].get("filters") or ()
        return filters

    def _own(self, thing: Object, one: Mapping[str, Any]) -> bool:
        """Whether a filter copies requests to the challenger; other mirrors are somebody else's."""
        backend = self._backend(thing)
        to = one.get("requestMirror", {}).get("backendRef") or {}
        return one.get("type") == "RequestMirror" and all(to.get(key) == backend.get(key) for key in _BACKEND)

    def _backend(self, thing: Object) -> dict[str, Any]:
        own = entry(self._entries(thing), self.challenger, self._where())
        return {key: own[key] for key in _BACKEND if key in own}

    def _changed(self, thing: Object, entries: list[dict[str, Any]], shadow: int | None) -> Patch:
        rules = [dict(rule) for rule in self._rules(thing)]
        rules[self.rule]["backendRefs"] = entries
        if shadow is not None:
            filters = [one for one in self._filters(thing) if not self._own(thing, one)]
            if shadow:
                # The whole is what is copied without a number, also where the definition has none yet.
                mirror = {"backendRef": self._backend(thing)} | ({"percent": shadow} if shadow < 100 else {})
                filters.append({"type": "RequestMirror", "requestMirror": mirror})
            rules[self.rule] = {key: value for key, value in rules[self.rule].items() if key != "filters"}
            rules[self.rule] |= {"filters": filters} if filters else {}
        return {"spec": {"rules": rules}}

    def why(self, thing: Object) -> str:
        """What gateways say that is not true."""
        parents = thing.get("status", {}).get("parents") or ()
        said = [complaints({"status": parent}) for parent in parents]
        return "; ".join(one for one in said if one) or ("" if parents else "no gateway has taken it")


def _copied(mirror: Mapping[str, Any]) -> float:
    """Percent of the requests that a filter copies; without a number all of them."""
    given = mirror.get("requestMirror", {})
    if "fraction" in given:
        return float(100 * given["fraction"]["numerator"] / given["fraction"].get("denominator", 100))
    return float(given.get("percent", 100))
