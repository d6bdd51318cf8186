from __future__ import annotations

import numpy as np
import pytest

from detectors.base import Categories, DetectorError, Numbers
from detectors.summaries.outcomes import BinaryOutcomes, score_edges
from detectors.why.impact import calibrated, expected_error, impacts
from tests.unit.why.tables import categories, columns, summaries


def losses(summary, of) -> np.ndarray:
    """Loss of the sampled rows, as a function of their columns."""
    sample = summary.sample
    return np.asarray(of({name: sample.column(name) for name in sample.columns}), np.float64)


def test_a_category_that_grew_brings_its_own_loss() -> None:
    rng = np.random.default_rng(8)
    reference, window = columns(rng, 10_000), columns(rng, 2_000)
    window["plan"] = categories(rng.choice(3, 2_000, p=[0.3, 0.3, 0.4]), "basic", "plus", "pro")
    before, now = summaries(reference, window)

    def of(sample):
        plan = sample["plan"]
        assert isinstance(plan, Categories)
        return np.where(np.array(plan.names)[plan.codes] == "pro", 0.5, 0.1)

    found = {one.name: one for one in impacts(before, now, losses(before, of))}
    assert next(iter(found)) == "plan"
    plan = found["plan"]
    assert plan.effect == pytest.approx(0.3 * 0.4, abs=0.02)  # 30% more rows that lose 0.4 more
    assert plan.clear
    assert not any(found[name].clear for name in "abc")


@pytest.mark.parametrize("kind", ["moved", "missing", "beyond"])
def test_a_number_that_moved_where_the_loss_is_larger(kind: str) -> None:
    rng = np.random.default_rng(9)
    reference, window = columns(rng, 10_000), columns(rng, 2_000)
    a = rng.normal(size=2_000)
    if kind == "missing":
        reference["a"].values[:2_000] = np.nan
        a[: len(a) // 2] = np.nan
    else:
        a = a + 1 if kind == "moved" else np.where(rng.random(2_000) < 0.3, 1e9, a)
    window["a"] = Numbers(a)
    before, now = summaries(reference, window)

    def loss(values: np.ndarray) -> np.ndarray:
        worse = np.isnan(values) if kind == "missing" else values > 0.8
        return np.where(worse, 0.6, 0.1)

    first = impacts(before, now, losses(before, lambda sample: loss(sample["a"].values)))[0]
    exact = loss(a).mean() - loss(reference["a"].values).mean()
    assert first.name == "a"
    assert first.effect == pytest.approx(exact, abs=0.03)
    assert first.clear


def test_without_a_change_few_are_clear_and_the_error_is_honest() -> None:
    rng = np.random.default_rng(10)
    scaled = []
    for _ in range(40):
        before, now = summaries(columns(rng, 3_000), columns(rng, 1_000))
        loss = losses(before, lambda sample: 1 / (1 + np.exp(-sample["a"].values)))
        scaled += [one.effect / one.error for one in impacts(before, now, loss) if one.name != "b"]
    assert np.mean(np.abs(scaled) > 3) <= 0.02
    assert 0.5 < np.std(scaled) < 1.3


def test_rows_without_a_loss_are_left_out_and_too_few_are_refused() -> None:
    rng = np.random.default_rng(11)
    before, now = summaries(columns(rng, 3_000), columns(rng, 500))
    loss = losses(before, lambda sample: sample["a"].values > 0)
    some = loss.copy()
    some[::2] = np.nan
    assert impacts(before, now, some)
    some[150:] = np.nan
    with pytest.raises(DetectorError, match="sampled reference rows have a loss; 200 are needed"):
        impacts(before, now, some)


def test_nothing_follows_from_a_category_that_the_reference_lacks() -> None:
    rng = np.random.default_rng(12)
    reference = {"x": categories(rng.choice(2, 1_000), "a", "b")}
    window = {"x": categories(np.repeat([0, 1, 2], [250, 250, 500]), "a", "b", "new")}
    before, now = summaries(reference, window)
    loss = losses(before, lambda sample: np.where(sample["x"].codes == 0, 0.4, 0.0))
    assert impacts(before, now, loss)[0].effect == pytest.approx(0.0, abs=0.02)


def test_the_error_that_scores_expect() -> None:
    binary = expected_error(np.array([[0.9], [0.9], [0.2], [np.nan], [0.3]]), np.array([1, 0, 0, 1, -1]))
    assert binary == pytest.approx([0.1, 0.9, 0.2, np.nan, 0.3], nan_ok=True)
    several = expected_error(np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]), np.array([1.0, 3.0]))
    assert several == pytest.approx([0.7, 0.3])


def test_scores_are_calibrated_by_labels() -> None:
    rng = np.random.default_rng(13)
    scores = rng.random(40_000)
    labels = (rng.random(40_000) < scores**2).astype(np.int64)  # the model is too sure of itself
    outcomes = BinaryOutcomes(score_edges(scores))
    outcomes.update(labels, (scores > 0.5).astype(np.int64), scores)
    found = calibrated(np.array([0.1, 0.5, 0.9, np.nan]), outcomes)
    assert found[:3] == pytest.approx([0.01, 0.25, 0.81], abs=0.06)
    assert np.isnan(found[3])
    assert calibrated(np.array([0.3]), BinaryOutcomes(score_edges(scores))) == pytest.approx([0.3])
