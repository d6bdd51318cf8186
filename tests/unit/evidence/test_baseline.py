import numpy as np
import pytest
from scipy.linalg import solve_toeplitz

from detectors.base import DetectorError
from detectors.evidence.baseline import Baseline, Streams, fit


def series(rng, windows, size, phi=0.7):
    x = rng.standard_normal((windows, size))
    for t in range(1, windows):
        x[t] += phi * x[t - 1]
    return x


def reference(size=4, windows=672, seed=0):
    rng = np.random.default_rng(seed)
    strata = np.arange(windows) % 24
    return series(rng, windows, size) + strata[:, None] * 0.1, strata


def test_the_fit_is_what_its_steps_say():
    values, strata = reference()
    base = fit(Streams.of("abcd"), values, strata, 24)
    R, L = 672, 48
    for k in range(4):
        residual = np.empty(R)
        for s in range(24):
            at = strata == s
            m = at.sum()
            residual[at] = (values[at, k] - values[at, k].mean()) * np.sqrt(m / (m - 1))
        gamma = np.array([residual[lag:] @ residual[: R - lag] / R for lag in range(4)])
        ar = solve_toeplitz(gamma[:3], gamma[1:])
        assert base.ar[:, k] == pytest.approx(ar)
        v = residual.copy()
        for t in range(R):
            for lag in range(1, min(t, 3) + 1):
                v[t] -= ar[lag - 1] * residual[t - lag]
        g = np.array([v[lag:] @ v[: R - lag] / R for lag in range(L + 1)])
        long_run = g[0] + 2 * sum((1 - lag / (L + 1)) * g[lag] for lag in range(1, L + 1))
        sigma = np.sqrt(max(g[0], long_run))
        c = sigma * np.sqrt(1 + 2 * np.sqrt(2 / R) + np.sqrt(2 * L / R))
        assert base.unit[k] == pytest.approx(c)
        assert base.charge[k] == pytest.approx(2 * sigma / (np.sqrt(R) * c))
        assert base.spread[k] == pytest.approx(np.sqrt(gamma[0] / g[0]))


def test_an_offset_and_a_unit_do_not_matter():
    values, strata = reference()
    plain = fit(Streams.of("abcd"), values, strata, 24)
    for scale in (1e-280, 1e280):
        other = fit(Streams.of("abcd"), values * scale, strata, 24)
        assert other.unit == pytest.approx(plain.unit * scale)
        assert other.ar == pytest.approx(plain.ar)
    moved = fit(Streams.of("abcd"), values + 1e6, strata, 24)
    assert moved.ar == pytest.approx(plain.ar, abs=1e-6)


def test_the_last_residuals_are_kept_and_forecast_where_they_are_missing():
    values, strata = reference(size=3)
    values[-1, 1] = values[-2, 2] = np.nan
    base = fit(Streams.of("abc"), values, strata, 24)
    m = base.counts[strata[-60:]]
    residual = (values[-60:] - base.mean[strata[-60:]]) * np.sqrt(m / (m - 1))
    assert base.recent[:, 0] == pytest.approx(residual[:-4:-1, 0])
    assert base.recent[1:, 1] == pytest.approx(residual[-2:-4:-1, 1])
    assert base.recent[0, 1] == pytest.approx(base.ar[:, 1] @ residual[-2:-5:-1, 1])
    assert base.recent[1, 2] == pytest.approx(base.ar[:, 2] @ residual[-3:-6:-1, 2])
    assert base.unseen.tolist() == [0, 3, 2]


def test_missing_windows_are_left_out():
    values, strata = reference(size=2)
    values[::5, 1] = np.nan
    values[1, 1] = np.inf
    base = fit(Streams.of("ab"), values, strata, 24)
    assert base.windows.tolist() == [672, 672 - 135 - 1]
    kept = np.isfinite(values[:, 1]) & (strata == 3)
    assert base.mean[3, 1] == pytest.approx(values[kept, 1].mean())
    assert base.unit[1] == pytest.approx(base.unit[0], rel=0.5)


def test_too_few_windows_are_no_baseline():
    values, strata = reference(windows=30)
    assert not fit(Streams.of("abcd"), values, strata, 24).fitted.any()  # only 6 strata have two
    assert fit(Streams.of("abcd"), values, strata * 0, 24).fitted.all()
    assert not fit(Streams.of("abcd"), values[:0], strata[:0], 24).fitted.any()


def test_a_near_constant_stream_gets_a_unit_from_what_matters():
    strata = np.arange(672) % 24
    constant = np.full((672, 3), 0.1)
    constant[:, 2] = 0.0
    base = fit(Streams.of("abc", [0.24, 0.0, 0.0]), constant, strata, 24)
    assert base.unit[0] >= 0.02
    assert 0 < base.unit[1] < 1e-10  # rounding only
    assert base.unit[2] == 0
    assert np.isfinite(base.charge).all()


def test_distances_are_watched_in_logarithms():
    rng = np.random.default_rng(2)
    values = rng.rayleigh(1.0, (672, 2))
    base = fit(Streams.of("ab", 0.05, [True, False]), values, np.zeros(672, int), 1)
    median = np.median(values[:, 0])
    assert base.scale == pytest.approx([median, 1.0])
    assert base.mean[0] == pytest.approx([np.log1p(values[:, 0] / median).mean(), values[:, 1].mean()])
    # What matters, there and back: from the median to the median and 0.05.
    assert base.minimum == pytest.approx([np.log((2 * median + 0.05) / (2 * median)), 0.05])
    assert base.natural(base.minimum) == pytest.approx([0.05, 0.05])


def test_bytes_round_trip():
    values, strata = reference()
    base = fit(Streams.of("abcd", 0.1, [True, False, False, True]), values, strata, 24)
    again = Baseline.from_bytes(base.to_bytes())
    assert again.to_bytes() == base.to_bytes()
    assert again.streams.names == ("a", "b", "c", "d")
    assert np.array_equal(again.mean, base.mean)
    with pytest.raises(ValueError, match="damaged"):
        Baseline.from_bytes(base.to_bytes()[:-3])


def test_what_cannot_be_fitted_is_said():
    with pytest.raises(DetectorError, match="named twice: a"):
        Streams.of(["a", "b", "a"])
    with pytest.raises(DetectorError, match="'b': minimum effect -1"):
        Streams.of(["a", "b"], [0.0, -1.0])
    with pytest.raises(DetectorError, match=r"\(10, 3\)"):
        fit(Streams.of("ab"), np.zeros((10, 3)), np.zeros(10, int), 1)
