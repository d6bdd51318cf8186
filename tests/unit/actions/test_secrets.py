"""Secrets stay where they belong, whatever servers repeat; and no event can say where anything is sent."""

from __future__ import annotations

import base64
import json
import logging
import random
import ssl
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from observer.actions.alerts import action_alerts
from observer.actions.base import Target
from observer.actions.engine import ActionEngine
from observer.actions.gate import WebGate
from observer.actions.ledger import Ledger
from observer.actions.policy import Trigger, evaluate
from observer.actions.rollout import Rollout
from observer.actions.rollout_spec import GateSpec, RolloutSpec
from observer.actions.shown import brief, rollout_shown, whole
from observer.actions.spec import ActionsSpec
from observer.actions.steps import Step
from observer.actions.targets import TargetSpec
from observer.codecs.events import Event
from observer.errors import ObserverError
from observer.exporters.alertmanager import Alertmanagers, AlertmanagerSpec
from observer.metrics import Values
from tests.unit.actions.fakes import NOW, MemoryStore, order
from tests.unit.actions.server import Answer, Request
from tests.unit.actions.wire import Wire
from tests.unit.actions.world import World

TOKEN, PASSWORD, SECRET, NAMED = "t0ken-s3cret", "passw0rd-s3cret", "hm4c-s3cret", "us3rinfo-s3cret"
COOKIE = "c00kie-s3cret"
URL = f"http://ann:{NAMED}@out.there"
SECRETS = (
    *(TOKEN, PASSWORD, SECRET, NAMED, COOKIE),
    base64.b64encode(f"ann:{NAMED}".encode()).decode(),
    base64.b64encode(f"ann:{NAMED}".encode()).decode().rstrip("="),
)
KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
    "users": [{"name": "u", "user": {"token": TOKEN}}],
}
OBJECT = {"namespace": "ml", "name": "credit"}
ARMS = {**OBJECT, "champion": "v1", "challenger": "v2"}
SPECS: dict[str, dict[str, Any]] = {
    "kubeflow": {"url": "http://out.there", "token": TOKEN, "pipeline": "train"},
    "kubeflow, by cookie": {
        "url": "http://out.there",
        "cookie": f"session={COOKIE}; a=b",
        "pipeline": "train",
    },
    "kubeflow, named in the address": {"url": URL, "pipeline": "train"},
    "airflow": {"url": "http://out.there", "user": "ann", "password": PASSWORD, "dag": "train"},
    "airflow, by token": {"url": "http://out.there", "token": TOKEN, "dag": "train"},
    "knative": {"url": URL, "namespace": "ml", "secret": SECRET},
    "webhook": {"url": "http://out.there", "token": TOKEN, "secret": SECRET, "path": "/x?sig=1"},
    "webhook, named in the address": {"url": URL, "secret": SECRET, "deduplicates": True},
    "command": {"arguments": ["/bin/false"]},
    "kserve": OBJECT,
    "inference_graph": ARMS,
    "seldon": ARMS,
    "seldon_experiment": ARMS,
    "http_route": ARMS,
    "local_split": {},
}


trusted = cache(ssl.create_default_context)
"""The authorities that the machine trusts, read once and not for each request: nothing here speaks TLS."""


class Echo:
    """A server that repeats everything it is sent, with one status or another."""

    def __init__(self) -> None:
        self.rng = random.Random(3)
        self.seen = ""

    def __call__(self, request: Request) -> Answer:
        self.seen += str(request)
        if request.path == "/auth/token" and self.rng.random() < 0.7:
            return 201, {"access_token": TOKEN}
        said = {"headers": request.headers, "body": request.body.decode(errors="replace")}
        return self.rng.choice([200, 200, 401, 403, 404, 409, 422, 429, 500, 503]), said


def target(name: str, folder: Path) -> Target:
    spec = {"type": name.split(",", maxsplit=1)[0], **SPECS[name]}
    if spec["type"] == "command":
        spec["folder"] = str(folder / "runs")
    elif spec["type"] == "local_split":
        spec["path"] = str(folder / "split.json")
    elif "namespace" in spec and "url" not in spec:
        (folder / "kubeconfig").write_text(json.dumps(KUBECONFIG))
        spec["kubeconfig"] = str(folder / "kubeconfig")
    made: Target = TypeAdapter[Any](TargetSpec).validate_python(spec).target()
    return made


@pytest.mark.parametrize("name", SPECS)
def test_no_secret_is_seen_anywhere_after_a_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ssl, "create_default_context", trusted)
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, "observer")
    echo, wire = Echo(), Wire(random.Random(1), lambda: None)
    wire.trouble = 0.2
    wire.servers = {"out.there": echo, f"ann:{NAMED}@out.there": echo}
    wire.install(monkeypatch)
    store = MemoryStore()
    engine = ActionEngine(Ledger(store), {"pipeline": target(name, tmp_path)}, poll_every=0)
    for number in range(20):
        engine.propose(order(f"{name}/{number}", parameters={"share": 10, "before": 0}), NOW)
    for turn in range(60):
        engine.tick(NOW + 60 * turn)
    said: list[object] = [store.kept, caplog.text, engine.away, [record.args for record in caplog.records]]
    for _ in range(5):
        said += engine.targets["pipeline"].check()
    for action in engine.ledger.actions.values():
        said += [brief(action), whole(action)]
        try:
            engine.rule(action.id, "reject", "token:ann", "", NOW)
        except ObserverError as error:
            said.append(error)
    said += [repr(engine.targets), action_alerts(engine.ledger.open)]
    everything = repr(said)
    assert len(store.kept) > 60
    assert [secret for secret in SECRETS if secret in everything] == []
    if "url" in SPECS[name]:
        assert any(secret in echo.seen for secret in (TOKEN, COOKIE, SECRETS[5])), (
            "it was sent, where it belongs"
        )


def test_neither_a_gate_nor_alertmanager_tells_its_token(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "observer")
    echo, wire = Echo(), Wire(random.Random(1), lambda: None)
    wire.servers = {"out.there": echo, f"ann:{NAMED}@out.there": echo}
    wire.install(monkeypatch)
    said: list[object] = []
    rollout = Rollout("credit", "v1", "v2", RolloutSpec(target="serving"), NOW)
    gate = WebGate(GateSpec.model_validate({"url": URL + "/x", "token": TOKEN, "secret": SECRET}))
    alerting = Alertmanagers(AlertmanagerSpec.model_validate({"urls": [URL], "token": TOKEN}))
    engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": target("command", Path())})
    engine.propose(order(), NOW)
    for turn in range(40):
        said.append(gate.closed(rollout, Step("advance", 5.0, "no_harm", "")))
        alerting.show(action_alerts(engine.ledger.open), NOW + 100 * turn)
        said += [alerting.tick(NOW + 100 * turn), alerting.check(), alerting.down]
        try:
            alerting.silences()
        except ObserverError as error:
            said.append(error)
    everything = repr(said) + caplog.text
    assert "authorization" in everything, "the server's words are told"
    assert TOKEN in echo.seen
    assert [secret for secret in SECRETS if secret in everything] == []


def test_gauges_pages_and_states_of_a_rollout_hold_no_secret() -> None:
    world = World(gate={"url": "http://127.0.0.1:9", "token": TOKEN, "secret": SECRET})
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    world.control.tick(NOW)
    values = Values()
    world.control.publish(values)
    ((rollout, words),) = world.control.rollouts.all()
    everything = repr((values.series, rollout_shown(rollout, words), world.states.kept, world.store.kept))
    assert "gate_closed" in words
    assert [secret for secret in SECRETS if secret in everything] == []


def test_no_event_and_no_alert_can_name_a_target_an_address_or_a_template() -> None:
    fields = set(Event.__struct_fields__)
    assert fields == {
        *("id", "model", "time", "prediction", "version", "features", "scores", "arm", "arm_probability"),
        *("tags", "latency_ms", "embeddings", "error"),
    }
    evil = "http://evil.example/{{ .Secret }}/${HOME}/../../etc/passwd"
    rule = {"name": "r", "when": {"alert": {"alertname": "Stale"}}, "do": "retrain", "target": "nightly"}
    spec = ActionsSpec.model_validate({"rules": [rule]})
    labels = dict.fromkeys(("target", "url", "rule", "do", "template", "parameters", "approval"), evil)
    trigger = Trigger("alert", "credit", evil, evil, evil, labels={"alertname": "Stale", **labels})
    (one,) = evaluate(spec, trigger, [], NOW, fired={})
    assert one.order is not None
    assert (one.order.target, one.order.kind, one.order.approval.mode) == ("nightly", "retrain", "required")
    known = {"model", "version", "since", "until", "cause", "finding", "reference"}
    assert set(one.order.parameters) == known
    assert one.order.parameters["version"] == evil, "text, as it came: nothing reads it as anything else"
    assert len(one.order.id) == 36, "which names folders and paths"
