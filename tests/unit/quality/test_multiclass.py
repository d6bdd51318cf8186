"""Multiclass metrics against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk

from detectors.base import Floats, Ints
from detectors.quality import Metric, evaluate
from detectors.summaries.outcomes import MulticlassOutcomes, score_edges
from tests.unit.quality.rows import CLASSES

K = len(CLASSES)


def draw(rng: np.random.Generator, n: int) -> tuple[Ints, Ints, Floats]:
    labels = rng.choice(K, n, p=[0.6, 0.25, 0.1, 0.05])
    logits = rng.normal(size=(n, K)) + 1.5 * (labels[:, None] == np.arange(K))
    scores = np.exp(logits)
    scores /= scores.sum(axis=1, keepdims=True)
    return labels, scores.argmax(axis=1), scores


def metrics_of(outcomes: MulticlassOutcomes) -> dict[tuple[str, str], Metric]:
    return {(metric.name, metric.class_name): metric for metric in evaluate(outcomes)}


@pytest.mark.parametrize("weighted", [False, True])
def test_agrees_with_scikit_learn(weighted: bool) -> None:
    rng = np.random.default_rng(1)
    labels, predicted, scores = draw(rng, 4000)
    weight = rng.choice([0.0, 0.5, 1.0, 3.0], 4000) if weighted else None
    outcomes = MulticlassOutcomes(CLASSES, np.array([score_edges(column, 64) for column in scores.T]))
    outcomes.update(labels, predicted, scores, weight)
    got = metrics_of(outcomes)
    expected = {
        ("accuracy", ""): sk.accuracy_score(labels, predicted, sample_weight=weight),
        ("log_loss", ""): sk.log_loss(labels, scores, sample_weight=weight),
        ("brier", ""): sk.brier_score_loss(labels, scores, sample_weight=weight),
    }
    for average in ("macro", "weighted"):
        for name in ("precision", "recall", "f1"):
            score = getattr(sk, f"{name}_score")
            expected[f"{average}_{name}", ""] = score(
                labels, predicted, average=average, sample_weight=weight
            )
    by_class = sk.recall_score(labels, predicted, average=None, sample_weight=weight)
    expected.update({("class_recall", name): value for name, value in zip(CLASSES, by_class, strict=True)})
    for key, value in expected.items():
        assert got[key].value == pytest.approx(value, rel=1e-9), key
    area = got["macro_roc_auc", ""]
    exact = np.mean([sk.roc_auc_score(labels == k, scores[:, k], sample_weight=weight) for k in range(K)])
    assert area.error is not None
    assert area.value == pytest.approx(exact, abs=min(area.error, 1e-3))


def test_classes_beyond_the_known_count_as_wrong() -> None:
    rng = np.random.default_rng(2)
    labels, predicted, scores = draw(rng, 2000)
    labels[rng.random(2000) < 0.1] = K + 3
    predicted[rng.random(2000) < 0.1] = K
    outcomes = MulticlassOutcomes(CLASSES)
    outcomes.update(labels, predicted, scores)
    got = metrics_of(outcomes)
    said = ~((labels >= K) & (predicted >= K))
    labels, predicted = np.minimum(labels, K)[said], predicted[said]
    assert got["accuracy", ""].value == pytest.approx(sk.accuracy_score(labels, predicted))
    assert got["accuracy", ""].n == said.sum()
    for average in ("macro", "weighted"):
        assert got[f"{average}_f1", ""].value == pytest.approx(
            sk.f1_score(labels, predicted, average=average, labels=range(K))
        )
    assert got["brier", ""].n == (labels < K).sum()


def test_macro_averages_take_the_classes_that_appear() -> None:
    labels, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    outcomes = MulticlassOutcomes(CLASSES)
    outcomes.update(labels, predicted)
    got = metrics_of(outcomes)
    for name in ("precision", "recall", "f1"):
        exact = getattr(sk, f"{name}_score")(labels, predicted, average="macro")
        assert got[f"macro_{name}", ""].value == pytest.approx(exact)
    assert got["class_recall", "c"].value is None
    assert got["class_recall", "c"].reason == "no label is of this class"
    assert got["macro_roc_auc", ""].reason == "scores are not kept by class"
    assert got["log_loss", ""].reason == "no labelled row has scores"


def test_top_label_calibration() -> None:
    rng = np.random.default_rng(3)
    scores = rng.dirichlet(np.ones(K), 20_000)
    honest = (rng.random((20_000, 1)) > np.cumsum(scores, axis=1)[:, :-1]).sum(axis=1)
    calibrated, broken = MulticlassOutcomes(CLASSES), MulticlassOutcomes(CLASSES)
    calibrated.update(honest, scores.argmax(axis=1), scores)
    uniform = rng.integers(0, K, 20_000)
    broken.update(uniform, scores.argmax(axis=1), scores)
    assert metrics_of(calibrated)["ece", ""].value == pytest.approx(0, abs=0.005)
    assert metrics_of(broken)["ece", ""].value == pytest.approx(scores.max(axis=1).mean() - 0.25, abs=0.01)


def test_nothing_is_defined_without_rows() -> None:
    assert all(m.value is None and m.reason for m in evaluate(MulticlassOutcomes(CLASSES)))


def test_scores_outside_probabilities_are_said() -> None:
    outcomes = MulticlassOutcomes(CLASSES)
    outcomes.update(np.array([0]), np.array([0]), np.array([[2.0, 0.0, 0.0, 0.0]]))
    assert "outside 0..1" in metrics_of(outcomes)["brier", ""].reason
