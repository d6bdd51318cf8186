"""CBPE of binary models: against direct sums, scikit-learn, and windows whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as oracle
from sklearn.isotonic import IsotonicRegression

from detectors.quality import evaluate
from detectors.quality.estimation import ClassifierEstimator, fit
from detectors.quality.estimation.cbpe import auc_gradient, calibrate, estimate_binary
from detectors.quality.estimation.isotonic import isotonic
from detectors.quality.ranking import roc_auc
from detectors.summaries.outcomes import BinaryOutcomes
from tests.unit.estimation.rows import BINARY, binary_rows, labelled_binary, window


def outcomes_of(label, called, scores, weights=None) -> BinaryOutcomes:
    outcomes = BinaryOutcomes(BINARY.edges[0])
    outcomes.update(label, called, scores, weights)
    return outcomes


@pytest.mark.parametrize("seed", range(5))
def test_isotonic_agrees_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, weights = rng.random(60) + np.linspace(0, 0.5, 60), rng.integers(0, 4, 60).astype(float)
    held = weights > 0
    oracle_of = IsotonicRegression().fit(np.arange(60)[held], values[held], weights[held])
    fitted = oracle_of.predict(np.arange(60)[held])
    np.testing.assert_allclose(isotonic(values, weights)[held], fitted, atol=1e-12)
    assert (np.diff(isotonic(values, weights)) >= 0).all()


def test_isotonic_of_nothing() -> None:
    np.testing.assert_array_equal(isotonic(np.ones(4), np.zeros(4)), np.zeros(4))


def test_metrics_are_those_of_rows_that_carry_their_chances() -> None:
    """Each row twice, once per label, weighted by the calibrated chance: what scikit-learn says of that."""
    rng = np.random.default_rng(2)
    calibration = calibrate(outcomes_of(*binary_rows(rng, 20_000)))
    _, called, scores = binary_rows(rng, 3_000, tilt=1.6)
    chance = calibration.rate[np.searchsorted(BINARY.edges[0], scores, side="right")]
    actual, weight = np.repeat([0, 1], len(scores)), np.concatenate((1 - chance, chance))
    said, score = np.tile(called, 2), np.tile(scores, 2)
    bins = np.searchsorted(BINARY.edges[0], score, side="right")
    expected = {
        "base_rate": chance.mean(),
        "accuracy": oracle.accuracy_score(actual, said, sample_weight=weight),
        "precision": oracle.precision_score(actual, said, sample_weight=weight),
        "recall": oracle.recall_score(actual, said, sample_weight=weight),
        "f1": oracle.f1_score(actual, said, sample_weight=weight),
        "roc_auc": oracle.roc_auc_score(actual, bins, sample_weight=weight),
        "brier": oracle.brier_score_loss(actual, score, sample_weight=weight),
    }
    found = {one.name: one for one in estimate_binary(calibration, window(BINARY, called, scores))}
    assert {name: found[name].value for name in expected} == pytest.approx(expected, rel=1e-9)
    direct = oracle.log_loss(actual, score, sample_weight=weight)
    assert found["log_loss"].value == pytest.approx(direct, abs=2e-3)  # scores are averaged within bins
    assert all(one.low <= one.value <= one.high for one in found.values())


def test_gradient_of_the_auc() -> None:
    rng = np.random.default_rng(0)
    positives, negatives = rng.random(9) * 5 + 1, rng.random(9) * 9 + 1
    before, gradient = roc_auc(positives, negatives)[0], auc_gradient(positives, negatives)
    for b in range(9):
        step = np.zeros(9)
        step[b] = 1e-6
        after = roc_auc(positives + step, negatives - step)[0]
        assert (after - before) / 1e-6 == pytest.approx(gradient[b], rel=1e-4, abs=1e-8)


def estimator(seed: int, n: int = 30_000) -> ClassifierEstimator:
    made = fit(labelled_binary(np.random.default_rng(seed), n), BINARY)
    assert isinstance(made, ClassifierEstimator)
    return made


def test_bands_hold_the_realised_values_where_the_assumption_holds() -> None:
    known, inside = estimator(3), {}
    for seed in range(60):
        rng = np.random.default_rng(1000 + seed)
        label, called, scores = binary_rows(rng, 1_000, tilt=rng.uniform(0.7, 1.8))
        real = {one.name: one.value for one in evaluate(outcomes_of(label, called, scores))}
        for one in known.estimate(window(BINARY, called, scores)):
            inside.setdefault(one.name, []).append(one.low <= real[one.name] <= one.high)
    for name, held in inside.items():
        assert np.mean(held) >= 0.85, name  # 95 are meant; 60 windows and one reference


def test_a_shift_of_the_scores_is_followed() -> None:
    known = estimator(4)
    rng = np.random.default_rng(5)
    label, called, scores = binary_rows(rng, 20_000, tilt=2.5)
    real = {one.name: one.value for one in evaluate(outcomes_of(label, called, scores))}
    constant = {one.name: one.value for one in known.constant}
    for one in known.estimate(window(BINARY, called, scores)):
        if one.name in ("base_rate", "precision", "f1", "brier"):
            assert abs(one.value - real[one.name]) < 0.25 * abs(constant[one.name] - real[one.name]), one.name


def test_concept_drift_cannot_be_seen_and_costs_the_skill() -> None:
    """Labels no longer follow the scores: nothing in the predictions tells, and the backtest does."""
    known = estimator(6)
    skill = type(known.backtest)()
    for start in range(12):
        rng = np.random.default_rng(start)
        _, called, scores = binary_rows(rng, 1_000, tilt=2.0)
        label = (rng.random(1_000) < 0.15).astype(np.int64)
        said = known.estimate(window(BINARY, called, scores))
        skill.observe(start, said, evaluate(outcomes_of(label, called, scores)), known.constant)
    trust = skill.trust("base_rate")
    assert trust.cohorts == 12
    assert not trust.usable


@pytest.mark.parametrize(
    ("called", "scores", "why"),
    [
        ([], [], "no prediction has a score"),
        ([1, 0], [np.nan, np.nan], "no prediction has a score"),
        ([1, 0], [2.5, 0.1], "1 rows have scores outside 0..1"),
    ],
)
def test_what_cannot_be_said_has_its_reason(called, scores, why) -> None:
    found = estimator(7, 2_000).estimate(window(BINARY, np.array(called, int), np.array(scores, float)))
    unknown = [one for one in found if one.value is None]
    assert why in {one.reason for one in unknown}
    assert all(one.reason and one.low is None for one in unknown)


def test_predictions_over_other_edges_are_refused() -> None:
    other = type(BINARY)(("0", "1"), BINARY.edges + 0.01, binary=True)
    with pytest.raises(ValueError, match="other score edges"):
        estimator(8, 1_000).estimate(other.zero())
