"""Regression metrics against scikit-learn and numpy; log buckets against exact quantiles."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import Floats
from detectors.quality import Metric, evaluate
from detectors.summaries.delays import Delays
from detectors.summaries.log_buckets import LogBuckets
from detectors.summaries.outcomes import RegressionOutcomes
from detectors.summaries.tally import Batch


def metrics_of(outcomes: RegressionOutcomes) -> dict[str, Metric]:
    return {metric.name: metric for metric in evaluate(outcomes)}


def exact_quantile(values: Floats, q: float, weight: Floats) -> float:
    """Least value that a share q of the weight lies at or below."""
    order = np.argsort(values, kind="stable")
    upto = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(upto, q * upto[-1] * (1 - 1e-12))])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("center", [0.0, 1000.0])
def test_agrees_with_scikit_learn(center: float, weighted: bool) -> None:
    rng = np.random.default_rng(1)
    labels = 1000 + 20 * rng.normal(size=4000)
    predicted = labels + rng.standard_t(3, size=4000) + 0.3
    weight = rng.choice([0.5, 1.0, 3.0], 4000) if weighted else np.ones(4000)
    outcomes = RegressionOutcomes(center)
    outcomes.update(labels, predicted, weight)
    got, error = metrics_of(outcomes), predicted - labels
    expected = {
        "mae": sk.mean_absolute_error(labels, predicted, sample_weight=weight),
        "rmse": sk.root_mean_squared_error(labels, predicted, sample_weight=weight),
        "mape": sk.mean_absolute_percentage_error(labels, predicted, sample_weight=weight),
        "bias": np.average(error, weights=weight),
        "r2": sk.r2_score(labels, predicted, sample_weight=weight),
    }
    for name, value in expected.items():
        assert got[name].value == pytest.approx(value, rel=1e-9), name
        assert got[name].n == 4000
    for tag, q in (("q05", 0.05), ("q50", 0.5), ("q95", 0.95)):
        for kind, values in (("error", error), ("abs_error", np.abs(error))):
            metric = got[f"{kind}_{tag}"]
            exact = exact_quantile(values, q, weight)
            assert metric.error is not None
            assert metric.value == pytest.approx(exact, rel=0.01)
            assert metric.value == pytest.approx(exact, abs=metric.error)


def test_a_center_keeps_the_digits_of_far_labels() -> None:
    rng = np.random.default_rng(2)
    labels = 1e9 + rng.normal(size=2000)
    predicted = labels + 0.1 * rng.normal(size=2000)
    outcomes = RegressionOutcomes(1e9)
    outcomes.update(labels, predicted)
    assert metrics_of(outcomes)["r2"].value == pytest.approx(sk.r2_score(labels, predicted), rel=1e-6)


def test_mape_leaves_out_labels_of_zero() -> None:
    outcomes = RegressionOutcomes()
    outcomes.update(np.array([0.0, 2.0, -4.0]), np.array([5.0, 3.0, -3.0]))
    metric = metrics_of(outcomes)["mape"]
    assert (metric.value, metric.n) == (pytest.approx((0.5 + 0.25) / 2), 2)


def test_what_is_undefined_says_why() -> None:
    outcomes = RegressionOutcomes()
    assert all(m.value is None and m.reason for m in evaluate(outcomes))
    outcomes.update(np.zeros(3), np.ones(3))
    got = metrics_of(outcomes)
    assert got["mape"].reason == "no label differs from 0"
    assert got["r2"].reason == "the labels do not vary"
    constant = RegressionOutcomes()
    constant.update(np.full(1000, 0.1), np.linspace(0, 1, 1000))
    assert metrics_of(constant)["r2"].value is None


magnitudes = st.floats(1e-8, 1e11) | st.just(0.0)


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.tuples(magnitudes, st.sampled_from([-1.0, 1.0])), min_size=1, max_size=60),
    q=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_every_quantile_is_within_one_percent(values: list[tuple[float, float]], q: float, seed: int) -> None:
    x = np.array([size * sign for size, sign in values])
    weight = np.random.default_rng(seed).choice([1.0, 2.0, 0.25], len(x))
    for w in (np.ones(len(x)), weight):
        buckets = LogBuckets(1e-9)
        buckets.update(x, Batch.of(len(x), None, w))
        share = max(q, 1e-9)
        assert buckets.quantile(share) == pytest.approx(exact_quantile(x, share, w), rel=0.0100001)
        assert buckets.quantile(share, magnitude=True) == pytest.approx(
            exact_quantile(np.abs(x), share, w), rel=0.0100001
        )


def test_values_beyond_the_range_stay_in_the_last_bucket() -> None:
    buckets = LogBuckets(1.0)
    buckets.update(np.array([1e40, -1e40]), Batch(2))
    high, low = buckets.quantile(1.0), buckets.quantile(0.1)
    assert high is not None
    assert high == pytest.approx(1e21, rel=0.05)
    assert low == -high
    with pytest.raises(ValueError, match="least"):
        buckets.merge(LogBuckets(2.0))


def test_delays() -> None:
    rng = np.random.default_rng(4)
    delays = rng.lognormal(15, 2, 10_000).astype(np.int64)
    summary = Delays()
    summary.update(np.concatenate((delays, [-5000, -1, 0])))
    assert (summary.count, summary.negative) == (10_003, 2)
    assert summary.quantile(0.99) == pytest.approx(np.quantile(delays, 0.99), rel=0.02)
    early = summary.quantile(0.0)
    assert early == pytest.approx(-5000, rel=0.01)
    assert Delays().quantile(0.5) is None
    zeros = Delays()
    zeros.update(np.zeros(3, np.int64))
    assert zeros.quantile(0.5) == 0.0
