"""The budget of false alarms, through the whole service: events in, pages out."""

from __future__ import annotations

import pytest

from benchmarks.whole_service import CHANGED, KNOWN, LIVE, raised, simulated
from tests.unit.pipeline.test_evidence import evidence


@pytest.mark.slow
def test_unchanged_events_keep_the_budget_and_a_shift_is_found(tmp_path):
    """Ten features, 60 rows an hour: four weeks of reference windows, a month of 720 without a change."""
    reports = simulated(tmp_path, "iid", 1)
    assert len(reports) == KNOWN + LIVE + CHANGED
    assert evidence(reports[-1]).stage == "paging"
    paged = raised(reports, "page")
    assert sum(hour < KNOWN + LIVE for hour in paged) <= 1
    assert sum(KNOWN <= hour < KNOWN + LIVE for hour in raised(reports, "ticket")) <= 4
    assert next(hour for hour in paged if hour >= KNOWN + LIVE) - (KNOWN + LIVE) < 5
