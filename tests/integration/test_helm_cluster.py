"""The rendered chart in a real Kubernetes API server: it takes every object, and the rights are just enough.

The server validates against its own schemas, the vendors' and the Prometheus operator's definitions, unknown
keys refused, in a namespace that enforces the *restricted* Pod Security Standard. Nothing runs the pods.
"""

from __future__ import annotations

import re
import shlex
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.pages import blocks, every
from tests.integration import test_traffic as traffic
from tests.services.helm import CHART, ROOT, run, template
from tests.services.kubernetes import ADMIN, Kubernetes, operator_definitions
from tests.services.observer import Observer
from tests.services.process import free_port
from tests.services.serving import DEFINITIONS, VENDORS, vendors
from tests.unit.actions.fakes import order
from tests.unit.cli.conftest import observer

__all__ = ["observer"]

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]

VALUES = {path.stem.removesuffix("-values"): path for path in sorted((CHART / "ci").glob("*.yaml"))}
ACCOUNT = "system:serviceaccount:watch:observer"
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
EVERYBODYS = {"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"}
"""What the cluster lets everybody create, about themselves."""


@pytest.fixture(scope="module")
def cluster(serving: Kubernetes) -> Kubernetes:
    for name in ("watch", "web", "far", "models"):
        labels = RESTRICTED if name == "watch" else {}
        serving.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    for each in operator_definitions():
        serving.define(each)
    if VENDORS.exists():
        serving.define(vendors("knative-triggers"))  # which a page shows
    return serving


@pytest.mark.parametrize("name", VALUES)
def test_the_server_takes_every_object(cluster, name):
    objects = template("--values", VALUES[name])
    assert {one["kind"] for one in objects} >= {"StatefulSet", "Service", "ConfigMap", "Pod"}
    for thing in objects:
        made = cluster.apply(thing, dry_run=True)
        assert made["metadata"]["uid"]
        if thing["kind"] == "StatefulSet":  # a namespace enforces on pods, and only warns of what makes them
            pod = {"apiVersion": "v1", "kind": "Pod", **thing["spec"]["template"]}
            pod["metadata"] = {**pod["metadata"], "name": "pod", "namespace": "watch"}
            claims = thing["spec"].get("volumeClaimTemplates", [])
            own = [{"name": c["metadata"]["name"], "emptyDir": {}} for c in claims]
            pod["spec"] = {**pod["spec"], "volumes": [*pod["spec"]["volumes"], *own]}
            pod["spec"].pop("priorityClassName", None)  # of the cluster
            cluster.apply(pod, dry_run=True)
            for claim in claims:
                kind = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
                metadata = {**claim["metadata"], "namespace": "watch"}
                cluster.apply({**kind, **claim, "metadata": metadata}, dry_run=True)


def test_the_server_refuses_what_it_does_not_know(cluster):
    """That the test above can fail: of each kind, an object with a key too many."""
    seen = set()
    for thing in template("--values", VALUES["everything"]):
        if thing["kind"] in seen or "spec" not in thing:
            continue
        seen.add(thing["kind"])
        with pytest.raises(Exception, match=r"\.spec\.colour"):
            cluster.apply({**thing, "spec": {**thing["spec"], "colour": "red"}}, dry_run=True)
    assert {"StatefulSet", "ServiceMonitor", "PrometheusRule", "NetworkPolicy"} <= seen


def test_the_server_takes_the_sample_for_alertmanager(cluster):
    sample = ROOT / "examples/alerting/alertmanagerconfig.yaml"
    cluster.apply(yaml.safe_load(sample.read_text()), dry_run=True)


def test_helm_installs_upgrades_goes_back_and_leaves_nothing(cluster, tmp_path):
    # The server, built from its modules, does not know which version it is.
    chart = shutil.copytree(CHART, tmp_path / "chart")
    (chart / "Chart.yaml").write_text(re.sub("kubeVersion.*", "", (CHART / "Chart.yaml").read_text()))
    config = cluster.kubeconfig(ADMIN, tmp_path)
    name = ("observer", "--namespace", "watch", "--kubeconfig", config)
    given = ("--values", VALUES["everything"])
    path = "/apis/apps/v1/namespaces/watch/statefulsets/observer"

    def checksum() -> str:
        found: str = cluster.read(path)["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        return found

    said = run("install", *name[:1], chart, *name[1:], *given)
    assert "helm -n watch test observer" in said
    assert "inferenceservices.serving.kserve.io: basket, churn" in said
    first = checksum()
    run("upgrade", *name[:1], chart, *name[1:], *given, "--set", "config.log_level=debug")
    assert checksum() != first
    run("rollback", *name)
    assert checksum() == first
    run("uninstall", *name)
    (block,) = (one for one in blocks("docs/kubernetes.md") if one.action == "in")
    program, *words = shlex.split(block.text.replace("\\\n", " "))
    assert program == "helm"
    run(*(str(chart) if word == "helm/observer" else word for word in words), "--kubeconfig", config)
    run("uninstall", *name)
    left = [
        f"{kind} {one['metadata']['namespace']}/{one['metadata']['name']}"
        for kind, collection in (
            ("StatefulSet", "apis/apps/v1/statefulsets"),
            ("Role", "apis/rbac.authorization.k8s.io/v1/roles"),
            ("RoleBinding", "apis/rbac.authorization.k8s.io/v1/rolebindings"),
            ("ConfigMap", "api/v1/configmaps"),
            ("Secret", "api/v1/secrets"),
            ("ServiceAccount", "api/v1/serviceaccounts"),
            ("PrometheusRule", "apis/monitoring.coreos.com/v1/prometheusrules"),
        )
        for one in cluster.read(f"/{collection}")["items"]
        if one["metadata"].get("labels", {}).get("app.kubernetes.io/instance") == "observer"
    ]
    assert left == []


# What the pages show


@pytest.mark.parametrize("block", every("yaml", "cluster"), ids=lambda block: block.place)
def test_the_server_takes_what_pages_show(cluster, block):
    for thing in yaml.safe_load_all(block.text):
        if "k8s.io" not in thing["apiVersion"] and not VENDORS.exists():
            pytest.skip(f"the vendors' definitions are not at hand, of {thing['kind']} neither")
        cluster.apply(thing, dry_run=True)


@pytest.mark.parametrize("block", every("yaml", "chart"), ids=lambda block: block.place)
def test_the_chart_takes_the_values_that_pages_show(cluster, block, tmp_path):
    values = tmp_path / "values.yaml"
    values.write_text(block.text)
    for thing in template("--values", values):
        cluster.apply(thing, dry_run=True)


# Rights


def rights(cluster: Kubernetes, token: str, namespace: str) -> set[tuple[str, str, str, str]]:
    """Everything the bearer may do in a namespace, as the server lists it, beside what everybody may."""
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
    answer = cluster.client.post(
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        json={**review, "spec": {"namespace": namespace}},
        headers={"Authorization": f"Bearer {token}"},
    )
    found = answer.json()["status"]
    assert not found["incomplete"]
    return {
        (verb, group, resource, name)
        for rule in found["resourceRules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames") or ("*",)
        if resource not in EVERYBODYS
    }


def install(cluster: Kubernetes, name: str) -> str:
    """Apply what gives rights; the token of the pod's account, once the server knows all of them."""
    kinds = ("ServiceAccount", "Role", "RoleBinding")
    objects = [one for one in template("--values", VALUES[name]) if one["kind"] in kinds]
    for thing in objects:
        cluster.apply(thing)
    return cluster.account_token("watch", "observer")


@pytest.mark.parametrize("case", traffic.CASES)
def test_a_rollout_uses_every_right_that_it_is_given_and_is_refused_anything_else(
    cluster: Kubernetes, case: str, tmp_path: Path
) -> None:
    token = install(cluster, f"target-{case.replace(' ', '-')}")
    kind = traffic.CASES[case]
    group, *_ = DEFINITIONS[kind.plural]
    granted = {(verb, group, kind.plural, "credit") for verb in ("get", "patch")}
    deadline = time.monotonic() + 60
    while rights(cluster, token, "ml") != granted:  # (roles reach the authorizer a moment later)
        assert time.monotonic() < deadline, rights(cluster, token, "ml")
        time.sleep(0.05)
    for elsewhere in ("watch", "web", "far", "kube-system"):
        assert rights(cluster, token, elsewhere) == set()

    before = len(cluster.audited(ACCOUNT))
    platform = traffic.Platform(cluster, kind, tmp_path, token)
    traffic.test_a_rollout_goes_up_and_back_and_changes_nothing_else(platform)
    asked = [
        one for one in cluster.audited(ACCOUNT)[before:] if one["objectRef"]["resource"] not in EVERYBODYS
    ]
    assert {one["responseStatus"]["code"] for one in asked} == {200}
    used = {
        (one["verb"], one["objectRef"]["apiGroup"], one["objectRef"]["resource"], one["objectRef"]["name"])
        for one in asked
    }
    assert used == granted
    assert {one["objectRef"]["namespace"] for one in asked} == {"ml"}

    whole = cluster.read(platform.path)
    tries: list[tuple[str, str, Any]] = [
        ("GET", platform.collection, None),
        ("GET", f"{platform.collection}?watch=1", None),
        ("GET", f"{platform.collection}/another", None),
        ("GET", platform.path.replace("/ml/", "/web/"), None),
        ("POST", platform.collection, {**whole, "metadata": {"name": "another", "namespace": "ml"}}),
        ("PUT", platform.path, whole),
        ("PATCH", f"{platform.path}/status", {"status": {}}),
        ("DELETE", platform.path, None),
        ("DELETE", platform.collection, None),
        ("GET", "/api/v1/namespaces/ml/secrets", None),
        ("GET", "/api/v1/namespaces/watch/secrets/kafka", None),
        ("GET", "/api/v1/namespaces/watch/configmaps/observer", None),
        ("GET", "/api/v1/namespaces/watch/pods", None),
        ("GET", "/api/v1/nodes", None),
        ("GET", "/apis/apps/v1/namespaces/watch/statefulsets/observer", None),
        ("GET", "/apis/rbac.authorization.k8s.io/v1/namespaces/ml/roles/observer", None),
        *(
            ("GET", f"/apis/{g}/{v}/namespaces/ml/{plural}/credit", None)
            for plural, (g, v, *_) in DEFINITIONS.items()
            if plural != kind.plural
        ),
    ]
    for method, path, body in tries:
        headers = {"Authorization": f"Bearer {token}"}
        if method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        answer = cluster.client.request(method, path, json=body, headers=headers)
        assert answer.status_code == 403, (method, path, answer.text)
    assert cluster.read(platform.path) == whole


def test_the_route_that_kserve_writes_is_read_and_never_written(cluster: Kubernetes, tmp_path: Path) -> None:
    token = install(cluster, "target-kserve-route")
    (group, _, _, _), (routes, _, _, _) = DEFINITIONS["inferenceservices"], DEFINITIONS["httproutes"]
    granted = {(verb, group, "inferenceservices", "credit") for verb in ("get", "patch")}
    granted |= {("get", routes, "httproutes", "credit")}
    deadline = time.monotonic() + 60
    while rights(cluster, token, "ml") != granted:
        assert time.monotonic() < deadline, rights(cluster, token, "ml")
        time.sleep(0.05)
    before = len(cluster.audited(ACCOUNT))
    told = yaml.safe_load(VALUES["target-kserve-route"].read_text())["config"]["targets"]["serving"]
    route = traffic.Platform(cluster, traffic.CASES["http route"], tmp_path, ADMIN)
    (tmp_path / "pod").mkdir()
    case = traffic.Case("inferenceservices", traffic.STANDARD, told)
    service = traffic.Platform(cluster, case, tmp_path / "pod", token)
    assert service.target.check() == []
    step = order("step", kind="set_weights", parameters={"share": 25.0, "before": service.target.read()[0]})
    reference = service.target.send(step)
    service.settle()
    assert service.target.progress(step, reference).state == "running", "its replicas are, requests are not"
    route.target.send(order("route", kind="set_weights", parameters={"share": 25.0, "before": None}))
    route.settle()
    assert service.target.progress(step, reference).state == "succeeded"
    asked = [one for one in cluster.audited(ACCOUNT)[before:] if one["responseStatus"]["code"] == 200]
    used = {
        (one["verb"], one["objectRef"]["apiGroup"], one["objectRef"]["resource"], one["objectRef"]["name"])
        for one in asked
    }
    assert used == granted
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/merge-patch+json"}
    for path in (route.path, f"{route.collection}/another"):
        answer = cluster.client.request("PATCH", path, json={"spec": {"rules": []}}, headers=headers)
        assert answer.status_code == 403, answer.text


@pytest.mark.parametrize("missing", ["get", "patch"])
def test_with_less_no_rollout_begins_and_it_says_what_is_missing(cluster, missing, tmp_path):
    token = install(cluster, "target-kserve-knative")
    (role,) = (o for o in template("--values", VALUES["target-kserve-knative"]) if o["kind"] == "Role")
    role["rules"][0]["verbs"].remove(missing)
    platform = traffic.Platform(cluster, traffic.CASES["kserve knative"], tmp_path, ADMIN)
    cluster.apply(role)
    target = platform.open(token, tmp_path)
    wanted = [
        f"InferenceService ml/credit: the service may not {missing} inferenceservices.serving.kserve.io"
    ]
    deadline = time.monotonic() + 60
    while target.check() != wanted:
        assert time.monotonic() < deadline, target.check()
        time.sleep(0.05)


# A rollout as its page tells


@pytest.mark.slow
def test_the_page_about_kserve_moves_traffic(cluster, kafka, topic_name, tmp_path, monkeypatch, observer):
    """Its configuration, its commands, and only the rights that it names; there is no KServe at work."""
    monkeypatch.setenv("OBSERVER_TOKEN", "s3cret")
    page = blocks("docs/how-to/kserve.md")
    platform = traffic.Platform(cluster, traffic.CASES["kserve knative"], tmp_path, ADMIN, "churn")
    cluster.merge(platform.path, {"spec": {"predictor": {"canaryTrafficPercent": 0}}})  # as the page has it
    platform.settle()
    (role,) = (yaml.safe_load(one.text) for one in page if one.action == "cluster")
    cluster.apply(role)
    group = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "page", "namespace": "ml"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": role["metadata"]["name"]},
        "subjects": [{"kind": "User", "name": "observer", "apiGroup": group}],
    }
    cluster.apply(binding)
    config = yaml.safe_load(next(one.text for one in page if one.language == "yaml" and not one.action))
    config["targets"]["serving"]["kubeconfig"] = str(cluster.kubeconfig("observer-token", tmp_path))
    config["predictions"] = {"type": "kafka"}
    for stream in ("predictions", "labels"):
        topic = kafka.create_topic(topic_name(stream))
        config[stream] |= {"brokers": kafka.bootstrap, "topic": topic, "start": "earliest"}
    service = Observer(tmp_path, {**config, "http": {**config["http"], "port": free_port()}})
    (block,) = (one for one in page if one.action == "in")
    check, *commands = (shlex.split(line) for line in block.text.splitlines())

    def does(words: list[str]) -> str:
        ran = observer(*words[1:])
        assert ran.code == 0, f"{block.place}: {shlex.join(words)}\n{ran.out}{ran.err}"
        return ran.out

    assert "targets.serving" in does(check)
    service.start()
    try:
        service.wait_ready()
        said = [does(words) for words in commands]
        assert "churn" in said[-1]

        def share() -> Any:
            return cluster.read(platform.path)["spec"]["predictor"].get("canaryTrafficPercent")

        first = config["models"]["churn"]["rollout"]["steps"][0]
        service.process.wait_until(lambda: share() == first, 60)
    finally:
        assert service.end() == 0
