"""MMD by its definition, its moments by enumeration, its level by simulation."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist, pdist

from detectors.base import Numbers, Status
from detectors.catalog import build
from detectors.conformance import summarise, table_of
from detectors.learned import mmd
from detectors.learned.kernels import gaussian, median_bandwidth, relabelled, u_centred
from detectors.learned.mmd import mmd_test


def defined(x, y, width):
    """MMD²_u, term by term."""
    xx, yy, xy = (np.exp(-cdist(a, b, "sqeuclidean") / (2 * width**2)) for a, b in ((x, x), (y, y), (x, y)))
    n, m = len(x), len(y)
    return (xx.sum() - n) / (n * (n - 1)) + (yy.sum() - m) / (m * (m - 1)) - 2 * xy.mean()


@pytest.mark.parametrize(("n", "m", "shift"), [(40, 25, 0.0), (30, 90, 0.5), (2, 2, 0.0)])
def test_the_statistic(n, m, shift):
    rng = np.random.default_rng(n)
    x, y = rng.standard_normal((n, 3)), shift + rng.standard_normal((m, 3))
    width = median_bandwidth(x)
    if n > 2:
        assert width == pytest.approx(np.sqrt(np.median(pdist(x, "sqeuclidean")) / 2), rel=0.01)
    assert mmd_test(x, y).statistic == pytest.approx(defined(x, y, width), abs=2e-6)
    assert mmd_test(x, y, bandwidth=2.0).statistic == pytest.approx(defined(x, y, 2.0), abs=2e-6)


@pytest.mark.parametrize("n", [3, 5, 6])
def test_moments_are_those_of_all_relabellings(n):
    z = np.random.default_rng(n).standard_normal((10, 2)) ** 3
    width = median_bandwidth(z)
    centred = u_centred(gaussian(z, z, width))
    sums = [centred[np.ix_(rows, rows)].sum(dtype=float) for rows in combinations(range(10), n)]
    found = relabelled(centred, n)
    assert np.mean(sums) == pytest.approx(0, abs=1e-6)
    assert found.deviation == pytest.approx(np.std(sums), rel=1e-5)
    assert found.skewness == pytest.approx(stats.skew(sums), rel=1e-4)


def test_the_permutation_p_value_is_that_of_more_permutations():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((80, 2)), 0.45 + rng.standard_normal((60, 2))
    few, many = (mmd_test(x, y, permutations=count, seed=count).permuted for count in (500, 20_000))
    assert few == pytest.approx(many, abs=4 * np.sqrt(many * (1 - many) / 500) + 1 / 500)
    assert 0.001 < many < 0.5


def test_the_tail_goes_on_where_permutations_end():
    """Against 200,000 relabellings, far beyond what the 100 of the test can tell."""
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((60, 3)), 0.6 + rng.standard_normal((60, 3))
    told, found = mmd_test(x, y), mmd_test(x, y, permutations=200_000, seed=5)
    assert told.permuted == pytest.approx(1 / 101)
    assert 1e-5 < found.permuted < 2e-3
    assert told.p_value == pytest.approx(found.permuted, rel=0.6)


@pytest.mark.parametrize(
    ("shape", "n", "m"), [("normal", 60, 60), ("wide", 100, 50), ("heavy", 60, 60), ("binary", 80, 80)]
)
def test_p_values_are_uniform_under_no_change(shape, n, m, monkeypatch):
    """Of the tail's formula and of what the test reports."""
    rng = np.random.default_rng(3)

    def rows(size):
        return {
            "normal": lambda: rng.standard_normal((size, 2)),
            "wide": lambda: 0.6 * rng.standard_normal((size, 1)) + rng.standard_normal((size, 20)),
            "heavy": lambda: np.clip(rng.standard_t(2, (size, 3)), -4, 4),
            "binary": lambda: (rng.random((size, 2)) < 0.3).astype(float),
        }[shape]()

    pairs = [(rows(n), rows(m)) for _ in range(1000)]
    reported = np.array([mmd_test(*pair, seed=i).p_value for i, pair in enumerate(pairs)])
    monkeypatch.setattr(mmd, "_REACHED", 10**9)
    tails = np.array([mmd_test(*pair, permutations=20).p_value for pair in pairs])
    for p in (reported, tails):
        for level in (0.2, 0.05, 0.01, 0.001):
            assert np.sum(p < level) <= stats.binom.ppf(0.9995, len(p), 1.2 * level), level
        for level in (0.2, 0.05):
            assert np.sum(p < level) >= stats.binom.ppf(0.0005, len(p), 0.8 * level), level


def test_the_width_does_not_fail_where_most_rows_are_equal():
    x = np.zeros((100, 2))
    assert median_bandwidth(x) == 0
    x[:5, 0] = 3
    assert median_bandwidth(x) == pytest.approx(3 / np.sqrt(2))
    assert mmd_test(np.zeros((10, 2)), np.ones((10, 2))).p_value == 1


def tables(before, now):
    table = table_of(before)
    return summarise(table, before), summarise(table, now)


def correlated(rng, rows, rho):
    x = rng.standard_normal((5, rows)) * np.sqrt(1 - rho) + rng.standard_normal(rows) * np.sqrt(rho)
    return {f"x{i}": Numbers(column) for i, column in enumerate(x)}


def test_a_lost_correlation_is_found():
    rng = np.random.default_rng(4)
    verdict = build("mmd", alpha=1e-4).compare(
        *tables(correlated(rng, 5000, 0.5), correlated(rng, 2000, 0.0))
    )[0]
    assert verdict.status is Status.DRIFT
    assert verdict.p_value < 1e-6
    assert (verdict.n_reference, verdict.n_window) == (1000, 1000)


def test_a_reference_is_learnt_once_and_again_when_its_rows_change():
    rng = np.random.default_rng(5)
    reference, window = tables(correlated(rng, 500, 0.5), correlated(rng, 500, 0.5))
    detector = build("mmd")
    first = detector.compare(reference, window)
    known = mmd._learnt(reference)
    assert mmd._learnt(reference) is known
    assert detector.compare(reference, window) == first
    reference.merge(summarise(reference.table, correlated(rng, 900, 0.5), order=np.arange(1000, 1900)))
    again = detector.compare(reference, window)
    assert mmd._learnt(reference) is not known
    assert again[0].n_reference == 1000 > first[0].n_reference


def test_a_constant_reference_has_no_unit_of_distance():
    same = {"x": Numbers(np.full(200, 3.0))}
    verdict = build("mmd").compare(*tables(same, same))[0]
    assert verdict.status is Status.INSUFFICIENT
    assert "do not differ" in verdict.reason
