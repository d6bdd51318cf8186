"""Open actions as alerts: stable labels, words that tell a person what to do."""

from __future__ import annotations

from observer.actions.alerts import action_alerts
from observer.actions.approval import rulings
from observer.actions.base import Approval
from observer.actions.engine import ActionEngine
from observer.actions.ledger import Ledger
from observer.errors import Unclear
from tests.unit.actions.fakes import NOW, FakeTarget, MemoryStore, order


def test_a_waiting_action_says_how_to_answer_and_a_finished_one_is_silent() -> None:
    engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": FakeTarget()})
    action = engine.propose(order(approval=Approval("required", 1_800, by_silence=True)), NOW)
    assert action is not None
    owners = {"credit": "risk"}.__getitem__
    (alert,) = action_alerts(engine.ledger.open, "https://observer.example", owners).values()
    assert alert.labels == {
        "alertname": "ObserverAction",
        "action_id": action.id,
        "model": "credit",
        "action": "retrain",
        "severity": "ticket",
        "owner": "risk",
    }
    assert "approve ..., reject ..." in alert.annotations["description"]
    assert "expires undone 30 minutes" in alert.annotations["description"]
    assert alert.link == f"https://observer.example/action?id={action.id}"

    matcher = {"name": "action_id", "value": alert.labels["action_id"], "isRegex": False, "isEqual": True}
    silence = {"id": "s", "status": {"state": "active"}, "matchers": [matcher], "comment": "approve"}
    (ruling,) = rulings([silence], engine.ledger.open)
    assert (ruling.verb, ruling.reason) == ("approve", "taken")

    engine.rule(action.id, "approve", "token:ann", "", NOW + 1)
    for tick in range(5):
        engine.tick(NOW + 2 + 20 * tick)
    assert action_alerts(engine.ledger.open) == {}


def test_only_what_changes_severity_changes_labels() -> None:
    target = FakeTarget(can_be_asked=False, faults=[("after", Unclear("lost"))])
    engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": target})
    engine.propose(order(), NOW)
    (before,) = action_alerts(engine.ledger.open).values()
    for tick in range(5):
        engine.tick(NOW + 20 * tick)
    (after,) = action_alerts(engine.ledger.open).values()
    assert before.labels | {"severity": "page"} == after.labels
    assert "Nobody can tell" in after.annotations["description"]
    assert after.annotations["link"] == ""
