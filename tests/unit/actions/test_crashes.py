"""Crashes at every point between intent and read-back, over every kind of target: 648 seeded runs.

Each durable write, each request on its way and each answer on its way back may be the last thing that
happens. What was done is counted where it is done.
"""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from observer.actions.base import Order, Target
from observer.actions.engine import ActionEngine
from observer.actions.ledger import Action, Ledger, broken
from observer.actions.retrain.airflow import AirflowDag, Login
from observer.actions.retrain.command import Command, children
from observer.actions.retrain.events import KnativeBroker, Webhook
from observer.actions.retrain.kubeflow import KubeflowPipeline
from observer.actions.traffic.local import LocalFile, LocalSplit
from observer.actions.traffic.platform import Object, Patch, Platform
from observer.actions.traffic.target import TrafficTarget
from observer.errors import Retryable, Unclear
from observer.http import Api, bearer
from tests.unit.actions.fakes import NOW, Crash, MemoryStore, complete, order
from tests.unit.actions.objects import ALL, SHADOWS, FakeObject, status_of
from tests.unit.actions.vendors import Airflow, Kubeflow, Receiver, event_id, idempotency_key
from tests.unit.actions.wire import Wire

RUNS = 36
MOST = 40
"""Crashes of one run."""


class World:
    """What outlives the process: the ledger's rows, and whatever is out there."""

    def __init__(self, seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rng = random.Random(seed)
        self.folder = folder
        self.store = MemoryStore()
        self.store.point = self.point
        self.crashes = 0
        self.wire = Wire(self.rng, self.point)
        self.wire.trouble = 0.1
        self.wire.install(monkeypatch)

    def point(self) -> None:
        if self.crashes < MOST and self.rng.random() < 0.12:
            self.crashes += 1
            raise Crash

    def trouble(self, error: type[Exception]) -> None:
        if self.wire.chance():
            raise error("as told")

    def intended(self, name: str) -> None:
        """Nothing is done that the ledger does not announce."""
        assert any((row.action, row.event) == (name, "attempted") for row in self.store.kept)


@dataclass
class Kind:
    """A target as a fresh process makes it, and how often an order's effect has happened out there."""

    target: Callable[[], Target]
    effects: Callable[[Order], int]
    ended: Callable[[], None] = lambda: None


def _http(world: World, server: Any) -> Any:
    def handle(request: Any) -> Any:
        before = sum(server.effects.values())
        answer = server(request)
        if sum(server.effects.values()) > before:
            body = request.json
            parameters = body.get("conf") or body.get("runtime_config", {}).get("parameters") or body
            world.intended(parameters.get("decision") or body["id"])
        return answer

    world.wire.servers["out.there"] = handle
    return server


URL = "http://out.there"


def kubeflow(world: World, *, own_ids: bool = False) -> Kind:
    server = _http(world, Kubeflow(own_ids=own_ids))
    return Kind(
        lambda: KubeflowPipeline(Api(URL, bearer(lambda: "s3cret")), "train"), lambda o: server.effects[o.id]
    )


def airflow(world: World) -> Kind:
    server = _http(world, Airflow())

    def made() -> Target:
        login = Login(URL, "observer", lambda: "pw")
        return AirflowDag(Api(URL, login, login.renew), "train")

    return Kind(made, lambda o: server.effects[o.id])


def knative(world: World) -> Kind:
    server = _http(world, Receiver(event_id, deduplicates=True))
    return Kind(lambda: KnativeBroker(Api(URL), "/ml/default", "/observer"), lambda o: server.effects[o.id])


def webhook(world: World, *, deduplicates: bool) -> Kind:
    server = _http(world, Receiver(idempotency_key, deduplicates=deduplicates))
    return Kind(
        lambda: Webhook(Api(URL), "/", lambda: "hush", deduplicates=deduplicates),
        lambda o: server.effects[o.id],
    )


class Crashing(Command):
    """Crashes before and after the program is started; programs go on."""

    def __init__(self, world: World, arguments: list[str]) -> None:
        super().__init__(arguments, world.folder / "runs")
        self._world = world

    def send(self, order: Order) -> str:
        self._world.point()
        self._world.intended(order.id)
        self._world.trouble(Retryable)
        reference = super().send(order)
        self._world.point()
        return reference


def command(world: World) -> Kind:
    script = 'echo done >>"$OBSERVER_RUN/effects"; echo \'{"version": "8"}\' >"$OBSERVER_RUN/result.json"'

    def made() -> Target:
        return Crashing(world, ["/bin/sh", "-c", script])

    def effects(one: Order) -> int:
        file = world.folder / "runs" / one.id / "effects"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def ended() -> None:
        while children:
            made().progress(order(), str(world.folder))
            time.sleep(0.001)

    return Kind(made, effects, ended)


class Cluster(FakeObject):
    """An object whose controller takes its time; every request may be the last."""

    def __init__(self, world: World, platform: Platform, thing: dict[str, Any]) -> None:
        super().__init__(thing)
        self.world, self.platform = world, platform
        self.asked: list[tuple[float, float]] = []

    def _asked(self) -> tuple[float, float]:
        return self.platform.share(self.thing), self.platform.shadow(self.thing)

    def read(self) -> Object:
        self.world.point()
        self.world.trouble(Retryable)
        if self.world.rng.random() < 0.4:  # its controller has come round
            share = self.platform.share(self.thing)
            self.thing["status"] = status_of(self.thing, self.thing, share)
        self.world.point()
        return super().read()

    def patch(self, change: Patch, *, dry: bool = False) -> Object:
        self.world.point()
        self.world.trouble(Retryable)
        if self.world.rng.random() < 0.1:
            self._write({"metadata": {"labels": {"team": str(self.world.rng.random())}}})
        if dry:
            return super().patch(change, dry=True)
        before = self._asked()
        super().patch(change)
        self.thing["metadata"]["generation"] += 1
        if self._asked() != before:
            self.asked.append(self._asked())
        self.world.trouble(Unclear)
        self.world.point()
        return super().read()


class File:
    """The local splitter's file; the process may end around each of its writes."""

    def __init__(self, world: World) -> None:
        self.world, self.inner = world, LocalFile(world.folder / "split.json")
        self.name = self.inner.name
        self.asked: list[tuple[float, float]] = []

    def read(self) -> Object:
        self.world.point()
        return self.inner.read()

    def patch(self, change: Patch, *, dry: bool = False) -> Object:
        self.world.point()
        if dry:
            return self.inner.patch(change, dry=True)
        after = self.inner.patch(change)
        self.asked.append((float(after["share"]), float(after.get("shadow", 0))))
        self.world.point()
        return self.inner.read()

    def refused(self) -> list[str]:
        return []


def traffic(platform: Platform, thing: dict[str, Any]) -> Callable[[World], Kind]:
    def build(world: World) -> Kind:
        cluster: Cluster | File
        if isinstance(platform, LocalSplit):
            begun = {"share": thing["share"], "metadata": {"resourceVersion": "0"}}
            LocalFile(world.folder / "split.json").patch(begun)
            cluster = File(world)
        else:
            cluster = Cluster(world, platform, copy.deepcopy(thing))
        return Kind(
            lambda: TrafficTarget(platform, cluster),
            lambda o: cluster.asked.count((o.parameters["share"], o.parameters.get("shadow", 0.0))),
        )

    return build


RETRAINS: Mapping[str, Callable[[World], Kind]] = {
    "kubeflow": kubeflow,
    "kubeflow, ids of its own": lambda world: kubeflow(world, own_ids=True),
    "airflow": airflow,
    "knative": knative,
    "webhook that keeps ids": lambda world: webhook(world, deduplicates=True),
    "webhook that keeps none": lambda world: webhook(world, deduplicates=False),
    "command": command,
}
TRAFFIC = {
    name: traffic(platform, thing)
    for name, (platform, thing) in zip(
        ("kserve knative", "kserve standard", "inference graph", "seldon v1", "seldon v2", "http route"),
        ALL,
        strict=True,
    )
} | {"local": traffic(LocalSplit(), {"share": 10})}
SHADOWING = {
    name: traffic(platform, thing)
    for name, (platform, thing) in zip(("seldon v1", "seldon v2", "http route"), SHADOWS, strict=True)
} | {"local": traffic(LocalSplit(), {"share": 0})}


def step(share: float, before: float | None, **shadow: float) -> Order:
    kind: Any = "rollback" if before is None else "promote" if share == 100 else "set_weights"
    kind = "shadow" if shadow.get("shadow") else kind
    return order(f"step-{share}-{shadow}", kind=kind, parameters={"share": share, "before": before, **shadow})


def carry_out(world: World, kind: Kind, orders: list[Order], *, in_turn: bool) -> dict[str, Action]:
    """Until nothing is open, through as many processes as it takes."""
    now = NOW
    deadline = time.monotonic() + 60
    while True:
        try:
            engine = ActionEngine(Ledger(world.store), {"pipeline": kind.target()}, poll_every=0)
            for one in orders:
                engine.propose(one, now)
                while in_turn and engine.ledger.open:
                    now = turn(engine, kind, now)
            while engine.ledger.open:
                now = turn(engine, kind, now)
                assert time.monotonic() < deadline
        except Crash:
            now += 1
        else:
            return engine.ledger.actions


def turn(engine: ActionEngine, kind: Kind, now: float) -> float:
    engine.tick(now)
    for action in engine.ledger.open:
        if action.state == "stuck":  # a person looks, and says what is to be done
            verb: Any = "reject" if kind.effects(action.order) else "approve"
            engine.rule(action.id, verb, "token:ann", "I looked", now)
        elif action.state == "running" and isinstance(engine.targets["pipeline"], Command):
            time.sleep(0.001)
    return now + 10


@pytest.mark.parametrize("name", RETRAINS)
def test_each_retraining_happens_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people = 0
    for seed in range(RUNS):
        (folder := tmp_path / str(seed)).mkdir()
        world = World(seed, folder, monkeypatch)
        kind = RETRAINS[name](world)
        orders = [order(f"{name}/{seed}/{number}") for number in range(2)]
        actions = carry_out(world, kind, orders, in_turn=False)
        kind.ended()
        assert [kind.effects(one) for one in orders] == [1, 1], (seed, [a.rows for a in actions.values()])
        assert set(actions) == {one.id for one in orders}
        assert all(complete(action) for action in actions.values())
        assert broken(world.store.rows()) is None
        people += any(row.event == "stuck" for row in world.store.kept)
    assert (people > 0) == (name == "webhook that keeps none"), "only where nobody else can tell"


@pytest.mark.parametrize("name", TRAFFIC)
def test_each_step_of_traffic_happens_once_and_is_read_back(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = [step(20, 10), step(50, 20), step(100, 50), step(0, None)]
    _each_once(TRAFFIC[name], orders, tmp_path, monkeypatch)


@pytest.mark.parametrize("name", SHADOWING)
def test_each_shadow_begins_and_ends_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = [step(0, 0, shadow=50.0), step(5, 0, shadow=0.0), step(20, 5), step(0, None, shadow=0.0)]
    _each_once(SHADOWING[name], orders, tmp_path, monkeypatch)


def _each_once(
    build: Callable[[World], Kind], orders: list[Order], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(RUNS):
        (folder := tmp_path / str(seed)).mkdir()
        world = World(seed, folder, monkeypatch)
        kind = build(world)
        actions = carry_out(world, kind, orders, in_turn=True)
        assert [kind.effects(one) for one in orders] == [1, 1, 1, 1], (seed, world.store.kept)
        for action in actions.values():
            assert complete(action)
            assert action.state == "succeeded", action.rows
            wanted = {key: value for key, value in action.order.parameters.items() if key != "before"}
            assert action.result == wanted, "as the platform says"
        assert broken(world.store.rows()) is None
