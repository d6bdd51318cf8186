"""Skill: 1 - MAE over that of assuming no change, over the last cohorts."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.quality.estimation import ClassifierEstimator, Skill, fit, read_estimator, trust
from detectors.quality.estimation.estimate import within
from detectors.quality.metric import Metric
from tests.unit.estimation.rows import BINARY, SEVERAL, labelled_binary, labelled_several


def cohort(skill: Skill, start: int, said: float, real: float | None, constant: float = 0.8) -> None:
    estimates = [within("accuracy", said, 0.0, "cbpe", 100)]
    skill.observe(
        start, estimates, [Metric("accuracy", real, None, 100)], [Metric("accuracy", constant, None, 9)]
    )


def test_skill_is_one_less_the_ratio_of_mean_errors() -> None:
    skill = Skill()
    for start in range(10):
        cohort(skill, start, 0.75, 0.7)
    found = skill.trust("accuracy")
    assert found.skill == pytest.approx(1 - 0.05 / 0.1)
    assert (found.cohorts, found.mae, found.mae_constant) == (10, pytest.approx(0.05), pytest.approx(0.1))
    assert found.usable
    assert not found.backtest


def test_too_few_cohorts_have_no_skill() -> None:
    skill = Skill()
    for start in range(9):
        cohort(skill, start, 0.7, 0.7)
    cohort(skill, 9, 0.7, None)  # nothing was realised
    assert skill.trust("accuracy").cohorts == 9
    assert skill.trust("accuracy").skill is None
    assert not skill.trust("accuracy").usable
    assert skill.trust("f1").cohorts == 0


def test_a_constant_that_never_errs_cannot_be_beaten() -> None:
    skill = Skill()
    for start in range(12):
        cohort(skill, start, 0.8, 0.8)
    assert skill.trust("accuracy").skill is None


def test_a_cohort_stated_again_replaces_and_old_ones_are_forgotten() -> None:
    skill = Skill(size=10)
    for start in range(30):
        cohort(skill, start, 0.9 if start < 20 else 0.75, 0.7)
    cohort(skill, 29, 0.75, 0.7)
    cohort(skill, 3, 0.9, 0.7)  # older than all that are remembered
    found = skill.trust("accuracy")
    assert found.cohorts == 10
    assert found.mae == pytest.approx(0.05)
    cohort(skill, 25, 0.7, 0.7)
    assert skill.trust("accuracy").mae == pytest.approx(0.045)


def test_classes_count_as_one_by_their_mean() -> None:
    skill = Skill()
    for start in range(10):
        said = [within("class_recall", v, 0.0, "cbpe", 9, name) for v, name in ((0.5, "a"), (0.9, "b"))]
        real = [Metric("class_recall", v, None, 9, name) for v, name in ((0.6, "a"), (0.6, "b"))]
        before = [Metric("class_recall", 0.8, None, 9, name) for name in "ab"]
        skill.observe(start, said, real, before)
    assert skill.trust("class_recall").mae == pytest.approx(0.2)
    assert skill.trust("class_recall").skill == pytest.approx(0.0)
    assert not skill.trust("class_recall").usable


def test_bytes() -> None:
    skill = Skill(size=20, backtest=True)
    for start in range(25):
        cohort(skill, 1_700_000_000_000 + start, 0.75, 0.7)
    again = Skill.from_bytes(skill.to_bytes())
    assert again.to_bytes() == skill.to_bytes()
    assert again.trust("accuracy") == skill.trust("accuracy")
    assert again.size == 20
    cohort(again, 1_700_000_000_024, 0.75, 0.7)
    assert again.trust("accuracy").cohorts == 20


def test_the_reference_speaks_while_too_few_labels_have_come() -> None:
    live, reference = Skill(), Skill(backtest=True)
    for start in range(10):
        cohort(reference, start, 0.75, 0.7)
    assert trust("accuracy", live, reference) == reference.trust("accuracy")
    for start in range(10):
        cohort(live, start, 0.5, 0.7)
    assert trust("accuracy", live, reference).skill == pytest.approx(-1.0)
    assert trust("f1", live).cohorts == 0


@pytest.mark.parametrize(
    ("table", "rows"), [(BINARY, labelled_binary), (SEVERAL, labelled_several)], ids=["binary", "several"]
)
def test_a_fitted_estimator_is_backtested_and_reads_back(table, rows) -> None:
    made = fit(rows(np.random.default_rng(0), 4_000), table)
    assert isinstance(made, ClassifierEstimator)
    assert made.backtest.trust("accuracy").cohorts == 20
    again = read_estimator(made.to_bytes(), table)
    assert isinstance(again, ClassifierEstimator)
    assert again.to_bytes() == made.to_bytes()
    assert again.estimate(made.predicted) == made.estimate(made.predicted)
    assert again.constant == made.constant
