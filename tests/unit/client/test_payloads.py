"""KServe's inference logger: events of requests and responses become predictions."""

from __future__ import annotations

import asyncio
import base64
import json

import httpx
import pytest
from starlette.testclient import TestClient

from observer.client import PayloadEndpoint, PredictionLogger
from tests.unit.client.fakes import Memory

KIND = "org.kubeflow.serving.inference."
TIME = "2026-01-01T00:00:00.123456789Z"


class Endpoint:
    """An endpoint whose loggers write to memory."""

    def __init__(self, **options) -> None:
        self.memory = Memory()
        self.made: list[PredictionLogger] = []
        self.app = PayloadEndpoint(self.make, **options)

    def make(self, model: str) -> PredictionLogger:
        names = {"feature_names": ("a", "b"), "classes": ("no", "yes")}
        self.made.append(PredictionLogger(model, transport=self.memory, format="json", **names))
        return self.made[-1]

    def post(self, *events: tuple[dict, bytes]) -> list[httpx.Response]:
        async def ask():
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return [await client.post("/", headers=headers, content=body) for headers, body in events]

        return asyncio.run(ask())

    @property
    def events(self) -> list[dict]:
        for logger in self.made:
            assert logger.flush(20)
        return [json.loads(value) for value in self.memory.values("predictions")]


@pytest.fixture
def endpoint():
    made = []

    def make(**options):
        made.append(Endpoint(**options))
        return made[-1]

    yield make
    for one in made:
        for logger in one.made:
            logger.close()


def binary(half: str, one: str, body: object, **more: str) -> tuple[dict, bytes]:
    """As KServe's agent sends it."""
    attributes = {
        "id": one, "type": KIND + half, "specversion": "1.0", "time": TIME, "source": "http://localhost:9081/",
        "inferenceservicename": "churn", "namespace": "prod", "component": "predictor", "endpoint": "default",
    } | more  # fmt: skip
    headers = {f"Ce-{key.capitalize()}": value for key, value in attributes.items()}
    return headers | {"Content-Type": "application/json"}, json.dumps(body).encode()


def structured(half: str, one: str, body: object) -> tuple[dict, bytes]:
    """As a Kafka sink or a broker may send it on."""
    headers, payload = binary(half, one, body)
    event = {key[3:].lower(): value for key, value in headers.items() if key.startswith("Ce-")}
    event |= {"data_base64": base64.b64encode(payload).decode()} if half == "request" else {"data": body}
    return {"Content-Type": "application/cloudevents+json; charset=utf-8"}, json.dumps(event).encode()


V1 = ({"instances": [[1, 2], {"a": 3, "b": 4}]}, {"predictions": ["yes", [0.75, 0.25]]})
V2 = (
    {"id": "x", "inputs": [{"name": "input", "shape": [2, 2], "datatype": "FP64", "data": [1, 2, 3, 4]}]},
    {"outputs": [{"name": "p", "shape": [2, 2], "datatype": "FP64", "data": [0.25, 0.75, 0.75, 0.25]}]},
)


@pytest.mark.parametrize("encode", [binary, structured])
@pytest.mark.parametrize("bodies", [V1, V2])
@pytest.mark.parametrize("halves", [("request", "response"), ("response", "request")])
def test_halves_meet_in_any_order(endpoint, encode, bodies, halves):
    one = endpoint()
    by_half = dict(zip(("request", "response"), bodies, strict=True))
    answers = one.post(*(encode(half, "7", by_half[half]) for half in halves))
    assert [answer.status_code for answer in answers] == [202, 202]
    events = one.events
    assert [(event["id"], event["features"], event["prediction"]) for event in events] == [
        ("7-0", {"a": 1, "b": 2}, "yes"),
        ("7-1", {"a": 3, "b": 4}, "no"),
    ]
    assert events[1]["scores"] == {"no": 0.75, "yes": 0.25}
    assert {(event["model"], event["time"], event["arm"]) for event in events} == {
        ("churn", TIME, "champion")
    }
    assert "latency_ms" not in events[0]
    assert one.app.counts == {"waiting": 1, "joined": 2}


def test_what_does_not_belong_together_does_not_meet(endpoint):
    one = endpoint()
    request, response = {"instances": [[1, 2]]}, {"predictions": [1]}
    one.post(
        binary("request", "1", request),
        binary("response", "1", response, namespace="test"),
        binary("response", "1", response, inferenceservicename="other"),
        binary("response", "2", response),
        binary("request", "1", {"instances": [[5, 6]]}),  # delivered twice
    )
    assert one.events == []
    one.post(binary("response", "1", response, endpoint="canary"))
    (event,) = one.events
    assert (event["id"], event["features"]) == ("1", {"a": 5, "b": 6})


def test_halves_without_the_other_end(endpoint, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("observer.client.payloads.monotonic", lambda: now[0])
    one = endpoint(timeout=10)
    one.post(binary("request", "1", V1[0]))
    now[0] = 11
    one.post(binary("response", "1", V1[1]))
    assert one.events == []
    assert one.app.counts == {"waiting": 2, "expired": 1}
    full = endpoint(pending_bytes=100)
    full.post(*(binary("request", str(number), {"instances": [[1, 2]]}) for number in range(10)))
    full.post(*(binary("response", str(number), {"predictions": [1]}) for number in range(10)))
    assert full.app.counts["overflow"] > 5
    assert [event["id"] for event in full.events] == [
        str(number) for number in range(10 - len(full.events), 10)
    ]


def test_what_is_no_such_event_is_refused(endpoint):
    one = endpoint(max_body=1000)
    headers, body = binary("request", "1", V1[0])
    structure, event = structured("request", "1", V1[0])
    without = {key: value for key, value in headers.items() if key != "Ce-Inferenceservicename"}
    answers = one.post(
        (without, body),
        ({**headers, "Ce-Type": "dev.knative.kafka.event"}, body),
        ({"Content-Type": "application/cloudevents+json"}, b"[1]"),
        ({"Content-Type": "application/cloudevents+json"}, b"{"),
        (headers, b" " * 1001),
        ({"Content-Type": "application/cloudevents+json"}, b"[" * 1000),
        (structure, json.dumps({**json.loads(event), "data_base64": 7}).encode()),
        (structure, json.dumps({**json.loads(event), "namespace": ["a"]}).encode()),
    )
    assert [answer.status_code for answer in answers] == [400, 400, 400, 400, 413, 400, 400, 202]
    assert "`inferenceservicename` is missing" in answers[0].text
    assert "accepted: org.kubeflow.serving.inference.request" in answers[1].text
    assert one.app.counts == {"refused": 7, "waiting": 1}


def test_bodies_that_cannot_be_read_are_counted(endpoint):
    one = endpoint()
    headers, _ = binary("request", "1", {})
    answers = one.post((headers, b"\x00binary"), binary("response", "1", V1[1]))
    assert [answer.status_code for answer in answers] == [202, 202]
    assert one.events == []
    assert one.made[0].stats().dropped == {"invalid": 1}


def test_the_end_of_the_application_flushes(endpoint):
    one = endpoint()
    with TestClient(one.app) as client:
        for half, body in zip(("request", "response"), V1, strict=True):
            headers, content = binary(half, "1", body)
            assert client.post("/", headers=headers, content=content).status_code == 202
        assert client.get("/").status_code == 405
    assert len(one.memory.values("predictions")) == 2
    assert one.memory.closed == 1
