import numpy as np
import pytest

from detectors.base import Status
from detectors.catalog import build
from detectors.statistical.covariance import excess_variance, expected_square
from tests.unit.statistical.samples import tables


def correlated(rng, rows, columns, rho):
    common = rng.standard_normal(rows) * np.sqrt(rho)
    return common + rng.standard_normal((columns, rows)) * np.sqrt(1 - rho)


def wishart(rng, d, rows):
    x = rng.standard_normal((rows, d))
    return np.cov(x, rowvar=False)


@pytest.mark.parametrize(("d", "n", "m"), [(2, 200, 1000), (10, 300, 100), (20, 200, 200)])
def test_mean_and_spread_of_the_squared_statistic(d, n, m):
    rng = np.random.default_rng(1)
    draws = []
    for _ in range(400):
        ratio = np.linalg.solve(wishart(rng, d, n), wishart(rng, d, m)) - np.eye(d)
        draws.append(np.sum(ratio * ratio.T))
    mean = expected_square(d, n, m)
    assert np.mean(draws) == pytest.approx(mean, rel=0.15 if d == 2 else 0.05)
    relative = np.var(draws) / np.mean(draws) ** 2
    assert relative == pytest.approx(4 / (d * (d + 1)) * excess_variance(d, n, m), rel=0.4)


def test_a_lost_correlation_is_found_and_named():
    rng = np.random.default_rng(2)
    before, now = rng.standard_normal((6, 5000)), rng.standard_normal((6, 1000))
    before[3] = 0.6 * before[1] + 0.8 * before[3]
    verdict = build("covariance").compare(*tables(before, now))[0]
    assert verdict.status is Status.DRIFT
    assert verdict.effect == pytest.approx(
        np.hypot(1 / 0.4 - 1, 1 / 1.6 - 1), abs=0.2
    )  # eigenvalues 1.6, 0.4
    assert "correlation of x1 and x3 +0.6" in verdict.reason


def test_a_stretched_column_is_found_and_named():
    rng = np.random.default_rng(3)
    before, now = rng.standard_normal((4, 5000)), rng.standard_normal((4, 1000))
    now[2] *= 1.5
    verdict = build("covariance", named=1).compare(*tables(before, now))[0]
    assert verdict.status is Status.DRIFT
    assert verdict.reason.endswith("spread of x2 x1.46") or "spread of x2 x1." in verdict.reason


def test_a_shift_alone_is_left_to_ks():
    rng = np.random.default_rng(4)
    before, now = rng.standard_normal((4, 5000)), 0.1 + rng.standard_normal((4, 1000))
    assert build("covariance").compare(*tables(before, now))[0].status is Status.STABLE


def test_copies_constants_and_rare_flags_do_not_break_it():
    rng = np.random.default_rng(5)

    def rows(n):
        x = rng.standard_normal((4, n))
        return np.stack((*x, x[0], np.full(n, 1.0), (rng.random(n) < 0.002) * 1.0))

    verdict = build("covariance").compare(*tables(rows(3000), rows(800)))[0]
    assert verdict.status is Status.STABLE
    assert verdict.statistic < 1


@pytest.mark.parametrize("columns", [0, 1])
def test_too_few_columns(columns):
    rng = np.random.default_rng(6)
    verdict = build("covariance").compare(
        *tables(rng.standard_normal((columns, 500)), rng.standard_normal((columns, 500)))
    )[0]
    assert verdict.status is Status.INSUFFICIENT


def test_too_few_rows_for_the_columns():
    rng = np.random.default_rng(7)
    verdict = build("covariance", min_rows=100).compare(
        *tables(rng.standard_normal((40, 500)), rng.standard_normal((40, 120)))
    )[0]
    assert verdict.status is Status.INSUFFICIENT
    assert "160 rows" in verdict.reason


def test_wide_tables_are_judged_by_their_projection():
    rng = np.random.default_rng(8)
    verdict = build("covariance").compare(
        *tables(correlated(rng, 2000, 130, 0.2), correlated(rng, 1500, 130, 0.7))
    )[0]
    assert verdict.status is Status.DRIFT
    assert "projection" in verdict.reason


def test_a_score_that_follows_from_the_features_is_no_direction_of_its_own():
    """As in every model: only rounding varies in that direction, and it would alarm at will."""
    rng = np.random.default_rng(8)

    def rows(n):
        x = rng.standard_normal((10, n))
        return np.vstack((x, np.round(1 / (1 + np.exp(-(x[0] + x[1]))), 4)))

    found = []
    for _ in range(8):
        reference = rows(10_000)
        verdicts = [build("covariance").compare(*tables(reference, rows(2_000)))[0] for _ in range(10)]
        found += [verdict.p_value for verdict in verdicts]
    assert min(found) > 0.001
    assert np.mean(np.array(found) < 0.05) < 0.15


def test_rows_that_go_to_extremes_together_are_no_finding():
    """A t copula; against the reference's null alone 3 of these 12 are below .05, one of them below .001."""
    rng = np.random.default_rng(6)

    def rows(n):
        return correlated(rng, n, 50, 0.3) * np.sqrt(5 / rng.chisquare(5, n))

    found = [build("covariance").compare(*tables(rows(1000), rows(1000)))[0].p_value for _ in range(12)]
    assert min(found) > 0.01
