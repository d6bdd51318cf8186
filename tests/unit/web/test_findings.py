"""Findings in pages: whoever goes on sees each of them once."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from observer.web import views
from tests.unit.stores.results import HOUR, window
from tests.unit.web.past import site

COUNTS = (4, 1, 0, 11, 3, 10)
"""Findings of one moment, by hour: more and fewer than a page holds."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    with site(tmp_path_factory.mktemp("history")) as one:
        for hour, count in enumerate(COUNTS):
            report = window(hour, status="drift")
            named = (f"c{number:02}" for number in range(count))
            findings = tuple(replace(report.findings[0], subject=name) for name in named)
            one.writer.window(replace(report, findings=findings))
        one.writer.window(window(3, "other", "2", status="drift"))
        assert one.writer.flush(30)
        yield one


def every(seen, limit, **asked):
    """All ids, a page after the other."""
    ids, before = [], {}
    while True:
        answer = seen.get("/api/v1/findings", params={**asked, **before, "limit": limit}).json()
        ids += [one["id"] for one in answer]
        if len(answer) < limit:
            return ids
        last = answer[-1]
        before = {"before": f"{last['finding']['end']},{last['id']}"}


@pytest.mark.parametrize("limit", [1, 2, 4, 5, 10, 11, 30])
def test_pages_of_the_api_leave_nothing_out_and_repeat_nothing(seen, limit):
    for asked, number in (({}, sum(COUNTS) + 1), ({"model": "churn"}, sum(COUNTS)), ({"tier": "page"}, 0)):
        whole = [one["id"] for one in seen.get("/api/v1/findings", params={**asked, "limit": 1000}).json()]
        assert len(set(whole)) == number
        assert every(seen, limit, **asked) == whole


def test_a_time_alone_leaves_out_what_ends_then(seen):
    (last, *_) = seen.get("/api/v1/findings", params={"limit": 1}).json()
    earlier = seen.get("/api/v1/findings", params={"before": last["finding"]["end"], "limit": 1000}).json()
    assert len(earlier) == sum(COUNTS[:-1]) + 1
    assert max(one["finding"]["end"] for one in earlier) == last["finding"]["end"] - HOUR


@pytest.mark.parametrize("before", ["x", "1,", "1,xyz", "-1", "1,0123456789abcdef,", "٣"])
def test_what_is_no_place_in_the_list_is_refused(seen, before):
    answer = seen.get("/api/v1/findings", params={"before": before})
    assert answer.status_code == 400
    assert "milliseconds,id" in answer.json()["error"]


def test_older_on_the_page_leaves_nothing_out_and_repeats_nothing(seen, monkeypatch):
    monkeypatch.setattr(views, "_FINDINGS", 3)
    ids, path, pages = [], "/findings", 0
    while path:
        text = seen.get(path).text
        ids += re.findall(r"/finding\?id=([0-9a-f]{16})", text)
        older = re.search(r'href="([^"]*)">Older', text)
        path, pages = older and older.group(1).replace("&amp;", "&"), pages + 1
    assert ids == [one["id"] for one in seen.get("/api/v1/findings", params={"limit": 1000}).json()]
    assert pages == len(ids) // 3
