"""A retraining's version comes as a pipeline's output, over the API or as an event, and is rolled out."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from observer.acting import Acting
from observer.actions.retrain.events import sign
from observer.config import parse
from observer.metrics import Counters
from observer.stores.history.database import Database
from observer.web.access import Access
from observer.web.actions import action_routes
from observer.web.attempts import MOST, Attempts
from tests.unit.actions.server import Request, served
from tests.unit.actions.vendors import Airflow, Kubeflow, task
from tests.unit.web.plane import until
from tests.unit.web.test_actions import BEARER

SECRET = "hush"  # noqa: S105
CONFIG = """
predictions: {type: kafka, brokers: "k:9092", topic: p}
targets:
  kubeflow: {type: kubeflow, url: %(kubeflow)s, pipeline: train, token: s3cret}
  airflow: {type: airflow, url: %(airflow)s, dag: train, user: observer, password: pw}
  knative: {type: knative, url: %(taken)s, namespace: ml, secret: %(secret)s}
  webhook: {type: webhook, url: %(taken)s}
  split: {type: local_split, path: %(folder)s/split.json}
models:
  churn:
    actions:
      rules:
        - {name: kubeflow, when: {alert: {by: kubeflow}}, do: retrain, target: kubeflow, approval: automatic}
        - {name: airflow, when: {alert: {by: airflow}}, do: retrain, target: airflow, approval: automatic}
        - {name: knative, when: {alert: {by: knative}}, do: retrain, target: knative, approval: automatic}
        - {name: webhook, when: {alert: {by: webhook}}, do: retrain, target: webhook, approval: automatic}
    rollout: {target: split, start: after_retrain, steps: [10, 50]}
"""


class Site:
    """A service with everything that retrains beside it."""

    def __init__(self, client: TestClient, sent: list[Request]) -> None:
        self.client, self.sent = client, sent

    def retrained(self, by: str) -> str:
        """Have an alert lead to a retraining by the target; the action's id, once it has succeeded."""
        labels = {"by": by, "model": "churn", "version": "7", "alertname": "Stale"}
        alert = {"status": "firing", "labels": labels, "startsAt": "2027-01-15T08:00:00Z", "fingerprint": by}
        self.client.post("/api/v1/alerts", json={"alerts": [alert]}, headers=BEARER)
        (one,) = until(
            lambda: [a for a in self.client.get("/api/v1/actions").json() if a["state"] == "succeeded"]
        )
        return str(one["id"])

    def rollout(self) -> tuple[str, str]:
        """Champion and challenger of the one that began, at its first step."""
        (one,) = until(lambda: [r for r in self.client.get("/api/v1/rollouts").json() if r["share"] == 10])
        return one["champion"], one["challenger"]

    def events(self, name: str) -> list[str]:
        return [row["event"] for row in self.client.get(f"/api/v1/actions/{name}").json()["rows"]]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    sent: list[Request] = []
    kubeflow, airflow = Kubeflow(), Airflow()
    kubeflow.tasks = [task("fit", {"version": "8"})]
    airflow.xcoms = {("fit", -1, "version"): "8"}

    def take(request: Request) -> tuple[int, Any]:
        sent.append(request)
        return 202, {}

    with ExitStack() as stack:
        urls = {
            name: stack.enter_context(served(handle)).url
            for name, handle in {"kubeflow": kubeflow, "airflow": airflow, "taken": take}.items()
        }
        config = parse(CONFIG % {**urls, "folder": tmp_path, "secret": SECRET}, "observer.yaml", {})
        database = Database(f"sqlite:///{tmp_path / 'history.sqlite'}")
        stack.callback(database.close)
        plane = Acting(config, database, Counters(), lambda: (), time.time, every=0.02)
        stack.callback(plane.close)
        routes = action_routes(plane, Access(Attempts(lambda: 0.0), act="act"))
        client = stack.enter_context(TestClient(Starlette(routes=routes)))
        until(lambda: client.get("/api/v1/actions").status_code == 200)
        yield Site(client, sent)


@pytest.mark.parametrize("by", ["kubeflow", "airflow"])
def test_what_a_pipeline_puts_out_meets_the_champion(site: Site, by: str) -> None:
    site.retrained(by)
    assert site.rollout() == ("7", "8")


def test_what_is_told_over_the_api_meets_the_champion(site: Site) -> None:
    name = site.retrained("webhook")
    (order,) = site.sent
    assert order.json["id"] == name, "the receiver knows what to answer"
    path, said = f"/api/v1/actions/{name}/result", {"version": "8", "actor": "train"}
    assert site.client.post(path, json=said).status_code == 401
    wrong = site.client.post(path, json={"version": "../8"}, headers=BEARER)
    assert (wrong.status_code, "accepted: up to 128" in wrong.json()["error"]) == (422, True)
    assert site.client.post(path, json={}, headers=BEARER).status_code == 422
    assert site.client.post(path, json=said, headers=BEARER).json() == {"done": "version 8"}
    assert site.rollout() == ("7", "8")
    assert site.events(name)[-3:] == ["result_refused", "result_refused", "resulted"]
    missing = site.client.post("/api/v1/actions/none/result", json=said, headers=BEARER)
    assert missing.status_code == 404


def event(name: str, version: Any, secret: str = SECRET, **changes: str) -> dict[str, Any]:
    """Headers and body of a result, in binary mode."""
    signature = "sha256=" + sign(f"{name}.{version}".encode(), secret)
    headers = {
        "ce-specversion": "1.0",
        "ce-type": "io.ml-observer.result",
        "ce-id": "1",
        "ce-source": "/train",
    }
    more = {"ce-signature": signature, "content-type": "application/json", **changes}
    return {"headers": {**headers, **more}, "content": json.dumps({"id": name, "version": version})}


def structured(name: str, version: Any, *, base64: bool) -> dict[str, Any]:
    """The same in structured mode."""
    given = event(name, version)
    attributes = {key[3:]: value for key, value in given["headers"].items() if key.startswith("ce-")}
    data = given["content"]
    more = {"data_base64": b64encode(data.encode()).decode()} if base64 else {"data": json.loads(data)}
    body = json.dumps({**attributes, **more})
    return {"headers": {"content-type": "application/cloudevents+json; charset=utf-8"}, "content": body}


@pytest.mark.parametrize("mode", ["binary", "structured", "base64", "token"])
def test_what_an_event_tells_meets_the_champion(site: Site, mode: str) -> None:
    name = site.retrained("knative")
    (order,) = site.sent
    assert (order.path, order.headers["ce-id"]) == ("/ml/default", name)
    given = {
        "binary": event(name, "8"),
        "structured": structured(name, "8", base64=False),
        "base64": structured(name, "8", base64=True),
        "token": event(name, "8", **{"ce-signature": "", **BEARER}),
    }[mode]
    answer = site.client.post("/api/v1/results", **given)
    assert (answer.status_code, answer.json()) == (200, {"done": "version 8"})
    assert site.rollout() == ("7", "8")
    again = site.client.post("/api/v1/results", **given)
    assert again.json() == {"done": "version 8, as was named before"}, "brokers deliver more than once"
    rows = site.client.get(f"/api/v1/actions/{name}").json()["rows"]
    assert [row["actor"] for row in rows if row["event"] == "resulted"] == ["event:/train"]
    assert SECRET not in json.dumps(rows)


def test_an_event_that_nobody_vouches_for_changes_nothing(site: Site) -> None:
    name = site.retrained("knative")

    def status(given: dict[str, Any]) -> int:
        return int(site.client.post("/api/v1/results", **given).status_code)

    changed = {**event(name, "8"), "content": json.dumps({"id": name, "version": "9"})}
    for unsigned in (
        event(name, "8", secret="guess"),  # noqa: S106
        event(name, "8", **{"ce-signature": ""}),
        changed,
        event("none", "8"),
        event(name, "8", Authorization="Bearer guess"),
    ):
        assert status(unsigned) == 401
    for odd in (
        event(name, "8", **{"ce-type": "io.ml-observer.action.retrain"}),
        event(name, "8", **{"ce-specversion": "0.3"}),
        {**event(name, "8"), "content": "[]"},
        {**event(name, "8"), "content": "{"},
        {**event(name, "8"), "content": "[" * 9_000},
        {**event(name, "8"), "content": json.dumps({"id": 5, "version": "8"})},
        {**event(name, "8"), "content": json.dumps({"id": name, "version": "8", "more": "x" * 20_000})},
        {**structured(name, "8", base64=True), "content": '{"data_base64": "!"}'},
    ):
        assert status(odd) == 400
    assert status(event(name, "../8")) == 422, "signed, and yet no version"
    for _ in range(MOST - 4):
        status(event(name, "8", secret="guess"))  # noqa: S106
    assert status(event(name, "8")) == 429, "even a right one is not looked at"
    assert site.client.get("/api/v1/rollouts").json() == []
    assert site.events(name)[-1] == "result_refused"


def test_a_target_without_a_secret_has_no_signature(site: Site) -> None:
    name = site.retrained("webhook")
    assert site.client.post("/api/v1/results", **event(name, "8", secret="")).status_code == 401
