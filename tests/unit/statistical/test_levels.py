"""On unchanged data every p-value rejects as often as it says, whatever the two sample sizes."""

import numpy as np
import pytest
from scipy import stats

from detectors.catalog import build
from detectors.statistical.covariance import Covariance
from tests.unit.statistical.samples import category_counts, histograms, p_values, tables

SIZES = [(300, 300), (1000, 5000), (200, 10_000), (5000, 200)]
COLUMNS = 400


def check(p, *, slack=1.0, conservative=False):
    """Rejections at .05 and .01 lie in the central 99.9% of their binomial distribution."""
    for level in (0.05, 0.01):
        rejected = int(np.sum(p < level))
        assert rejected <= stats.binom.ppf(0.9995, len(p), min(level * slack, 1)), (level, rejected, len(p))
        if not conservative:
            assert rejected >= stats.binom.ppf(0.0005, len(p), level), (level, rejected, len(p))


def columns(name, rng, n):
    if name == "normal":
        return rng.standard_normal((COLUMNS, n))
    if name == "lognormal":
        return np.exp(rng.standard_normal((COLUMNS, n)))
    return rng.poisson(4.0, (COLUMNS, n)).astype(float)


@pytest.mark.parametrize(("n", "m"), SIZES)
@pytest.mark.parametrize("shape", ["normal", "lognormal", "counts"])
def test_numbers(shape, n, m):
    rng = np.random.default_rng(1)
    sides = histograms(columns(shape, rng, n), columns(shape, rng, m))
    found = {
        name: p_values(build(name).compare(*sides)) for name in ("ks", "wasserstein", "psi", "out_of_range")
    }
    check(found["ks"], conservative=True)  # Smirnov's limit is on the safe side, more so where values tie
    check(found["psi"])
    check(found["wasserstein"], slack=1.2)  # 5 values a side are few for a limit
    check(found["out_of_range"], conservative=True)  # twice the smaller exact tail
    if shape != "counts":
        assert np.mean(found["ks"] < 0.05) > 0.01


@pytest.mark.parametrize(("n", "m"), SIZES)
@pytest.mark.parametrize("shares", [(0.7, 0.3), (0.5, 0.2, 0.15, 0.1, 0.05), (0.05,) * 20])
def test_categories(shares, n, m):
    rng = np.random.default_rng(2)
    sides = category_counts(*(rng.choice(len(shares), (COLUMNS, rows), p=shares) for rows in (n, m)))
    for name in ("g_test", "chi_square", "total_variation"):
        check(p_values(build(name).compare(*sides)), slack=1.2)


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_sparse_categories(n, m):
    """300 Zipf categories: most are rare, many are new, which ones count was chosen by the reference."""
    rng = np.random.default_rng(3)
    shares = 1 / np.arange(1, 301)
    sides = category_counts(*(rng.choice(300, (150, rows), p=shares / shares.sum()) for rows in (n, m)))
    for name in ("g_test", "chi_square", "total_variation", "psi"):
        p = [verdict.p_value for verdict in build(name).compare(*sides) if verdict.p_value is not None]
        check(np.array(p), slack=1.5, conservative=True)
    check(p_values(build("unseen_categories").compare(*sides)), conservative=True)


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_missing(n, m):
    rng = np.random.default_rng(4)
    for rate, slack in ((0.3, 1.2), (0.01, 1.0)):
        sides = (np.where(rng.random((COLUMNS, rows)) < rate, np.nan, 1.0) for rows in (n, m))
        check(p_values(build("missing").compare(*histograms(*sides))), slack=slack, conservative=True)


@pytest.mark.parametrize(
    ("tails", "d", "n", "m"),
    [
        ("normal", 2, 1000, 300),
        ("normal", 10, 200, 2000),
        ("heavy", 5, 1000, 1000),
        pytest.param("normal", 20, 5000, 500, marks=pytest.mark.slow),
        pytest.param("normal", 50, 200, 5000, marks=pytest.mark.slow),
        pytest.param("heavy", 20, 5000, 1000, marks=pytest.mark.slow),
    ],
)
def test_covariance(tails, d, n, m):
    """Correlated columns, jointly normal or of a t copula (5 degrees of freedom; liberal then)."""
    rng = np.random.default_rng(5)

    def rows(count):
        x = 0.5 * rng.standard_normal(count) + rng.standard_normal((d, count))
        return x if tails == "normal" else x / np.sqrt(rng.chisquare(5, count) / 5)

    p = [Covariance(min_rows=100).compare(*tables(rows(n), rows(m)))[0].p_value for _ in range(50)]
    check(np.array(p), slack=1.5 if tails == "normal" else 2.5, conservative=True)
