import numpy as np
import pytest

from detectors.evidence.confidence import half_width


def test_half_width_is_the_normal_mixture_of_howard_and_others():
    rho = 24 / (-2 * np.log(0.05) + np.log(-2 * np.log(0.05)) + 1)
    boundary = np.sqrt((10 + rho) * np.log((10 + rho) / (0.05**2 * rho)))
    assert half_width(np.array([10]), 0.05)[0] == pytest.approx(boundary / 10)
    assert half_width(np.array([0]), 0.05)[0] == np.inf


def test_the_mean_of_normal_terms_hardly_ever_leaves_it():
    rng = np.random.default_rng(1)
    n = np.arange(1, 2001)
    means = np.cumsum(rng.standard_normal((1000, 2000)), axis=1) / n
    ever = (np.abs(means) > half_width(n, 0.05)).any(axis=1).mean()
    assert 0.005 < ever <= 0.05
