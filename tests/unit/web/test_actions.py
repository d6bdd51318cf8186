"""Actions over HTTP: seen by who may read, decided by who bears the token; on a real control plane."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from observer.acting import Acting
from observer.actions.ledger import broken
from observer.config import parse
from observer.metrics import Counters
from observer.model import LedgerRow
from observer.stores.history.database import Database
from observer.web.access import Access
from observer.web.actions import DESCRIBED, action_routes
from observer.web.attempts import Attempts
from observer.web.openapi import document
from tests.unit.web.plane import until

BEARER = {"Authorization": "Bearer act"}
CONFIG = """
predictions: {type: kafka, brokers: "k:9092", topic: p}
targets:
  train: {type: command, arguments: [/bin/true], folder: %s/runs}
  split: {type: local_split, path: %s/split.json}
models:
  churn:
    actions:
      rules:
        - {name: stale, when: {alert: {alertname: Stale}}, do: retrain, target: train, approval: required}
    rollout: {target: split}
"""


def fast() -> float:
    """A clock by which a target is asked again ten times a second."""
    return 100 * time.monotonic()


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Acting]:
    config = parse(CONFIG % (tmp_path, tmp_path), "observer.yaml", {})
    database = Database(f"sqlite:///{tmp_path / 'history.sqlite'}")
    made = Acting(config, database, Counters(), lambda: (), fast, every=0.02, passed=None)
    try:
        yield made
    finally:
        made.close()
        database.close()


@pytest.fixture
def client(plane: Acting) -> Iterator[TestClient]:
    routes = action_routes(plane, Access(Attempts(time.time), read="see", act="act"))
    with TestClient(Starlette(routes=routes), headers={"Authorization": "Bearer see"}) as made:
        until(lambda: made.get("/api/v1/actions").status_code == 200)
        yield made


def fire(client: TestClient) -> str:
    labels = {"alertname": "Stale", "model": "churn"}
    alert = {"status": "firing", "labels": labels, "startsAt": "2027-01-15T08:00:00Z", "fingerprint": "f"}
    unknown = {**alert, "labels": {**labels, "model": "nobody"}}
    body = {"version": "4", "alerts": [alert, unknown, {"status": "resolved", "labels": labels}, 5], "new": 1}
    answer = client.post("/api/v1/alerts", json=body, headers=BEARER)
    assert answer.json() == {"taken": 1}
    (one,) = until(lambda: client.get("/api/v1/actions").json())
    return str(one["id"])


def test_an_alert_becomes_an_action_that_a_person_approves_and_the_ledger_tells(client: TestClient) -> None:
    name = fire(client)
    fire(client)
    shown = client.get(f"/api/v1/actions/{name}").json()
    assert (shown["state"], shown["action"], shown["why"]) == ("waiting", "retrain", "alert Stale")
    said = {"actor": "ann", "comment": "go"}
    answer = client.post(f"/api/v1/actions/{name}/approve", json=said, headers=BEARER)
    assert answer.json() == {"done": f"{name}: approved"}
    until(lambda: client.get(f"/api/v1/actions/{name}").json()["state"] == "succeeded")
    lines = client.get("/api/v1/ledger").text.splitlines()
    rows = [LedgerRow(**json.loads(line)) for line in lines]
    assert broken(rows) is None
    events = [row.event for row in rows if row.event != "observed"]  # seen running, or not
    assert events == ["intended", "approved", "attempted", "accepted", "succeeded"]
    assert (rows[1].actor, rows[1].data["detail"]) == ("token:ann", "go")
    evaluated = client.get("/api/v1/evaluations").json()
    assert {(one["rule"], one["reason"]) for one in evaluated} == {("stale", "duplicate")}


def test_a_rollout_is_started_paused_and_aborted(client: TestClient, tmp_path: Path) -> None:
    start = {"model": "churn", "champion": "v1", "challenger": "v2", "actor": "ann"}
    assert client.post("/api/v1/rollouts/start", json=start, headers=BEARER).status_code == 200
    until(lambda: client.get("/api/v1/rollouts").json()[0]["share"] == 5)
    assert client.post("/api/v1/rollouts/pause", json=start, headers=BEARER).status_code == 200
    assert client.get("/api/v1/rollouts").json()[0]["paused"] == "by token:ann"
    assert client.post("/api/v1/rollouts/abort", json=start, headers=BEARER).status_code == 200
    until(lambda: client.get("/api/v1/rollouts").json()[0]["result"] == "aborted")
    assert json.loads((tmp_path / "split.json").read_text())["share"] == 0
    again = client.post("/api/v1/rollouts/pause", json=start, headers=BEARER)
    assert again.status_code == 422
    assert "over, aborted" in again.json()["error"]


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("actions/none/approve", {}, 404, "there is none"),
        ("actions/none/destroy", {}, 422, "accepted: approve, reject, hold"),
        ("rollouts/start", {"model": "churn"}, 422, "accepted: two versions"),
        ("rollouts/start", {}, 422, "model: ''; accepted: text"),
        ("rollouts/start", {"model": 5}, 422, "model: 5; accepted: text"),
        ("rollouts/fly", {"model": "churn"}, 422, "accepted: start, pause"),
        ("rollouts/pause", {"model": "nobody"}, 422, "no rollout"),
    ],
)
def test_what_cannot_be_done_is_said(
    client: TestClient, path: str, body: dict[str, Any], status: int, words: str
) -> None:
    answer = client.post(f"/api/v1/{path}", json=body, headers=BEARER)
    assert answer.status_code == status
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("alerts", b'{"alerts": [{"status": "firing", "labels": {"model": "churn", "a": "\\ud800"}}]}'),
        ("rollouts/start", b'{"model": "churn", "champion": "v1", "challenger": "\\ud800"}'),
        ("rollouts/start", b'{"model": "churn", "champion": "v1", "challenger": "v2", "actor": "\\u0000"}'),
        ("alerts", b"[" * 100_000),
        ("results", b"[" * 19_000),
    ],
)
def test_what_no_ledger_takes_is_refused_and_holds_nothing_up(
    client: TestClient, plane: Acting, path: str, content: bytes
) -> None:
    with TestClient(client.app, raise_server_exceptions=False) as outside:
        answer = outside.post(f"/api/v1/{path}", content=content, headers=BEARER)
    assert answer.status_code in (400, 422)
    fire(client)
    assert plane.loop.problem == ""


def test_without_the_token_nothing_is_decided_and_without_any_nothing_is_seen(client: TestClient) -> None:
    for path in ("actions/x/approve", "rollouts/start", "alerts"):
        assert client.post(f"/api/v1/{path}", json={}).status_code == 401, "the reading token does not act"
    for path in ("actions", "ledger", "evaluations", "rollouts", "actions/x"):
        assert client.get(f"/api/v1/{path}", headers={"Authorization": ""}).status_code == 401
    large = b'{"alerts": "' + b"x" * 1_000_001 + b'"}'
    assert client.post("/api/v1/alerts", content=large, headers=BEARER).status_code == 400
    assert client.post("/api/v1/alerts", content=b"[]", headers=BEARER).status_code == 400


def test_the_document_describes_every_route(client: TestClient) -> None:
    described = {path for path in document("1", actions=True)["paths"] if path in DESCRIBED}
    assert {route.path for route in client.app.routes} == described == set(DESCRIBED)  # type: ignore[attr-defined]
