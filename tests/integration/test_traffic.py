"""Every traffic target against a real Kubernetes API server, under no more rights than the docs give it.

Where the vendors' own definitions lie beside the project they are used, else open ones of the same names.
There are no controllers, so the tests write each status as the platform would.
"""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import TypeAdapter

from observer.actions.base import Order
from observer.actions.engine import ActionEngine
from observer.actions.ledger import Ledger
from observer.actions.targets import TargetSpec
from observer.actions.traffic.cluster import KubernetesObject
from observer.actions.traffic.target import TrafficTarget
from observer.errors import Permanent, Retryable
from tests.services.kubernetes import ADMIN, Kubernetes
from tests.services.serving import DEFINITIONS
from tests.unit.actions.fakes import NOW, MemoryStore, order
from tests.unit.actions.objects import (
    EXPERIMENT,
    GRAPH,
    IDLE_EXPERIMENT,
    IDLE_ROUTE,
    IDLE_SELDON,
    KNATIVE,
    ROUTE,
    SELDON,
    STANDARD,
    status_of,
)

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def cluster(serving: Kubernetes) -> Kubernetes:
    """With the rights of the docs, for the user `observer`."""
    rules = [
        {"apiGroups": [group], "resources": [plural], "resourceNames": ["credit"], "verbs": ["get", "patch"]}
        for plural, (group, *_) in DEFINITIONS.items()
    ]
    roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/ml"
    serving.create(f"{roles}/roles", {"metadata": {"name": "traffic"}, "rules": rules})
    serving.create(
        f"{roles}/rolebindings",
        {
            "metadata": {"name": "traffic"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "traffic"},
            "subjects": [{"kind": "User", "name": "observer", "apiGroup": "rbac.authorization.k8s.io"}],
        },
    )
    return serving


class Case(NamedTuple):
    plural: str
    thing: dict[str, Any]
    spec: dict[str, Any]


ARMS = {"champion": "v1", "challenger": "v2"}
CASES = {
    "kserve knative": Case("inferenceservices", KNATIVE, {"type": "kserve"}),
    "kserve standard": Case("inferenceservices", STANDARD, {"type": "kserve", "challenger": "v2"}),
    "inference graph": Case("inferencegraphs", GRAPH, {"type": "inference_graph", **ARMS}),
    "seldon v1": Case("seldondeployments", SELDON, {"type": "seldon", **ARMS}),
    "seldon v2": Case("experiments", EXPERIMENT, {"type": "seldon_experiment", **ARMS}),
    "http route": Case("httproutes", ROUTE, {"type": "http_route", "rule": 1, **ARMS}),
}

SHADOWS = {
    "seldon v1": CASES["seldon v1"]._replace(thing=IDLE_SELDON),
    "seldon v2": CASES["seldon v2"]._replace(thing=IDLE_EXPERIMENT),
    "http route": CASES["http route"]._replace(thing=IDLE_ROUTE),
}


class Platform:
    """One object, and what its controller would write."""

    def __init__(
        self, cluster: Kubernetes, case: Case, folder: Path, token: str, name: str = "credit"
    ) -> None:
        group, version, kind, _ = DEFINITIONS[case.plural]
        self.cluster, self.case, self.name = cluster, case, name
        self.collection = f"/apis/{group}/{version}/namespaces/ml/{case.plural}"
        self.path = f"{self.collection}/{name}"
        cluster.client.delete(self.path)
        while cluster.client.get(self.path).status_code != 404:
            time.sleep(0.05)
        made = {
            "apiVersion": f"{group}/{version}",
            "kind": kind,
            "metadata": {
                "name": name,
                "annotations": {"team": "risk", **case.thing["metadata"].get("annotations", {})},
                "labels": {"app": name},
            },
            "spec": case.thing["spec"],
        }
        cluster.create(self.collection, made)
        self.target = self.open(token, folder)
        self.settle()

    def open(self, token: str, folder: Path, name: str = "") -> TrafficTarget:
        config = str(self.cluster.kubeconfig(token, folder))
        wanted = {**self.case.spec, "namespace": "ml", "name": name or self.name, "kubeconfig": config}
        target = TypeAdapter[Any](TargetSpec).validate_python(wanted).target()
        assert isinstance(target, TrafficTarget)
        return target

    def settle(self) -> None:
        """Write the status that the platform would, of the object as it is now."""
        thing = self.cluster.read(self.path)
        status = status_of(self.case.thing, thing, self.target.read()[0])
        parents = status.get("parents") or []
        for one in [*status.get("conditions", ()), *(c for p in parents for c in p["conditions"])]:
            one.update(lastTransitionTime="2027-01-15T08:00:00Z", reason="Ready", message="")
        for one in status.get("conditions", ()):
            one.pop("observedGeneration", None)
        for parent in parents:
            parent["controllerName"] = "observer.test/gateway"
        self.cluster.merge(f"{self.path}/status", {"status": status}, "controller")

    def rest(self) -> Any:
        """Everything that a step must leave as it is."""

        def bare(value: Any) -> Any:
            weights = ("weight", "traffic", "trafficPercent", "canaryTrafficPercent")
            if isinstance(value, dict):
                return {key: bare(each) for key, each in value.items() if key not in weights}
            return [bare(each) for each in value] if isinstance(value, list) else value

        thing = self.cluster.read(self.path)
        kept = {key: thing["metadata"].get(key) for key in ("labels", "annotations", "name", "uid")}
        return kept, bare(thing["spec"])


@pytest.fixture(params=CASES)
def platform(request: pytest.FixtureRequest, cluster: Kubernetes, tmp_path: Path) -> Platform:
    return Platform(cluster, CASES[request.param], tmp_path, "observer-token")


def shift(share: float, before: float | None, kind: Any = "set_weights") -> Order:
    return order(f"{kind}-{share}", kind=kind, parameters={"share": share, "before": before})


def test_a_rollout_goes_up_and_back_and_changes_nothing_else(platform: Platform) -> None:
    assert platform.target.check() == []
    untouched = platform.rest()
    engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": platform.target}, poll_every=0)
    now, before = NOW, 10.0
    for share, kind in ((20, "set_weights"), (50, "set_weights"), (100, "promote"), (0, "rollback")):
        action = engine.propose(shift(share, None if kind == "rollback" else before, kind), now)
        assert action is not None
        engine.tick(now)
        engine.tick(now + 1)
        assert action.state == "running", "the platform has not said so yet"
        platform.settle()
        engine.tick(now + 2)
        assert (action.state, action.result) == ("succeeded", {"share": float(share)}), action.detail
        assert platform.target.read() == (float(share), 0.0, float(share))
        # Promotion makes the canary the predictor, which going back leaves so.
        swaps = platform.case.spec == CASES["kserve standard"].spec and kind in ("promote", "rollback")
        assert (platform.rest() == untouched) != swaps
        now, before = now + 10, float(share)


def test_another_writer_is_met_with_another_try_and_not_fought_over(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch, writes = KubernetesObject.patch, 0

    def meanwhile(self: KubernetesObject, change: Any, *, dry: bool = False) -> Any:
        nonlocal writes
        writes += 1
        if writes == 1:  # somebody labels the object between our reading and our writing
            platform.cluster.merge(platform.path, {"metadata": {"labels": {"by": "somebody"}}}, "somebody")
        return patch(self, change, dry=dry)

    monkeypatch.setattr(KubernetesObject, "patch", meanwhile)
    platform.target.send(shift(20, 10))
    assert writes == 2
    assert platform.cluster.read(platform.path)["metadata"]["labels"] == {"app": "credit", "by": "somebody"}
    assert platform.target.read()[0] == 20

    theirs = platform.target._platform.patch(platform.cluster.read(platform.path), 33)
    platform.cluster.merge(platform.path, theirs, "argocd-controller")
    with pytest.raises(Permanent, match="asks for 33% where 20% was set, last changed by argocd-controller"):
        platform.target.send(shift(50, 20))
    assert platform.target.progress(shift(20, 10), "").state == "foreign"


def test_what_is_missing_or_forbidden_is_told_and_nothing_is_tried_again(
    platform: Platform, tmp_path: Path
) -> None:
    stranger = platform.open("stranger-token", tmp_path)
    with pytest.raises(Permanent, match=f'cannot get resource "{platform.case.plural}"'):
        stranger.read()
    assert any("may not patch" in problem for problem in stranger.check())
    other = platform.open(ADMIN, tmp_path, "nobody")
    with pytest.raises(Permanent, match="not found"):
        other.send(shift(20, 10))
    with pytest.raises(Permanent, match="forbidden"):
        platform.open("observer-token", tmp_path, "another").read()


def test_a_server_that_is_away_is_waited_for(platform: Platform, tmp_path: Path) -> None:
    config = platform.cluster.kubeconfig("observer-token", tmp_path)
    config.write_text(config.read_text().replace(platform.cluster.url, "https://127.0.0.1:9"))
    wanted = {**platform.case.spec, "namespace": "ml", "name": "credit", "kubeconfig": str(config)}
    away = TypeAdapter[Any](TargetSpec).validate_python(wanted).target()
    with pytest.raises(Retryable, match="no connection"):
        away.send(shift(20, 10))
    assert "no connection" in away.check()[0]


@pytest.mark.parametrize("case", SHADOWS.values(), ids=list(SHADOWS))
def test_a_shadow_begins_and_ends_and_leaves_the_object_as_it_was(
    case: Case, cluster: Kubernetes, tmp_path: Path
) -> None:
    platform = Platform(cluster, case, tmp_path, "observer-token")
    before = platform.cluster.read(platform.path)
    assert platform.target.check(shadow=40) == []
    assert platform.cluster.read(platform.path)["metadata"] == before["metadata"], "tried, not done"
    engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": platform.target}, poll_every=0)
    now = NOW
    for kind, share, shadow in (("shadow", 0, 40), ("set_weights", 5, 0), ("rollback", 0, 0)):
        wanted = {"share": share, "shadow": shadow, "before": None if kind == "rollback" else 0}
        action = engine.propose(order(f"{kind}-{shadow}", kind=kind, parameters=wanted), now)
        assert action is not None
        engine.tick(now)
        engine.tick(now + 1)
        assert action.state == "running", "the platform has not said so yet"
        platform.settle()
        engine.tick(now + 2)
        result = {"share": float(share), "shadow": float(shadow)}
        assert (action.state, action.result) == ("succeeded", result), action.detail
        assert platform.target.read() == (float(share), float(shadow), float(share))
        now += 10
    assert platform.cluster.read(platform.path)["spec"] == before["spec"]


def test_an_older_definition_of_routes_keeps_no_percentage_and_is_found_out(
    cluster: Kubernetes, tmp_path: Path
) -> None:
    """Mirrors had no `percent` before Gateway API 1.3: the server drops what its definition does not name."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/httproutes.gateway.networking.k8s.io"
    definition = cluster.read(path)
    platform = Platform(cluster, SHADOWS["http route"], tmp_path, "observer-token")
    older = copy.deepcopy(definition["spec"]["versions"])
    for version in older:
        mirror = {"type": "object", "properties": {"backendRef": _open()}}
        rule = _open(filters={"type": "array", "items": _open(requestMirror=mirror)})
        schema = _open(spec=_open(rules={"type": "array", "items": rule}))
        version["schema"] = {"openAPIV3Schema": schema}
    try:
        cluster.merge(path, {"spec": {"versions": older}}, "admin")
        deadline = time.monotonic() + 60
        while not (told := platform.target.check(shadow=40)):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert "would make 100% of a shadow of 40%: its definition is older; accepted: 100" in told[0]
        shadow = order("shadow", kind="shadow", parameters={"share": 0, "shadow": 40, "before": 0})
        with pytest.raises(Permanent, match="its definition is older"):
            platform.target.send(shadow)
        assert platform.target.read().shadow == 0
    finally:
        cluster.merge(path, {"spec": {"versions": definition["spec"]["versions"]}}, "admin")


def _open(**properties: Any) -> dict[str, Any]:
    """The schema of an object of which some fields are known, and the others kept."""
    return {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": properties}
