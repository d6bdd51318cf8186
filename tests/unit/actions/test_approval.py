"""What silences say, and what they may."""

from __future__ import annotations

from typing import Any

import pytest

from observer.actions.approval import follow, rulings, verb_of
from observer.actions.base import Approval, Kind, Progress
from observer.actions.engine import ActionEngine
from observer.actions.ledger import Action, Ledger
from observer.errors import ConfigError
from tests.unit.actions.fakes import NOW, FakeTarget, MemoryStore, order


def waiting(*, by_silence: bool = True, kind: Kind = "retrain", running: bool = False) -> ActionEngine:
    state = Progress("running", "") if running else Progress("succeeded", "")
    engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": FakeTarget(state=state)})
    engine.propose(order(kind=kind, approval=Approval("required", 3_600, by_silence)), NOW)
    return engine


def action(engine: ActionEngine) -> Action:
    (one,) = engine.ledger.actions.values()
    return one


def silence(comment: str, value: str, **changes: Any) -> dict[str, Any]:
    matcher = {"name": "action_id", "value": value, "isRegex": False, "isEqual": True}
    return {
        "id": "s1",
        "status": {"state": "active"},
        "matchers": [{**matcher, **changes.pop("matcher", {})}],
        "createdBy": "ann",
        "comment": comment,
        "startsAt": "2027-01-15T08:00:00Z",
        **changes,
    }


def hear(engine: ActionEngine, *silences: dict[str, Any], now: float = NOW + 1) -> None:
    follow(engine, rulings(silences, engine.ledger.open), now)


@pytest.mark.parametrize(
    ("comment", "verb"),
    [
        ("approve, looks right", "approve"),
        ("Approved!", "approve"),
        ("REJECT: bad labels", "reject"),
        ("ACK! This alert was acknowledged using karma", "hold"),
        ("I do not approve", "hold"),
        ("", "hold"),
    ],
)
def test_the_first_word_decides(comment: str, verb: str) -> None:
    assert verb_of(comment) == verb


def test_a_silence_approves_with_author_and_comment_in_the_ledger() -> None:
    engine = waiting()
    said = silence("approve fine", action(engine).id)
    hear(engine, said)
    hear(engine, said)
    (row,) = [row for row in action(engine).rows if row.event == "approved"]
    assert (row.actor, row.data["detail"], row.data["silence"]) == ("silence:ann", "approve fine", "s1")
    assert action(engine).state == "approved"


def test_a_rejection_beats_an_approval_whoever_was_first() -> None:
    engine = waiting()
    name = action(engine).id
    hear(engine, silence("approve", name, id="a"), silence("reject", name, id="b", startsAt="2027-01-15T09"))
    assert action(engine).state == "rejected"


def test_any_other_comment_holds_until_the_silence_ends() -> None:
    engine = waiting()
    said = silence("ACK! looking", action(engine).id)
    hear(engine, said)
    engine.tick(NOW + 10_000)
    assert action(engine).state == "held"
    hear(engine, said, now=NOW + 10_000)
    assert action(engine).state == "held"
    hear(engine, now=NOW + 10_000)
    assert action(engine).state == "waiting"
    engine.tick(NOW + 10_000 + 3_700)
    assert action(engine).state == "expired"


def test_an_edited_comment_is_heard() -> None:
    engine = waiting()
    hear(engine, silence("looking", action(engine).id))
    hear(engine, silence("approve now", action(engine).id, id="s2"))
    assert action(engine).state == "approved"


@pytest.mark.parametrize(
    "matcher", [{"isRegex": True, "value": ".*"}, {"isEqual": False, "value": "another"}]
)
def test_a_silence_too_broad_decides_nothing_and_that_is_noted_once(matcher: dict[str, Any]) -> None:
    engine = waiting()
    said = silence("approve all", action(engine).id, matcher=matcher)
    hear(engine, said)
    hear(engine, said)
    assert action(engine).state == "waiting"
    (note,) = [row for row in action(engine).rows if row.event == "commented"]
    assert note.data["reason"] == "too_broad"


def test_a_silence_whose_other_matchers_are_not_those_of_the_alert_says_nothing() -> None:
    engine = waiting()
    said = silence("approve", action(engine).id)
    model = {"name": "model", "value": "churn|fraud", "isRegex": True, "isEqual": True}
    hear(engine, {**said, "matchers": [*said["matchers"], model]})
    assert action(engine).state == "waiting"
    others = [{**model, "value": "cre.*"}, {"name": "severity", "value": "ticket"}]
    hear(engine, {**said, "matchers": [*said["matchers"], *others]})
    assert action(engine).state == "approved"


def test_a_silence_of_the_whole_model_says_nothing_of_actions() -> None:
    engine = waiting()
    hear(engine, silence("approve", "credit", matcher={"name": "model"}))
    assert [row.event for row in action(engine).rows] == ["intended"]


def test_what_needs_a_token_is_only_held_by_a_silence() -> None:
    engine = waiting(by_silence=False)
    said = silence("approve", action(engine).id)
    hear(engine, said)
    hear(engine, said)
    assert action(engine).state == "held"
    (note,) = [row for row in action(engine).rows if row.event == "commented"]
    assert "token" in note.data["detail"]
    engine.rule(action(engine).id, "approve", "token:ann", "with a token", NOW + 5)
    assert action(engine).state == "approved"


def test_an_expired_or_foreign_silence_is_none() -> None:
    engine = waiting()
    hear(engine, silence("approve", action(engine).id, status={"state": "expired"}))
    hear(engine, silence("approve", "another-action"))
    assert action(engine).state == "waiting"


def test_a_rejection_stops_what_is_running_once() -> None:
    engine = waiting(running=True)
    engine.rule(action(engine).id, "approve", "token:ann", "", NOW)
    engine.tick(NOW + 1)
    assert action(engine).state == "running"
    hear(engine, silence("reject it is wrong", action(engine).id))
    assert action(engine).state == "stopped"


def test_where_it_cannot_be_stopped_that_is_written_once() -> None:
    target = FakeTarget(can_be_asked=False, state=Progress("running", ""))
    engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": target})
    engine.propose(order(), NOW)
    engine.tick(NOW + 1)
    said = silence("reject", action(engine).id)
    hear(engine, said)
    hear(engine, said)
    assert [row.event for row in action(engine).rows].count("stop_refused") == 1
    assert action(engine).state == "running"


def test_a_broad_silence_does_not_end_a_hold_made_with_a_token() -> None:
    engine = waiting()
    engine.rule(action(engine).id, "hold", "token:ann", "looking", NOW)
    hear(engine, silence("mute", action(engine).id, matcher={"isRegex": True, "value": ".+"}))
    hear(engine)
    assert action(engine).state == "held"


@pytest.mark.parametrize("said", ["approve", "wait a moment"])
def test_what_comes_after_expiry_comes_too_late(said: str) -> None:
    engine = waiting()
    hear(engine, silence(said, action(engine).id), now=NOW + 3_600)
    assert action(engine).state == "expired"
    late = waiting()
    with pytest.raises(ConfigError, match="it has expired"):
        late.rule(action(late).id, "approve", "token:ann", "", NOW + 3_601)
    assert action(late).state == "expired"
