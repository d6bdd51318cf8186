"""Counts of requests, failures and latency: they merge, and resume."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detectors.summaries.answers import BINS, PER_DOUBLING, Answers

latencies = st.lists(st.floats(0, 1e7) | st.just(float("nan")), max_size=30)


def of(values, failed=None) -> Answers:
    answers = Answers()
    answers.update(np.array(values, np.float64), None if failed is None else np.array(failed, np.bool_))
    return answers


@given(latencies, latencies)
def test_any_split_counts_the_same_and_its_bytes_are_all_of_it(first, second):
    whole, parts = of(first + second), of(first).plus(of(second))
    assert whole.to_bytes() == parts.to_bytes()
    assert Answers.from_bytes(whole.to_bytes()).to_bytes() == whole.to_bytes()
    assert whole.latency.sum() == np.count_nonzero(~np.isnan(first + second))


def test_failures_and_quantiles():
    answers = of(np.linspace(1, 100, 1_000), [row < 30 for row in range(1_000)])
    assert (answers.n, answers.failed) == (1_000, 30)
    for share in (0.5, 0.95, 1.0):
        exact = np.quantile(np.linspace(1, 100, 1_000), share)
        assert exact <= answers.quantile(share) <= exact * 2 ** (1 / PER_DOUBLING) * 1.001
    assert Answers().quantile(0.5) is None
    assert of([1e12]).latency[BINS - 1] == 1
