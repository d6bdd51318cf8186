"""The API that reads: its document is right, and whatever is asked gets an answer that fits it."""

from __future__ import annotations

from dataclasses import replace

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from observer.model import AnswerCounts
from observer.web.endpoints import ENDPOINTS
from observer.web.openapi import document
from tests.unit.stores.results import HOUR, START, window
from tests.unit.web.past import fill, site, standing

DOCUMENT = document("1.2.3")
schema = schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    with site(tmp_path_factory.mktemp("history")) as one:
        fill(one.writer, "churn", "page")
        one.writer.objective(standing(), START + 24 * HOUR)
        assert one.writer.flush(30)
        yield one


@schema.include(method="GET").parametrize()
@settings(max_examples=30, suppress_health_check=list(HealthCheck))
def test_whatever_is_asked_is_answered_as_documented(seen, case):
    case.call_and_validate(base_url=seen.url)


def check(answer, schema_of_answer) -> None:
    whole = {**schema_of_answer, "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(whole).validate(answer)


ASKED = {
    "model": {"model": "churn"},
    "windows": {"model": "churn", "version": "1", "limit": 3},
    "segments": {"model": "churn", "version": "1", "start": START + 23 * HOUR},
    "evidence": {"model": "churn", "version": "1", "watch": "inputs"},
    "quality": {"model": "churn", "version": "1"},
    "findings": {"tier": "page"},
}


@pytest.mark.parametrize("path", [one.path for one in ENDPOINTS])
def test_answers_hold_something_and_fit_the_document(seen, path):
    asked = ASKED.get(path, {})
    if path == "finding":
        asked = {"id": seen.get("/api/v1/findings").json()[0]["id"]}
    answer = seen.get(f"/api/v1/{path}", params=asked)
    assert answer.status_code == 200
    assert answer.json()
    responses = DOCUMENT["paths"][f"/api/v1/{path}"]["get"]["responses"]
    check(answer.json(), responses["200"]["content"]["application/json"]["schema"])


def test_the_document_is_served_and_names_every_route(seen):
    served = seen.get("/api/v1/openapi.json").json()
    assert served == DOCUMENT
    routes = {route.path for route in seen.app.routes if route.path.startswith("/api/")}
    acting = {"/api/v1/reference/accept", "/api/v1/incidents/close"}  # not served without decisions
    assert routes | acting == set(served["paths"]) | {"/api/v1/openapi.json"}


def test_pages_of_answers(seen):
    first = seen.get("/api/v1/windows", params={"model": "churn", "version": "1", "limit": 10}).json()
    starts = [one["key"]["start"] for one in first]
    assert starts == sorted(starts, reverse=True)
    more = seen.get(
        "/api/v1/windows", params={"model": "churn", "version": "1", "before": starts[-1], "limit": 10}
    ).json()
    assert more[0]["key"]["start"] == starts[-1] - HOUR


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("windows", "model is missing"),
        ("windows?model=a&model=b", "given twice"),
        ("windows?model=a&limit=1e9", "whole number from 0 to 1000"),
        ("windows?model=a&limit=1001", "whole number"),
        ("windows?model=a&limit=-1", "whole number"),
        ("windows?model=a&limit=٣", "whole number"),
        ("evidence?model=a&watch=both", "accepted: inputs, quality"),
        ("models?x=1", "no parameter 'x'"),
    ],
)
def test_what_is_not_accepted_is_said(seen, path, told):
    answer = seen.get(f"/api/v1/{path}")
    assert answer.status_code == 400
    assert told in answer.json()["error"]


def test_a_window_that_counted_answers_is_kept_and_given(tmp_path):
    with site(tmp_path) as one:
        one.writer.window(replace(window(model="timed", version="1"), answers=AnswerCounts(900, 3, (1, 2))))
        assert one.writer.flush(30)
        (found,) = one.get("/api/v1/windows", params={"model": "timed", "version": "1"}).json()
        assert found["rows"] == 900
