"""Peers' rules as benchmarks/peers_null.py computes them, and conformal ranks on the same windows."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.evidence import pit_means
from benchmarks.peers_null import BH, Feature, alarms, conformal_pages, limits


def test_conformal_ranks_keep_the_budget_of_exchangeable_windows():
    assert conformal_pages(pit_means(np.random.default_rng(5), "iid", 672 + 720, 50)) <= 1


def test_the_peers_statistics_are_those_of_scipy():
    rng = np.random.default_rng(6)
    rows, live = rng.standard_normal((40, 50)), rng.standard_normal((5, 50)) + 0.2
    feature = Feature(rows)
    scores = feature.scores(live)
    for w, window in enumerate(live):
        reference = rows.ravel()
        assert scores.ks[w] == pytest.approx(stats.ks_2samp(reference, window).statistic)
        w1 = stats.wasserstein_distance(reference, window) / reference.std()
        assert scores.w1[w] == pytest.approx(w1)
    np.testing.assert_allclose(scores.pit, feature.pit(live))


def test_the_peers_discoveries_are_benjamini_and_hochbergs():
    rng = np.random.default_rng(7)
    features, scores = [], []
    for f in range(50):
        features.append(Feature(rng.standard_normal((20, 500))))
        scores.append(features[-1].scores(rng.standard_normal((30, 500)) + (0.15 if f < 2 else 0.0)))
    ks = np.column_stack([one.ks for one in scores])
    p = stats.kstwo.sf(ks, round(672 * 500 * 500 / (672 * 500 + 500)))
    expected = [(stats.false_discovery_control(row) <= 0.05).any() for row in p]
    assert 0 < sum(expected) < 30
    np.testing.assert_array_equal(alarms(features, scores, None)[BH], expected)
    assert limits()[0] > limits()[-1]
