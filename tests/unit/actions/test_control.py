"""The whole loop without a cluster: drift, retraining, a challenger that proves itself or does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from observer.actions.ledger import broken
from observer.actions.policy import Trigger
from observer.actions.spec import GuardSpec
from observer.errors import ConfigError, Retryable
from observer.metrics import Values, catalog
from tests.unit.actions.fakes import NOW
from tests.unit.actions.world import HOUR, RULES, World, burning


@pytest.mark.parametrize("restarts", [False, True])
def test_drift_leads_to_one_retraining_and_its_model_is_promoted_on_evidence(restarts: bool) -> None:
    world = World()
    world.incident(NOW)
    world.control.tick(NOW)
    assert world.kinds == [], "too few labels to learn from"
    world.cohort(NOW + HOUR, "v1", 500, 0.7)
    for hour in range(3):
        world.incident(NOW + hour)
        world.control.tick(NOW + hour)
        if restarts:
            world.restart()
    assert world.kinds.count("retrain succeeded") == 1
    action = next(iter(world.control.engine.ledger.actions.values()))
    assert {key: action.order.parameters[key] for key in ("version", "reference", "since")} == {
        "version": "v1",
        "reference": "r",
        "since": NOW - HOUR,
    }
    world.hours(2, 200, 0.03, restarts=restarts)
    assert world.kinds[0] == "retrain succeeded"
    assert world.kinds[-1] == "promote succeeded"
    assert set(world.kinds[1:-1]) == {"set_weights succeeded"}
    assert world.splitter.share == 100
    assert world.control.rollouts.of("credit").result == "promoted"
    assert world.pipeline.effects.total() == 1
    assert broken(world.store.rows()) is None


def test_what_burns_is_the_model_and_the_version_that_serves_it_is_retrained() -> None:
    world = World()
    world.actions = {"rules": [{**RULES["rules"][0], "when": {"objective": "page"}, "fresh_labels": 0}]}
    world.restart()
    world.cohort(NOW, "v3", 0, 0.7)
    world.control.tick(NOW)
    assert world.control._champion("credit") == "", "nothing is labelled"
    world.standings = [burning("")]
    world.cohort(NOW, "v1", 900, 0.7)
    world.cohort(NOW, "v0", 100, 0.7)
    for minute in range(3):
        world.control.tick(NOW + minute * 60)
    (action,) = [a for a in world.control.engine.ledger.actions.values() if a.order.kind == "retrain"]
    assert action.order.parameters["version"] == "v1"
    rollout = world.control.rollouts.of("credit")
    assert (rollout.champion, rollout.challenger) == ("v1", "v2")


def test_a_crash_between_retraining_and_rollout_loses_nothing() -> None:
    world = World()
    world.cohort(NOW, "v1", 500, 0.7)
    world.incident(NOW)
    world.control.tick(NOW)
    world.control.tick(NOW + 10)
    (action,) = [a for a in world.control.engine.ledger.actions.values() if a.order.kind == "retrain"]
    assert action.state == "succeeded"
    # As if the crash had come right after the retraining's last row.
    world.store.kept = world.store.kept[: action.rows[-1].number]
    world.states.kept.clear()
    world.splitter.share = 0.0
    world.restart()
    world.control.tick(NOW + 20)
    assert world.control.rollouts.of("credit").challenger == "v2"


def test_an_objective_that_burns_decides_once_through_restarts() -> None:
    world = World()
    world.actions = {
        "rules": [
            {
                "name": "burn",
                "when": {"objective": "page"},
                "do": "retrain",
                "target": "pipeline",
                "approval": "automatic",
                "cooldown": 0,
            }
        ]
    }
    world.restart()
    world.standings = [burning("")]
    for turn in range(6):
        world.control.tick(NOW + 60 * turn)
        world.restart()
    assert world.kinds == ["retrain succeeded"]
    (action,) = world.control.engine.ledger.actions.values()
    assert "accuracy burns its budget 20.0 times too fast" in action.order.why["detail"]


def test_without_alertmanager_everything_else_goes_on_and_gauges_tell() -> None:
    world = World()
    world.phone.down = True
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    world.hours(1, 4, 0.02)
    assert world.splitter.share > 0
    values = Values()
    world.control.publish(values)
    assert values.series[catalog.ALERTMANAGER_DOWN][()] == 1
    assert values.series[catalog.ROLLOUT_SHARE]["credit", "v2"] == pytest.approx(world.splitter.share / 100)
    assert values.series[catalog.LEDGER_HEAD] == {(world.control.engine.ledger.head,): 1}


def test_a_flood_of_reports_is_bounded_and_counted() -> None:
    world = World()
    for _ in range(20_100):
        world.incident(NOW)
    counted = world.control.counters.read().series[catalog.ACTION_REPORTS_DROPPED]
    assert counted == {(): 100.0}


def test_a_trigger_that_comes_once_waits_for_its_guards() -> None:
    world = World()
    world.actions = {
        "rules": [{"name": "n", "when": {"alert": {"a": "b"}}, "do": "retrain", "target": "pipeline"}],
        "guards": {"freeze": [{"start": "08:00", "end": "09:00"}]},
    }
    world.restart()
    world.inbox.alert(Trigger("alert", "credit", "v1", "alert/1", "stale", labels={"a": "b"}))
    world.control.tick(NOW)
    assert world.kinds == []
    world.control.tick(NOW + HOUR)
    assert world.kinds == ["retrain waiting"]


def test_what_could_not_begin_says_so_and_begins_later(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    monkeypatch.setattr("observer.actions.engine.MOST_OPEN", 0)
    world.cohort(NOW, "v1", 500, 0.7)
    world.incident(NOW)
    world.control.tick(NOW)
    ((_, one),) = world.control.evaluations.items()
    assert (one.reason, world.kinds) == ("too_many_open", [])
    counted = world.control.counters.read().series[catalog.ACTION_EVALUATIONS]
    assert counted == {("credit", "retrain", "too_many_open"): 1}
    monkeypatch.setattr("observer.actions.engine.MOST_OPEN", 200)
    world.control.tick(NOW + 10)
    assert world.kinds == ["retrain running"]


def _asking_first(world: World) -> None:
    rule = {**RULES["rules"][0], "approval": {"unless_rejected_within": "30m"}, "fresh_labels": 0}
    world.actions = {"rules": [rule]}
    world.restart()
    world.incident(NOW)
    world.control.tick(NOW)
    assert world.kinds == ["retrain waiting"]


@pytest.mark.parametrize("guards", [{"freeze": [{"start": "08:10", "end": "10:00"}]}, {"dry_run": True}])
def test_nothing_starts_by_itself_in_a_freeze_or_a_dry_run_that_began_meanwhile(
    guards: Mapping[str, Any],
) -> None:
    world = World()  # it is eight o'clock
    _asking_first(world)
    world.guards = GuardSpec.model_validate(guards)
    for minute in range(0, 110, 10):
        world.control.tick(NOW + minute * 60)
    assert world.kinds == ["retrain waiting"]
    (action,) = world.control.engine.ledger.open
    assert action.detail
    assert [row.event for row in action.rows] == ["intended", "commented"]
    world.guards = GuardSpec()
    world.control.tick(NOW + 2 * HOUR)
    world.control.tick(NOW + 2 * HOUR + 1)
    assert world.kinds[0] == "retrain running"


def test_in_a_dry_run_nobody_can_begin_anything_but_take_traffic_back() -> None:
    world = World()
    _asking_first(world)
    rollouts = world.control.rollouts
    rollouts.start("credit", "v1", "v2", NOW)
    for second in range(1, 4):
        world.control.tick(NOW + second)
    assert rollouts.of("credit").share == 1
    world.guards = GuardSpec(dry_run=True)
    (action,) = world.control.engine.ledger.open
    with pytest.raises(ConfigError, match=r"would retrain through pipeline; guards\.dry_run"):
        world.control.engine.rule(action.id, "approve", "token:ann", "", NOW + 4)
    matcher = {"name": "action_id", "value": action.id, "isRegex": False, "isEqual": True}
    silence = {"id": "s", "status": {"state": "active"}, "matchers": [matcher], "comment": "approve"}
    action.order = replace(action.order, approval=replace(action.order.approval, by_silence=True))
    world.phone.said = [silence]
    for second in (10, 20):
        world.control.tick(NOW + second)
    assert [row.event for row in action.rows] == ["intended", "commented"]
    assert "guards.dry_run" in action.detail
    with pytest.raises(ConfigError, match="dry_run is set"):
        rollouts.promote("credit", "ann", NOW + 30)
    assert rollouts.abort("credit", "ann", NOW + 30) == "credit: rollback ordered"
    for second in range(31, 35):
        world.control.tick(NOW + second)
    assert (world.splitter.share, rollouts.of("credit").result) == (0, "aborted")
    assert world.pipeline.effects.total() == 0


def test_what_was_approved_before_a_dry_run_is_sent_after_it() -> None:
    world = World()
    _asking_first(world)
    (action,) = world.control.engine.ledger.open
    world.control.engine.rule(action.id, "approve", "token:ann", "", NOW)
    world.guards = GuardSpec(dry_run=True)
    world.control.tick(NOW + 1)
    assert world.kinds == ["retrain approved"]
    world.guards = GuardSpec()
    world.control.tick(NOW + 2)
    assert world.kinds == ["retrain running"]


def test_nothing_starts_by_itself_while_nobody_can_be_heard() -> None:
    world = World()
    _asking_first(world)
    world.phone.down = True
    for minute in range(10, 90, 10):
        world.control.tick(NOW + minute * 60)
    assert world.kinds == ["retrain waiting"]
    world.phone.down = False
    (action,) = world.control.engine.ledger.open
    matcher = {"name": "action_id", "value": action.id, "isRegex": False, "isEqual": True}
    silence = {"id": "s", "status": {"state": "active"}, "matchers": [matcher], "createdBy": "ann"}
    world.phone.said = [{**silence, "comment": "reject, a bad day"}]
    world.control.tick(NOW + 91 * 60)
    assert world.kinds == ["retrain rejected"]
    assert world.pipeline.effects.total() == 0


def test_open_actions_are_told_of_while_the_database_is_away() -> None:
    world = World()
    _asking_first(world)
    world.phone.alerts = {}

    def away() -> None:
        raise Retryable("the database is away")

    world.store.point = world.states.point = away
    world.standings = [burning("v1")]
    with pytest.raises(Retryable):
        world.control.tick(NOW + 60)
    assert len(world.phone.alerts) == 1


def test_what_was_made_long_ago_is_not_rolled_out_because_the_configuration_changed() -> None:
    world = World(start="by_hand")
    world.cohort(NOW, "v1", 500, 0.7)
    world.incident(NOW)
    world.control.tick(NOW)
    world.control.tick(NOW + 10)
    assert world.kinds == ["retrain succeeded"]
    world.spec = world.spec.model_copy(update={"start": "after_retrain"})
    world.restart()
    world.control.tick(NOW + 30 * 24 * HOUR)
    assert world.control.rollouts.all() == []
    (action,) = world.control.engine.ledger.actions.values()
    assert action.rows[-1].event == "rollout_refused"
    assert "longer ago than two days" in action.detail
