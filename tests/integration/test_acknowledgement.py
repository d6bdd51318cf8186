"""People answer open actions through two real members of an Alertmanager cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from observer.actions.alerts import action_alerts
from observer.actions.approval import follow, rulings
from observer.actions.base import Approval, Progress
from observer.actions.engine import ActionEngine
from observer.actions.ledger import Action, Ledger
from observer.errors import Retryable
from observer.exporters.alertmanager import Alertmanagers, AlertmanagerSpec
from tests.services.alertmanager import Alertmanager, cluster
from tests.unit.actions.fakes import FakeTarget, MemoryStore, order

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

QUIET = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}
RUNNING = Progress("running", "10%")


@pytest.fixture(scope="module")
def members() -> Iterator[list[Alertmanager]]:
    with cluster(QUIET) as started:
        yield started


class Desk:
    """An engine whose open actions are shown to the cluster, by the wall clock and then beyond."""

    def __init__(self, members: list[Alertmanager], name: str) -> None:
        self.members, self.name = members, name
        urls = [member.url for member in members]
        self.alerting = Alertmanagers(AlertmanagerSpec.model_validate({"urls": urls}))
        self.target = FakeTarget(state=RUNNING)
        self.engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": self.target}, poll_every=0)

    def propose(self, approval: Approval, key: str = "") -> Action:
        made = self.engine.propose(
            order(f"{self.name}/{key}", approval=approval, created=time.time()), time.time()
        )
        assert made is not None
        self.turn()
        return made

    def turn(self, later: float = 0.0) -> None:
        """One turn of the control plane, `later` seconds from now."""
        now = time.time() + later
        follow(self.engine, rulings(self.alerting.silences(), self.engine.ledger.open), now)
        self.engine.tick(now)
        self.alerting.show(action_alerts(self.engine.ledger.open), now)
        self.alerting.tick(now)

    def until(self, happened: Callable[[], Any], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < deadline, [a.rows for a in self.engine.ledger.actions.values()]
            self.turn()
            time.sleep(0.05)

    def shown(self, member: Alertmanager, action: Action) -> list[dict[str, Any]]:
        return [one for one in member.alerts() if one["labels"].get("action_id") == action.id]


@pytest.fixture
def desk(members: list[Alertmanager], request: pytest.FixtureRequest) -> Desk:
    return Desk(members, request.node.name)


def of(action: Action) -> list[dict[str, Any]]:
    return [{"name": "action_id", "value": action.id}]


REQUIRED = Approval("required", 3_600, by_silence=True)


def test_one_member_hears_the_approval_both_show_and_resolve_the_alert(desk: Desk) -> None:
    action = desk.propose(REQUIRED)
    first, second = desk.members
    for member in desk.members:
        (alert,) = desk.shown(member, action)
        assert alert["labels"]["severity"] == "ticket"
    second.silence(of(action), "approve, the labels are right")
    desk.until(lambda: action.state == "running")
    (row,) = [row for row in action.rows if row.event == "approved"]
    assert (row.actor, row.data["detail"]) == ("silence:ann", "approve, the labels are right")
    # The silence mutes the alert on the other member too: whoever looks there sees that it was seen.
    desk.until(lambda: desk.shown(first, action)[0]["status"]["silencedBy"])
    desk.target.state = Progress("succeeded", "done")
    desk.until(lambda: action.state == "succeeded")
    desk.until(lambda: not any(desk.shown(member, action) for member in desk.members))


def test_a_rejection_on_one_member_beats_an_approval_on_the_other(desk: Desk) -> None:
    action = desk.propose(REQUIRED)
    desk.members[0].silence(of(action), "approve", createdBy="bob")
    desk.members[1].silence(of(action), "reject, wrong data")
    desk.turn()
    assert action.state == "rejected"
    assert not desk.target.sends


def test_a_hold_lasts_until_the_silence_expires_and_an_edit_is_heard(desk: Desk) -> None:
    action = desk.propose(Approval("unless_rejected", 600, by_silence=True))
    made = desk.members[0].silence(of(action), "ACK! looking at it")
    desk.until(lambda: action.state == "held")
    desk.turn(later=86_400)
    assert action.state == "held", "time does not count"
    # Whoever edits the comment keeps the silence's id.
    kept = next(one for one in desk.alerting.silences() if one["id"] == made)
    times = {key: kept[key] for key in ("startsAt", "endsAt")}
    edited = desk.members[0].silence(of(action), "still looking", id=made, **times)
    desk.turn()
    assert action.state == "held"
    desk.members[0].expire(edited)
    desk.until(lambda: action.state == "waiting")
    again = desk.members[1].silence(of(action), "looking once more")
    desk.until(lambda: action.state == "held")
    kept = next(one for one in desk.alerting.silences() if one["id"] == again)
    times = {key: kept[key] for key in ("startsAt", "endsAt")}
    desk.members[1].silence(of(action), "approve: all is well", id=again, **times)
    desk.until(lambda: action.state == "running")
    assert [row.event for row in action.rows].count("held") == 2


def test_a_waiting_action_expires_whatever_else_is_silenced(desk: Desk) -> None:
    action = desk.propose(Approval("required", 60, by_silence=True))
    broad = [{"name": "action_id", "value": ".+", "isRegex": True}]
    everything = desk.members[0].silence(broad, "approve all")
    model = desk.members[0].silence([{"name": "model", "value": "credit"}], "approve")
    desk.until(lambda: desk.shown(desk.members[0], action)[0]["status"]["silencedBy"])
    desk.turn()
    desk.turn()
    (note,) = [row for row in action.rows if row.event == "commented"]
    assert (note.data["reason"], note.data["silence"]) == ("too_broad", everything)
    assert action.state == "waiting"
    desk.turn(later=61)
    assert action.state == "expired"
    for one in (everything, model):
        desk.members[0].expire(one)


def test_what_needs_a_token_is_held_by_a_silence_and_no_more(desk: Desk) -> None:
    action = desk.propose(Approval("required", 3_600, by_silence=False))
    desk.members[1].silence(of(action), "approve")
    desk.until(lambda: action.state == "held")
    assert "token" in next(row for row in action.rows if row.event == "commented").data["detail"]
    desk.engine.rule(action.id, "approve", "token:ann", "", time.time())
    desk.until(lambda: action.state == "running")


def test_with_a_member_down_the_other_suffices_and_it_catches_up_after_a_restart(desk: Desk) -> None:
    first, second = desk.members
    first.end()
    action = desk.propose(REQUIRED)
    assert len(desk.alerting.down) == 1
    assert first.address in desk.alerting.down[0]
    second.silence(of(action), "looking")
    desk.until(lambda: action.state == "held")
    first.start()
    desk.until(lambda: (desk.turn(later=100), desk.shown(first, action))[1])
    assert desk.alerting.down == []
    # What was said while it was away the member knows from its peer: the hold outlives the peer's end.
    desk.until(lambda: knows(first, action))
    second.end()
    try:
        desk.turn()
        assert action.state == "held"
        first.end()
        with pytest.raises(Retryable, match="no Alertmanager answers"):
            desk.turn()
        assert action.state == "held", "silence of the server is no silence of a person"
    finally:
        first.start()
        second.start()
    # After a restart of all of them the silences are still there, from the members' own disks.
    desk.until(lambda: all(knows(member, action) for member in desk.members))
    desk.turn()
    assert action.state == "held"


def knows(member: Alertmanager, action: Action) -> bool:
    """Whether one member by itself has a silence of the action."""
    alone = Alertmanagers(AlertmanagerSpec.model_validate({"urls": [member.url]}))
    return any(one["matchers"][0]["value"] == action.id for one in alone.silences())
