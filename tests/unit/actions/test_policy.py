"""Which rule fires, and by name why not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from observer.actions.engine import ActionEngine
from observer.actions.ledger import Ledger
from observer.actions.policy import REASONS, Evaluation, Trigger, evaluate, scheduled
from observer.actions.spec import ActionsSpec, FreezeSpec
from tests.unit.actions.fakes import NOW, FakeTarget, MemoryStore

RULE = {"name": "retrain", "when": {"finding": "page"}, "do": "retrain", "target": "pipeline"}
PAGE = Trigger("finding", "credit", "v1", "finding/v1/17", "income moved", "page", NOW - 100)


def spec(*rules: dict[str, Any], **guards: Any) -> ActionsSpec:
    return ActionsSpec.model_validate({"rules": rules or (RULE,), "guards": guards})


def fresh() -> ActionEngine:
    return ActionEngine(Ledger(MemoryStore()), {"pipeline": FakeTarget()})


def ask(
    spec_: ActionsSpec, engine: ActionEngine, trigger: Trigger = PAGE, now: float = NOW, **more: Any
) -> str:
    (one,) = evaluate(
        spec_, trigger, list(engine.ledger.actions.values()), now, fired=engine.ledger.fired, **more
    )
    assert one.reason in REASONS
    if one.reason == "intended":
        assert one.order is not None
        assert engine.propose(one.order, now) is not None
    return one.reason


def finish(engine: ActionEngine, now: float) -> None:
    for _ in range(10):
        engine.tick(now)
        now += 20


def test_a_page_sets_off_its_rule_once() -> None:
    engine, wanted = fresh(), spec({**RULE, "approval": "automatic"})
    page = replace(PAGE, evidence={"finding": "f1"}, reference="r1")
    assert ask(wanted, engine, page) == "intended"
    assert ask(wanted, engine, page) == "duplicate"
    (action,) = engine.ledger.actions.values()
    assert [action.order.parameters[name] for name in ("finding", "reference")] == ["f1", "r1"]
    assert action.order.parameters["since"] == NOW - 100
    assert action.order.why["detail"] == "income moved"


def test_a_ticket_sets_off_only_rules_that_take_tickets() -> None:
    ticket = replace(PAGE, tier="ticket")
    assert evaluate(spec(), ticket, [], NOW, fired={}) == []
    (one,) = evaluate(spec({**RULE, "when": {"finding": "ticket"}}), ticket, [], NOW, fired={})
    assert one.reason == "intended"
    (one,) = evaluate(spec({**RULE, "when": {"finding": "ticket"}}), PAGE, [], NOW, fired={})
    assert one.reason == "intended"


def test_an_open_action_a_cooldown_and_a_days_limit_hold_further_ones_back() -> None:
    engine, wanted = fresh(), spec({**RULE, "approval": "automatic", "cooldown": "2h"}, most_per_day=2)
    assert ask(wanted, engine) == "intended"
    other = replace(PAGE, cause="finding/v1/18")
    assert ask(wanted, engine, other) == "concurrent"
    finish(engine, NOW)
    assert ask(wanted, engine, other, NOW + 7_000) == "cooldown"
    assert ask(wanted, engine, other, NOW + 7_300) == "intended"
    finish(engine, NOW + 7_300)
    third = replace(PAGE, cause="finding/v1/19")
    assert ask(wanted, engine, third, NOW + 15_000) == "rate_limit"
    assert ask(wanted, engine, third, NOW + 90_000) == "intended"


def test_two_rules_of_one_trigger_count_against_the_same_limit() -> None:
    second = {**RULE, "name": "again"}
    back = {**RULE, "name": "back", "do": "rollback"}
    said = evaluate(spec(RULE, second, back), PAGE, [], NOW, fired={})
    assert [one.reason for one in said] == ["intended", "concurrent", "intended"]
    four = [{**RULE, "name": f"r{n}"} for n in range(4)]
    said = evaluate(spec(*four, concurrent=2), PAGE, [], NOW, fired={})
    assert [one.reason for one in said] == ["intended", "intended", "concurrent", "concurrent"]


def test_too_few_labels_to_learn_from() -> None:
    wanted = spec({**RULE, "fresh_labels": 500})
    assert ask(wanted, fresh(), labels=499) == "labels_too_few"
    assert ask(wanted, fresh(), labels=500) == "intended"


def test_a_dry_run_says_what_it_would_do() -> None:
    (one,) = evaluate(spec(dry_run=True), PAGE, [], NOW, fired={})
    assert (one.reason, one.detail) == ("dry_run", "would retrain through pipeline")


def test_nothing_starts_in_a_freeze_but_a_rollback() -> None:
    # NOW is Friday 2027-01-15 08:00 UTC.
    freeze = {"days": ["fri"], "start": "07:00", "end": "09:00"}
    assert ask(spec(freeze=[freeze]), fresh()) == "frozen"
    assert ask(spec(freeze=[freeze]), fresh(), utc_offset=1.0) == "intended"
    back = {**RULE, "do": "rollback"}
    assert ask(spec(back, freeze=[freeze]), fresh()) == "intended"


@pytest.mark.parametrize(
    ("hour", "covered"), [(-11, False), (-9.9, True), (-4, True), (-2.1, True), (-1.9, False), (14.1, False)]
)
def test_a_freeze_over_midnight_belongs_to_the_day_it_began(hour: float, covered: bool) -> None:
    night = FreezeSpec(days=("thu",), start="22:00", end="06:00")
    assert night.covers(NOW + hour * 3600) == covered


def test_schedules_and_alerts() -> None:
    timed = spec({**RULE, "when": {"every": "1h"}, "cooldown": 0, "approval": "automatic"})
    engine = fresh()
    (trigger,) = scheduled(timed, "credit", NOW)
    assert ask(timed, engine, trigger) == "intended"
    (same,) = scheduled(timed, "credit", NOW + 60)
    assert ask(timed, engine, same) == "duplicate"
    finish(engine, NOW)
    (later,) = scheduled(timed, "credit", NOW + 3_600)
    assert ask(timed, engine, later, NOW + 3_600) == "intended"

    stale = spec({**RULE, "when": {"alert": {"alertname": "Stale", "team": "ml"}}})
    alert = Trigger("alert", "credit", "", "alert/x", "stale", labels={"alertname": "Stale", "team": "ml"})
    assert ask(stale, fresh(), alert) == "intended"
    assert evaluate(stale, replace(alert, labels={"alertname": "Stale"}), [], NOW, fired={}) == []


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"when": {}}, "exactly one of finding, objective, every, alert; given: none"),
        ({"when": {"finding": "page", "every": "1h"}}, "given: finding, every"),
        ({"when": {"alert": {}}}, "at least one label"),
        ({"approval": "sometimes"}, "automatic"),
        ({"approval": {"mode": "required", "unless_rejected_within": "1h"}}, "unless_rejected_within: 30m"),
        ({"name": "Not This"}, "pattern"),
    ],
)
def test_what_is_wrong_with_a_rule_is_said(rule: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        spec({**RULE, **rule})


def test_names_of_rules_are_distinct_and_times_are_times() -> None:
    with pytest.raises(ValidationError, match="more than once: retrain"):
        spec(RULE, RULE)
    with pytest.raises(ValidationError, match="no time of day"):
        FreezeSpec(start="25:00")


def test_an_evaluation_names_its_rule() -> None:
    (one,) = evaluate(spec(), PAGE, [], NOW, fired={})
    assert isinstance(one, Evaluation)
    assert (one.rule, one.detail) == ("retrain", "retrain: income moved")
