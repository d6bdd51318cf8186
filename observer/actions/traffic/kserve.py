"""KServe's InferenceService: two unrelated ways of giving a challenger a share, told apart by the object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

from observer.actions.traffic.platform import (
    Object,
    Patch,
    Resource,
    change,
    complaints,
    condition,
    entry,
    no_copies,
    observed,
    whole,
)
from observer.errors import Permanent

MODE: Final = "serving.kserve.io/deploymentMode"
_STANDARD: Final = frozenset({"Standard", "RawDeployment"})
_FORBIDDEN: Final = ("maxReplicas", "scaleTarget", "scaleMetric", "autoScaling", "workerSpec")
"""What the webhook allows the stable predictor only; it stays with it when a canary takes its place."""


def mode(thing: Object) -> Literal["knative", "standard"]:
    """Which of the two an object uses; its status counts most, then its annotation."""
    annotations = thing.get("metadata", {}).get("annotations") or {}
    named = thing.get("status", {}).get("deploymentMode") or annotations.get(MODE, "")
    if named in _STANDARD:
        return "standard"
    if named in ("", "Serverless", "Knative"):
        return "standard" if thing.get("spec", {}).get("canary") else "knative"
    raise Permanent(f"deploymentMode: {named}; accepted: Knative or Standard")


@dataclass(frozen=True, slots=True)
class InferenceService:
    """The challenger is, in Knative mode, the latest revision, and in Standard mode the canary of its name.

    Attributes
    ----------
    challenger : str
        Name of the canary in Standard mode.
    """

    challenger: str = ""
    resource: ClassVar[Resource] = Resource(
        "serving.kserve.io", "v1beta1", "InferenceService", "inferenceservices"
    )
    can_shadow: ClassVar[bool] = False

    def share(self, thing: Object) -> float:
        """What the object asks for."""
        if mode(thing) == "standard":
            if self._promoted(thing):
                return 100.0 - sum(float(one.get("trafficPercent") or 0) for one in self._canaries(thing))
            return float(self._canary(thing).get("trafficPercent") or 0)
        percent = thing.get("spec", {}).get("predictor", {}).get("canaryTrafficPercent")
        return 100.0 if percent is None else float(percent)

    def shadow(self, _: Object) -> float:
        """None: neither mode has a field for it."""
        return 0.0

    def served(self, thing: Object) -> float | None:
        """Standard: what the canary's status says; Knative: what goes to the latest revision, once ready."""
        ready = condition(thing, "Ready") in ("True", None)
        # Taking traffic from a challenger that never became ready leaves the service unready, and is done.
        if not observed(thing) or not (ready or self.share(thing) == 0):
            return None
        status = thing.get("status", {})
        if mode(thing) == "standard":
            said = {str(one.get("name")): one for one in status.get("canaryStatuses") or ()}
            wanted = self._canaries(thing) if self._promoted(thing) else [self._canary(thing)]
            states = [(one, said.get(_name(one), {})) for one in wanted]
            if any(not told or (one.get("trafficPercent") and not told.get("ready")) for one, told in states):
                return None
            total = float(sum(told.get("trafficPercent") or 0 for _, told in states))
            return 100.0 - total if self._promoted(thing) else total
        component = status.get("components", {}).get("predictor", {})
        traffic = component.get("traffic") or ()
        served = float(sum(one.get("percent") or 0 for one in traffic if one.get("latestRevision")))
        created = component.get("latestCreatedRevision")
        settled = created is not None and created == component.get("latestReadyRevision")
        return served if settled or (traffic and served == 0) else None

    def problems(self, thing: Object, share: float, shadow: float = 0.0) -> list[str]:
        """The webhook's rules of canaries; in Knative mode there must be a revision to fall back to."""
        no_copies(shadow, "KServe")
        if mode(thing) == "knative":
            component = thing.get("status", {}).get("components", {}).get("predictor", {})
            if share < 100 and not component.get("latestRolledoutRevision"):
                where = "status.components.predictor.latestRolledoutRevision"
                return [f"{where}: none yet; accepted: a champion that was rolled out at 100% before"]
            return []
        canaries = self._canaries(thing)
        found = []
        if self._promoted(thing):
            if len(canaries) != 1 and share < 100:
                found.append(f"spec.canary: {len(canaries)} canaries; accepted: one, to go back to")
        else:
            own = self._canary(thing)
            others = sum(one.get("trafficPercent") or 0 for one in canaries if one is not own)
            if others + share > 100:
                found.append(f"spec.canary: percentages sum to {others + share:g}; accepted: at most 100")
        names = [_name(one) for one in canaries]
        names.append(str(thing.get("spec", {}).get("predictor", {}).get("name", "")))
        if not names[-1]:
            found.append("spec.predictor.name: none; accepted: a name, under which it can be gone back to")
        found += [
            f"spec.canary: the name {name} is given twice" for name in {*names} if names.count(name) > 1
        ]
        stable = thing.get("spec", {}).get("predictor", {}).get("minReplicas", 1)
        for one in canaries:
            predictor = one.get("predictor", {})
            where = f"spec.canary {predictor.get('name')}"
            found += [f"{where}: {key} is not allowed in a canary" for key in _FORBIDDEN if key in predictor]
            if predictor.get("minReplicas", 1) > stable:
                most = f"accepted: at most the predictor's {stable}"
                found.append(f"{where}.minReplicas: {predictor.get('minReplicas')}; {most}")
        return found

    def patch(self, thing: Object, share: float, shadow: float | None = None) -> Patch:
        """Knative: one number; Standard: all canaries again with their percentages."""
        no_copies(shadow, "KServe")
        percent = whole(share)
        if mode(thing) == "knative":
            return {"spec": {"predictor": {"canaryTrafficPercent": percent}}}
        if self._promoted(thing):
            percent = 100 - percent
            return {"spec": {"canary": [{**one, "trafficPercent": percent} for one in self._canaries(thing)]}}
        own = self._canary(thing)
        changed = [{**one, "trafficPercent": percent} if one is own else one for one in self._canaries(thing)]
        return {"spec": {"canary": changed}}

    def promote(self, thing: Object, shadow: float | None = None) -> Patch:
        """Knative: 100%, at which the revision is rolled out; Standard: the canary becomes the predictor.

        The champion stays as a canary at 0%, so that going back takes no restart; what scales stays where it
        is.
        """
        if mode(thing) == "knative" or self._promoted(thing):
            return self.patch(thing, 100, shadow)
        no_copies(shadow, "KServe")
        stable = dict(thing.get("spec", {}).get("predictor", {}))
        own = self._canary(thing)
        scaling = {key: stable[key] for key in (*_FORBIDDEN, "minReplicas") if key in stable}
        fresh = {**own.get("predictor", {}), **scaling}
        before = {key: value for key, value in stable.items() if key not in _FORBIDDEN}
        canaries = [
            {**one, "trafficPercent": 0, **({"predictor": before} if one is own else {})}
            for one in self._canaries(thing)
        ]
        return {"spec": {"predictor": change(stable, fresh), "canary": canaries}}

    def why(self, thing: Object) -> str:
        """The conditions that are not true."""
        return complaints(thing)

    def _canaries(self, thing: Object) -> Sequence[Mapping[str, Any]]:
        canaries: Sequence[Mapping[str, Any]] = thing.get("spec", {}).get("canary") or ()
        return canaries

    def _canary(self, thing: Object) -> Mapping[str, Any]:
        canaries = self._canaries(thing)
        entry([{"name": _name(one)} for one in canaries], self.challenger, "spec.canary[].predictor.name")
        return next(one for one in canaries if _name(one) == self.challenger)

    def _promoted(self, thing: Object) -> bool:
        """Standard: whether the challenger is the predictor itself."""
        name = thing.get("spec", {}).get("predictor", {}).get("name")
        return bool(self.challenger) and name == self.challenger


def _name(canary: Mapping[str, Any]) -> str:
    return str(canary.get("predictor", {}).get("name", ""))
