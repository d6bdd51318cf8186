"""Kubernetes objects that divide traffic, as their platforms have them, and a fake cluster of one object."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from observer.actions.traffic.kserve import InferenceService
from observer.actions.traffic.pairs import Experiment, HttpRoute, InferenceGraph, SeldonDeployment
from observer.actions.traffic.platform import Object, Patch, Platform
from observer.actions.traffic.target import Conflict


def true(*kinds: str) -> list[dict[str, Any]]:
    return [{"type": kind, "status": "True", "observedGeneration": 3} for kind in kinds]


META = {"name": "credit", "namespace": "ml", "generation": 3, "resourceVersion": "7"}
PREDICTOR = {
    "minReplicas": 4,
    "model": {"name": "model", "modelFormat": {"name": "sklearn"}, "storageUri": "s3://m/v1"},
}
FRESH = {"name": "model", "modelFormat": {"name": "onnx"}, "storageUri": "s3://m/v2", "runtime": "triton"}
KNATIVE = {
    "metadata": META,
    "spec": {"predictor": {**PREDICTOR, "canaryTrafficPercent": 10}},
    "status": {
        "observedGeneration": 3,
        "conditions": true("Ready"),
        "components": {
            "predictor": {
                "latestCreatedRevision": "credit-2",
                "latestReadyRevision": "credit-2",
                "latestRolledoutRevision": "credit-1",
                "traffic": [
                    {"revisionName": "credit-2", "percent": 10, "latestRevision": True},
                    {"revisionName": "credit-1", "percent": 90, "tag": "prev"},
                ],
            }
        },
    },
}
STANDARD = {
    "metadata": {**META, "annotations": {"serving.kserve.io/deploymentMode": "Standard"}},
    "spec": {
        "predictor": {**PREDICTOR, "name": "v1", "maxReplicas": 8},
        "canary": [{"trafficPercent": 10, "predictor": {"name": "v2", "minReplicas": 2, "model": FRESH}}],
    },
    "status": {
        "observedGeneration": 3,
        "conditions": true("Ready", "CanaryPredictorReady"),
        "canaryStatuses": [{"name": "v2", "ready": True, "trafficPercent": 10}],
    },
}
GRAPH = {
    "metadata": META,
    "spec": {
        "nodes": {
            "root": {
                "routerType": "Splitter",
                "steps": [
                    {"serviceName": "v1", "weight": 90, "name": "old"},
                    {"serviceName": "v2", "weight": 10, "dependency": "Hard"},
                ],
            },
            "other": {"routerType": "Sequence", "steps": [{"serviceName": "v1"}]},
        },
        "timeout": 5,
    },
    "status": {"observedGeneration": 3, "conditions": true("Ready")},
}
SELDON = {
    "metadata": META,
    "spec": {
        "predictors": [
            {"name": "v1", "traffic": 90, "graph": {"name": "m"}},
            {"name": "dark", "shadow": True, "traffic": 100, "graph": {"name": "s"}},
            {"name": "v2", "traffic": 10, "graph": {"name": "m"}, "replicas": 2},
        ]
    },
    "status": {"observedGeneration": 3, "state": "Available"},
}
EXPERIMENT = {
    "metadata": META,
    "spec": {
        "default": "v1",
        "candidates": [{"name": "v1", "weight": 90}, {"name": "v2", "weight": 10}],
        "mirror": {"name": "v3", "percent": 100},
    },
    "status": {
        "observedGeneration": 3,
        "conditions": true("ExperimentReady", "CandidatesReady", "MirrorReady"),
    },
}
ROUTE = {
    "metadata": META,
    "spec": {
        "hostnames": ["credit.example"],
        "rules": [
            {"matches": [{"path": {"value": "/health"}}], "backendRefs": [{"name": "v1", "port": 80}]},
            {
                "backendRefs": [
                    {"name": "v1", "port": 80, "weight": 9},
                    {"name": "v2", "port": 80, "weight": 1},
                ]
            },
        ],
    },
    "status": {"parents": [{"parentRef": {"name": "gw"}, "conditions": true("Accepted", "ResolvedRefs")}]},
}
ALL: list[tuple[Platform, dict[str, Any]]] = [
    (InferenceService(), KNATIVE),
    (InferenceService("v2"), STANDARD),
    (InferenceGraph("v1", "v2"), GRAPH),
    (SeldonDeployment("v1", "v2"), SELDON),
    (Experiment("v1", "v2"), EXPERIMENT),
    (HttpRoute("v1", "v2", rule=1), ROUTE),
]

IDLE_SELDON = {
    **SELDON,
    "spec": {
        "predictors": [
            {"name": "v1", "traffic": 100, "graph": {"name": "m"}},
            {"name": "v2", "traffic": 0, "graph": {"name": "m"}, "replicas": 2},
        ]
    },
}
IDLE_EXPERIMENT = {
    **EXPERIMENT,
    "spec": {"default": "v1", "candidates": [{"name": "v1", "weight": 100}, {"name": "v2", "weight": 0}]},
}
IDLE_ROUTE = {
    **ROUTE,
    "spec": {
        "hostnames": ["credit.example"],
        "rules": [
            ROUTE["spec"]["rules"][0],  # type: ignore[index]
            {
                "filters": [
                    {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "audit", "port": 80}}},
                    {"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x-debug"]}},
                ],
                "backendRefs": [
                    {"name": "v1", "port": 80, "weight": 100},
                    {"name": "v2", "port": 80, "weight": 0},
                ],
            },
        ],
    },
}
SHADOWS: list[tuple[Platform, dict[str, Any]]] = [
    (SeldonDeployment("v1", "v2"), IDLE_SELDON),
    (Experiment("v1", "v2"), IDLE_EXPERIMENT),
    (HttpRoute("v1", "v2", rule=1), IDLE_ROUTE),
]
"""Those that can copy requests, with a challenger that gets none yet."""


def merged(thing: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    out = dict(thing) if isinstance(thing, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = merged(out.get(key), value)
    return out


def status_of(like: Object, thing: Object, share: float) -> dict[str, Any]:
    """The status that its controller writes once the challenger's share of an object is served."""
    status, generation = copy.deepcopy(like["status"]), thing["metadata"]["generation"]
    if "observedGeneration" in status:
        status["observedGeneration"] = generation
    parents = status.get("parents", ())
    for one in [*status.get("conditions", ()), *(c for parent in parents for c in parent["conditions"])]:
        one["observedGeneration"] = generation
    if "canaryStatuses" in status:
        status["canaryStatuses"] = [
            {"name": one["predictor"]["name"], "ready": True, "trafficPercent": one["trafficPercent"]}
            for one in thing["spec"]["canary"]
        ]
    traffic = status.get("components", {}).get("predictor", {}).get("traffic")
    if traffic:
        traffic[0]["percent"], traffic[1]["percent"] = int(share), 100 - int(share)
    return dict(status)


class FakeObject:
    """One object of a cluster that counts its versions; others may write before us."""

    name = "Experiment ml/credit"

    def __init__(self, thing: dict[str, Any]) -> None:
        self.thing = copy.deepcopy(thing)
        self.intruders: list[Patch] = []
        self.patches = 0
        self.missing: list[str] = []
        self.pruned: Callable[[Any], Any] = lambda thing: thing
        """What the server's definition leaves of an object."""

    def read(self) -> Object:
        return copy.deepcopy(self.thing)

    def patch(self, change: Patch, *, dry: bool = False) -> Object:
        if self.intruders and not dry:
            self._write(self.intruders.pop(0))
        if change["metadata"]["resourceVersion"] != self.thing["metadata"]["resourceVersion"]:
            raise Conflict("the object has been modified")
        if dry:
            return dict(self.pruned(merged(self.thing, change)))
        self.patches += 1
        self._write(change)
        return copy.deepcopy(self.thing)

    def _write(self, change: Patch) -> None:
        self.thing = merged(self.thing, change)
        version = int(self.thing["metadata"]["resourceVersion"]) + 1
        self.thing["metadata"]["resourceVersion"] = str(version)

    def refused(self) -> list[str]:
        return self.missing
