"""The version that a retraining made: read from the platforms at the wire, told from outside, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from observer.actions.base import Progress, Target
from observer.actions.engine import ActionEngine
from observer.actions.ledger import Action, Ledger, broken
from observer.actions.retrain.airflow import AirflowDag, Login
from observer.actions.retrain.kubeflow import KubeflowPipeline
from observer.errors import Absent, ConfigError, Retryable
from observer.http import Api, bearer
from tests.unit.actions.fakes import NOW, FakeTarget, MemoryStore, order
from tests.unit.actions.server import served
from tests.unit.actions.vendors import Airflow, Kubeflow, task
from tests.unit.actions.world import HOUR, World

HOSTILE = [
    "",
    "../../etc/passwd",
    "a/b",
    "x" * 129,
    "8\n9",
    " 8",
    "-rf",
    "\ud800",
    True,
    8.5,
    None,
    ["8"],
    {"v": 8},
]


def ended(target: Target) -> Action:
    """An order carried out to its end."""
    engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": target}, poll_every=0)
    action = engine.propose(order(), NOW)
    assert action is not None
    for turn in range(30):
        engine.tick(NOW + 10 * turn)
    return action


def by_kubeflow(tasks: Any, **named: str) -> Action:
    kubeflow = Kubeflow()
    kubeflow.tasks = tasks
    with served(kubeflow) as server:
        return ended(KubeflowPipeline(Api(server.url, bearer(lambda: "s3cret")), "train", **named))


def by_airflow(xcoms: dict[tuple[str, int, str], Any], *, allowed: bool = True, **named: str) -> Action:
    airflow = Airflow()
    airflow.xcoms, airflow.xcoms_allowed = xcoms, allowed
    with served(airflow) as server:
        login = Login(server.url, "observer", lambda: "pw")
        return ended(AirflowDag(Api(server.url, login, login.renew), "train", **named))


TWO = [task("fit", {"version": "8"}), task("tune", {"version": "9"})]


@pytest.mark.parametrize(
    ("tasks", "named", "version"),
    [
        ([task("extract", {"rows": 5}), task("fit", {"version": "8"})], {}, "8"),
        ([task("fit", {"version": 8}), task("root", {"version": 8})], {}, "8"),
        ([task("fit", artifacts={"model": {"version": "8", "auc": 0.9}})], {}, "8"),
        ([task("fit", {"version": "8"}, {"model": {"version": "m"}})], {}, "8"),
        (TWO, {"version_task": "tune"}, "9"),
        ([task("fit", {"Output": "8"})], {"version_key": "Output"}, "8"),
        ([task("fit", {"Output": "8"})], {}, ""),
        ([], {}, ""),
        (None, {}, ""),
    ],
)
def test_kubeflow_shows_what_a_run_made(tasks: Any, named: dict[str, str], version: str) -> None:
    action = by_kubeflow(tasks, **named)
    assert (action.state, action.version) == ("succeeded", version)
    assert "version" not in action.detail


@pytest.mark.parametrize(
    ("xcoms", "named", "version"),
    [
        ({("fit", -1, "version"): "8", ("fit", -1, "return_value"): "x"}, {}, "8"),
        ({("fit", 0, "version"): 8, ("fit", 1, "version"): 8}, {}, "8"),
        ({("fit", -1, "version"): "8", ("tune", -1, "version"): "9"}, {"version_task": "tune"}, "9"),
        ({("a group.fit", -1, "return_value"): "8"}, {"version_key": "return_value"}, "8"),
        ({("fit", -1, "v/1"): "8"}, {"version_task": "fit", "version_key": "v/1"}, "8"),
        ({("fit", -1, "return_value"): "8"}, {}, ""),
    ],
)
def test_airflow_shows_what_a_run_made(xcoms: Any, named: dict[str, str], version: str) -> None:
    action = by_airflow(xcoms, **named)
    assert (action.state, action.version) == ("succeeded", version)
    assert "version" not in action.detail


@pytest.mark.parametrize(
    ("carry_out", "why"),
    [
        (lambda: by_kubeflow(TWO), "2 versions are named by outputs 'version'; `version_task` says"),
        (
            lambda: by_airflow({("a", -1, "version"): 1, ("b", -1, "version"): 2}),
            "2 versions are named by XComs",
        ),
        (lambda: by_airflow({}, allowed=False), "its version cannot be read: GET http://"),
        (lambda: by_kubeflow([5, "x"]), "its tasks are not as the API"),
        (lambda: by_kubeflow([{"outputs": {"parameters": "x"}}]), "its tasks are not as the API"),
        (lambda: by_airflow({(5, -1, "version"): "8"}), "its XComs are not as"),  # type: ignore[dict-item]
    ],
)
def test_a_run_whose_version_is_unclear_has_succeeded_and_says_why(
    carry_out: Callable[[], Action], why: str
) -> None:
    action = carry_out()
    assert (action.state, action.version) == ("succeeded", "")
    assert why in action.rows[-1].data["detail"]


@pytest.mark.parametrize("value", HOSTILE)
def test_what_can_be_no_version_is_refused_whoever_says_it(value: Any) -> None:
    world = World()
    world.pipeline.state = Progress("succeeded", "done", {"version": value, "conf": {"a": 1}})
    action = world.control.engine.propose(order(parameters={"version": "v1"}), NOW)
    assert action is not None
    world.control.tick(NOW)
    world.control.tick(NOW + 1)
    assert (action.state, action.result) == ("succeeded", {"conf": {"a": 1}})
    assert "was refused; accepted: up to 128 letters" in action.rows[-1].data["detail"]
    assert len(action.rows[-1].data["detail"]) < 300
    for attempt in range(20):
        with pytest.raises(ConfigError, match="was refused; accepted"):
            world.control.result(action.id, value, "token:train", NOW + 2 + attempt)
    refused = [row for row in action.rows if row.event == "result_refused"]
    assert len(refused) == 10, "whoever goes on asking does not fill the ledger"
    assert refused[0].actor == "token:train"
    assert world.control.rollouts.all() == []
    world.restart()
    assert broken(world.store.rows()) is None


def started(world: World) -> list[tuple[str, str]]:
    return [(one.champion, one.challenger) for one, _ in world.control.rollouts.all()]


def retrained(world: World, result: dict[str, Any] | None) -> Action:
    world.pipeline.state = Progress("succeeded", "done", result)
    action = world.control.engine.propose(order(parameters={"version": "v1"}), NOW)
    assert action is not None
    world.control.tick(NOW)
    world.control.tick(NOW + 1)
    return action


def test_a_result_may_be_told_before_the_end_and_counts_after_it_only() -> None:
    world = World()
    world.pipeline.state = Progress("running", "half")
    action = world.control.engine.propose(order(parameters={"version": "v1"}), NOW)
    assert action is not None
    world.control.tick(NOW)
    assert world.control.result(action.id, "v2", "token:fit", NOW) == "version v2"
    world.control.tick(NOW + 1)
    world.restart()
    world.control.tick(NOW + 2)
    assert started(world) == []
    world.pipeline.state = Progress("succeeded", "done", {"run": "r", "version": "v3"})
    world.control.tick(NOW + 3)
    world.control.tick(NOW + 4)
    assert started(world) == [("v1", "v2")], "who ran it knows best"
    last = world.control.engine.ledger.actions[action.id]
    assert "v3 was refused: v2 was named before" in last.detail
    assert last.result == {"run": "r", "version": "v2"}


def test_a_result_told_after_the_end_starts_one_rollout_however_often_and_through_restarts() -> None:
    world = World()
    action = retrained(world, None)
    assert started(world) == []
    for turn in range(3):
        said = world.control.result(action.id, "v2", "event:train", NOW + HOUR)
        assert said == ("version v2" if turn == 0 else "version v2, as was named before")
    world.restart()  # before the turn in which the rollout would have begun
    world.control.tick(NOW + HOUR + 1)
    assert started(world) == [("v1", "v2")]
    before = world.control.rollouts.of("credit").id
    world.restart()
    world.control.tick(NOW + HOUR + 2)
    assert world.control.rollouts.of("credit").id == before
    with pytest.raises(ConfigError, match="v9 was refused: v2 was named before"):
        world.control.result(action.id, "v9", "event:train", NOW + HOUR)


def test_a_result_that_the_database_took_and_did_not_say_so_is_told_again_and_counts() -> None:
    world = World()
    action = retrained(world, None)
    world.store.lost = 1
    with pytest.raises(Retryable):
        world.control.result(action.id, "v2", "event:train", NOW + HOUR)
    assert world.control.result(action.id, "v2", "event:train", NOW + HOUR + 5).endswith("named before")
    world.control.tick(NOW + HOUR + 6)
    assert started(world) == [("v1", "v2")]
    assert [row.event for row in action.rows].count("resulted") == 1
    assert broken(world.store.rows()) is None


def test_why_what_was_made_is_not_rolled_out_is_in_the_ledger() -> None:
    world = World()
    world.control.rollouts.start("credit", "v0", "v1", NOW - HOUR)
    action = retrained(world, {"version": "v2"})
    assert started(world) == [("v0", "v1")]
    assert action.rows[-1].event == "rollout_refused"
    assert "a rollout of v1 is under way" in action.rows[-1].data["detail"]
    length = len(world.store.kept)
    world.restart()
    world.control.tick(NOW + 1)
    assert [row.event for row in world.store.kept[length:]].count("rollout_refused") == 0


def test_a_rollout_waits_for_a_traffic_target_that_cannot_be_read() -> None:
    world = World()
    read, away = world.control.rollouts.read, [True]
    world.control.rollouts.read = lambda name: None if away[0] else read(name)
    action = retrained(world, {"version": "v2"})
    for minute in range(60):
        world.control.tick(NOW + 60 * minute)
    assert (started(world), action.rows[-1].event) == ([], "succeeded")
    away[0] = False
    world.control.tick(NOW + HOUR + 61)
    assert started(world) == [("v1", "v2")]


def test_only_what_was_carried_out_can_have_a_result() -> None:
    engine = ActionEngine(
        Ledger(MemoryStore()), {"pipeline": FakeTarget(faults=[("before", Retryable("503"))])}
    )
    action = engine.propose(order(), NOW)
    assert action is not None
    with pytest.raises(ConfigError, match="it is approved; accepted: one that was carried out"):
        engine.name_version(action.id, "8", "token:x", NOW)
    for wrong in ("none", engine.propose(order("other", kind="notify"), NOW).id):  # type: ignore[union-attr]
        with pytest.raises(Absent, match="no retraining of this id"):
            engine.name_version(wrong, "8", "token:x", NOW)
