"""Orders of events that a rollout meets in production: refusals, restarts, people and the engine at once."""

from __future__ import annotations

import pytest

from observer.actions.base import Order
from observer.actions.ledger import Action
from observer.actions.traffic.target import Division
from observer.errors import ConfigError, Permanent
from tests.unit.actions.fakes import NOW
from tests.unit.actions.world import HOUR, World, burning


def _of_kind(world: World, kind: str) -> list[Action]:
    return [one for one in world.control.engine.ledger.actions.values() if one.order.kind == kind]


def _turn(world: World, first: int, last: int, every: int = 1) -> None:
    for second in range(first, last, every):
        world.control.tick(NOW + second)


def test_a_roll_back_that_is_refused_is_tried_again_with_patience() -> None:
    world = World()
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    world.hours(1, 2, 0.0)
    send = world.splitter.send

    def refused(order: Order) -> str:
        if order.kind == "rollback":
            raise Permanent("admission webhook denied the request")
        return send(order)

    world.splitter.send = refused  # type: ignore[method-assign]
    world.standings = [burning("v2")]
    _turn(world, 2 * HOUR, 3 * HOUR)
    world.restart()
    _turn(world, 3 * HOUR, 3 * HOUR + 60)
    tried = _of_kind(world, "rollback")
    assert 5 < len(tried) < 20
    assert world.control.rollouts.of("credit").paused == "rollback failed"
    world.splitter.send = send  # type: ignore[method-assign]
    _turn(world, 3 * HOUR + 60, 4 * HOUR)
    assert world.splitter.share == 0
    assert world.control.rollouts.of("credit").result == "rolled_back"


def test_a_roll_back_that_somebody_else_undoes_is_not_fought_over() -> None:
    world = World()
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    world.hours(1, 2, 0.0)
    send = world.splitter.send

    def undone(order: Order) -> str:
        send(order)
        world.splitter.share = 1.0  # a GitOps controller
        return "set"

    world.splitter.send = undone  # type: ignore[method-assign]
    world.standings = [burning("v2")]
    _turn(world, 2 * HOUR, 2 * HOUR + 1_000)
    world.restart()
    _turn(world, 2 * HOUR + 1_000, 3 * HOUR, 10)
    assert [one.state for one in _of_kind(world, "rollback")] == ["failed"]
    assert world.control.rollouts.of("credit").paused == "foreign_change"
    world.splitter.send = send  # type: ignore[method-assign]
    world.control.rollouts.resume("credit", "ann", NOW + 3 * HOUR)
    _turn(world, 3 * HOUR, 3 * HOUR + 30)
    assert world.splitter.share == 0


def test_a_target_that_is_configured_no_more_pauses_its_rollout_and_nothing_else() -> None:
    world = World()
    for model in ("credit", "fraud"):
        world.control.rollouts.start(model, "v1", "v2", NOW)
    world.hours(1, 2, 0.0)
    del world.control.engine.targets["serving"]  # type: ignore[attr-defined]
    world.standings = [burning("v2")]
    _turn(world, 2 * HOUR, 2 * HOUR + 100)
    rollout = world.control.rollouts.of("credit")
    assert rollout.paused == "target serving is not configured any more"
    noted = world.control.engine.ledger.notes[rollout.id]
    assert [row.event for row in noted] == ["rollout_started", "rollout_paused"]
    assert world.control.rollouts.all()[1][1].startswith("wait"), "the other model's goes on"
    assert _of_kind(world, "rollback") == []
    with pytest.raises(ConfigError, match="serving"):
        world.control.rollouts.abort("credit", "ann", NOW + 3 * HOUR)


def test_an_object_that_cannot_be_read_for_a_fault_holds_up_its_own_rollout_only() -> None:
    world = World()
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    world.control.rollouts.start("fraud", "v1", "v2", NOW)
    read = world.control.rollouts.read
    faults = [KeyError("weight")]

    def faulty(name: str) -> Division | None:
        if faults:
            raise faults.pop()
        return read(name)

    world.control.rollouts.read = faulty
    world.control.tick(NOW)
    said = dict(zip(("credit", "fraud"), (said for _, said in world.control.rollouts.all()), strict=True))
    assert said["credit"] == "wait held: a fault of the service: KeyError('weight')"
    assert said["fraud"].startswith("advance")
    world.control.tick(NOW + 1)
    assert len(_of_kind(world, "set_weights")) == 2
