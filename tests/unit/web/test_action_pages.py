"""Actions and rollouts as the page tells them: a real control plane, no browser."""

from __future__ import annotations

import json
from typing import Any, get_args
from urllib.parse import urlencode

import pytest

from observer.actions.ledger import EVENTS, FINAL, NOTES, State
from observer.web import story
from observer.web.action_views import GUARDS, LOOKS, VERBS
from tests.unit.web.past import fill, site
from tests.unit.web.plane import SHADOWED, climb, fire, until
from tests.unit.web.test_pages import HOSTILE, Tags


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    with site(tmp_path_factory.mktemp("history"), token="act", models=("churn", HOSTILE, SHADOWED)) as one:  # noqa: S106 - of this test only
        for model in ("churn", HOSTILE):
            fill(one.writer, model, "page")
        assert one.writer.flush(30)
        one.waiting = fire(one.plane, one.clock, "churn", "a", "waiting")
        one.done = fire(one.plane, one.clock, "churn", "b", "waiting")
        one.plane.rule(one.done, "approve", "token:ann", "<b>go</b>")
        one.told = fire(one.plane, one.clock, HOSTILE, "c", "succeeded", "Told")

        def decided(_: object) -> bool:
            return any(action["action"] == "promote" for action in one.plane.listed())

        one.better = climb(one.plane, one.clock, "churn", 0.04, decided)
        one.worse = climb(one.plane, one.clock, HOSTILE, -0.08, lambda rollout: rollout["result"])
        one.plane.rollout("start", SHADOWED, "token:ann", {"champion": "1", "challenger": "2"})

        def copying() -> dict[str, Any] | None:
            one.clock.at += 1
            return next((each for each in one.plane.rolling() if each["shadow"]), None)

        one.shadowed = until(copying)
        yield one


def path_of(rollout) -> str:
    return f"/rollout?{urlencode({'id': rollout['id']})}"


def text(seen, path: str) -> str:
    answer = seen.get(path)
    assert answer.status_code == 200, answer.text
    return " ".join(Tags(answer.text).text.split())


def given(seen, path: str, tag: str, name: str) -> list[str]:
    tags = Tags(seen.get(path).text).tags
    return [attributes[name] or "" for one, attributes in tags if one == tag and name in attributes]


def in_order(said: str, *words: str) -> None:
    places = [said.find(word) for word in words]
    assert places == sorted(places), (words, places, said)
    assert min(places) >= 0, (words, places, said)


def test_every_state_event_and_guard_has_words(seen):
    assert set(EVENTS) | NOTES == set(story.EVENTS)
    assert set(get_args(State)) == set(LOOKS)
    assert LOOKS.keys() - VERBS.keys() == FINAL | {"sending"}
    assert story.ENDED == FINAL
    assert seen.better["evidence"].keys() == GUARDS.keys()


def test_the_list_says_what_waits_since_when_why_and_until_when(seen):
    said = text(seen, "/actions")
    waiting, ended = said.split("Under way", 1)
    assert "retrain through train churn 1 alert Stale 9 Jan 2026" in waiting
    assert "expires undone" in waiting
    assert "promotion through split-0" in waiting
    assert "ann, by token" in ended
    assert "roll-back through split-1" in ended
    assert "What rules decided" in ended
    assert "split-1" not in text(seen, "/actions?model=churn")


def test_an_action_tells_every_row_of_the_ledger_and_what_is_sent(seen):
    path = f"/action?id={seen.done}"
    said = text(seen, path)
    in_order(
        said, "Decided the service", "Approved ann, by token", "<b>go</b>", "Sent, attempt 1", "Taken by the"
    )
    in_order(said, "Taken by the target", "Done, and read back", "What is sent")
    assert '"target": "train"' in said
    assert '"cause": "alert/b/"' in said
    shown = seen.get(f"/api/v1/actions/{seen.done}").json()
    assert seen.get(path).text.count("<li class=") == len(shown["rows"])
    assert not given(seen, path, "button", "value")


def test_who_may_decide_finds_the_buttons(seen):
    values = given(seen, f"/action?id={seen.waiting}", "button", "value")
    assert values == [f"/api/v1/actions/{seen.waiting}/{verb}" for verb in ("approve", "reject", "hold")]
    path = path_of(seen.better)
    values = given(seen, path, "button", "value")
    assert values == [f"/api/v1/rollouts/{verb}" for verb in ("pause", "promote", "abort")]
    (body,) = given(seen, path, "form", "data-body")
    assert json.loads(body) == {"model": "churn"}


def test_a_rollout_tells_its_steps_its_estimate_and_its_end(seen):
    path = path_of(seen.better)
    said = text(seen, path)
    in_order(said, "2 against 1", "5 % done", "100 % promotion", "Promotion to 100 %: decided")
    charts = [json.loads(one) for one in given(seen, path, "figure", "data-chart")]
    assert len(charts) == 3
    difference = {line["label"]: line["y"] for line in charts[0]["lines"]}
    for low, at, high in zip(*(difference[name] for name in ("low", "difference", "high")), strict=True):
        assert low <= at <= high
    assert difference["low"][-1] > 0
    in_order(
        text(seen, path_of(seen.worse)),
        "It is over: rolled back.",
        "Rollout began",
        "Roll-back to 0 %: done, and read back",
    )
    in_order(text(seen, "/rollouts"), "Under way", "Rolled back")


def test_a_shadow_is_a_step_of_its_own(seen):
    said = text(seen, path_of(seen.shadowed))
    in_order(said, "2 against 1", "Shadow", "Last decision: wait, shadowing", "50 % copied", "5 % to come")
    in_order(said, "0 of about 0 made, 1,000 needed", "It answers copies only", "copies missing")
    in_order(said, "Story", "Rollout began", "Shadow of 50 %: sent", "Shadow of 50 %: done, and read back")
    assert text(seen, path_of(seen.better)).find("copied") < 0


def test_a_model_tells_its_story_and_leads_to_its_rollout(seen):
    said = text(seen, "/model?model=churn")
    assert "Rollout of 2 against 1" in said
    told = said.split("Story, the latest first")[1]
    in_order(
        told, "Promotion to 100 %: decided", "Share to 5 %: done", "Retrain: approved", "Page: age: values"
    )
    in_order(told, "Page: age: values rose in rank", "Version 1 is seen first")
    assert path_of(seen.better) in given(seen, "/model?model=churn", "a", "href")


def test_no_foreign_text_becomes_a_tag(seen):
    model = f"/model?{urlencode({'model': HOSTILE})}"
    for path in ("/actions", "/rollouts", f"/action?id={seen.told}", path_of(seen.worse), model):
        answer = seen.get(path)
        assert answer.status_code == 200
        for tag, attributes in Tags(answer.text).tags:
            assert tag != "script" or (attributes["src"] or "").startswith("/static/"), path
            assert not any(name.startswith("on") or name == "style" for name in attributes), (path, tag)


def test_a_page_changes_when_something_was_decided(seen):
    path = f"/action?id={seen.waiting}"
    mark = seen.get(path).headers["ETag"]
    assert seen.get(path, headers={"If-None-Match": mark}).status_code == 304
    seen.plane.rule(seen.waiting, "hold", "token:bob", "wait")
    assert "On hold" in seen.get(path, headers={"If-None-Match": mark}).text


@pytest.mark.parametrize("path", ["/action?id=none", "/rollout?id=none"])
def test_what_is_not_there_is_said(seen, path):
    assert seen.get(path).status_code == 404


def test_where_nothing_can_be_done_the_page_says_so(tmp_path):
    with site(tmp_path) as bare:
        assert bare.get("/action?id=none").status_code == 404
        assert "names no targets" in text(bare, "/actions")
        assert "names no targets" in text(bare, "/rollouts")


def test_earlier_rollouts_live_on_in_the_ledger(seen):
    seen.clock.at += 86_400
    seen.plane.rollout("start", HOSTILE, "token:ann", {"champion": "1", "challenger": "3"})
    assert "Earlier" in text(seen, "/rollouts")
    assert "the ledger still tells" in text(seen, path_of(seen.worse))
