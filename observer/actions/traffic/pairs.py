"""Platforms that keep a list of weights, one entry an arm: graphs, predictors, candidates, backends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from observer.actions.traffic.platform import (
    Object,
    Patch,
    Resource,
    complaints,
    condition,
    entry,
    observed,
    weighted,
    whole,
)
from observer.errors import Permanent

Entries = Sequence[Mapping[str, Any]]


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

    def _where(self) -> str:
        raise NotImplementedError

    def _entries(self, thing: Object) -> Entries:
        raise NotImplementedError

    def _ready(self, thing: Object) -> bool:
        raise NotImplementedError

    def _changed(self, _: Object, entries: list[dict[str, Any]]) -> Patch:
        raise NotImplementedError

    def share(self, thing: Object) -> float:
        """What the object asks for."""
        entries = self._entries(thing)
        one, other = (
            entry(entries, name, self._where(), self.name_key).get(self.weight_key, self.usual) or 0
            for name in (self.challenger, self.champion)
        )
        if one + other <= 0:
            where = self._where()
            raise Permanent(f"{where}: {self.weight_key}s of {one} and {other}; accepted: one above 0")
        return float(100 * one / (one + other))

    def served(self, thing: Object) -> float | None:
        """The same once the platform says that it is ready, of the object as it is now."""
        return self.share(thing) if self._ready(thing) else None

    def problems(self, thing: Object, share: float) -> list[str]:
        """The rules of the vendor's webhook, and that there is no third arm."""
        self.share(thing)
        whole(share)
        entries, where = self._entries(thing), self._where()
        found = []
        if len(entries) != 2:
            found.append(f"{where}: {len(entries)} entries; accepted: champion and challenger")
        total = sum(one.get(self.weight_key) or 0 for one in entries)
        if self.to_100 and total != 100:
            found.append(f"{where}: {self.weight_key} sums to {total}; accepted: 100")
        return found

    def patch(self, thing: Object, share: float) -> Patch:
        """The whole list again with other weights."""
        percent = whole(share)
        weights = {self.challenger: percent, self.champion: 100 - percent}
        changed = weighted(self._entries(thing), weights, self.name_key, self.weight_key)
        return self._changed(thing, changed)

    def promote(self, thing: Object) -> Patch:
        """The whole traffic."""
        return self.patch(thing, 100)

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

    def _changed(self, _: Object, entries: list[dict[str, Any]]) -> Patch:
        return {"spec": {"nodes": {self.node: {"steps": entries}}}}


@dataclass(frozen=True, slots=True)
class SeldonDeployment(_Pair):
    """Seldon Core v1: predictors; those that are shadows take no traffic and are left as they are."""

    resource: ClassVar[Resource] = Resource(
        "machinelearning.seldon.io", "v1", "SeldonDeployment", "seldondeployments"
    )
    weight_key: ClassVar[str] = "traffic"
    to_100: ClassVar[bool] = True

    def _where(self) -> str:
        return "spec.predictors that are no shadows"

    def _entries(self, thing: Object) -> Entries:
        return [one for one in thing.get("spec", {}).get("predictors") or () if not one.get("shadow")]

    def _ready(self, thing: Object) -> bool:
        return observed(thing) and thing.get("status", {}).get("state") == "Available"

    def _changed(self, thing: Object, entries: list[dict[str, Any]]) -> Patch:
        live = {str(one.get("name")): one for one in entries}
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
        kinds = ("ExperimentReady", "CandidatesReady")
        return observed(thing) and all(condition(thing, kind) == "True" for kind in kinds)

    def _changed(self, _: Object, entries: list[dict[str, Any]]) -> Patch:
        return {"spec": {"candidates": entries}}


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

    def _changed(self, thing: Object, entries: list[dict[str, Any]]) -> Patch:
        rules = [dict(rule) for rule in self._rules(thing)]
        rules[self.rule]["backendRefs"] = entries
        return {"spec": {"rules": rules}}

    def why(self, thing: Object) -> str:
        """What gateways say that is not true."""
        parents = thing.get("status", {}).get("parents") or ()
        said = [complaints({"status": parent}) for parent in parents]
        return "; ".join(one for one in said if one) or ("" if parents else "no gateway has taken it")
