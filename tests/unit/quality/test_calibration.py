"""Calibration gaps are exact, and chance is taken off the expected calibration error."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.base import Floats, Ints
from detectors.quality import evaluate
from detectors.quality.calibration import Gaps, calibration_gaps, expected_calibration_error
from detectors.summaries.outcomes import BinaryOutcomes, score_edges

BINS = 16


def counted(labels: Ints, scores: Floats, weight: Floats, edges: Floats) -> Gaps:
    at = np.searchsorted(edges, scores, side="right") + labels * BINS
    return calibration_gaps(
        np.bincount(at, minlength=2 * BINS).reshape(2, BINS),
        np.bincount(at, weight, 2 * BINS).reshape(2, BINS),
        np.bincount(at % BINS, weight * scores, BINS),
    )


def test_gaps_are_rates_less_mean_scores() -> None:
    rng = np.random.default_rng(1)
    scores, weight = rng.random(3000), rng.choice([0.5, 1.0, 4.0], 3000)
    labels = rng.integers(0, 2, 3000)
    edges = np.linspace(0, 1, BINS + 1)[1:-1]
    gaps = counted(labels, scores, weight, edges)
    at = np.searchsorted(edges, scores, side="right")
    for b in range(BINS):
        rows = at == b
        expected = np.average(labels[rows] - scores[rows], weights=weight[rows])
        assert gaps.gap[b] == pytest.approx(expected, abs=1e-12)
        assert gaps.share[b] == pytest.approx(weight[rows].sum() / weight.sum())


def test_gaps_known_exactly_are_not_touched() -> None:
    gaps = Gaps(np.array([0.25, 0.75]), np.array([0.1, -0.2]), np.zeros(2))
    assert expected_calibration_error(gaps) == pytest.approx(0.25 * 0.1 + 0.75 * 0.2)


@pytest.mark.parametrize(("n", "tolerance"), [(1000, 0.013), (5000, 0.006)])
@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_chance_is_taken_off(n: int, tolerance: float, shift: float) -> None:
    """The mean over samples lies near the truth; without correction it is .04 and .018 at no shift."""
    rng = np.random.default_rng(9)
    reference = rng.beta(1, 2, 100_000)
    edges = np.quantile(reference, np.arange(1, BINS) / BINS)

    def chance(p: Floats) -> Floats:
        return np.asarray(1 / (1 + np.exp(-(np.log(p / (1 - p)) + shift))))

    at = np.searchsorted(edges, reference, side="right")
    gap = np.bincount(at, chance(reference) - reference, BINS) / len(reference)
    estimates = []
    for _ in range(100):
        scores = rng.beta(1, 2, n)
        labels = (rng.random(n) < chance(scores)).astype(np.int64)
        estimates.append(expected_calibration_error(counted(labels, scores, np.ones(n), edges)))
    assert np.mean(estimates) == pytest.approx(np.abs(gap).sum(), abs=tolerance)


def test_deviation_holds_for_a_sampled_class() -> None:
    """Negatives sampled at 1% and weighted by 100: deviations match the spread over repetitions."""
    rng = np.random.default_rng(6)
    gaps, deviations = [], []
    for _ in range(400):
        labels = np.repeat([0, 1], rng.poisson(200, 2))
        weight = np.where(labels == 0, 100.0, 1.0)
        gap = counted(labels, np.full(len(labels), 0.01), weight, np.linspace(0, 1, BINS + 1)[1:-1])
        gaps.append(gap.gap[0])
        deviations.append(gap.deviation[0])
    assert np.mean(deviations) == pytest.approx(np.std(gaps), rel=0.15)


def test_binary_bins_are_equal_parts_of_the_reference() -> None:
    rng = np.random.default_rng(2)
    scores = rng.random(4000)
    labels = (rng.random(4000) < scores * 0.5).astype(np.int64)
    outcomes = BinaryOutcomes(score_edges(scores))
    outcomes.update(labels, labels, scores)
    at = outcomes.calibration_bin(np.searchsorted(outcomes.edges, scores, side="right"))
    gap = np.bincount(at, labels - scores, BINS)
    value = next(metric.value for metric in evaluate(outcomes) if metric.name == "ece")
    assert value == pytest.approx(np.abs(gap).sum() / 4000, abs=0.003)
    assert value == pytest.approx(0.25, abs=0.015)
