"""Rules that start a rollout, have it take a step, or pause it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from pydantic import ValidationError

from observer.actions.ledger import Action, broken
from observer.actions.policy import Trigger
from observer.actions.spec import ActionsSpec, GuardSpec
from tests.unit.actions.fakes import NOW, Crash
from tests.unit.actions.world import HOUR, World, burning

ALERT = {"when": {"alert": {"alertname": "Told"}}, "approval": "automatic", "cooldown": "0s"}


def ruled(do: str, when: Mapping[str, Any] | None = None, **rollout: Any) -> World:
    world = World(**rollout)
    rule = {"name": "one", "do": do, **ALERT, **({"when": when} if when else {})}
    world.actions = {"rules": [rule], "guards": {"most_per_day": 100, "concurrent": 100}}
    world.restart()
    return world


def told(world: World, cause: str = "1", **labels: str) -> None:
    labels = {"alertname": "Told", **labels}
    world.inbox.alert(Trigger("alert", "credit", labels.get("version", ""), cause, "told", labels=labels))


def turn(world: World, now: float, turns: int = 4) -> None:
    for second in range(turns):
        world.control.tick(now + second)


def every(world: World) -> list[Action]:
    return list(world.control.engine.ledger.actions.values())


def of(world: World, kind: str) -> Action:
    return next(action for action in every(world) if action.order.kind == kind)


def test_an_alert_that_names_a_version_starts_its_rollout_once() -> None:
    world = ruled("start_rollout")
    world.cohort(NOW, "v1", 900, 0.8)
    for _ in range(3):
        told(world, challenger="v2")
        turn(world, NOW)
    rollout = world.control.rollouts.of("credit")
    assert (rollout.champion, rollout.challenger, rollout.share) == ("v1", "v2", 1)
    assert world.kinds == ["start_rollout succeeded", "set_weights succeeded"]
    (note,) = world.control.engine.ledger.notes[rollout.id]
    assert (note.actor, note.data["detail"]) == ("rule:one", "rule:one: told")
    told(world, "2", challenger="v3")
    turn(world, NOW + 10)
    assert world.kinds[-1] == "start_rollout failed"
    assert "a rollout of v2 is under way" in every(world)[-1].detail


@pytest.mark.parametrize("challenger", ["", "{{ evil }}", "http://x/"])
def test_an_alert_that_names_no_version_starts_nothing(challenger: str) -> None:
    world = ruled("start_rollout")
    told(world, challenger=challenger, version="v1")
    turn(world, NOW)
    assert world.kinds == ["start_rollout failed"]
    assert "accepted: up to 128 letters" in of(world, "start_rollout").detail
    assert world.control.rollouts.all() == []


def test_a_rollout_takes_steps_by_the_calendar_but_no_promotion() -> None:
    world = ruled("advance_rollout", {"every": "6h"})
    world.guards = GuardSpec(largest_step=10)
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    shares = []
    for hour in range(1, 60):
        turn(world, NOW + hour * HOUR, 6)
        shares.append(world.splitter.share)
        world.control.rollouts.of("credit").seen = NOW + hour * HOUR
    assert list(dict.fromkeys(shares)) == [1, 5, 15, 20, 30, 40, 50]
    assert every(world)[-1].detail == "model credit: no step of its rollout is above 50%"


def test_a_step_by_rule_is_no_persons_word() -> None:
    world = ruled("advance_rollout", approval="required")
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    turn(world, NOW)
    world.control.engine.rule(of(world, "set_weights").id, "approve", "token:ann", "", NOW + 5)
    turn(world, NOW + 6)
    assert world.splitter.share == 1
    told(world)
    turn(world, NOW + 20)
    assert world.kinds[1:] == ["advance_rollout succeeded", "set_weights waiting"]
    told(world, "2")
    turn(world, NOW + 30)
    assert every(world)[-1].detail == "model credit: a step of its rollout is waiting"


def test_an_objective_that_burns_pauses_the_rollout_and_withdraws_its_step_in_a_freeze_too() -> None:
    world = ruled("pause_rollout", {"objective": "page"}, approval="required")
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    turn(world, NOW, 2)
    assert world.kinds == ["set_weights waiting"]
    world.actions = {**world.actions, "guards": {"freeze": [{}]}}
    world.restart()
    world.standings = [burning("v1")]
    turn(world, NOW + 10)
    assert world.kinds == ["set_weights rejected", "pause_rollout succeeded"]
    assert world.control.rollouts.of("credit").paused == "by rule:one"
    assert broken(world.store.rows()) is None


def test_without_a_rollout_it_says_so() -> None:
    world = ruled("pause_rollout")
    told(world)
    turn(world, NOW)
    assert of(world, "pause_rollout").detail == "model 'credit': it has no rollout"


@pytest.mark.parametrize("do", ["start_rollout", "advance_rollout", "pause_rollout"])
def test_a_crash_at_any_write_repeats_and_forgets_nothing(do: str) -> None:
    for crash in range(1, 14):
        world = ruled(do)
        if do != "start_rollout":
            world.control.rollouts.start("credit", "v1", "v2", NOW)
            turn(world, NOW)
        left = [crash]

        def point(left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise Crash

        world.store.point = point
        told(world, challenger="v2", version="v1")
        for second in range(10):
            with suppress(Crash):
                world.control.tick(NOW + 20 + second)
                continue
            world.restart()
            told(world, challenger="v2", version="v1")
        rollout = world.control.rollouts.of("credit")
        share, paused = {"advance_rollout": (5, ""), "pause_rollout": (1, "by rule:one")}.get(do, (1, ""))
        assert (rollout.share, rollout.paused, world.splitter.share) == (share, paused, share), crash
        assert of(world, do).state == "succeeded"
        assert world.kinds.count("set_weights succeeded") == len(world.kinds) - 1
        assert broken(world.store.rows()) is None


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"do": "pause_rollout", "target": "x"}, "accepted: none with pause_rollout"),
        ({"do": "retrain"}, "target is missing"),
        ({"do": "start_rollout", "when": {"every": "1d"}}, "names the version, for start_rollout"),
    ],
)
def test_what_is_wrong_with_such_a_rule_is_said(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ActionsSpec.model_validate({"rules": [{"name": "one", "when": {"finding": "page"}, **wrong}]})
