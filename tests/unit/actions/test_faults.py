"""What breaks is met with patience, told, and nothing is lost: targets, connections, clocks, the database."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest

from observer import http
from observer.actions.base import Approval, Progress
from observer.actions.engine import LAST_RETRY, LONGEST_SILENCE, ActionEngine
from observer.actions.ledger import Ledger, broken
from observer.actions.loop import ControlLoop
from observer.actions.retrain.events import Webhook
from observer.engines.orders import Orders
from observer.errors import Retryable, Unclear
from observer.exporters.alertmanager import Alertmanagers, AlertmanagerSpec
from observer.http import Api
from observer.metrics import Values, catalog
from tests.unit.actions.fakes import NOW, FakeTarget, MemoryStore, complete, order
from tests.unit.actions.server import served
from tests.unit.actions.world import HOUR, World

RUNNING = Progress("running", "10%")


def hours(engine: ActionEngine, start: float, end: float, every: float = 5.0) -> None:
    for turn in range(int((end - start) * HOUR / every)):
        engine.tick(NOW + start * HOUR + turn * every)


@pytest.mark.parametrize("error", [Retryable("503"), Unclear("no answer")])
def test_a_target_down_for_an_hour_is_asked_now_and_then_told_of_and_everything_goes_on(
    error: Exception,
) -> None:
    down, well = FakeTarget(deduplicates=True), FakeTarget()
    engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": down, "other": well})
    faults = 0

    def away() -> None:
        nonlocal faults
        faults += 1
        raise error

    down.point = away
    for number in range(50):
        engine.propose(order(f"retrain/{number}"), NOW)
    engine.propose(order("another", target="other"), NOW)
    engine.tick(NOW)
    assert faults == 1, "fifty orders do not mean fifty questions to a target that does not answer"
    hours(engine, 0, 1)
    assert 10 < faults < 3_600 / LONGEST_SILENCE + 10
    assert set(engine.away) == {"pipeline"}
    assert engine.ledger.actions[order("another").id].state == "succeeded"
    down.point = lambda: None
    hours(engine, 1, 2.5)
    assert engine.away == {}
    assert {action.state for action in engine.ledger.actions.values()} == {"succeeded"}
    assert set(down.effects.values()) == {1}
    assert len(down.effects) == 50


def test_a_roll_back_is_tried_every_minute_however_long_its_target_was_away() -> None:
    target = FakeTarget(deduplicates=True, faults=[("before", Retryable("503"))] * 200)
    engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": target})
    engine.propose(order("back", kind="rollback", give_up=10 * HOUR), NOW)
    hours(engine, 0, 2)
    back = target.sends[order("back").id]
    assert back > 2 * HOUR / (LONGEST_SILENCE + 10)
    retrain = FakeTarget(deduplicates=True, faults=[("before", Retryable("503"))] * 200)
    engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": retrain})
    engine.propose(order("other"), NOW)
    hours(engine, 0, 2)
    assert retrain.sends.total() < 9 + 2 * HOUR / LAST_RETRY


@pytest.mark.parametrize(
    ("answers", "ends"),
    [
        ([429, 429, 503], "succeeded"),
        ([500, 502, 504], "succeeded"),
        ([409], "failed"),
        ([403], "failed"),
        ([408, 425, 429], "succeeded"),
    ],
)
def test_what_passes_is_tried_again_and_a_refusal_is_final(answers: list[int | str], ends: str) -> None:
    with served(lambda _: (200, {})) as server:
        server.faults = list(answers)
        hook = Webhook(Api(server.url), "/", lambda: "", deduplicates=True)
        engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": hook}, poll_every=0)
        engine.propose(order(), NOW)
        hours(engine, 0, 0.2)
    (action,) = engine.ledger.actions.values()
    assert action.state == ends
    assert len({request.headers["idempotency-key"] for request in server.seen}) == 1
    assert len(server.seen) == len(answers) + (ends == "succeeded")


@contextmanager
def silent(say: Callable[[socket.socket], None] = lambda _: None) -> Iterator[str]:
    """A server that takes connections and says no more than `say` does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    taken.append(connection)
                    say(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for connection in taken:
                connection.close()
            thread.join()


def test_a_server_that_takes_the_connection_and_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "TIMEOUT", httpx.Timeout(0.05))
    with silent() as url:
        with pytest.raises(Unclear, match="ReadTimeout while waiting"):
            Api(url).post("/runs", {})
        with pytest.raises(Retryable, match="ReadTimeout"):
            Api(url).get("/runs")
        hook = Webhook(Api(url), "/", lambda: "", deduplicates=False)
        engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": hook})
        engine.propose(order(), NOW)
        hours(engine, 0, 0.05)
    (action,) = engine.ledger.actions.values()
    assert action.state == "stuck", "it may have been done, and nobody can be asked"


def test_an_answer_that_drips_ends_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LONGEST_ANSWER", 0.05)

    def drip(connection: socket.socket) -> None:
        connection.recv(10_000)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        with suppress(OSError):
            for _ in range(1_000):
                connection.sendall(b" ")
                threading.Event().wait(0.01)

    with silent(drip) as url, pytest.raises(Unclear, match="without end"):
        Api(url).post("/runs", {})


def test_one_member_of_alertmanager_that_says_nothing_does_not_hold_up_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "TIMEOUT", httpx.Timeout(0.05))
    with silent() as url, served(lambda _: (200, [{"id": "s1"}])) as server:
        alerting = Alertmanagers(AlertmanagerSpec.model_validate({"urls": [url, server.url]}))
        assert alerting.silences() == [{"id": "s1"}]
        assert len(alerting.down) == 1
        monkeypatch.setattr(http, "TIMEOUT", httpx.Timeout(60))
        assert alerting.silences() == [{"id": "s1"}], "which is not asked again meanwhile"


class Clock:
    """A machine's clock that can be set, and time that passes."""

    def __init__(self) -> None:
        self.wall, self.passed = NOW, 1_000.0

    def wait(self, seconds: float) -> None:
        self.wall += seconds
        self.passed += seconds


def turning(engine: ActionEngine, clock: Clock) -> ControlLoop:
    return ControlLoop(engine, Orders(), lambda: clock.wall, passed=lambda: clock.passed)


@pytest.mark.parametrize("jump", [-86_400.0, -600.0, 600.0, 86_400.0])
def test_a_clock_that_is_set_makes_nobody_wait_longer_or_shorter(jump: float) -> None:
    clock, store = Clock(), MemoryStore()
    flaky = FakeTarget(faults=[("before", Retryable("503"))], state=RUNNING)
    engine = ActionEngine(Ledger(store), {"pipeline": flaky}, poll_every=0)
    loop = turning(engine, clock)
    waiting = engine.propose(order("waiting", approval=Approval("unless_rejected", 1_800)), clock.wall)
    engine.propose(order("running", give_up=7_200), clock.wall)
    assert waiting is not None
    running = engine.ledger.actions[order("running").id]
    loop.turn()  # 503
    clock.wait(2)
    clock.wall += jump
    loop.turn()
    clock.wait(4)
    loop.turn()
    assert running.state == "running", "tried again when 5 s had passed"
    clock.wait(1_700)
    loop.turn()
    assert waiting.state == "waiting", "people have had less than their half hour"
    clock.wait(100)
    loop.turn()
    assert waiting.state == "approved" or waiting.attempts == 1
    clock.wait(5_300)
    loop.turn()
    assert running.state == "running"
    clock.wait(300)
    loop.turn()
    assert (running.state, running.detail[:8]) == ("failed", "not done")
    assert Ledger(store).actions[waiting.id].until == waiting.until, "through a restart"
    assert broken(store.rows()) is None
    assert loop.problem == ""


def test_a_clock_set_while_the_database_is_away_is_followed_once_it_is_back() -> None:
    clock, store = Clock(), MemoryStore()
    engine = ActionEngine(Ledger(store), {"pipeline": FakeTarget()})
    for name in ("first", "second"):
        engine.propose(order(name, approval=Approval("required", 1_800)), clock.wall)
    loop = turning(engine, clock)
    clock.wall += 3_600
    store.failing = ["no", "before", "no", "before"]
    for _ in range(4):
        clock.wait(1)
        loop.turn()
    jumps = [row.data["seconds"] for row in store.kept if row.event == "clock_set"]
    assert jumps == [3_600, 3_600]
    assert {action.state for action in engine.ledger.actions.values()} == {"waiting"}


@pytest.mark.parametrize("seed", range(8))
def test_a_database_that_is_briefly_gone_now_and_then_changes_nothing_of_the_outcome(seed: int) -> None:
    rng = random.Random(seed)
    world = World()

    def away(*_: Any) -> None:
        if rng.random() < 0.08:
            raise Retryable("the database is away")

    world.store.point = world.states.point = away
    world.patient = True
    world.incident(NOW)
    world.cohort(NOW + HOUR, "v1", 500, 0.7)
    world.hours(1, 200, 0.03)
    assert world.kinds.count("retrain succeeded") == 1
    assert world.pipeline.effects.total() == 1
    assert world.kinds[-1] == "promote succeeded"
    assert world.splitter.share == 100
    assert world.control.rollouts.of("credit").result == "promoted"
    assert all(complete(action) for action in world.control.engine.ledger.actions.values())
    assert broken(world.store.rows()) is None


def test_what_is_away_is_on_the_gauges() -> None:
    world = World()
    world.splitter.away = True
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    for turn in range(3):
        world.control.tick(NOW + turn)
    values = Values()
    world.control.publish(values)
    assert values.series[catalog.ACTION_TARGET_AWAY] == {("pipeline",): 0, ("serving",): 1}


def test_event_time_that_runs_fast_is_no_clock_that_was_set() -> None:
    clock = Clock()
    engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": FakeTarget(state=RUNNING)}, poll_every=0)
    loop = ControlLoop(engine, Orders(), lambda: clock.wall, passed=None)
    waiting = engine.propose(order("waiting", approval=Approval("unless_rejected", 1_800)), clock.wall)
    assert waiting is not None
    clock.wall += 1_700
    loop.turn()
    assert waiting.state == "waiting"
    clock.wall += 200
    loop.turn()
    assert waiting.state == "approved" or waiting.attempts == 1
