import numpy as np
import pytest

from detectors.online.run_length import cusum_run_length, cusum_threshold, memoryless_thresholds


@pytest.mark.parametrize(("threshold", "run_length"), [(4, 335.4), (5, 930.9)])
def test_it_agrees_with_the_published_run_lengths(threshold, run_length):
    """Of the one-sided CUSUM with allowance 1/2 (Montgomery's tables; two-sided 168 and 465)."""
    assert cusum_run_length(threshold, 0.5) == pytest.approx(run_length, rel=1e-3)


@pytest.mark.parametrize(("threshold", "allowance"), [(6, 0.25), (30, 0.083), (100, 0.05)])
def test_it_agrees_with_siegmunds_approximation_for_small_steps(threshold, allowance):
    b = threshold + 1.166
    expected = (np.exp(2 * allowance * b) - 2 * allowance * b - 1) / (2 * allowance**2)
    assert cusum_run_length(threshold, allowance) == pytest.approx(expected, rel=0.03)


def test_it_agrees_with_simulation():
    rng = np.random.default_rng(0)
    g, length, crossed = np.zeros(4000), np.zeros(4000), np.zeros(4000, bool)
    for _ in range(1500):
        g = np.where(crossed, g, np.maximum(g + rng.standard_normal(4000) - 0.5, 0))
        length += ~crossed
        crossed |= g > 3
    assert crossed.all()
    assert length.mean() == pytest.approx(cusum_run_length(3, 0.5), rel=0.05)


@pytest.mark.parametrize("allowance", [0.05, 0.5, 4.0])
@pytest.mark.parametrize("run_length", [20.0, 720.0, 1e6])
def test_a_threshold_has_the_wished_run_length(run_length, allowance):
    threshold = cusum_threshold(run_length, allowance)
    if threshold > 1e-4:
        assert cusum_run_length(threshold, allowance) == pytest.approx(run_length, rel=1e-3)
    else:  # even without a threshold it alarms less often
        assert cusum_run_length(0.0, allowance) > run_length


def test_every_step_is_crossed_equally_often():
    """Statistics that grow for ten steps, of two lookbacks in different units."""

    def simulate(seed):
        walk = np.random.default_rng(seed).standard_normal((40_000, 30, 2))
        walk[:, :, 1] = 100 * (0.8 * walk[:, :, 0] + 0.6 * walk[:, :, 1])
        return np.abs(walk) * np.minimum(np.arange(1, 31), 10)[:, None]

    scale, thresholds = memoryless_thresholds(simulate(0), 25, 10)
    assert scale[1] / scale[0] == pytest.approx(100, rel=0.1)
    ratio = (simulate(1) / scale).max(axis=2)
    alive = np.ones(len(ratio), bool)
    for step in range(30):
        crossing = alive & (ratio[:, step] > thresholds[min(step, 10)])
        assert crossing.sum() / alive.sum() == pytest.approx(1 / 25, rel=0.2)
        alive &= ~crossing
