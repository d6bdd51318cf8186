"""Binary metrics against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import Floats, Ints
from detectors.quality import Metric, evaluate
from detectors.summaries.outcomes import BinaryOutcomes, score_edges


def draw(rng: np.random.Generator, n: int, prevalence: float) -> tuple[Ints, Floats]:
    labels = (rng.random(n) < prevalence).astype(np.int64)
    labels[:2] = 0, 1
    logits = rng.normal(size=n) + 1.5 * labels + np.log(prevalence / (1 - prevalence))
    return labels, 1 / (1 + np.exp(-logits))


def evaluated(
    labels: Ints, scores: Floats, weight: Floats | None = None, edges: Floats | None = None
) -> dict[str, Metric]:
    outcomes = BinaryOutcomes(score_edges(scores) if edges is None else edges)
    outcomes.update(labels, (scores >= 0.5).astype(np.int64), scores, weight)
    return {metric.name: metric for metric in evaluate(outcomes)}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("prevalence", [0.05, 0.5])
def test_counts_and_sums_agree_with_scikit_learn(prevalence: float, weighted: bool) -> None:
    rng = np.random.default_rng(3)
    labels, scores = draw(rng, 5000, prevalence)
    scores[5:9] = 0.0, 1.0, 1e-300, 1 - 1e-17
    weight = rng.choice([0.0, 0.5, 1.0, 3.0], 5000) if weighted else None
    got, called = evaluated(labels, scores, weight), scores >= 0.5
    expected = {
        "base_rate": np.average(labels, weights=weight),
        "accuracy": sk.accuracy_score(labels, called, sample_weight=weight),
        "precision": sk.precision_score(labels, called, sample_weight=weight),
        "recall": sk.recall_score(labels, called, sample_weight=weight),
        "f1": sk.f1_score(labels, called, sample_weight=weight),
        "log_loss": sk.log_loss(labels, scores, sample_weight=weight),
        "brier": sk.brier_score_loss(labels, scores, sample_weight=weight),
    }
    for name, value in expected.items():
        assert got[name].value == pytest.approx(value, rel=1e-9), name
        assert got[name].error is None
    assert got["accuracy"].n == got["brier"].n == 5000
    assert got["precision"].n == called.sum()
    assert got["recall"].n == labels.sum()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    prevalence=st.floats(0.01, 0.5),
    digits=st.sampled_from([1, 2, 3, 17]),
    weighted=st.booleans(),
    shift=st.sampled_from([0.0, 0.2]),
)
def test_areas_lie_within_their_printed_error(
    seed: int, prevalence: float, digits: int, weighted: bool, shift: float
) -> None:
    rng = np.random.default_rng(seed)
    labels, scores = draw(rng, 3000, prevalence)
    edges = score_edges(draw(rng, 3000, prevalence)[1])
    scores = np.round(scores + shift, digits)  # ties, and scores beyond the reference's
    weight = rng.choice([0.5, 1.0, 3.0], 3000) if weighted else None
    got = evaluated(labels, scores, weight, edges)
    for name, exact in (
        ("roc_auc", sk.roc_auc_score(labels, scores, sample_weight=weight)),
        ("pr_auc", sk.average_precision_score(labels, scores, sample_weight=weight)),
    ):
        value, error = got[name].value, got[name].error
        assert value is not None
        assert error is not None
        assert abs(value - exact) <= error + 1e-9, name


@pytest.mark.parametrize("prevalence", [0.01, 0.05, 0.2, 0.5])
def test_areas_of_continuous_scores_are_close(prevalence: float) -> None:
    rng = np.random.default_rng(8)
    edges = score_edges(draw(rng, 20_000, prevalence)[1])
    labels, scores = draw(rng, 20_000, prevalence)
    got = evaluated(labels, scores, None, edges)
    assert got["roc_auc"].value == pytest.approx(sk.roc_auc_score(labels, scores), abs=1e-3)
    assert got["pr_auc"].value == pytest.approx(sk.average_precision_score(labels, scores), abs=0.015)
    assert got["roc_auc"].error is not None
    assert got["roc_auc"].error < 0.004


def test_area_of_few_distinct_scores_is_exact() -> None:
    rng = np.random.default_rng(4)
    labels, scores = draw(rng, 3000, 0.3)
    scores = np.round(scores, 2)
    assert evaluated(labels, scores)["roc_auc"].value == pytest.approx(
        sk.roc_auc_score(labels, scores), abs=1e-12
    )


def test_a_repeated_score_has_a_bin_of_its_own() -> None:
    rng = np.random.default_rng(4)
    scores = np.where(rng.random(4000) < 0.5, 0.25, rng.random(4000))
    edges = score_edges(scores)
    assert len(edges) == 255
    assert np.all(np.diff(edges) >= 0)
    at = np.searchsorted(edges, scores, side="right")
    assert set(scores[at == at[scores == 0.25][0]]) == {0.25}


def test_edges_without_a_reference_are_even() -> None:
    np.testing.assert_allclose(score_edges(np.array([np.nan])), np.linspace(0, 1, 255))


def test_rows_without_score_or_prediction_count_where_they_can() -> None:
    outcomes = BinaryOutcomes(score_edges(np.empty(0)))
    labels, predicted = np.array([1, 1, 0, 0, 1]), np.array([1, 0, 0, -1, -1])
    outcomes.update(labels, predicted, np.array([0.9, np.nan, 0.2, 0.3, np.nan]))
    got = {metric.name: metric for metric in evaluate(outcomes)}
    assert (got["accuracy"].n, got["accuracy"].value) == (3, pytest.approx(2 / 3))
    assert (got["roc_auc"].n, got["roc_auc"].value) == (3, 1.0)
    assert (got["base_rate"].n, got["base_rate"].value) == (5, pytest.approx(0.6))


def reasons(outcomes: BinaryOutcomes) -> dict[str, str]:
    metrics = evaluate(outcomes)
    assert all((metric.value is None) == bool(metric.reason) for metric in metrics)
    return {metric.name: metric.reason for metric in metrics if metric.reason}


def test_what_is_undefined_says_why() -> None:
    empty = BinaryOutcomes(score_edges(np.empty(0)))
    assert len(reasons(empty)) == len(evaluate(empty))

    negatives = BinaryOutcomes(score_edges(np.empty(0)))
    negatives.update(np.zeros(3, int), np.zeros(3, int), np.array([0.1, 0.2, 0.3]))
    assert reasons(negatives) == {
        "precision": "no row was predicted positive",
        "recall": "no label is positive",
        "f1": "no row is positive, by label or prediction",
        "roc_auc": "no label with scores is positive",
        "pr_auc": "no label with scores is positive",
    }

    weightless = BinaryOutcomes(score_edges(np.empty(0)))
    weightless.update(np.array([0, 1]), np.array([0, 1]), np.array([0.1, 0.9]), np.zeros(2))
    assert set(reasons(weightless).values()) == {"the rows weigh nothing", "the negative rows weigh nothing"}


def test_scores_that_are_no_probabilities_still_rank() -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 500)
    scores = rng.normal(size=500) + labels
    got = evaluated(labels, scores)
    assert got["roc_auc"].value == pytest.approx(sk.roc_auc_score(labels, scores), abs=1e-2)
    for name in ("log_loss", "brier", "ece"):
        assert got[name].value is None
        assert "outside 0..1" in got[name].reason


def test_a_retracted_class_leaves_nothing_behind() -> None:
    outcomes = BinaryOutcomes(score_edges(np.empty(0)))
    outcomes.update(np.zeros(4, int), np.zeros(4, int), np.linspace(0.1, 0.4, 4), np.full(4, 0.1))
    row = (np.array([1]), np.array([1]), np.array([0.7]), np.array([0.3]))
    outcomes.update(*row)
    outcomes.update(*row, sign=np.array([-1]))
    assert {"precision", "recall", "f1", "roc_auc", "pr_auc"} == set(reasons(outcomes))
