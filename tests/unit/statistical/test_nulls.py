import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from detectors.statistical import nulls


def one(*values):
    return tuple(np.array([value]) for value in values)


tables = (
    st.integers(2, 8)
    .flatmap(lambda k: st.tuples(*(st.lists(st.integers(0, 500), min_size=k, max_size=k) for _ in range(2))))
    .filter(lambda t: sum(t[0]) > 0 and sum(t[1]) > 0)
)


@settings(deadline=None, max_examples=60)
@given(tables)
def test_statistics_agree_with_scipy(table):
    reference, window = (np.array([row]) for row in table)
    used = (reference + window)[0] > 0
    if used.sum() < 2:
        assert nulls.g_statistic(reference, window)[0] == pytest.approx(0, abs=1e-9)
        return
    observed = np.array(table)[:, used]
    pearson = stats.chi2_contingency(observed, correction=False)
    g = stats.chi2_contingency(observed, correction=False, lambda_="log-likelihood")
    assert nulls.pearson_statistic(reference, window)[0] == pytest.approx(
        pearson.statistic, rel=1e-9, abs=1e-9
    )
    assert nulls.g_statistic(reference, window)[0] == pytest.approx(g.statistic, rel=1e-9, abs=1e-8)
    degrees = np.array([used.sum() - 1])
    p = nulls.chi_square_p_value(nulls.pearson_statistic(reference, window), degrees)[0]
    assert p == pytest.approx(pearson.pvalue, rel=1e-7, abs=1e-12)
    shares = observed / observed.sum(axis=1, keepdims=True)
    assert nulls.variation_statistic(reference, window)[0] == pytest.approx(
        abs(shares[0] - shares[1]).sum() / 2
    )


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_rare_proportions_agree_with_fisher(data):
    n, m = data.draw(st.integers(1, 3000)), data.draw(st.integers(1, 3000))
    x = data.draw(st.integers(0, min(m, 60)))
    big_x = data.draw(st.integers(0, min(n, 60)))
    if data.draw(st.booleans()):  # nearly all, rather than nearly none
        x, big_x = m - x, n - big_x
    rate = (x + big_x) / (n + m)
    if min(n, m) * min(rate, 1 - rate) >= 50 or rate in (0, 1):
        return
    exact = stats.hypergeom(n + m, x + big_x, m)
    greater, less = exact.sf(x - 1), exact.cdf(x)
    args = one(big_x, n, x, m)
    assert nulls.proportions_p_value(*args, increase_only=True)[0] == pytest.approx(
        greater, rel=1e-6, abs=1e-9
    )
    two_sided = min(1, 2 * min(greater, less))
    assert nulls.proportions_p_value(*args)[0] == pytest.approx(two_sided, rel=1e-6, abs=1e-9)


def test_frequent_proportions_agree_with_the_chi_square_test():
    p = nulls.proportions_p_value(*one(900, 10_000, 120, 1000))[0]
    table = [[900, 9100], [120, 880]]
    assert p == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue, rel=1e-9)


def test_proportions_without_rows_or_hits_say_nothing():
    for args in ((0, 0, 0, 0), (0, 100, 0, 100), (100, 100, 100, 100), (0, 0, 3, 10)):
        assert nulls.proportions_p_value(*one(*args))[0] == 1.0


def test_sparse_tables_get_the_exact_tables_p_value():
    """Two categories: the permutation distribution is the hypergeometric one."""
    reference, window = np.array([[95, 5]]), np.array([[45, 8]])
    g = nulls.g_statistic(reference, window)
    p = nulls.permutation_p_values("g", reference, window, g, np.array([0.05]))[0]
    possible = np.arange(14)
    mass = stats.hypergeom(153, 13, 53).pmf(possible)
    each = nulls.g_statistic(
        np.stack((87 + possible, 13 - possible), axis=1), np.stack((53 - possible, possible), axis=1)
    )
    exact = mass[each >= g[0] - 1e-9].sum()
    assert p == pytest.approx(exact, abs=4 * np.sqrt(exact / 1999))


def test_sums_of_absolute_normals_have_these_moments():
    rng = np.random.default_rng(5)
    root = rng.standard_normal((6, 6))
    covariance = root @ root.T
    spread = np.sqrt(np.diag(covariance))
    weights = rng.random(6)
    draws = np.abs(rng.multivariate_normal(np.zeros(6), covariance, 200_000)) @ weights
    correlations = covariance / np.outer(spread, spread)
    mean, second = nulls.absolute_sum(weights[None], spread[None], correlations[None])
    assert mean[0] == pytest.approx(draws.mean(), rel=0.01)
    assert second[0] == pytest.approx((draws**2).mean(), rel=0.02)


def test_chi_is_exact_for_one_normal():
    p = nulls.chi_p_value(np.array([1.96]), np.array([np.sqrt(2 / np.pi)]), np.array([1.0]))[0]
    assert p == pytest.approx(2 * stats.norm.sf(1.96), rel=1e-3)


def test_p_values_go_on_beyond_the_simulations():
    """Holm over a hundred tests needs p-values far below what 2,000 draws can show."""
    reference, window = np.array([[950, 30, 20]]), np.array([[450, 0, 4]])
    g = nulls.g_statistic(reference, window)
    p = nulls.permutation_p_values("g", reference, window, g, np.array([1e-9]))[0]
    assert 1e-12 < p < 1 / 2000
    other = np.array([[3, 400, 1]])
    worse = nulls.permutation_p_values(
        "g", reference, other, nulls.g_statistic(reference, other), np.zeros(1)
    )
    assert worse[0] < p
