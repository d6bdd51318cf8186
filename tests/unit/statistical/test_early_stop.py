"""What makes judging fast leaves every decision as it was."""

import numpy as np
import pytest
from scipy import stats

from detectors.catalog import build
from detectors.statistical import nulls
from detectors.statistical.homogeneity import variation_null
from detectors.statistical.nulls import STATISTICS, absolute_sum, permutation_p_values, proportions_p_value
from tests.unit.statistical.samples import category_counts, histograms

LEVELS = (1e-4, 0.001, 0.01, 0.05)


def sparse_tables(rng, columns=60, cells=12):
    """Pairs of samples of rare categories, some of them changed."""
    p = 1 / np.arange(1, cells + 1) ** 1.5
    q = np.where(np.arange(columns)[:, None] % 3 == 0, p[::-1], p)
    r = np.array([rng.multinomial(400, p / p.sum()) for _ in range(columns)])
    w = np.array([rng.multinomial(40, row / row.sum()) for row in q])
    return r, w


@pytest.mark.parametrize("name", sorted(STATISTICS))
@pytest.mark.parametrize("level", LEVELS)
def test_fewer_draws_decide_as_all_of_them(name, level, monkeypatch):
    r, w = sparse_tables(np.random.default_rng(1))
    statistic, doubtful = STATISTICS[name](r, w), np.full(len(r), 0.1)
    fast = permutation_p_values(name, r, w, statistic, doubtful, level)
    monkeypatch.setattr(nulls, "_REACHED", 10**9)
    full = permutation_p_values(name, r, w, statistic, doubtful, level)
    assert not np.array_equal(fast, full)
    for held in LEVELS:
        if held <= level:
            np.testing.assert_array_equal(fast < held, full < held)


@pytest.mark.parametrize("level", LEVELS)
def test_fewer_bridges_decide_as_all_of_them(level, monkeypatch):
    rng = np.random.default_rng(2)
    before = rng.standard_normal((60, 2000))
    now = rng.standard_normal((60, 400)) + np.linspace(0, 0.3, 60)[:, None]
    sides = histograms(before, now)

    def p_values():
        return np.array([one.p_value for one in build("wasserstein").compare(*sides, level)])

    fast = p_values()
    monkeypatch.setattr(nulls, "_REACHED", 10**9)
    full = p_values()
    assert not np.array_equal(fast, full)
    for held in LEVELS:
        if held <= level:
            np.testing.assert_array_equal(fast < held, full < held)


def test_moments_of_the_variation_sum_over_pairs():
    rng = np.random.default_rng(3)
    share = rng.dirichlet(np.full(30, 0.2), 40)
    share[0], share[1, :] = np.eye(30)[0], 1 / 30
    share[2] = np.concatenate(([0.5, 0.5], np.zeros(28)))
    unit = rng.uniform(1e-4, 1e-2, 40)
    odds = np.sqrt(share / np.maximum(1 - share, 1e-300))
    correlations = -odds[:, :, None] * odds[:, None, :]
    correlations[:, np.arange(30), np.arange(30)] = 1.0
    spread = np.sqrt(share * (1 - share) * unit[:, None])
    expected = absolute_sum(np.full_like(share, 0.5), spread, correlations)
    for one, other in zip(variation_null(share, unit), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-300)


def test_exact_tails_of_rates_agree_with_fisher():
    rng = np.random.default_rng(4)
    n, m = np.full(200, 3000), np.full(200, 250)
    x, y = rng.binomial(3000, 0.01, 200), rng.binomial(250, rng.uniform(0, 0.1, 200))
    p = proportions_p_value(x, n, y, m, increase_only=True)
    expected = [
        stats.hypergeom.sf(b - 1, 3250, a + b, 250) if a + b else 1.0 for a, b in zip(x, y, strict=True)
    ]
    np.testing.assert_allclose(p, expected, rtol=1e-9)


def test_tests_of_one_window_share_what_they_begin_with():
    rng = np.random.default_rng(5)
    sides = category_counts(*(rng.integers(0, 5, (3, rows)) for rows in (2000, 300)))
    alone = [build(name).compare(*sides)[0].effect for name in ("g_test", "total_variation")]
    sides[1].counts[:, 0] += 50  # the same object, grown
    sides[1].count(50)
    moved = [build(name).compare(*sides)[0].effect for name in ("g_test", "total_variation")]
    assert alone[0] == alone[1]
    assert moved[0] == moved[1] > alone[0]
