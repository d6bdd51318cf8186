"""Rollouts in the control plane: steps are ordered, withdrawn, guarded, and decided by people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from observer.actions.cohorts import Pairs
from observer.actions.ledger import Ledger, broken
from observer.actions.retrain.events import sign
from observer.actions.rollout import Rollout
from observer.actions.rollout_spec import RolloutSpec
from observer.actions.spec import GuardSpec
from observer.errors import ConfigError
from observer.model import (
    QualityReport,
)
from tests.unit.actions.fakes import NOW
from tests.unit.actions.server import Request, served
from tests.unit.actions.world import HOUR, World, burning


def test_a_worse_challenger_is_rolled_back() -> None:
    world = World()
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    world.hours(1, 200, -0.06)
    assert world.kinds[-1] == "rollback succeeded"
    assert world.splitter.share == 0
    assert world.control.rollouts.of("credit").result == "rolled_back"
    assert world.phone.alerts == {}


def test_a_person_approves_promotion_from_alertmanager_or_stops_it() -> None:
    world = World(promote_approval={"mode": "required", "silence": "approve"})
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    hour = 1
    while not world.kinds or world.kinds[-1] != "promote waiting":
        world.hours(hour, hour + 1, 0.05)
        hour += 1
    ((action, alert),) = world.phone.alerts.items()
    assert alert.labels["action"] == "promote"
    matcher = {"name": "action_id", "value": action, "isRegex": False, "isEqual": True}
    silence = {"id": "s", "status": {"state": "active"}, "matchers": [matcher], "createdBy": "ann"}
    world.phone.said = [{**silence, "comment": "approve, good"}]
    world.hours(hour, hour + 30, 0.05)
    assert world.splitter.share == 100
    assert world.kinds[-1] == "promote succeeded"


def test_weights_changed_by_somebody_else_pause_the_rollout() -> None:
    world = World()
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    world.hours(1, 3, 0.05)
    assert world.splitter.share == 1
    world.splitter.share = 33.0
    world.hours(3, 60, 0.05)
    rollout = world.control.rollouts.of("credit")
    assert rollout.paused == "foreign_change"
    assert world.splitter.share == 33
    note = world.control.engine.ledger.notes[rollout.id][-1].data["detail"]
    assert note == "foreign_change: share and shadow of 1% and 0% were set, 33% and 0% are there"


def test_people_start_pause_resume_promote_and_abort() -> None:
    world = World()
    rollouts = world.control.rollouts
    with pytest.raises(ConfigError, match="no rollout"):
        rollouts.pause("credit", "ann", NOW)
    with pytest.raises(ConfigError, match="two versions"):
        rollouts.start("credit", "v1", "v1", NOW)
    rollouts.start("credit", "v1", "v2", NOW)
    with pytest.raises(ConfigError, match="under way"):
        rollouts.start("credit", "v1", "v3", NOW)
    world.hours(1, 3, 0.05)
    rollouts.pause("credit", "ann", NOW)
    world.hours(3, 30, 0.05)
    assert world.splitter.share == 1
    rollouts.resume("credit", "ann", NOW + 30 * HOUR)
    world.hours(30, 34, 0.05)
    assert world.splitter.share > 1
    rollouts.abort("credit", "ann", NOW + 34 * HOUR)
    world.hours(34, 36, 0.05)
    assert world.splitter.share == 0
    assert rollouts.of("credit").result == "aborted"
    with pytest.raises(ConfigError, match="over, aborted"):
        rollouts.promote("credit", "ann", NOW)
    noted = world.control.engine.ledger.notes[rollouts.of("credit").id]
    assert [(row.event, row.actor) for row in noted] == [
        ("rollout_started", "observer"),
        ("rollout_paused", "ann"),
        ("rollout_resumed", "ann"),
        ("rollout_ended", "observer"),
    ]
    rows = list(world.store.rows())
    assert broken(rows) is None
    again = Ledger(world.store)  # after a restart
    assert again.notes == world.control.engine.ledger.notes
    assert (again.head, again.length) == (rows[-1].hash, len(rows))


def test_a_step_that_waits_at_its_target_is_withdrawn_by_an_abort() -> None:
    world = World()
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    world.splitter.away = True
    world.control.tick(NOW)
    world.control.tick(NOW + 1)
    assert world.kinds == ["set_weights approved"]
    world.control.rollouts.abort("credit", "ann", NOW + 2)
    world.splitter.away = False
    world.hours(1, 5, 0.0)
    assert world.splitter.share == 0
    assert world.kinds[0] == "set_weights stopped"
    assert world.control.rollouts.of("credit").result == "aborted"


def test_a_page_during_a_gate_rolls_back_at_once() -> None:
    world = World(promote_approval="required")
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    hour = 1
    while not world.kinds or world.kinds[-1] != "promote waiting":
        world.hours(hour, hour + 1, 0.05)
        hour += 1
    world.standings = [burning("v2")]
    for turn in range(4):
        world.control.tick(NOW + hour * HOUR + turn)
    assert world.splitter.share == 0
    assert world.kinds[-2:] == ["promote rejected", "rollback succeeded"]


def test_a_rollout_begins_only_where_its_arm_is_empty() -> None:
    world = World()
    world.splitter.share = 100.0
    with pytest.raises(ConfigError, match="100% already; accepted: one that gives it 0%"):
        world.control.rollouts.start("credit", "v1", "v2", NOW)
    world.splitter.share = 0.0
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    world.control.rollouts.abort("credit", "ann", NOW)
    assert world.control.rollouts.of("credit").result == "aborted"
    assert world.kinds == [], "nothing was sent, so nothing is taken back"


@pytest.mark.parametrize(
    ("guards", "said"),
    [({"dry_run": True}, "wait dry_run: would advance"), ({"freeze": [{}]}, "wait frozen: nothing starts")],
)
def test_guards_hold_rollouts_too(guards: Mapping[str, Any], said: str) -> None:
    world = World()
    world.guards = GuardSpec.model_validate({"largest_step": 100, **guards})
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    world.hours(1, 4, 0.05)
    assert world.kinds == []
    assert world.control.rollouts.all()[0][1].startswith(said)


def test_a_rejected_step_is_taken_again_after_a_person_resumes() -> None:
    world = World(approval="required")
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    world.control.tick(NOW)
    (action,) = world.control.engine.ledger.open
    world.control.engine.rule(action.id, "reject", "token:ann", "not now", NOW + 1)
    world.control.tick(NOW + 2)
    assert world.control.rollouts.of("credit").paused == "set_weights rejected"
    world.control.rollouts.resume("credit", "ann", NOW + 3)
    world.control.tick(NOW + 4)
    world.control.tick(NOW + 5)
    assert world.kinds == ["set_weights rejected", "set_weights waiting"]


def test_equal_arms_under_weights_that_somebody_else_set_are_not_judged() -> None:
    world = World()
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    world.hours(1, 3, 0.0)
    world.splitter.share = 50.0
    world.hours(3, 30, 0.0)
    assert world.splitter.share == 50
    assert world.control.rollouts.of("credit").paused == "foreign_change"


def test_a_small_share_of_a_small_stream_is_a_fair_division() -> None:
    rng, pairs = np.random.default_rng(3), Pairs("v1", "v2")
    rollout = Rollout("credit", "v1", "v2", RolloutSpec(target="serving"), NOW)
    rollout.applied(1.0, NOW)
    for hour in range(336):
        start = int((NOW + hour * HOUR) * 1000)
        one = int(rng.binomial(50, 0.01))
        for version, rows in (("v1", 50 - one), ("v2", one)):
            if rows:
                report = QualityReport(
                    "credit", version, "", "", start, start + 1, "matured", True, rows, rows, ()
                )
                pairs.take(replace(report, correct=rows // 2))
        for cohort in pairs.cohorts(1.0, math.inf):
            rollout.observe(cohort, NOW + hour * HOUR)
    assert rollout.ratio.evidence < 4.6
    assert rollout.design.n > 16_000


@pytest.mark.parametrize("answers", [[], [500, 403, 202], ["drop"]])
def test_a_gate_is_asked_before_each_step_up_and_only_200_opens_it(answers: list[Any]) -> None:
    def answer(request: Request) -> Any:
        assert request.headers["authorization"] == "Bearer s3cret"
        assert request.headers["x-observer-signature"] == "sha256=" + sign(request.body, "hush")
        assert (request.path, request.json["rollout"][:10]) == ("/steps?of=credit", "credit/v2/")
        return 200, {}

    with served(answer) as server:
        server.faults = list(answers)
        gate = {"url": f"{server.url}/steps?of=credit", "token": "s3cret", "secret": "hush"}
        world = World(gate=gate)
        world.control.rollouts.start("credit", "v1", "v2", NOW)
        for turn, _ in enumerate(answers):
            world.control.tick(NOW + 61 * turn)
            world.control.tick(NOW + 61 * turn + 30)
            assert world.kinds == []
            assert world.control.rollouts.all()[0][1].startswith("wait gate_closed: the gate is closed: POST")
        assert len(server.seen) == len(answers), "not more often than once a minute"
        world.hours(1, 200, 0.05)
        wanted = [request.json["wanted"] for request in server.seen[len(answers) :]]
        assert world.control.rollouts.of("credit").result == "promoted"
        actions = world.control.engine.ledger.actions.values()
        assert wanted == [action.order.parameters["share"] for action in actions]
        assert wanted[-1] == 100


def test_going_back_asks_no_gate_and_the_bearer_is_kept_nowhere() -> None:
    with served(lambda _: (200, {})) as server:
        world = World(gate={"url": server.url, "token": "s3cret-token", "secret": "hush-hush"})
        world.control.rollouts.start("credit", "v1", "v2", NOW)
        world.hours(1, 200, -0.06)
        assert world.control.rollouts.of("credit").result == "rolled_back"
        assert {request.json["verb"] for request in server.seen} == {"advance"}
        kept = b"".join(world.states.kept.values()) + repr(world.store.kept).encode()
        assert b"s3cret-token" not in kept
        assert b"hush-hush" not in kept


@pytest.mark.parametrize(
    ("failing", "took", "says"), [(0.1, 20.0, "fails more often"), (0.01, 40.0, "slow more often")]
)
def test_one_that_answers_badly_goes_back_before_any_label_has_come(
    failing: float, took: float, says: str
) -> None:
    world = World(steps=[5, 50])
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    for hour in range(1, 30):
        now = NOW + hour * HOUR
        if world.splitter.share > 0:
            world.answered(now, "v1", 1_900, 0.01, 20.0)
            world.answered(now, "v2", 100, failing, took)
        for minute in range(0, 50, 10):
            world.control.tick(now + minute * 60)
    assert world.kinds == ["set_weights succeeded", "rollback succeeded"]
    assert world.splitter.share == 0
    (*_, back) = world.control.engine.ledger.actions.values()
    assert says in back.order.why["detail"]


def test_reports_of_a_regression_become_cohorts_with_its_errors() -> None:
    pairs, start = Pairs("v1", "v2"), int(NOW * 1000)
    for version, losses in (("v1", (5, 3, 0)), ("v2", (1, 0, 1))):
        rows = sum(losses)
        report = QualityReport(
            "credit", version, "", "", start, start + 1, "matured", True, rows + 2, rows, (), losses=losses
        )
        pairs.take(report)
    (cohort,) = pairs.cohorts(20.0, math.inf)
    assert cohort.losses is not None
    assert [each.tolist() for each in cohort.losses] == [[1, 0, 1], [5, 3, 0]]
    assert cohort.labelled == (0.2, 4, 10, 2, 8)


SHADOW = {"shadow": {"percent": 50, "bake": "2h", "minimum": 500}}


def shadowed(
    world: World,
    hours: range,
    *,
    copies: int = 500,
    failing: float = 0.01,
    took: float = 20.0,
    marked: bool = True,
) -> None:
    """Hour by hour: a thousand requests, and answers to copies of them while there are any."""
    for hour in hours:
        now = NOW + hour * HOUR
        if world.splitter.shadow:
            world.answered(now, "v1", 1_000, 0.01, 20.0)
            world.answered(now, "v2", copies, failing, took, copied=marked)
        for minute in range(0, 50, 10):
            world.control.tick(now + minute * 60)


def test_a_shadow_comes_first_and_ends_with_the_first_step() -> None:
    world = World(**SHADOW)
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    shadowed(world, range(2))
    rollout = world.control.rollouts.of("credit")
    assert (world.splitter.share, world.splitter.shadow) == (0, 50)
    assert (rollout.share, rollout.shadow, rollout.at_step, rollout.design.n) == (0, 50, 0, 10)
    assert world.control.rollouts.all()[0][1].startswith("wait shadowing: ")
    world.restart()
    assert world.control.rollouts.of("credit").to_bytes() == rollout.to_bytes()
    shadowed(world, range(2, 6))
    assert (world.splitter.share, world.splitter.shadow) == (1, 0)
    assert world.kinds == ["shadow succeeded", "set_weights succeeded"]
    first, second = (one.order.parameters for one in world.control.engine.ledger.actions.values())
    assert first == {"share": 0.0, "before": 0.0, "shadow": 50}
    assert second == {"share": 1.0, "before": 0.0, "shadow": 0.0}
    world.hours(6, 300, 0.05)
    assert world.control.rollouts.of("credit").result == "promoted"
    assert world.control.rollouts.of("credit").shadow == 0


@pytest.mark.parametrize(
    ("failing", "took", "says"), [(0.1, 20.0, "fails more often"), (0.01, 40.0, "slow more often")]
)
def test_one_that_answers_copies_badly_never_serves(failing: float, took: float, says: str) -> None:
    world = World(**SHADOW)
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    shadowed(world, range(30), failing=failing, took=took)
    assert world.kinds == ["shadow succeeded", "rollback succeeded"]
    assert (world.splitter.share, world.splitter.shadow) == (0, 0)
    assert world.control.rollouts.of("credit").result == "rolled_back"
    (*_, back) = world.control.engine.ledger.actions.values()
    assert says in back.order.why["detail"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"copies": 300}, "copies_missing"),
        ({"copies": 1_000}, "copies_missing"),
        ({"copies": 0}, "copies_missing"),
        ({"marked": False}, "copies_unmarked"),
    ],
)
def test_copies_that_are_lost_or_logged_as_served_pause(changes: Any, reason: str) -> None:
    world = World(**SHADOW)
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    shadowed(world, range(12), **changes)
    assert world.control.rollouts.of("credit").paused == reason
    assert world.kinds == ["shadow succeeded"]
    world.control.rollouts.resume("credit", "ann", NOW + 12 * HOUR)
    shadowed(world, range(13, 18))
    assert world.kinds == ["shadow succeeded", "set_weights succeeded"]


def test_a_few_copies_that_a_mirror_lost_do_not_matter() -> None:
    world = World(shadow={"bake": "200h"})
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    shadowed(world, range(190), copies=990)
    rollout = world.control.rollouts.of("credit")
    assert (rollout.shadow, rollout.paused) == (100, "")


def test_a_shadow_that_nobody_answers_for_or_that_somebody_else_ended_pauses() -> None:
    world = World(**SHADOW)
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    world.hours(0, 9, 0.0)
    assert world.control.rollouts.of("credit").paused == "no_data"
    world.control.rollouts.resume("credit", "ann", NOW + 9 * HOUR)
    world.splitter.shadow = 0.0
    world.hours(10, 12, 0.0)
    assert world.control.rollouts.of("credit").paused == "foreign_change"
    assert world.splitter.shadow == 0


def test_people_hold_abort_and_promote_a_shadow() -> None:
    world = World(**SHADOW, approval="required")
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    world.control.tick(NOW)
    assert world.kinds == ["shadow waiting"]
    (action,) = world.control.engine.ledger.open
    world.control.engine.rule(action.id, "approve", "token:ann", "", NOW + 1)
    shadowed(world, range(2))
    assert world.splitter.shadow == 50
    world.control.rollouts.abort("credit", "ann", NOW + 2 * HOUR)
    shadowed(world, range(2, 4))
    assert (world.splitter.shadow, world.control.rollouts.of("credit").result) == (0, "aborted")

    world = World(**SHADOW)
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    shadowed(world, range(2))
    world.control.rollouts.promote("credit", "ann", NOW + 2 * HOUR)
    shadowed(world, range(2, 4))
    assert (world.splitter.share, world.splitter.shadow) == (100, 0)


def test_a_shadow_that_is_there_already_is_not_taken_over() -> None:
    world = World(**SHADOW)
    world.splitter.shadow = 20.0
    with pytest.raises(ConfigError, match="copies 20% of the requests to it already"):
        world.control.rollouts.start("credit", "v1", "v2", NOW)
