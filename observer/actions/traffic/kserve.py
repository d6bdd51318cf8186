"""KServe's InferenceService: two unrelated ways of giving a challenger a share, told apart by the object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

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

MODE: Final = "serving.kserve.io/deploymentMode"
_STANDARD: Final = frozenset({"Standard", "RawDeployment"})
_FORBIDDEN: Final = ("maxReplicas", "scaleTarget", "scaleMetric", "autoScaling", "workerSpec")


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

    def share(self, thing: Object) -> float:
        """What the object asks for."""
        if mode(thing) == "standard":
            return float(self._canary(thing).get("trafficPercent") or 0)
        percent = thing.get("spec", {}).get("predictor", {}).get("canaryTrafficPercent")
        return 100.0 if percent is None else float(percent)

    def served(self, thing: Object) -> float | None:
        """Standard: what the canary's status says; Knative: what goes to the latest revision, once ready."""
        ready = condition(thing, "Ready") in ("True", None)
        # Taking traffic from a challenger that never became ready leaves the service unready, and is done.
        if not observed(thing) or not (ready or self.share(thing) == 0):
            return None
        status = thing.get("status", {})
        if mode(thing) == "standard":
            states = [one for one in status.get("canaryStatuses") or () if one.get("name") == self.challenger]
            if len(states) != 1 or (self.share(thing) > 0 and not states[0].get("ready")):
                return None
            return float(states[0].get("trafficPercent") or 0)
        component = status.get("components", {}).get("predictor", {})
        traffic = component.get("traffic") or ()
        served = float(sum(one.get("percent") or 0 for one in traffic if one.get("latestRevision")))
        created = component.get("latestCreatedRevision")
        settled = created is not None and created == component.get("latestReadyRevision")
        return served if settled or (traffic and served == 0) else None

    def problems(self, thing: Object, share: float) -> list[str]:
        """The webhook's rules of canaries; in Knative mode there must be a revision to fall back to."""
        if mode(thing) == "knative":
            component = thing.get("status", {}).get("components", {}).get("predictor", {})
            if share < 100 and not component.get("latestRolledoutRevision"):
                where = "status.components.predictor.latestRolledoutRevision"
                return [f"{where}: none yet; accepted: a champion that was rolled out at 100% before"]
            return []
        canaries = self._canaries(thing)
        own = self._canary(thing)
        others = sum(one.get("trafficPercent") or 0 for one in canaries) - (own.get("trafficPercent") or 0)
        found = []
        if others + share > 100:
            found.append(f"spec.canary: percentages sum to {others + share:g}; accepted: at most 100")
        names = [one.get("predictor", {}).get("name") for one in canaries]
        names.append(thing.get("spec", {}).get("predictor", {}).get("name"))
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

    def patch(self, thing: Object, share: float) -> Patch:
        """Knative: one number; Standard: all canaries again with their percentages."""
        percent = whole(share)
        if mode(thing) == "knative":
            return {"spec": {"predictor": {"canaryTrafficPercent": percent}}}
        self._canary(thing)
        named = [{**one, "name": one.get("predictor", {}).get("name")} for one in self._canaries(thing)]
        changed = weighted(named, {self.challenger: percent}, field="trafficPercent")
        return {
            "spec": {
                "canary": [{key: value for key, value in one.items() if key != "name"} for one in changed]
            }
        }

    def why(self, thing: Object) -> str:
        """The conditions that are not true."""
        return complaints(thing)

    def _canaries(self, thing: Object) -> Sequence[Mapping[str, Any]]:
        canaries: Sequence[Mapping[str, Any]] = thing.get("spec", {}).get("canary") or ()
        return canaries

    def _canary(self, thing: Object) -> Mapping[str, Any]:
        named = [{**one, "name": one.get("predictor", {}).get("name")} for one in self._canaries(thing)]
        return entry(named, self.challenger, "spec.canary[].predictor.name")
