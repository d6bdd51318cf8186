import numpy as np
import pytest

from detectors.evidence.stable import Stability


def run(z, minimum, rising=False):
    """Share of windows verified, per stream: z float64[T, K]."""
    size = z.shape[1]
    stability = Stability.fresh(np.full(size, rising))
    found = []
    for row in z:
        stability.update(row, np.full(size, minimum), np.full(size, 0.06), 720.0)
        found.append(stability.verified)
    return np.array(found)


@pytest.mark.parametrize("minimum", [0.5, 1.5, 10.0])
def test_an_effect_that_matters_is_hardly_ever_verified_away(minimum):
    rng = np.random.default_rng(0)
    for direction in (1, -1):
        found = run(rng.standard_normal((720, 200)) + direction * minimum, minimum)
        assert found.any(axis=0).mean() <= 0.1


def test_no_effect_is_verified_and_stays_so():
    found = run(np.random.default_rng(1).standard_normal((500, 100)), 1.5)
    assert np.median(found.argmax(axis=0)) < 20
    assert found[100:].mean() > 0.99


def test_one_jump_does_not_verify():
    """Where windows are alike, a fall from a large effect to a smaller one shows as a single low window."""
    z = np.full((50, 1), 2.0)
    z[25] = -12.0
    assert not run(z, 0.5).any()


def test_verification_ends_when_the_effect_comes_back():
    z = np.random.default_rng(2).standard_normal((300, 100))
    z[200:] += 2.5
    found = run(z, 1.5)
    assert found[199].all()
    assert not found[270:].any()
    assert found[240:].mean() < 0.05


def test_streams_that_can_only_rise_need_not_be_shown_not_to_fall():
    z = np.full((100, 1), -3.0)
    assert not run(z, 1.0)[-1, 0]
    assert run(z, 1.0, rising=True)[-1, 0]


def test_reset_and_missing_windows():
    stability = Stability.fresh(np.zeros(2, bool))
    for _ in range(30):
        stability.update(np.array([0.0, np.nan]), np.ones(2), np.zeros(2), 20.0)
    assert stability.verified.tolist() == [True, False]
    stability.reset(np.array([True, False]))
    assert not stability.verified.any()
