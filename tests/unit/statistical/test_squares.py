"""Cramer-von Mises and Anderson-Darling from bins: against scipy and definitions, and under no change."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from detectors.base import Status
from detectors.catalog import build
from detectors.statistical.squares import Levels, _scales, chi_square_sum_p_value
from detectors.summaries.histogram import Binning, quantile_boundaries
from tests.unit.statistical.samples import histograms, p_values

NAMES = ("cramer_von_mises", "anderson_darling")


def exactly(a, b):
    """Histograms of two samples in which every value of either has its bin."""
    binning = Binning(("x",), (quantile_boundaries(np.concatenate((a, b))),), np.zeros(1))
    out = binning.zero(), binning.zero()
    for histogram, values in zip(out, (a, b), strict=True):
        histogram.update(binning.encode(values[None]), values[None])
    return out


def scholz_stephens(a, b):
    """A²_akN of two samples, undone from the standardised value that scipy gives."""
    n, m = len(a), len(b)
    size = n + m
    i = np.arange(1, size)
    h = (1 / i).sum()
    g = (np.cumsum(1 / np.arange(size - 1, 1, -1)) / np.arange(2, size)).sum()
    inverse = 1 / n + 1 / m
    p = (4 * g - 6) + (10 - 6 * g) * inverse
    q = (2 * g - 4) * 4 + 16 * h + (2 * g - 14 * h - 4) * inverse - 8 * h + 4 * g - 6
    r = (6 * h + 2 * g - 2) * 4 + (4 * h - 4 * g + 6) * 2 + (2 * h - 6) * inverse + 4 * h
    s = (2 * h + 6) * 4 - 8 * h
    variance = (p * size**3 + q * size**2 + r * size + s) / ((size - 1) * (size - 2) * (size - 3))
    found = stats.anderson_ksamp([a, b], variant="midrank", method=stats.PermutationMethod(n_resamples=2))
    return found.statistic * np.sqrt(variance) + 1


def mean_square(a, b):
    """nm / (n + m) times the mean over all values of the squared mid-distribution difference."""
    pooled = np.concatenate((a, b))

    def middle(x):
        return ((x[:, None] < pooled).mean(axis=0) + (x[:, None] <= pooled).mean(axis=0)) / 2

    return np.mean((middle(a) - middle(b)) ** 2) * len(a) * len(b) / len(pooled)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.floats(1, 6))
def test_ties_follow_the_definitions(seed, rate):
    rng = np.random.default_rng(seed)
    a, b = rng.poisson(3, 300).astype(float), rng.poisson(rate, 120).astype(float)
    found = {name: build(name).compare(*exactly(a, b))[0].statistic for name in NAMES}
    assert found["cramer_von_mises"] == pytest.approx(mean_square(a, b), rel=1e-9)
    assert found["anderson_darling"] == pytest.approx(scholz_stephens(a, b), rel=1e-6, abs=1e-9)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.floats(-0.3, 0.3), st.floats(0.7, 1.5))
def test_bins_lie_close_to_scipy(seed, shift, scale):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal(2000), shift + scale * rng.standard_normal(500)
    sides = histograms(a[None], b[None])
    exact = stats.cramervonmises_2samp(a, b, method="asymptotic")
    verdict = build("cramer_von_mises").compare(*sides)[0]
    assert verdict.statistic == pytest.approx(exact.statistic, rel=0.03, abs=0.01)
    assert verdict.p_value == pytest.approx(exact.pvalue, rel=0.25, abs=0.03)
    verdict = build("anderson_darling").compare(*sides)[0]
    assert verdict.statistic == pytest.approx(scholz_stephens(a, b), rel=0.1, abs=0.1)


def test_the_limit_agrees_with_the_known_quantiles():
    """Of 256 equal cells, against Anderson and Darling's and scipy's limits without ties."""
    levels = Levels.of(np.full((1, 256), 1 / 256))

    def tail(value, weights):
        mean = (weights * levels.variance).sum(axis=1)
        return chi_square_sum_p_value(np.array([value]), _scales(levels.share, weights), mean)[0]

    for value, level in ((0.34730, 0.1), (0.46136, 0.05), (0.74346, 0.01), (1.16786, 0.001)):
        assert tail(value, levels.share) == pytest.approx(level, rel=0.03)
    for value, level in ((1.933, 0.1), (2.492, 0.05), (3.878, 0.01)):
        assert tail(value, levels.share / levels.variance) == pytest.approx(level, rel=0.04)


def test_a_sum_of_chi_squares():
    """One term and two equal ones have tails in closed form; more are simulated."""
    x = np.array([0.5, 3.0, 20.0])
    one, two = np.array([[0.0, 1.0]] * 3), np.array([[1.0, 1.0]] * 3)
    assert chi_square_sum_p_value(x, one, np.ones(3)) == pytest.approx(stats.chi2.sf(x, 1), rel=1e-9)
    assert chi_square_sum_p_value(x, two, np.full(3, 2.0)) == pytest.approx(stats.chi2.sf(x, 2), rel=1e-3)
    scales = np.array([0.1, 0.3, 0.3, 0.5, 1.0])
    draws = np.random.default_rng(1).chisquare(1, (400_000, 5)) @ scales
    for level in (0.5, 0.05, 0.001):
        at = np.array([np.quantile(draws, 1 - level)])
        assert chi_square_sum_p_value(at, scales[None], scales.sum()[None])[0] == pytest.approx(
            level, rel=0.1
        )


def test_every_relabelling_of_a_few_tied_values():
    """The mean under no change is exact, whatever the ties."""
    pooled = np.array([1.0, 1, 1, 2, 2, 3, 4, 4, 4, 5])
    picked = [list(rows) for rows in combinations(range(10), 4)]
    a = np.array([np.delete(pooled, rows) for rows in picked])
    b = pooled[picked]
    mean = {
        name: np.mean(
            [build(name, min_rows=2).compare(*exactly(x, y))[0].statistic for x, y in zip(a, b, strict=True)]
        )
        for name in NAMES
    }
    share = np.array([3, 2, 1, 3, 1]) / 10
    middle = np.cumsum(share) - share / 2
    expected = (share * (middle * (1 - middle) - share / 4)).sum() * 10 / 9
    assert mean["cramer_von_mises"] == pytest.approx(expected, rel=1e-9)
    assert mean["anderson_darling"] == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(300, 300), (200, 4000), (4000, 200)])
@pytest.mark.parametrize("shape", ["normal", "lognormal", "counts", "binary", "half zeros"])
def test_p_values_are_uniform_under_no_change(shape, n, m):
    rng = np.random.default_rng(1)

    def columns(rows):
        x = rng.standard_normal((300, rows))
        zeros = rng.random(x.shape) < 0.5
        of = {
            "normal": x,
            "lognormal": np.exp(x),
            "counts": rng.poisson(4.0, x.shape),
            "binary": x < 0.8,
            "half zeros": np.where(zeros, 0.0, x),
        }
        return np.asarray(of[shape], float)

    sides = histograms(columns(n), columns(m))
    for name in NAMES:
        p = p_values(build(name).compare(*sides))
        for level in (0.5, 0.05, 0.01):
            low, high = stats.binom.ppf((0.0005, 0.9995), len(p), level)
            assert low <= np.sum(p < level) <= high, (name, level)


@pytest.mark.parametrize("name", NAMES)
def test_effects_are_free_of_chance(name):
    rng = np.random.default_rng(2)
    effects = []
    for m in (200, 5000):
        found = build(name).compare(
            *histograms(rng.standard_normal((200, 10_000)), 0.3 + rng.standard_normal((200, m)))
        )
        effects.append(np.mean([verdict.effect for verdict in found]))
    expected = {"cramer_von_mises": 0.0904, "anderson_darling": 0.204}[name]
    assert effects == pytest.approx([expected, expected], rel=0.07)
    same = build(name).compare(*histograms(*rng.standard_normal((2, 300, 1000))))
    assert 0.5 < np.mean([verdict.effect == 0 for verdict in same]) < 0.8


def test_tails_are_seen_by_anderson_darling_first():
    rng = np.random.default_rng(3)
    sides = histograms(rng.standard_normal((100, 5000)), 1.2 * rng.standard_normal((100, 500)))
    squares, weighted, largest = (p_values(build(name).compare(*sides)) for name in (*NAMES, "ks"))
    assert np.mean(weighted < 1e-3) > 2 * max(np.mean(squares < 1e-3), np.mean(largest < 1e-3))


@pytest.mark.parametrize("name", NAMES)
def test_odd_columns(name):
    a = np.stack((np.full(200, 3.0), np.full(200, np.nan), np.arange(200.0)))
    same = build(name).compare(*histograms(a, a))
    assert [v.status.value for v in same] == ["stable", "insufficient", "stable"]
    gone = build(name).compare(*histograms(a, a + 1000))
    assert [v.status.value for v in gone] == ["drift", "insufficient", "drift"]
    assert gone[2].p_value < 1e-30
    b = a.copy()
    b[2, :50] = np.inf
    assert build(name).compare(*histograms(a, b))[2].status is Status.DRIFT
