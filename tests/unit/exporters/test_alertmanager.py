"""Alerts on every member, kept alive and ended; silences of any."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from observer.errors import Retryable
from observer.exporters.alertmanager import Alertmanagers, AlertmanagerSpec
from observer.model import Alert
from tests.unit.actions.server import Answer, Request, TargetServer, served

NOW = 1_800_000_000.0
ALERT = Alert(
    {"alertname": "ObserverAction", "action_id": "a1"}, {"summary": "retrain", "empty": ""}, NOW - 5
)


class Member:
    """An Alertmanager that keeps what it was told last, by labels."""

    def __init__(self) -> None:
        self.alerts: dict[str, dict[str, Any]] = {}
        self.silences: list[dict[str, Any]] = []
        self.posts = 0

    def __call__(self, request: Request) -> Answer:
        if request.path == "/api/v2/silences":
            return 200, self.silences
        if request.path == "/api/v2/status":
            return 200, {"cluster": {}}
        assert request.path == "/api/v2/alerts"
        assert request.headers["authorization"] == "Bearer tok"
        self.posts += 1
        for one in request.json:
            assert all(one["annotations"].values())
            if one["startsAt"] > one["endsAt"]:
                return 400, {"error": "start time must be before end time"}
            self.alerts[one["labels"].get("action_id", "")] = one
        return 200, {}


@pytest.fixture
def members() -> Iterator[list[tuple[Member, TargetServer]]]:
    with ExitStack() as stack:
        made = [Member(), Member()]
        yield [(member, stack.enter_context(served(member))) for member in made]


def client(members: list[tuple[Member, TargetServer]], **changes: Any) -> Alertmanagers:
    urls = [server.url for _, server in members]
    given = {"urls": urls, "token": "tok", "labels": {"cluster": "prod"}, **changes}
    return Alertmanagers(AlertmanagerSpec.model_validate(given))


def test_every_member_is_told_again_and_again_until_it_ends(
    members: list[tuple[Member, TargetServer]],
) -> None:
    one = client(members)
    one.show({"a1": ALERT}, NOW)
    assert one.tick(NOW) == []
    for member, _ in members:
        told = member.alerts["a1"]
        assert told["labels"] == {"cluster": "prod", "alertname": "ObserverAction", "action_id": "a1"}
        assert told["startsAt"] == "2027-01-15T07:59:55.000Z"
        assert told["endsAt"] == "2027-01-15T08:04:00.000Z"
    one.show({"a1": ALERT}, NOW + 10)
    one.tick(NOW + 30)
    assert [member.posts for member, _ in members] == [1, 1]
    one.tick(NOW + 60)
    assert [member.posts for member, _ in members] == [2, 2]
    one.show({}, NOW + 61)
    one.tick(NOW + 61)
    assert {member.alerts["a1"]["endsAt"] for member, _ in members} == {"2027-01-15T08:01:01.000Z"}


def test_a_clock_that_was_set_back_ends_no_alert(members: list[tuple[Member, TargetServer]]) -> None:
    one = client(members)
    one.show({"a1": ALERT}, NOW - 7_200)
    assert one.tick(NOW - 7_200) == []
    assert members[0][0].alerts["a1"]["endsAt"] == "2027-01-15T06:04:00.000Z"
    one.show({}, NOW - 7_100)
    assert one.tick(NOW - 7_100) == []
    assert members[0][0].alerts["a1"]["endsAt"] == "2027-01-15T06:01:40.000Z"


def test_a_member_that_was_away_learns_of_the_end(members: list[tuple[Member, TargetServer]]) -> None:
    one = client(members)
    one.show({"a1": ALERT}, NOW)
    one.tick(NOW)
    away = members[1][1]
    away.faults = [503]
    one.show({}, NOW + 10)
    down = one.tick(NOW + 10)
    assert len(down) == 1
    assert away.url in down[0]
    assert "tok" not in down[0]
    assert one.tick(NOW + 70) == []
    assert members[1][0].alerts["a1"]["endsAt"] == "2027-01-15T08:00:10.000Z"
    one.tick(NOW + 1_000)
    members[0][0].alerts.clear()
    one.tick(NOW + 2_000)
    assert members[0][0].alerts == {}, "nothing is left to tell"


def test_whether_a_member_is_away_is_known_without_anything_to_tell(
    members: list[tuple[Member, TargetServer]],
) -> None:
    one = client(members)
    away = members[1][1]
    away.faults = [503, 503]
    for now in (NOW, NOW + 70):
        assert len(one.tick(now)) == 1
    assert one.tick(NOW + 140) == []


def test_a_change_of_labels_ends_the_old_alert(members: list[tuple[Member, TargetServer]]) -> None:
    one = client(members)
    one.show({"a1": ALERT}, NOW)
    one.tick(NOW)
    grave = Alert({**ALERT.labels, "severity": "page"}, ALERT.annotations, ALERT.starts)
    one.show({"a1": grave}, NOW + 5)
    one.tick(NOW + 5)
    (request,) = [each for each in members[0][1].seen if each.path == "/api/v2/alerts"][1:]
    by_severity = {each["labels"].get("severity"): each["endsAt"] for each in request.json}
    assert by_severity == {None: "2027-01-15T08:00:05.000Z", "page": "2027-01-15T08:04:05.000Z"}


def test_silences_of_all_members_are_one_list_the_newest_of_each(
    members: list[tuple[Member, TargetServer]],
) -> None:
    first, second = (member for member, _ in members)
    first.silences = [{"id": "s1", "updatedAt": "2027-01-15T08:00:00Z", "comment": "old"}]
    second.silences = [
        {"id": "s1", "updatedAt": "2027-01-15T08:01:00Z", "comment": "new"},
        {"id": "s2", "updatedAt": "2027-01-15T08:00:00Z", "comment": "other"},
    ]
    one = client(members)
    assert sorted(each["comment"] for each in one.silences()) == ["new", "other"]
    members[1][1].faults = [503]
    assert [each["comment"] for each in one.silences()] == ["old"]
    assert one.check() == []
    for _, server in members:
        server.faults = [503, 503]
    with pytest.raises(Retryable, match="no Alertmanager answers"):
        one.silences()
    assert len(one.check()) == 2


def test_a_password_in_an_address_is_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    one = Alertmanagers(AlertmanagerSpec.model_validate({"urls": ["http://bob:hunter2@127.0.0.1:9"]}))
    one.show({"a1": ALERT}, NOW)
    with pytest.raises(Retryable) as caught:
        one.silences()
    shown = [*one.tick(NOW), *one.check(), str(caught.value), caplog.text]
    assert len(shown) == 4
    assert not any("hunter2" in text for text in shown)
