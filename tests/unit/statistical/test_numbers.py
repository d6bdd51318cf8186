"""KS, Wasserstein, PSI and Jensen-Shannon against scipy, and on hand-made columns."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from detectors.base import Status
from detectors.catalog import build
from detectors.statistical.cells import quantile_groups
from tests.unit.statistical.samples import category_counts, histograms


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.sampled_from([60, 500, 3000]), st.floats(-1, 1), st.floats(0.3, 3))
def test_ks_lies_within_the_largest_bin_below_scipy(seed, m, shift, scale):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal(2000), shift + scale * rng.standard_normal(m)
    reference, window = histograms(a[None], b[None])
    verdict = build("ks").compare(reference, window)[0]
    exact = stats.ks_2samp(a, b, method="asymp")
    largest = max(
        reference.counts[0].max() / 2000,
        window.counts[0, 1:-6].max() / m,
    )
    assert exact.statistic - largest - 1e-12 <= verdict.statistic <= exact.statistic + 1e-12


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.floats(1, 6))
def test_ks_is_exact_where_every_value_has_its_bin(seed, rate):
    rng = np.random.default_rng(seed)
    a, b = rng.poisson(3, 1000).astype(float), rng.poisson(rate, 400).astype(float)
    verdict = build("ks").compare(*histograms(a[None], b[None]))[0]
    exact = stats.ks_2samp(a, b, method="asymp")
    assert verdict.statistic == pytest.approx(exact.statistic, abs=1e-12)
    limit = stats.kstwobign.sf(exact.statistic * np.sqrt(1000 * 400 / 1400))
    assert verdict.p_value == pytest.approx(limit, rel=1e-9, abs=1e-300)
    assert verdict.p_value == pytest.approx(exact.pvalue, abs=0.03)


def test_ks_counts_infinities_at_the_ends():
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal(1000), rng.standard_normal(1000)
    b[:100] = np.inf
    verdict = build("ks").compare(*histograms(a[None], b[None]))[0]
    assert verdict.status is Status.DRIFT
    assert verdict.n_window == 1000


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.floats(-1, 1), st.floats(0.5, 2))
def test_wasserstein_agrees_with_scipy(seed, shift, scale):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal(5000), shift + scale * rng.standard_normal(2000)
    verdict = build("wasserstein").compare(*histograms(a[None], b[None]))[0]
    exact = stats.wasserstein_distance(a, b) / a.std()
    # The tail's shape is assumed: of 1,500 draws two were off by more than 6%, at most 7%.
    assert verdict.statistic == pytest.approx(exact, rel=0.1, abs=0.01)


def test_wasserstein_is_exact_where_every_value_has_its_bin():
    rng = np.random.default_rng(2)
    a, b = rng.poisson(3, 1000).astype(float), rng.binomial(6, 0.6, 400).astype(float)
    verdict = build("wasserstein").compare(*histograms(a[None], b[None]))[0]
    assert verdict.statistic == pytest.approx(stats.wasserstein_distance(a, b) / a.std(), rel=1e-9)


def test_wasserstein_measures_a_shift_out_of_range_exactly():
    a = np.random.default_rng(3).standard_normal(1000)
    verdict = build("wasserstein").compare(*histograms(a[None], a[None] + 100))[0]
    assert verdict.p_value < 1e-12
    assert verdict.statistic == pytest.approx(100 / a.std(), rel=0.01)
    assert verdict.status is Status.DRIFT


def test_one_outlier_moves_wasserstein_but_is_no_evidence():
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal(1000), rng.standard_normal(1000)
    b[0] = 1e6
    verdict = build("wasserstein").compare(*histograms(a[None], b[None]))[0]
    assert verdict.effect > 100
    assert verdict.p_value > 0.01


def test_psi_of_known_shares():
    before, now = np.repeat([[0, 1]], [5000, 5000], axis=1), np.repeat([[0, 1]], [4000, 6000], axis=1)
    for sides in (category_counts(before, now), histograms(before.astype(float), now.astype(float))):
        verdict = build("psi").compare(*sides)[0]
        expected = (0.4 - 0.5) * np.log(0.4 / 0.5) + (0.6 - 0.5) * np.log(0.6 / 0.5)
        assert verdict.statistic == pytest.approx(expected, rel=1e-3)
        assert verdict.effect == pytest.approx(expected - 2e-4, rel=1e-3)


def test_empty_cells_leave_psi_small_when_nothing_changed():
    """200 rows against 200 in 20 cells: an empty cell must not count as infinitely unlikely."""
    rng = np.random.default_rng(5)
    found = build("psi", groups=20).compare(*category_counts(*rng.integers(0, 20, (2, 200, 200))))
    values = np.array([verdict.statistic for verdict in found])
    assert values.max() < 1
    # Debiased, the effect is centred on nothing.
    assert np.mean([verdict.effect > 0 for verdict in found]) < 0.65


@pytest.mark.parametrize("kind", ["number", "category"])
def test_jensen_shannon_agrees_with_scipy(kind):
    rng = np.random.default_rng(6)
    before, now = rng.integers(0, 8, (3, 4000)), np.minimum(rng.integers(0, 9, (3, 1000)), 7)
    make = histograms if kind == "number" else category_counts
    found = build("jensen_shannon", groups=256).compare(*make(before.astype(float), now.astype(float)))
    for a, b, verdict in zip(before, now, found, strict=True):
        p, q = (np.bincount(x, minlength=8) for x in (a, b))
        assert verdict.statistic == pytest.approx(jensenshannon(p, q, 2), rel=1e-9)


@pytest.mark.parametrize("kind", ["number", "category"])
def test_hellinger_is_what_its_formula_says_and_is_centred_on_nothing(kind):
    rng = np.random.default_rng(16)
    p, q = np.full(8, 1 / 8), np.array([1, 1, 1, 1, 1, 1, 2, 8]) / 16
    before, now = rng.choice(8, (300, 4000), p=p), rng.choice(8, (300, 1000), p=p)
    before[0], now[0] = np.sort(before[0]), rng.choice(8, 1000, p=q)
    make = histograms if kind == "number" else category_counts
    found = build("hellinger", groups=256).compare(*make(before.astype(float), now.astype(float)))
    for a, b, verdict in zip(before, now, found, strict=True):
        shares = (np.bincount(x, minlength=8) / len(x) for x in (a, b))
        alike = np.sqrt(np.multiply(*shares)).sum()
        assert verdict.statistic == pytest.approx(np.sqrt(1 - alike), rel=1e-6)
    assert found[0].status is Status.DRIFT
    assert found[0].effect == pytest.approx(np.sqrt(1 - np.sqrt(p * q).sum()), abs=0.03)
    unchanged = np.array([verdict.statistic**2 for verdict in found[1:]])
    assert unchanged.mean() == pytest.approx(7 * (1 / 4000 + 1 / 1000) / 8, rel=0.1)
    assert 0.3 < np.mean([verdict.effect > 0 for verdict in found[1:]]) < 0.65


def test_groups_hold_nearly_equal_reference_mass():
    rng = np.random.default_rng(7)
    cells = quantile_groups(
        *histograms(rng.standard_normal((3, 10_000)), 5 + rng.standard_normal((3, 500))), 10
    )
    assert np.abs(cells.reference / 10_000 - 0.1).max() < 0.006
    assert cells.window.sum(axis=1).tolist() == [500] * 3
    assert cells.window[:, -1].min() > 450  # values beyond the range join the last group


def test_constant_and_empty_columns_have_an_answer():
    a = np.stack((np.full(200, 3.0), np.full(200, np.nan), np.arange(200.0)))
    same = {}
    for name in ("ks", "wasserstein", "psi", "jensen_shannon", "hellinger"):
        same[name] = [v.status.value for v in build(name).compare(*histograms(a, a))]
        moved = build(name).compare(*histograms(a, a + 1000))
        assert moved[1].status is Status.INSUFFICIENT
        assert moved[1].reason
    assert (
        same["ks"]
        == same["psi"]
        == same["jensen_shannon"]
        == same["hellinger"]
        == ["stable", "insufficient", "stable"]
    )
    assert same["wasserstein"] == ["insufficient", "insufficient", "stable"]
    gone = build("ks").compare(*histograms(a, a + 1000))
    assert [v.status.value for v in gone] == ["drift", "insufficient", "drift"]


def test_a_significant_trifle_is_stable_and_says_so():
    rng = np.random.default_rng(8)
    a, b = rng.standard_normal(200_000), 0.03 + rng.standard_normal(200_000)
    verdict = build("ks").compare(*histograms(a[None], b[None]))[0]
    assert verdict.p_value < 1e-6
    assert verdict.status is Status.STABLE
    assert "below the minimum 0.05" in verdict.reason
    assert build("ks", minimum_effect=0.005).compare(*histograms(a[None], b[None]))[0].status is Status.DRIFT


def test_the_level_can_be_given_with_the_windows():
    rng = np.random.default_rng(9)
    a, b = rng.standard_normal(1000), 0.25 + rng.standard_normal(150)
    sides = histograms(a[None], b[None])
    loose, tight = (build("ks").compare(*sides, alpha=alpha)[0] for alpha in (0.2, 1e-9))
    assert (loose.threshold, loose.status) == (0.2, Status.DRIFT)
    assert (tight.threshold, tight.status) == (1e-9, Status.STABLE)
