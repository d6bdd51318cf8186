"""Decisions in the log: each once."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from detectors.base import Status, Verdict
from observer.exporters.decisions import DecisionLog
from observer.logs import Json
from observer.metrics import Counters, catalog
from observer.model import (
    BurnAlert,
    EvidenceReport,
    Finding,
    ObjectiveStanding,
    WindowKey,
    WindowReport,
)

HOUR = 3_600_000


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "observer.decisions")

    def lines() -> list[dict[str, object]]:
        found = [json.loads(Json().format(record)) for record in caplog.records]
        caplog.clear()
        return [{k: v for k, v in one.items() if k not in ("time", "level", "logger")} for one in found]

    return lines


def evidence(stage: str = "paging", incident: int | None = None, *, closed: bool = False) -> EvidenceReport:
    return EvidenceReport("inputs", stage, 400, 336, 0.5, 2.9, incident, (), closed)


def window(hour: int, findings=(), reference: str = "abc", evidence=None, segment: str = "") -> WindowReport:
    key = WindowKey("m", "1", segment, hour * HOUR)
    return WindowReport(key, (hour + 1) * HOUR, 60, 0, reference, "stable", (), tuple(findings), (), evidence)


def test_pages_and_tickets_but_not_what_is_only_shown(said):
    verdict = Verdict(Status.DRIFT, 0.25, 0.5, 0.125, 0.001, 2000, 500)
    at = WindowKey("m", "1", "region=eu", 3 * HOUR)
    findings = [
        Finding(at, 4 * HOUR, "age", "location", verdict, tier, (), 2 * HOUR)
        for tier in ("page", "ticket", "info")
    ]
    DecisionLog().window(window(3, findings, "", segment="region=eu"))
    page, ticket = said()
    assert page == {
        "event": "page", "model": "m", "version": "1", "segment": "region=eu",
        "window": "1970-01-01T03:00:00Z", "column": "age", "detector": "location", "effect": 0.5, "causes": 0,
        "since": "1970-01-01T02:00:00Z",
    }  # fmt: skip
    assert ticket == {**page, "event": "ticket"}


def test_stages_references_and_incidents_when_they_change(said):
    log = DecisionLog()
    log.window(window(0, reference=""))
    assert said() == []
    log.window(window(1, evidence=evidence("tickets")))
    assert [(one["event"], one.get("reference", one.get("stage"))) for one in said()] == [
        ("reference", "abc"),
        ("stage", "tickets"),
    ]
    log.window(window(2, evidence=evidence("tickets")))
    assert said() == []
    log.window(window(3, evidence=evidence("paging", incident=3 * HOUR)))
    assert [one["event"] for one in said()] == ["stage", "incident opens"]
    log.window(window(4, evidence=evidence("paging", incident=3 * HOUR)))
    assert said() == []
    log.window(window(5, evidence=evidence("paging", closed=True)))
    assert [(one["event"], one["reason"]) for one in said()] == [("incident ends", "verified_stable")]


def test_objectives_when_their_severity_changes(said):
    calm = ObjectiveStanding(
        "m", "right", "", "", "", "", "", "realised", 0.9, "", 0, HOUR, 90, 100, 0.5, 0.5, (), (), None
    )
    alert = BurnAlert("page", HOUR, 2 * HOUR, 14.4, firing=True)
    log = DecisionLog()
    burning = replace(calm, alerts=(alert,), since=1_767_571_200_000)
    for standing in (calm, burning, burning, calm):
        log.objectives([standing])
    told = [(one["event"], one["objective"], one["severity"], one.get("since")) for one in said()]
    assert told == [
        ("objective burns", "right", "page", "2026-01-05T00:00:00Z"),
        ("objective recovers", "right", "page", None),
    ]


def test_rejections_once_a_minute_with_their_number(said):
    counters, log = Counters(), DecisionLog()
    for now, more in ((0.0, 2), (1.0, 3), (61.0, 0), (62.0, 0)):
        counters.add(catalog.EVENTS_REJECTED, ("predictions", "invalid"), more)
        log.rejections(counters.read(), now)
    told = [(one["reason"], one["events"]) for one in said()]
    assert told == [("invalid", 2.0), ("invalid", 3.0)]
