"""Online detectors in a whole service: events in, verdicts and tickets out, whatever the polls."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import Status
from observer.metrics import catalog
from observer.model import Finding
from tests.unit.pipeline.service import Ran
from tests.unit.pipeline.test_evidence import by_day, days, go, labels_of, setting, split

ONLINE = [
    "adwin",
    {"type": "page_hinkley", "run_length": 3000},
    {"type": "online_cramer_von_mises", "run_length": 200, "rows": 20, "lookbacks": [1, 3]},
    {"type": "online_mmd", "run_length": 200, "rows": 5, "lookbacks": [1, 3], "reference_rows": 100},
    {"type": "calibration", "reference_rows": 100},
]
SINCE = 20
EVENTS = days(0, SINCE) + days(SINCE, 28, 1.5)
LABELS = [one for day in range(28) for one in labels_of(day, 0.1 if day < SINCE else 0.6)]


def run(folder, **more) -> Ran:
    judge = {"minimum": {"location": 0.15, "spread": 1.0}, "online": ONLINE}
    return go(setting(folder, "2d", judge=judge), split(EVENTS), split(LABELS), ends=True, **more)


def by_online(finding: Finding) -> bool:
    return finding.detector.startswith(("adwin", "page_hinkley", "online_", "calibration"))


def told(ran: Ran) -> list:
    """Everything that online detectors said: verdicts on windows and cohorts, and findings."""
    found: list = []
    for day, report in by_day(ran).items():
        assert report.evidence is not None
        found.append((day, report.evidence.online, list(filter(by_online, report.findings))))
    qualities = {}
    for cohort in ran.reports.qualities:
        if cohort.final and cohort.evidence is not None:
            qualities.setdefault(cohort.start, (cohort.evidence.online, cohort.findings))
    return [found, qualities]


@cache
def whole() -> Ran:
    with TemporaryDirectory() as folder:
        return run(Path(folder))


def test_a_shift_and_worse_labels_become_tickets():
    reports = by_day(whole())
    tickets = {
        (one.subject, one.detector): day
        for day, report in reversed(reports.items())
        for one in report.findings
        if one.tier == "ticket" and not one.causes and day >= SINCE
    }
    for key in (("x", "adwin.location"), ("x", "online_cramer_von_mises"), ("@table", "online_mmd")):
        assert tickets[key] in range(SINCE, SINCE + 4)
    cohorts = {one.start: one for one in whole().reports.qualities if one.final}
    named = {(one.detector, one.tier) for cohort in cohorts.values() for one in cohort.findings}
    assert ("adwin.error_rate", "ticket") in named
    last = reports[27].evidence.online
    assert {one.detector for one in last if one.verdict.status is Status.DRIFT} >= {"online_cramer_von_mises"}


def test_they_never_page_and_are_counted():
    reports = by_day(whole()).values()
    online = [one for report in reports for one in report.findings if by_online(one)]
    assert {one.tier for one in online} <= {"ticket", "info"}
    counted = whole().count(catalog.FINDINGS)
    for tier in ("ticket", "info"):
        here = sum(one.detector == "online_mmd" and one.tier == tier for one in online)
        assert counted.get(("m", "1", "online_mmd", tier), 0) == here


@pytest.mark.slow
@settings(max_examples=4)
@given(
    seed=st.integers(0, 1000),
    size=st.integers(5, 400),
    pauses=st.sampled_from([0.0, 0.3, 0.6]),
    crashes=st.lists(st.integers(1, 30), max_size=2),
)
def test_verdicts_do_not_depend_on_polls_interleaving_or_crashes(seed, size, pauses, crashes):
    with TemporaryDirectory() as folder:
        ran = run(
            Path(folder), seed=seed, size=size, pauses=pauses, crashes=tuple(crashes), checkpoint_every=0.1
        )
    assert told(ran) == told(whole())
