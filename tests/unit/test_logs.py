"""The log: one line an entry whatever is in it, as text and as JSON."""

from __future__ import annotations

import json
import logging
import math
import shlex
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observer.logs import Json, Text, decision

LOG = logging.getLogger("observer.test")


def record(event: str = "page", **fields: object) -> logging.LogRecord:
    kept = logging.makeLogRecord({"name": "observer.test", "levelno": 20, "levelname": "INFO", "msg": event})
    kept.created = 1_700_000_000.25
    kept.fields = fields
    return kept


def test_text_is_a_line_of_fields():
    said = Text().format(record(model="churn", share=12.5, paused=False, rows=3, version=None, segment=""))
    assert said == (
        "2023-11-14T22:13:20.250Z INFO observer.test: page model=churn share=12.5 paused=false rows=3"
    )


def test_json_is_an_object_of_the_same():
    said = json.loads(Json().format(record(model="churn", share=12.5, effect=math.nan, version=None)))
    assert said == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "logger": "observer.test",
        "event": "page",
        "model": "churn",
        "share": 12.5,
        "effect": "nan",
    }


@given(st.text(), st.text())
def test_foreign_text_begins_no_line_and_no_field(event, value):
    for form in (Text(), Json()):
        assert len(form.format(record(event, model=value, tier="page")).splitlines()) == 1
    if value:
        assert json.loads(Json().format(record(event, model=value)))["model"] == value
        assert Text().format(record("page", model=value, tier="page")).endswith(" tier=page")
        told = Text().format(record("page", model=value)).partition(" model=")[2]
        assert told == value or json.loads(told) == value


def test_a_traceback_is_kept():
    try:
        raise ValueError("broken")
    except ValueError:
        broken = record()
        broken.exc_info = sys.exc_info()
    assert Text().format(broken).splitlines()[-1] == "ValueError: broken"
    assert "ValueError: broken" in json.loads(Json().format(broken))["error"]


def test_a_decision_is_of_level_info(caplog: pytest.LogCaptureFixture):
    with caplog.at_level("INFO"):
        decision(LOG, "rollout advance", model="churn", reason="evidence")
    (kept,) = caplog.records
    assert (kept.levelname, kept.getMessage(), kept.fields) == (
        "INFO",
        "rollout advance",
        {"model": "churn", "reason": "evidence"},
    )
    assert shlex.split(Text().format(kept))[3:] == ["rollout", "advance", "model=churn", "reason=evidence"]
