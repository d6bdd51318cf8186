"""Freshness: a look at the clock every ten seconds, counted once, and not remembered one by one."""

from __future__ import annotations

import pytest

from observer.metrics import Counters
from observer.slo import Objectives, ObjectiveSpec, Wanted
from tests.unit.judge.memory import MemoryState

HOUR = 3_600
NOW = 1_700_000_000.0 // HOUR * HOUR


@pytest.fixture
def objectives() -> Objectives:
    given = {"indicator": {"type": "freshness", "within": "30m"}, "target": 0.9, "window": "30d"}
    fresh = ObjectiveSpec.model_validate(given)
    made = Objectives(lambda _: Wanted({"fresh": fresh}, HOUR * 1000), MemoryState(), Counters())
    made.of("m").newest = int(NOW * 1000)
    return made


def test_each_slice_counts_once_and_leaves_nothing_behind(objectives):
    """A month has a quarter of a million of them, and each checkpoint would write them all."""
    (one,) = objectives.of("m").every
    for second in range(0, HOUR, 4):
        objectives.look(NOW + second)
    assert (one.budget.good, one.budget.total) == (181, 360)
    assert len(one.marks) == 1
    assert len(one.to_bytes()) < 10_000


def test_a_clock_that_is_set_back_counts_no_slice_again(objectives):
    (one,) = objectives.of("m").every
    for second in (100, 110, 120, 100, 110, 120, 130):
        objectives.look(NOW + second)
    assert one.budget.total == 4
