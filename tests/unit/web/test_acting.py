"""The endpoints that act: who may, what they take, what they answer."""

from __future__ import annotations

from collections.abc import Sequence

import httpx
import pytest

from observer.errors import ConfigError, Retryable
from observer.web.api import create_app
from observer.web.attempts import MOST
from observer.web.server import Server
from tests.unit.web.plane import Moving

TOKEN = "s3cret"  # noqa: S105 - of these tests only
GOOD = (True, ())
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Decided:
    """Remembers what was decided; may refuse."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []
        self.error: Exception | None = None
        self.clock = Moving(0.0)

    def accept(self, model: str, version: str, since: int | None) -> str:
        return self._note("accept", model, version, since)

    def close(self, model: str, version: str) -> str:
        return self._note("close", model, version)

    def _note(self, *call) -> str:
        if self.error is not None:
            raise self.error
        self.calls.append(call)
        return f"{call[0]} done"


def serve(token: str, decided: Decided, trusted: Sequence[str] = ()):
    clock = Moving(0.0)
    app = create_app(lambda _: (b"", "text/plain"), lambda: GOOD, lambda: GOOD, clock, decided, token)
    decided.clock = clock
    return Server(app, trusted=trusted)


@pytest.fixture(scope="module")
def running():
    decided = Decided()
    with serve(TOKEN, decided) as server, httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
        yield decided, client


@pytest.fixture
def service(running):
    running[0].calls, running[0].error = [], None
    running[0].clock.at += 1_000  # whoever was wrong before may be again
    return running


def test_a_reference_is_accepted_and_an_incident_closed(service):
    decided, client = service
    body = {"model": "churn", "version": "a/b 7"}
    answer = client.post("/api/v1/reference/accept", json={**body, "since": 12}, headers=BEARER)
    assert (answer.status_code, answer.json()) == (200, {"done": "accept done"})
    answer = client.post("/api/v1/incidents/close", json=body, headers=BEARER)
    assert (answer.status_code, answer.json()) == (200, {"done": "close done"})
    assert decided.calls == [("accept", "churn", "a/b 7", 12), ("close", "churn", "a/b 7")]


@pytest.mark.parametrize(
    "header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}]
)
def test_without_the_token_nothing_is_done(service, header):
    decided, client = service
    answer = client.post("/api/v1/incidents/close", json={"model": "churn", "version": "7"}, headers=header)
    assert answer.status_code == 401
    assert TOKEN not in answer.text
    assert decided.calls == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"model": "m"}',
        b'{"model": 1, "version": "2"}',
        b'{"model": "\\ud800", "version": "2"}',
        b"[" * 9_000,
        b"x" * 20_000,
    ],
)
def test_what_is_no_order_is_refused(service, body):
    decided, client = service
    answer = client.post("/api/v1/incidents/close", content=body, headers=BEARER)
    assert (answer.status_code, decided.calls) == (400, [])
    assert "model" in answer.json()["error"]


def test_since_must_be_a_time(service):
    decided, client = service
    body = {"model": "churn", "version": "7", "since": "yesterday"}
    answer = client.post("/api/v1/reference/accept", json=body, headers=BEARER)
    assert (answer.status_code, decided.calls) == (422, [])
    assert "milliseconds since the epoch" in answer.json()["error"]


@pytest.mark.parametrize(
    ("error", "status"), [(ConfigError(["no model 'x'; there are: a"]), 422), (Retryable("busy"), 503)]
)
def test_errors_are_told(service, error, status):
    decided, client = service
    decided.error = error
    answer = client.post("/api/v1/incidents/close", json={"model": "x", "version": "7"}, headers=BEARER)
    assert (answer.status_code, answer.json()) == (status, {"error": str(error)})


def test_nothing_acts_on_get(service):
    decided, client = service
    assert client.get("/api/v1/incidents/close", headers=BEARER).status_code == 405
    assert decided.calls == []


def test_without_a_token_in_the_configuration_everybody_is_refused():
    decided = Decided()
    with serve("", decided) as server:
        address = f"http://127.0.0.1:{server.port}/api/v1/incidents/close"
        answer = httpx.post(address, json={"model": "m", "version": "1"}, headers=BEARER)
    assert (answer.status_code, decided.calls) == (403, [])
    assert "http.token" in answer.json()["error"]


def post(client, token: str):
    body = {"model": "churn", "version": "7"}
    return client.post("/api/v1/incidents/close", json=body, headers={"Authorization": f"Bearer {token}"})


def test_wrong_tokens_make_a_peer_wait_and_even_the_right_one_is_not_looked_at(service):
    decided, client = service
    assert [post(client, f"wrong-{i}").status_code for i in range(MOST)] == [401] * MOST
    answers = [post(client, token) for token in ("wrong", TOKEN)]
    assert [one.status_code for one in answers] == [429, 429]
    assert [one.headers["Retry-After"] for one in answers] == ["6", "6"]
    assert "try again in 6 s" in answers[1].json()["error"]
    assert decided.calls == []
    decided.clock.at += 6
    assert post(client, TOKEN).status_code == 200
    assert post(client, "wrong").status_code == 401
    assert post(client, TOKEN).status_code == 429


def test_no_token_at_all_makes_nobody_wait(service):
    _, client = service
    for _ in range(3 * MOST):
        answer = client.post("/api/v1/incidents/close", json={"model": "churn", "version": "7"})
        assert answer.status_code == 401
    assert post(client, TOKEN).status_code == 200


def test_an_address_that_somebody_claims_counts_for_nothing(service):
    _, client = service
    headers = {"Authorization": "Bearer wrong", "X-Forwarded-For": "10.0.0.1"}
    for i in range(MOST):
        headers["X-Forwarded-For"] = f"10.0.0.{i}"
        client.post("/api/v1/incidents/close", json={}, headers=headers)
    assert post(client, TOKEN).status_code == 429


@pytest.mark.parametrize(("trusted", "status"), [(["127.0.0.0/8"], 200), (["10.0.0.0/8"], 429)])
def test_wrong_tokens_count_for_whom_a_trusted_proxy_names_and_for_nobody_else(trusted, status):
    with serve(TOKEN, Decided(), trusted) as server:

        def asked(token: str, by: str) -> int:
            headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": by}
            address = f"http://127.0.0.1:{server.port}/api/v1/incidents/close"
            return httpx.post(address, json={"model": "m", "version": "1"}, headers=headers).status_code

        # What the asker writes himself stands left of what the proxy adds, and is not believed.
        assert [asked("wrong", f"192.0.2.{i}, 198.51.100.1") for i in range(MOST)] == [401] * MOST
        assert asked(TOKEN, "198.51.100.1") == 429
        assert asked(TOKEN, "198.51.100.2") == status
