"""The whole loop without a cluster: drift, retraining, a challenger that proves itself or does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from observer.actions.base import Foreign, Order, Progress
from observer.actions.cohorts import Pairs
from observer.actions.control import Control, Inbox
from observer.actions.engine import ActionEngine
from observer.actions.ledger import Action, Ledger, broken
from observer.actions.policy import Trigger
from observer.actions.rollout import Rollout, RolloutSpec
from observer.actions.rollouts import Rollouts
from observer.actions.spec import ActionsSpec, GuardSpec
from observer.errors import ConfigError, Permanent, Retryable
from observer.metrics import Counters, Values, catalog
from observer.model import (
    Alert,
    BurnAlert,
    BurnRate,
    EvidenceReport,
    ObjectiveStanding,
    QualityReport,
    StreamEvidence,
    WindowKey,
    WindowReport,
)
from tests.unit.actions.fakes import NOW, FakeTarget, MemoryStore

HOUR = 3_600
RULES = {
    "rules": [
        {
            "name": "retrain",
            "when": {"finding": "page"},
            "do": "retrain",
            "target": "pipeline",
            "approval": "automatic",
            "fresh_labels": 100,
        }
    ]
}


class MemoryStates:
    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return self.kept.get(key)

    def put(self, key: str, value: bytes) -> None:
        self.kept[key] = value

    def delete(self, key: str) -> None:
        self.kept.pop(key, None)

    def scan(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        return iter(sorted((k, v) for k, v in self.kept.items() if k.startswith(prefix)))


class Splitter:
    """Traffic as somebody set it last."""

    can_be_asked = deduplicates = True

    def __init__(self) -> None:
        self.share = 0.0
        self.away = False

    def send(self, order: Order) -> str:
        if self.away:
            raise Retryable("503")
        before = order.parameters["before"]
        if before is not None and before != self.share and order.parameters["share"] != self.share:
            raise Foreign("changed")
        self.share = order.parameters["share"]
        return "set"

    def find(self, order: Order) -> str | None:
        return "set" if self.share == order.parameters["share"] else None

    def progress(self, order: Order, _: str) -> Progress:
        if self.share != order.parameters["share"]:
            return Progress("foreign", "changed")
        return Progress("succeeded", "served")

    def stop(self, order: Order, reference: str) -> None:
        raise Permanent(f"{order.kind} {reference}: no")

    def check(self) -> list[str]:
        return []


class Phone:
    """An Alertmanager that remembers, and people who answer."""

    def __init__(self) -> None:
        self.alerts: Mapping[str, Alert] = {}
        self.said: list[dict[str, Any]] = []
        self.down = False

    def show(self, alerts: Mapping[str, Alert], _: float) -> None:
        self.alerts = alerts

    def tick(self, _: float) -> list[str]:
        return ["down"] if self.down else []

    def silences(self) -> list[dict[str, Any]]:
        if self.down:
            raise Retryable("no Alertmanager answers")
        return self.said


def burning(version: str) -> ObjectiveStanding:
    alert = BurnAlert("page", 300_000, 3_600_000, 14.4, firing=True)
    rate = BurnRate(300_000, 20.0, 100)
    budget = (50, 100, -1.0, -1.0)
    of = ("credit", "accuracy", "", "right", version, "", "", "realised", 0.9, "", 0, 1)
    return ObjectiveStanding(*of, *budget, (rate,), (alert,), None)


class World:
    """A service's control plane over stores that survive it."""

    def __init__(self, **rollout: Any) -> None:
        self.store, self.states = MemoryStore(), MemoryStates()
        self.splitter, self.phone = Splitter(), Phone()
        self.pipeline = FakeTarget()
        self.standings: list[ObjectiveStanding] = []
        self.actions: Mapping[str, Any] = RULES
        self.guards = GuardSpec(largest_step=100.0)
        spec = {"target": "serving", "start": "after_retrain", "promote_approval": "automatic", **rollout}
        self.spec = RolloutSpec.model_validate(spec)
        self.rng = np.random.default_rng(5)
        self.counters = Counters()
        self.inbox = Inbox(self.counters)
        self.restart()

    def restart(self) -> None:
        targets = {"pipeline": self.pipeline, "serving": self.splitter}
        engine = ActionEngine(Ledger(self.store), targets, poll_every=0, done=self._done)
        rollouts = Rollouts(
            self.states,
            engine,
            lambda _: self.spec,
            lambda _: self.guards,
            lambda _, now: now,
            0.0,
            lambda _: self.splitter.share,
        )
        self.control = Control(
            self.inbox,
            {"credit": ActionsSpec.model_validate(self.actions)},
            engine,
            rollouts,
            self.states,
            self.counters,
            lambda: self.standings,
            lambda _: 0.0,
            self.phone,
        )

    def _done(self, action: Action) -> None:
        self.control.done(action)

    def incident(self, now: float, version: str = "v1") -> None:
        start = int((NOW - HOUR) * 1000)
        stream = StreamEvidence("", "income", "location", 6.0, 0.7, 0.4, "page", start)
        evidence = EvidenceReport("inputs", "paging", 700, 336, 5.0, 4.0, start, (stream,))
        key = WindowKey("credit", version, "", int(now * 1000))
        self.inbox.window(
            WindowReport(key, key.start + 1, 500, 0, "r", "drift", (), (), (), evidence=evidence)
        )

    def cohort(self, now: float, version: str, rows: int, rate: float) -> None:
        labelled = int(self.rng.binomial(rows, 0.8))
        right = int(self.rng.binomial(labelled, rate))
        start = int((now - HOUR) * 1000)
        self.inbox.quality(
            QualityReport(
                "credit",
                version,
                "",
                "",
                start,
                start + HOUR * 1000,
                "matured",
                True,
                rows,
                labelled,
                (),
                correct=right,
            )
        )

    def hours(self, first: int, last: int, lift: float, *, restarts: bool = False) -> None:
        for hour in range(first, last):
            now = NOW + hour * HOUR
            share = self.splitter.share / 100
            challenger = int(self.rng.binomial(2_000, share)) if share else 0
            if challenger:
                self.cohort(now, "v2", challenger, 0.85 + lift)
            self.cohort(now, "v1", 2_000 - challenger, 0.85)
            if restarts and hour % 3 == 0:
                self.control.tick(now)
                self.restart()
            for minute in range(0, 50, 10):
                self.control.tick(now + minute * 60)

    @property
    def kinds(self) -> list[str]:
        actions = self.control.engine.ledger.actions.values()
        return [f"{one.order.kind} {one.state}" for one in actions]


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
    world.hours(2, 200, 0.03, restarts=restarts)
    assert world.kinds[0] == "retrain succeeded"
    assert world.kinds[-1] == "promote succeeded"
    assert set(world.kinds[1:-1]) == {"set_weights succeeded"}
    assert world.splitter.share == 100
    assert world.control.rollouts.of("credit").result == "promoted"
    assert world.pipeline.effects.total() == 1
    assert broken(world.store.rows()) is None


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
    assert world.control.rollouts.of("credit").paused == "foreign_change"
    assert world.splitter.share == 33


def test_people_start_pause_resume_promote_and_abort() -> None:
    world = World()
    rollouts = world.control.rollouts
    with pytest.raises(ConfigError, match="no rollout"):
        rollouts.pause("credit", "ann")
    with pytest.raises(ConfigError, match="two versions"):
        rollouts.start("credit", "v1", "v1", NOW)
    rollouts.start("credit", "v1", "v2", NOW)
    with pytest.raises(ConfigError, match="under way"):
        rollouts.start("credit", "v1", "v3", NOW)
    world.hours(1, 3, 0.05)
    rollouts.pause("credit", "ann")
    world.hours(3, 30, 0.05)
    assert world.splitter.share == 1
    rollouts.resume("credit", NOW + 30 * HOUR)
    world.hours(30, 34, 0.05)
    assert world.splitter.share > 1
    rollouts.abort("credit", "ann", NOW + 34 * HOUR)
    world.hours(34, 36, 0.05)
    assert world.splitter.share == 0
    assert rollouts.of("credit").result == "aborted"
    with pytest.raises(ConfigError, match="over, aborted"):
        rollouts.promote("credit", "ann", NOW)


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
    world.control.rollouts.resume("credit", NOW + 3)
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
        for cohort in pairs.cohorts(1.0):
            rollout.observe(cohort, NOW + hour * HOUR)
    assert rollout.ratio.evidence < 4.6
    assert rollout.design.n > 16_000


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
