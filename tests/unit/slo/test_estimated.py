"""Objectives on estimates: only while the estimator has skill."""

from __future__ import annotations

import pytest

from observer.metrics import Counters
from observer.model import QualityEstimate, WindowKey, WindowReport
from observer.slo import Objectives, ObjectiveSpec, Wanted
from tests.unit.judge.memory import MemoryState

HOUR = 3_600_000
START = 1_700_000_000_000 // HOUR * HOUR
SPECS = {
    "correct": {"indicator": {"type": "correct", "basis": "estimated"}, "target": 0.9},
    "ranking": {
        "indicator": {"type": "quality", "metric": "roc_auc", "at_least": 0.8, "basis": "estimated"},
        "target": 0.9,
    },
    "realised": {"indicator": {"type": "correct"}, "target": 0.9},
}


@pytest.fixture
def objectives() -> Objectives:
    specs = {name: ObjectiveSpec.model_validate(given) for name, given in SPECS.items()}
    return Objectives(lambda _: Wanted(specs, HOUR), MemoryState(), Counters())


def report(hour: int, accuracy: float, auc: float, skill: float | None, segment: str = "") -> WindowReport:
    estimates = tuple(
        QualityEstimate(metric, value, value - 0.1, value + 0.1, "cbpe", 1_000, skill, 20)
        for metric, value in (("accuracy", accuracy), ("roc_auc", auc))
    )
    start = START + hour * HOUR
    key = WindowKey("m", "1", segment, start)
    return WindowReport(key, start + HOUR, 1_000, 0, "r", "stable", (), (), (), estimates=estimates)


def test_estimates_with_skill_count_and_others_do_not(objectives):
    objectives.of("m")
    objectives.window(report(0, 0.95, 0.85, 0.4))
    objectives.window(report(1, 0.80, 0.75, 0.4))
    objectives.window(report(2, 0.10, 0.10, 0.0))
    objectives.window(report(3, 0.10, 0.10, None))
    objectives.window(report(4, 0.10, 0.10, 0.4, segment="country=DE"))
    objectives.window(report(1, 0.80, 0.75, 0.4))
    objectives.advance(START + 5 * HOUR)
    found = {one.name: (one.good, one.total, one.basis) for one in objectives.standing()}
    assert found == {
        "correct": (1_750, 2_000, "estimated"),
        "ranking": (1_000, 2_000, "estimated"),
        "realised": (0, 0, "realised"),
    }
