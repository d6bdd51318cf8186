"""Every target that retrains, in trouble: away for an hour, answers lost, refusals, clocks, the database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from observer import http
from observer.actions.base import Target
from observer.actions.engine import LONGEST_SILENCE, ActionEngine
from observer.actions.ledger import Ledger, broken
from observer.actions.retrain.airflow import AirflowDag, Login
from observer.actions.retrain.events import KnativeBroker, Webhook
from observer.actions.retrain.kubeflow import KubeflowPipeline
from observer.errors import Retryable
from observer.http import Api
from tests.unit.actions.fakes import NOW, MemoryStore, complete, order
from tests.unit.actions.test_crashes import MOST, RETRAINS, Kind, World
from tests.unit.actions.test_faults import Clock, silent, turning
from tests.unit.actions.world import HOUR

ASKED = [name for name in RETRAINS if name != "command"]
"""Those that lie behind a network."""
FOLLOWED = [name for name in ASKED if name.startswith(("kubeflow", "airflow"))]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(0, tmp_path, monkeypatch)
    made.crashes, made.wire.trouble = MOST, 0.0
    return made


def looked_at(engine: ActionEngine, kind: Kind, now: float) -> None:
    """A person looks at what is stuck, and has it sent again only where it was not done."""
    for action in engine.ledger.open:
        if action.state == "stuck":
            verb: Any = "reject" if kind.effects(action.order) else "approve"
            engine.rule(action.id, verb, "token:ann", "I looked", now)


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize(
    ("trouble", "jump"),
    [("connect", 86_400), ("lost", -86_400), (429, 600), (500, -600), (503, 86_400)],
)
def test_an_hour_away_while_the_clock_is_set_and_the_database_goes_loses_and_repeats_nothing(
    world: World, name: str, trouble: str | int, jump: float
) -> None:
    kind, clock = RETRAINS[name](world), Clock()
    engine = ActionEngine(Ledger(world.store), {"pipeline": kind.target()})
    loop = turning(engine, clock)
    before, during = order("before"), order("during", created=clock.wall + 5)
    engine.propose(before, clock.wall)
    loop.turn()
    world.wire.befalls = lambda _: trouble
    engine.propose(during, clock.wall)
    asked = world.wire.asked

    def gone() -> None:
        raise Retryable("the database is away")

    for turn in range(HOUR // 5):
        clock.wait(5)
        clock.wall += jump if turn == 200 else 0
        world.store.point = gone if 300 <= turn < 360 else world.point
        loop.turn()
        assert (loop.problem != "") <= (300 <= turn < 360)
    assert world.wire.asked - asked < HOUR / LONGEST_SILENCE + 20
    open_, stuck = engine.ledger.open, [one for one in engine.ledger.open if one.state == "stuck"]
    assert during.id in {action.id for action in open_}, "nothing is given up within the hour"
    assert ("pipeline" in engine.away) or open_ == stuck
    assert not stuck or name == "webhook that keeps none", "only where nobody else can tell"

    world.wire.befalls = lambda _: None
    looked_at(engine, kind, clock.wall)
    for _ in range(400):
        clock.wait(5)
        loop.turn()
    assert [kind.effects(before), kind.effects(during)] == [1, 1]
    assert {one.state for one in engine.ledger.actions.values()} <= {"succeeded", "rejected"}
    assert (engine.away, loop.problem) == ({}, "")
    assert broken(world.store.rows()) is None
    rows = [row for row in world.store.kept if row.event == "clock_set"]
    assert {row.data["seconds"] for row in rows} == {jump}


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_a_refusal_is_final_sent_once_and_told(world: World, name: str, status: int) -> None:
    kind = RETRAINS[name](world)
    engine = ActionEngine(Ledger(world.store), {"pipeline": kind.target()})
    posts: list[str] = []

    def refuses(request: httpx.Request) -> int | None:
        if request.method != "POST" or request.url.path == "/auth/token":
            return None
        posts.append(request.url.path)
        return status

    world.wire.befalls = refuses
    engine.propose(order(), NOW)
    for turn in range(100):
        engine.tick(NOW + 60 * turn)
    (action,) = engine.ledger.actions.values()
    assert (action.state, len(posts), kind.effects(order())) == ("failed", 1, 0)
    assert f": {status}" in action.detail
    assert complete(action)


@pytest.mark.parametrize("name", FOLLOWED)
@pytest.mark.parametrize("status", [401, 403, 408, 409, 429, 500, 502])
def test_a_run_that_may_not_be_looked_at_for_a_while_is_followed_to_its_end(
    world: World, name: str, status: int
) -> None:
    kind = RETRAINS[name](world)
    engine = ActionEngine(Ledger(world.store), {"pipeline": kind.target()}, poll_every=0)
    engine.propose(order(), NOW)
    engine.tick(NOW)
    world.wire.befalls = lambda request: status if request.method == "GET" else None
    for turn in range(1, HOUR // 10):
        engine.tick(NOW + 10 * turn)
    (action,) = engine.ledger.actions.values()
    assert action.state == "running"
    assert [row.event for row in action.rows].count("attempted") == 1
    world.wire.befalls = lambda _: None
    for turn in range(100):
        engine.tick(NOW + HOUR + 10 * turn)
    assert (action.state, kind.effects(order())) == ("succeeded", 1)


TARGETS = {
    "kubeflow": lambda url: KubeflowPipeline(Api(url), "train"),
    "airflow": lambda url: AirflowDag(Api(url, Login(url, "observer", lambda: "pw")), "train"),
    "airflow, by token": lambda url: AirflowDag(Api(url), "train"),
    "knative": lambda url: KnativeBroker(Api(url), "/ml/default", "/observer"),
    "webhook": lambda url: Webhook(Api(url), "/", lambda: "hush", deduplicates=True),
}


@pytest.mark.parametrize("name", TARGETS)
def test_a_server_that_takes_connections_and_says_nothing_is_asked_now_and_then(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "TIMEOUT", httpx.Timeout(0.02))
    connections = 0

    def taken(_: Any) -> None:
        nonlocal connections
        connections += 1

    with silent(taken) as url:
        target: Target = TARGETS[name](url)
        assert any("Timeout" in line for line in target.check()) or name == "webhook"
        connections = 0
        engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": target})
        for number in range(5):
            engine.propose(order(f"retrain/{number}"), NOW)
        for turn in range(60):
            engine.tick(NOW + 10 * turn)
    assert 3 < connections < 600 / LONGEST_SILENCE + 15
    assert "pipeline" in engine.away
    assert {one.state for one in engine.ledger.actions.values()} <= {"approved", "sending"}
