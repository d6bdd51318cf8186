"""Orders of events that a rollout meets in production: refusals, restarts, people and the engine at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from detectors.experiment.arms import Arms
from observer.actions.base import Order, Progress
from observer.actions.cohorts import Pairs
from observer.actions.ledger import Action
from observer.actions.policy import Trigger
from observer.actions.rollout import Rollout
from observer.actions.rollout_spec import RolloutSpec
from observer.actions.steps import Cohort
from observer.actions.traffic.target import Division
from observer.errors import ConfigError, Permanent, Unclear
from observer.model import QualityReport
from tests.unit.actions.fakes import NOW
from tests.unit.actions.world import HOUR, Splitter, World, burning


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


def _first_waiting(world: World, kind: str) -> int:
    hour = 1
    while not world.kinds or world.kinds[-1] != f"{kind} waiting":
        world.hours(hour, hour + 1, 0.05)
        hour += 1
    return hour


def test_resuming_forgets_no_step_that_is_under_way() -> None:
    world = World(promote_approval="required")
    rollouts = world.control.rollouts
    rollouts.start("credit", "v1", "v2", NOW)
    hour = _first_waiting(world, "promote")
    rollouts.resume("credit", "ann", NOW + hour * HOUR)
    world.hours(hour, hour + 3, 0.05)
    (action,) = _of_kind(world, "promote")
    now = NOW + (hour + 3) * HOUR
    world.control.engine.rule(action.id, "approve", "token:ann", "", now)
    world.hours(hour + 3, hour + 5, 0.05)
    assert (rollouts.of("credit").share, rollouts.of("credit").paused) == (100, "")


def test_a_rejected_step_stays_settled_through_a_restart_after_it_was_resumed() -> None:
    world = World(promote_approval="required")
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    hour = _first_waiting(world, "promote")
    now = NOW + hour * HOUR
    (action,) = _of_kind(world, "promote")
    world.control.engine.rule(action.id, "reject", "token:ann", "not now", now)
    world.control.tick(now + 1)
    world.restart()
    world.control.tick(now + 2)
    assert world.control.rollouts.of("credit").paused == "promote rejected"
    world.control.rollouts.resume("credit", "ann", now + 3)
    world.restart()
    world.control.tick(now + 4)
    assert world.control.rollouts.of("credit").paused == ""


def test_pausing_withdraws_a_step_that_has_not_begun() -> None:
    world = World(promote_approval={"unless_rejected_within": "2h"})
    rollouts = world.control.rollouts
    rollouts.start("credit", "v1", "v2", NOW)
    hour = _first_waiting(world, "promote")
    rollouts.pause("credit", "ann", NOW + hour * HOUR)
    world.hours(hour, hour + 6, 0.05)
    assert world.splitter.share == 50
    assert (rollouts.of("credit").paused, world.kinds[-1]) == ("by ann", "promote rejected")
    rollouts.resume("credit", "ann", NOW + (hour + 6) * HOUR)
    world.hours(hour + 6, hour + 12, 0.05)
    assert world.splitter.share == 100


def test_pausing_lets_a_step_that_is_under_way_end() -> None:
    world = World()
    world.splitter.send = lost(world.splitter.send)  # type: ignore[method-assign]
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    _turn(world, 0, 2)
    assert world.kinds == ["set_weights sending"]
    world.control.rollouts.pause("credit", "ann", NOW + 2)
    _turn(world, 2, 30)
    rollout = world.control.rollouts.of("credit")
    assert (world.kinds, rollout.paused, rollout.share) == (["set_weights succeeded"], "by ann", 1)


def lost(send: Callable[[Order], str]) -> Callable[[Order], str]:
    def sent(order: Order) -> str:
        send(order)
        raise Unclear("the answer was lost")

    return sent


def test_an_abort_takes_traffic_back_however_many_actions_have_ended_since() -> None:
    world = World()
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    world.hours(1, 2, 0.0)
    assert world.splitter.share == 1
    for name in [one.id for one in world.control.engine.ledger.actions.values()]:
        del world.control.engine.ledger.actions[name]  # as of actions that ended long ago
    world.control.rollouts.abort("credit", "ann", NOW + 2 * HOUR)
    _turn(world, 2 * HOUR, 2 * HOUR + 5)
    assert world.splitter.share == 0
    assert world.control.rollouts.of("credit").result == "aborted"


def test_an_abort_withdraws_a_step_of_which_nobody_knows_whether_it_was_done() -> None:
    world = World()
    world.control.rollouts.start("credit", "v1", "v2", NOW)

    def refused(order: Order) -> str | None:
        raise Permanent("403")

    world.splitter.send = lost(lambda _: "")  # type: ignore[method-assign]
    world.splitter.find = refused  # type: ignore[method-assign]
    _turn(world, 0, 30)
    assert world.kinds == ["set_weights stuck"]
    world.splitter = world.control.engine.targets["serving"] = Splitter()  # type: ignore[index]
    world.control.rollouts.abort("credit", "ann", NOW + 30)
    _turn(world, 30, 40)
    assert world.kinds == ["set_weights rejected", "rollback succeeded"]


def test_a_person_promotes_while_a_step_is_read_back() -> None:
    world = World()
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    slow = [True]
    progress = world.splitter.progress

    def settling(order: Order, reference: str) -> Progress:
        return Progress("running", "not settled") if slow[0] else progress(order, reference)

    world.splitter.progress = settling  # type: ignore[method-assign]
    _turn(world, 0, 3)
    assert world.kinds == ["set_weights running"]
    world.control.rollouts.promote("credit", "ann", NOW + 3)
    slow[0] = False
    _turn(world, 3, 10)
    rollout = world.control.rollouts.of("credit")
    assert (world.splitter.share, rollout.share, rollout.paused) == (100, 100, "")


def test_a_small_arm_without_labels_in_most_windows_is_a_fair_division() -> None:
    rng, pairs = np.random.default_rng(3), Pairs("v1", "v2")
    rollout = Rollout("credit", "v1", "v2", RolloutSpec(target="serving"), NOW)
    rollout.applied(5.0, NOW)
    for hour in range(336):
        start = int((NOW + hour * HOUR) * 1000)
        one = int(rng.binomial(50, 0.05))
        for version, rows in (("v1", 50 - one), ("v2", one)):
            labelled = int(rng.binomial(rows, 0.2))
            report = QualityReport(
                "credit", version, "", "", start, start + 1, "matured", True, rows, labelled, ()
            )
            if rows:
                pairs.take(replace(report, correct=labelled // 2 if labelled else None))
        for cohort in pairs.cohorts(5.0, math.inf):
            rollout.observe(cohort, NOW + hour * HOUR)
    assert rollout.ratio.evidence < 4.6
    assert rollout.design.n > 3_000


def test_reports_of_several_windows_that_come_one_by_one_are_paired_whole() -> None:
    pairs, seen = Pairs("v1", "v2"), []
    for version in ("v1", "v2"):  # a restart catches up; they are read in the middle
        for hour in range(4):
            start = int((NOW + hour * HOUR) * 1000)
            pairs.take(
                QualityReport(
                    "credit", version, "", "", start, start + 1, "matured", True, 9, 9, (), correct=5
                )
            )
        seen += pairs.cohorts(50.0, math.inf)
    assert [cohort.labelled.challenger for cohort in seen] == [9, 9, 9, 9]


def test_without_labels_no_data_pauses() -> None:
    rollout = Rollout("credit", "v1", "v2", RolloutSpec(target="serving"), NOW)
    rollout.applied(5.0, NOW)
    for hour in range(8):
        arms = Arms(0.05, 5, 95, 0, 0)
        rollout.observe(
            Cohort(NOW + hour * HOUR, NOW + (hour + 1) * HOUR, Arms(0.05, 0, 0, 0, 0), arms),
            NOW + (hour + 1) * HOUR,
        )
    assert rollout.decide(NOW + 9 * HOUR).reason == "no_data"


def test_a_promotion_that_cannot_begin_is_not_called_ordered(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    monkeypatch.setattr("observer.actions.engine.MOST_OPEN", 0)
    with pytest.raises(ConfigError, match="too many actions are open"):
        world.control.rollouts.promote("credit", "ann", NOW)


def test_a_step_that_is_served_too_late_is_no_change_of_somebody_else() -> None:
    world = World()
    rollouts = world.control.rollouts
    rollouts.read = lambda _: Division(world.splitter.share, 0.0, world.splitter.share if ready else None)
    ready = []
    progress = world.splitter.progress

    def settling(order: Order, reference: str) -> Progress:
        return progress(order, reference) if ready else Progress("running", "not settled")

    world.splitter.progress = settling  # type: ignore[method-assign]
    rollouts.start("credit", "v1", "v2", NOW)
    _turn(world, 0, 2 * HOUR, 30)
    rollout = rollouts.of("credit")
    assert world.kinds == ["set_weights failed"]
    assert (rollout.paused, rollout.share) == ("set_weights failed", 0)
    ready.append(True)
    _turn(world, 2 * HOUR, 2 * HOUR + 120, 30)
    assert (rollout.paused, rollout.share) == ("set_weights failed", 1), "its evidence counts from now on"
    world.hours(4, 200, -0.3)
    assert world.splitter.share == 0
    assert rollout.result == "rolled_back"


@pytest.mark.parametrize("before", ["a step", "a gate", "promotion"])
def test_a_rules_roll_back_ends_the_rollout_and_is_no_change_of_somebody_else(before: str) -> None:
    world = World(promote_approval="required" if before == "a gate" else "automatic")
    rule = {"name": "back", "when": {"alert": {"a": "Stop"}}, "do": "rollback", "target": "serving"}
    world.actions = {"rules": [rule]}
    world.restart()
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    if before == "a gate":
        hour = _first_waiting(world, "promote")
    else:
        hour = 1
        while world.splitter.share < (100 if before == "promotion" else 1):
            world.hours(hour, hour + 1, 0.05)
            hour += 1
    now = NOW + hour * HOUR
    world.inbox.alert(Trigger("alert", "credit", "", "alert/1", "alert Stop", labels={"a": "Stop"}))
    world.control.tick(now)
    (action,) = _of_kind(world, "rollback")
    world.control.tick(now + 1)
    assert (world.splitter.share > 0, world.control.rollouts.of("credit").result) == (True, "")
    world.control.engine.rule(action.id, "approve", "token:ann", "", now + 2)
    for second in range(3, 8):
        world.control.tick(now + second)
    rollout = world.control.rollouts.of("credit")
    assert (world.splitter.share, rollout.result, rollout.paused) == (0, "rolled_back", "")
    own = _of_kind(world, "rollback")[-1]
    assert own.order.why["detail"].endswith("rule back takes its traffic back: alert Stop")
    assert not [a for a in world.control.engine.ledger.open if a.order.kind == "promote"]


def test_a_promoted_challenger_is_not_promoted_again() -> None:
    world = World()
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    _turn(world, 0, 5)
    world.control.rollouts.pause("credit", "ann", NOW + 4)
    world.control.rollouts.promote("credit", "ann", NOW + 5)
    _turn(world, 5, 10)
    assert (world.splitter.share, world.control.rollouts.of("credit").paused) == (100, "")
    with pytest.raises(ConfigError, match="is promoted, and watched; accepted now: abort"):
        world.control.rollouts.promote("credit", "ann", NOW + 10)
    assert len(_of_kind(world, "promote")) == 1
