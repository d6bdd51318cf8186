"""The chart as Helm renders it, over the values in `helm/observer/ci`.

`python -m tests.integration.test_helm_chart` writes what it renders today into `tests/integration/helm`:
read it.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

import helm
from observer.actions.targets import TargetSpec
from observer.config import load
from observer.config.page import json_schema
from observer.dashboards import texts
from observer.rules import thresholds, write
from tests.docs.pages import blocks
from tests.services.helm import CHART, ROOT, run, template
from tests.services.process import ServiceError

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]  # the first to come builds Helm

VALUES = {path.stem.removesuffix("-values"): path for path in sorted((CHART / "ci").glob("*.yaml"))}
GOLDENS = Path(__file__).parent / "helm"
IMAGE = ("--set", "image.repository=registry.example/observer")


@cache
def rendered(name: str) -> list[dict[str, Any]]:
    return template("--values", VALUES[name])


def one(objects: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    (found,) = (o for o in objects if o["kind"] == kind and name in ("", o["metadata"]["name"]))
    return found


def container(objects: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = one(objects, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    return found


def golden(name: str) -> str:
    """What Helm renders, but for the dashboards' and rules' texts, which have tests of their own."""
    objects = copy.deepcopy(rendered(name))
    for thing in objects:
        if thing["kind"] == "ConfigMap" and "observer.yaml" not in thing["data"]:
            thing["data"] = dict.fromkeys(thing["data"], "...")
        if thing["kind"] == "PrometheusRule":
            thing["spec"]["groups"] = [group["name"] for group in thing["spec"]["groups"]]
    return yaml.dump_all(objects, Dumper=_Readable, sort_keys=False, width=110)


class _Readable(yaml.SafeDumper):
    """Texts of several lines as they are."""


def _text(dumper: _Readable, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Readable.add_representer(str, _text)


def refused(*arguments: str) -> str:
    with pytest.raises(ServiceError) as error:
        template(*IMAGE, *arguments)
    return str(error.value)


@pytest.mark.parametrize("name", VALUES)
def test_it_renders_what_was_read(name):
    assert (GOLDENS / f"{name}.yaml").read_text() == golden(name)


@pytest.mark.parametrize("name", VALUES)
def test_lint_finds_nothing(name):
    run("lint", "--strict", CHART, "--kube-version", "1.33", "--values", VALUES[name])


def test_lint_finds_nothing_without_values():
    run("lint", "--strict", CHART, "--kube-version", "1.33")


def test_versions_are_those_of_the_service():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert chart["appVersion"] == version[1]


def test_every_value_is_in_the_schema_and_the_other_way_round():

    def paths(value: Any, schema: dict[str, Any], at: str = "") -> set[str]:
        if at == ".config" or not isinstance(value, dict) or "properties" not in schema:
            return {at}
        return {p for key, v in value.items() for p in paths(v, schema["properties"][key], f"{at}.{key}")}

    def described(schema: dict[str, Any], at: str = "") -> set[str]:
        if at == ".config" or "properties" not in schema:
            return {at}
        inner = schema["properties"].items()
        return {p for key, v in inner if key != "global" for p in described(v, f"{at}.{key}")}

    schema = helm.schema()
    assert paths(yaml.safe_load((CHART / "values.yaml").read_text()), schema) == described(schema)


# The configuration


def test_the_full_example_reaches_the_service_as_it_is(tmp_path, monkeypatch):
    """Through YAML 1.1, JSON and back: the same configuration, but for what the chart sets."""
    monkeypatch.setenv("KAFKA_PASSWORD", "x")
    text = (ROOT / "examples/observer-full.yaml").read_text()
    text = text.replace("privacy: off", 'privacy: "off"').replace("${file:hash.key}", "${HASH_KEY}")
    text = text.replace("observer-state ", "/var/lib/observer/state ").replace(
        "host: 127.0.0.1", "host: 0.0.0.0"
    )
    text = re.sub(
        r'(token|secret|password): "[^"$]+"', r"\1: ${KAFKA_PASSWORD}", text
    )  # in plain text: refused
    monkeypatch.setenv("HASH_KEY", "y")
    whole = yaml.safe_load(text)
    given = {"KAFKA_PASSWORD": {"secret": "s", "key": "k"}, "HASH_KEY": {"secret": "s", "key": "k"}}
    values = tmp_path / "values.yaml"
    # What the defaults say of Kafka goes where the labels are files.
    values.write_text(yaml.safe_dump({"config": whole, "secrets": given}))
    made = one(template(*IMAGE, "--values", values), "ConfigMap")["data"]["observer.yaml"]
    (tmp_path / "original.yaml").write_text(text)
    (tmp_path / "rendered.yaml").write_text(made)
    original, through = load(tmp_path / "original.yaml"), load(tmp_path / "rendered.yaml")
    assert through == original


def test_the_values_of_the_docs_render(tmp_path):
    (values,) = (
        block.text for block in blocks("docs/kubernetes.md") if block.text.startswith("# values.yaml")
    )
    (tmp_path / "values.yaml").write_text(values)
    made = one(template("--values", tmp_path / "values.yaml"), "ConfigMap", "observer")
    wanted = yaml.safe_load(values)["config"]["models"]
    assert yaml.safe_load(made["data"]["observer.yaml"])["models"] == wanted


@pytest.mark.parametrize("name", VALUES)
def test_the_service_accepts_the_configuration_and_writes_on_the_volume_only(name, tmp_path, monkeypatch):
    objects = rendered(name)
    for given in container(objects).get("env", []):
        monkeypatch.setenv(given["name"], "secret")
    made = one(objects, "ConfigMap", "trial" if name == "trial" else "observer")["data"]["observer.yaml"]
    if "${file:/keys/hash}" in made:
        (tmp_path / "hash").write_text("key")
        made = made.replace("/keys/hash", "hash")
    (tmp_path / "observer.yaml").write_text(made)
    config = load(tmp_path / "observer.yaml")
    assert str(config.state.path).startswith("/var/lib/observer/")
    assert str(config.dead_letters_file).startswith("/var/lib/observer/")
    assert str(config.http.port) == str(container(objects)["ports"][0]["containerPort"])


def test_the_command_line_takes_the_arguments():
    command = [sys.executable, "-m", "observer", *container(rendered("default"))["args"], "--help"]
    assert subprocess.run(command, check=True, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("replicas=2", "at '/replicas': value must be one of 0, 1"),
        ("replicaCount=1", "additional properties 'replicaCount' not allowed"),
        ("probes.liveness.path=/", "at '/probes/liveness': additional properties 'path' not allowed"),
        ("secrets.A.secret=x", "at '/secrets/A': missing property 'key'"),
        ("persistence.size=much", "at '/persistence/size'"),
        ("config.models.churn.window.size=1 hour", "size': '1 hour' does not match"),
        ("config.predictions.brockers=x", "additional properties 'brockers' not allowed"),
        ("config.predictions.topic=two words", "at '/config/predictions/topic'"),
        ("config.targets.a.type=kserv", "at '/config/targets/a/type': value must be one of 'kubeflow'"),
        ("config.targets.a.type=kserve", "at '/config/targets/a': missing properties 'namespace', 'name'"),
        ("config.models.churn.judge.alpha=3", "at '/config/models/churn/judge/alpha'"),
        ("config.models.churn.features.age.privacy=false", "got boolean, want string"),
        ("config.http.host=127.0.0.1", "127.0.0.1 cannot be reached by probes; accepted: 0.0.0.0"),
        ("config.http.port=80", "accepted: 1024 to 65535"),
        ("config.state.path=/data", "config.state.path: /data is not on the volume; accepted:"),
        ("config.http.token=abc", "config.http.token: a secret, which everybody"),
        ("config.http.token=${TOKEN}", "${TOKEN} is not given; accepted: secrets.TOKEN"),
        ("config.history.url=postgresql://u:pw@h/d", "config.history.url: a secret"),
        ("config.targets.a.type=command,config.targets.a.arguments={python}", "config.targets.a.folder"),
        ("waitForState=300", "accepted: less than the patience of probes.startup, 300 s"),
        ("serviceMonitor.enabled=true,podMonitor.enabled=true", "both would scrape everything twice"),
        ("prometheusRule.enabled=true,prometheusRule.rules=none", "accepted: what `observer rules` prints"),
    ],
)
def test_wrong_values_are_refused_in_words(setting, told):
    said = refused("--set", setting)
    assert told in said
    assert "abc" not in said, "a secret"
    assert "missing propert" not in said or "missing propert" in told, "only of the kind that was chosen"


def test_all_that_is_wrong_is_told_at_once():
    said = refused("--set", "config.http.host=localhost,config.http.port=80,config.http.token=abc")
    assert [line.split(":")[0].strip() for line in said.splitlines() if line.startswith("  config")] == [
        "config.http.host",
        "config.http.port",
        "config.http.token",
    ]


def test_an_image_must_be_named():
    with pytest.raises(ServiceError, match="none is published; build one"):
        template()


def test_a_dollar_that_is_no_reference_needs_no_secret():
    template(*IMAGE, "--set", "config.predictions.security.username=$${X}")


def test_secret_keys_are_those_of_the_configuration():
    """What the chart refuses in plain text, beside addresses with a password in them."""

    def secrets(node: Any, key: str = "") -> set[str]:
        if isinstance(node, list):
            return {found for item in node for found in secrets(item, key)}
        if not isinstance(node, dict):
            return set()
        own = {key} if node.get("writeOnly") is True else set()
        properties = node.get("properties", {})
        for name, value in node.items():
            if name == "properties":
                own |= {found for k, v in properties.items() for found in secrets(v, k)}
            elif name not in ("additionalProperties", "default"):
                own |= secrets(value, key)
        return own

    text = (CHART / "templates/_validate.tpl").read_text()
    refuses = re.search(r"has \.key \(list ([^)]*)\)", text)
    assert refuses is not None
    assert secrets(json_schema()) - {"url"} == set(re.findall(r'"(\w+)"', refuses[1]))


# Rights


def test_the_chart_knows_the_objects_of_every_target():
    spread = TypeAdapter[Any](TargetSpec)
    arms = {"champion": "a", "challenger": "b"}
    for kind in ("kserve", "inference_graph", "seldon", "seldon_experiment", "http_route"):
        own = {} if kind == "kserve" else arms
        resource = (
            spread.validate_python({"type": kind, "namespace": "n", "name": "o", **own}).platform().resource
        )
        helpers = (CHART / "templates/_helpers.tpl").read_text()
        assert f'"{kind}" "{resource.group}/{resource.plural}"' in helpers


def test_rights_are_by_namespace_and_name_and_other_clusters_need_none():
    objects = rendered("everything")
    roles = {o["metadata"]["namespace"]: o["rules"] for o in objects if o["kind"] == "Role"}
    verbs = ["get", "patch"]
    assert roles == {
        "ml": [
            {
                "apiGroups": ["serving.kserve.io"],
                "resources": ["inferenceservices"],
                "resourceNames": ["basket", "churn"],
                "verbs": verbs,
            }
        ],
        "web": [
            {
                "apiGroups": ["gateway.networking.k8s.io"],
                "resources": ["httproutes"],
                "resourceNames": ["churn"],
                "verbs": verbs,
            }
        ],
    }
    assert not [o for o in objects if o["kind"].startswith("Cluster")]


def test_without_targets_the_pod_has_no_token():
    pod = one(rendered("default"), "StatefulSet")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert not [o for o in rendered("default") if o["kind"] in ("Role", "RoleBinding")]


# The pod


@pytest.mark.parametrize("name", VALUES)
def test_pods_meet_the_restricted_standard_and_bring_what_they_mount(name):
    objects = rendered(name)
    pods = [one(objects, "StatefulSet")["spec"]["template"]["spec"], one(objects, "Pod")["spec"]]
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for each in pod["containers"]:
            own = each["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["readOnlyRootFilesystem"] is True
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert each["resources"]["limits"]["memory"]
            there = {v["name"] for v in pod.get("volumes", ())}
            claims = one(objects, "StatefulSet")["spec"].get("volumeClaimTemplates", ())
            there |= {claim["metadata"]["name"] for claim in claims}
            assert {mount["name"] for mount in each.get("volumeMounts", ())} <= there


def test_another_configuration_starts_another_pod_and_the_same_one_does_not():
    def checksum(*arguments: str) -> str:
        made = template(*IMAGE, *arguments)
        found: str = one(made, "StatefulSet")["spec"]["template"]["metadata"]["annotations"][
            "checksum/config"
        ]
        return found

    assert checksum() == checksum("--set", "service.port=80")
    assert checksum() != checksum("--set", "config.log_level=debug")


# Prometheus and Grafana


def test_the_alerts_are_those_of_the_service_and_promtool_reads_them(tmp_path):
    objects = rendered("everything")
    groups = one(objects, "PrometheusRule")["spec"]["groups"]
    any_model = tmp_path / "any.yaml"
    kafka = "{type: kafka, brokers: 'kafka:9092', topic: %s}"
    any_model.write_text(f"predictions: {kafka % 'p'}\nlabels: {kafka % 'l'}\n")
    runbooks = "https://runbooks.example/observer"
    wanted = yaml.safe_load(write(load(any_model), thresholds(), runbooks=runbooks, job="observer"))["groups"]
    for group in wanted:
        for rule in group["rules"]:
            rule["labels"] |= {"namespace": "watch", "cluster": "prod"}
    *own, extra = groups
    assert own == wanted
    assert [rule.get("labels") for rule in extra["rules"]] == [
        {"severity": "ticket", "namespace": "watch", "cluster": "prod"},
        None,
    ]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": groups}))
    subprocess.run(["promtool", "check", "rules", str(path)], check=True, capture_output=True)


def test_rules_of_a_configuration_replace_the_charts(tmp_path):
    rules = ROOT / "tests/unit/rules/rules.yaml"
    made = template(
        *IMAGE, "--set", "prometheusRule.enabled=true", "--set-file", f"prometheusRule.rules={rules}"
    )
    groups = one(made, "PrometheusRule")["spec"]["groups"]
    wanted = yaml.safe_load(rules.read_text())["groups"]
    for group in wanted:
        for rule in group["rules"]:
            if "alert" in rule:
                rule["labels"]["namespace"] = "watch"
    assert groups == wanted


def test_rules_of_many_models_fit_into_objects_that_the_operator_takes(tmp_path):
    names = [f"model-{number:02}" for number in range(40)]
    spec = "{objectives: {correct: {indicator: {type: correct}, target: 0.99}}}"
    config = tmp_path / "observer.yaml"
    models = ", ".join(f"{name}: {spec}" for name in names)
    kafka = "{type: kafka, brokers: 'kafka:9092', topic: %s}"
    config.write_text(f"predictions: {kafka % 'p'}\nlabels: {kafka % 'l'}\nmodels: {{{models}}}\n")
    rules = tmp_path / "rules.yaml"
    rules.write_text(write(load(config), thresholds()))
    assert rules.stat().st_size > 512 * 1024
    made = template(
        *IMAGE, "--set", "prometheusRule.enabled=true", "--set-file", f"prometheusRule.rules={rules}"
    )
    objects = [found for found in made if found["kind"] == "PrometheusRule"]
    assert all(len(yaml.safe_dump(found)) < 400 * 1024 for found in objects)
    assert [found["metadata"]["name"] for found in objects[:3]] == ["observer", "observer-1", "observer-2"]
    groups = [group["name"] for found in objects for group in found["spec"]["groups"]]
    assert groups == [group["name"] for group in yaml.safe_load(rules.read_text())["groups"]]


@pytest.mark.parametrize(("name", "kind"), [("everything", "ServiceMonitor"), ("postgresql", "PodMonitor")])
def test_the_job_is_the_one_that_alerts_ask_for(name, kind):
    monitor = one(rendered(name), kind)["spec"]
    (endpoint,) = monitor["endpoints" if kind == "ServiceMonitor" else "podMetricsEndpoints"]
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "observer"}]
    rules = template("--values", VALUES["everything"], release="second")
    assert 'up{job="second-observer"}' in json.dumps(one(rules, "PrometheusRule")).replace('\\"', '"')


def test_dashboards_are_the_services_own():
    found = {}
    for thing in rendered("everything"):
        if thing["metadata"].get("labels", {}).get("grafana_dashboard"):
            ((name, text),) = thing["data"].items()
            found[name.removeprefix("observer-")] = text
    assert found == {name: text.rstrip("\n") for name, text in texts().items()}


if __name__ == "__main__":
    for name in VALUES:
        (GOLDENS / f"{name}.yaml").write_text(golden(name))
