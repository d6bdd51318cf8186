import numpy as np
import pytest
from scipy import stats

from detectors.base import Status
from detectors.catalog import build
from detectors.statistical.cells import category_cells
from tests.unit.statistical.samples import category_counts

EVERY = ("g_test", "chi_square", "total_variation", "psi", "jensen_shannon", "hellinger")


def shares(rng, p, rows, columns=1):
    return rng.choice(len(p), (columns, rows), p=p)


def test_tests_of_homogeneity_agree_with_scipy():
    rng = np.random.default_rng(1)
    before, now = shares(rng, [0.5, 0.3, 0.2], 5000), shares(rng, [0.4, 0.35, 0.25], 2000)
    table = [np.bincount(x[0]) for x in (before, now)]
    sides = category_counts(before, now)
    g = stats.chi2_contingency(table, lambda_="log-likelihood")
    pearson = stats.chi2_contingency(table)
    assert build("g_test").compare(*sides)[0].statistic == pytest.approx(g.statistic)
    assert build("g_test").compare(*sides)[0].p_value == pytest.approx(g.pvalue, rel=0.05)  # Williams
    assert build("chi_square").compare(*sides)[0].statistic == pytest.approx(pearson.statistic)
    assert build("chi_square").compare(*sides)[0].p_value == pytest.approx(pearson.pvalue, rel=1e-9)


def test_total_variation_and_its_debiased_effect():
    rng = np.random.default_rng(2)
    before, now = shares(rng, [0.5, 0.3, 0.2], 5000), shares(rng, [0.4, 0.3, 0.3], 2000)
    p, q = (np.bincount(x[0]) / x.shape[1] for x in (before, now))
    verdict = build("total_variation").compare(*category_counts(before, now))[0]
    assert verdict.statistic == pytest.approx(abs(p - q).sum() / 2)
    assert 0.08 < verdict.effect < verdict.statistic
    assert verdict.status is Status.DRIFT


def test_debiased_effects_are_centred_on_nothing():
    rng = np.random.default_rng(3)
    p = np.full(20, 0.05)
    found = build("g_test").compare(*category_counts(shares(rng, p, 1000, 300), shares(rng, p, 500, 300)))
    assert 0.3 < np.mean([verdict.effect == 0 for verdict in found]) < 0.7


def test_unseen_and_vanished_categories_are_drift_of_the_shares():
    before, now = np.zeros((1, 500), int), np.ones((1, 500), int)
    for name in EVERY:
        verdict = build(name).compare(*category_counts(before, now))[0]
        assert verdict.status is Status.DRIFT, name
        assert verdict.effect > 0.9


def test_a_single_category_on_both_sides_is_stable():
    same = np.zeros((1, 500), int)
    for name in EVERY:
        verdict = build(name).compare(*category_counts(same, same))[0]
        assert (verdict.status, verdict.p_value, verdict.statistic) == (Status.STABLE, 1.0, 0.0), name


def test_complete_vocabularies_keep_every_category():
    rng = np.random.default_rng(4)
    before, now = shares(rng, [0.6, 0.3, 0.08, 0.02], 2000), shares(rng, [0.6, 0.3, 0.08, 0.02], 500)
    cells = category_cells(*category_counts(before, now))
    assert np.count_nonzero(cells.reference) == 4


@pytest.mark.parametrize("size", [100, 2000])
@pytest.mark.parametrize(
    "name", ["g_test", "chi_square", "total_variation", "psi", "jensen_shannon", "hellinger"]
)
def test_choosing_categories_by_the_reference_raises_no_alarm(name, size):
    """Equal categories, more than are counted: those chosen look too frequent in the reference."""
    rng = np.random.default_rng(5)
    p = np.full(size, 1 / size)
    found = build(name).compare(*category_counts(shares(rng, p, 1000, 60), shares(rng, p, 1000, 60)))
    for verdict in found:
        assert verdict.status is Status.INSUFFICIENT or verdict.p_value > 1e-4
    assert np.mean([verdict.status is Status.DRIFT for verdict in found]) < 0.1
    assert "too alike" in next(v.reason for v in found if v.status is Status.INSUFFICIENT)


def test_rows_without_a_category_are_left_out():
    before, now = np.zeros((1, 400), int), np.zeros((1, 400), int)
    now[0, 50:] = -1
    verdict = build("g_test").compare(*category_counts(before, now))[0]
    assert (verdict.n_reference, verdict.n_window) == (400, 50)
