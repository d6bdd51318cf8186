import numpy as np
import pytest
from scipy import stats

from benchmarks.evidence import MINIMUM, Alarms, delays_alone, monitor, null
from detectors.base import DetectorError
from detectors.evidence.conformal import POWERS, ConformalRank, RankAdapter


def follow(detector, windows, patience):
    """Alarms bool[n, K]; reset at each."""
    found = np.zeros(windows.shape, bool)
    for i, window in enumerate(windows):
        detector.update(window)
        found[i] = detector.log_evidence >= np.log(patience)
        detector.reset(found[i])
    return found


def test_the_bets_are_fair():
    for power in POWERS:
        p = np.exp(-np.linspace(0, 400, 400_001))  # an even grid of ln p
        assert np.trapezoid(power * p**power, dx=1e-3) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("reference", [1, 20, 300])
@pytest.mark.parametrize("kind", ["heavy", "tied"])
def test_ranks_of_exchangeable_windows_are_independent_and_uniform(reference, kind):
    rng = np.random.default_rng(0)
    draw = rng.standard_cauchy if kind == "heavy" else lambda size: rng.poisson(1.0, size).astype(float)
    windows = draw(size=(60, 500))
    detector = ConformalRank(draw(size=(reference, 500)), np.zeros(500, bool), memory=100)
    p = []
    for window in windows:
        p.append(detector._ranks(window)[0])
        detector.update(window)
    p = np.array(p)
    assert stats.kstest(p.ravel(), "uniform").pvalue > 0.001
    neighbours = np.corrcoef(p[:-1].ravel(), p[1:].ravel())[0, 1]
    assert abs(neighbours) < 4 / np.sqrt(p.size)


@pytest.mark.parametrize("rising", [False, True])
def test_false_alarms_keep_their_bound_across_forgotten_memories(rising):
    """Short references, skewed and shared by five memories: what estimated standard deviations cannot do."""
    rng = np.random.default_rng(1)
    windows = rng.lognormal(sigma=2, size=(20 + 300, 500))
    detector = ConformalRank(windows[:20], np.full(500, rising), memory=60)
    found = follow(detector, windows[20:], 30)
    assert 0 < found.mean() <= 1 / 30


def test_shifts_are_found_and_what_it_costs():
    rng = np.random.default_rng(2)
    windows = rng.standard_normal((200 + 60, 100))
    windows[230:, :50] += 2
    windows[230:, 50:] -= 2
    for rising in (False, True):
        detector = ConformalRank(windows[:200], np.full(100, rising))
        found = follow(detector, windows[200:], 200)
        delays = np.where(found[30:].any(axis=0), found[30:].argmax(axis=0) + 1, 99)
        assert np.median(delays[:50]) <= 6
        assert (np.median(delays[50:]) <= 6) != rising
    # One window, however extreme, cannot reach what two sorts of extreme ones could.
    detector = ConformalRank(windows[:200], np.ones(100, bool))
    detector.update(np.full(100, 1e300))
    assert np.median(detector.log_evidence) < np.log(201)


def test_it_is_the_definition():
    rng = np.random.default_rng(3)
    reference = rng.standard_normal((30, 2))
    reference[3, 0] = np.nan
    detector = ConformalRank(reference, np.array([False, True]))
    s = np.ones((2, 5, 2))
    for _ in range(20):
        x = rng.standard_normal(2) + 1
        p, ranked = detector._ranks(x)
        assert ranked.all()
        bets = POWERS[:, None]
        s = np.maximum(s, 1) * np.stack([bets * q ** (bets - 1) for q in (p, 1 - p)])
        detector.update(x)
        expected = [s[:, :, 0].mean(), s[0, :, 1].mean()]
        assert detector.log_evidence == pytest.approx(np.log(expected))
    assert detector.age[1] > 0


def test_missing_values_leave_a_stream_as_it_is():
    rng = np.random.default_rng(4)
    detector = ConformalRank(rng.standard_normal((30, 2)), np.zeros(2, bool))
    detector.update(np.array([9.0, 9.0]))
    before = detector.log_evidence
    detector.update(np.array([np.nan, 9.0]))
    assert detector.log_evidence[0] == before[0]
    assert detector.log_evidence[1] != before[1]
    nothing = ConformalRank(np.full((30, 2), np.nan), np.zeros(2, bool))
    nothing.update(np.array([1.0, 2.0]))
    assert nothing.log_evidence.tolist() == [0, 0]


def test_what_it_cannot_use_is_said():
    with pytest.raises(DetectorError, match="windows x streams"):
        ConformalRank(np.zeros((3, 2)), np.zeros(3, bool))
    detector = ConformalRank(np.zeros((3, 2)), np.zeros(2, bool))
    with pytest.raises(DetectorError, match="has 2 streams"):
        detector.update(np.zeros(3))
    with pytest.raises(ValueError, match="instead of"):
        ConformalRank(np.zeros((3, 1)), np.zeros(1, bool)).restore(detector.snapshot())
    for _ in range(3):
        detector.update(np.zeros(2))
    with pytest.raises(ValueError, match="more than the memory"):
        ConformalRank(np.zeros((2, 2)), np.zeros(2, bool)).restore(detector.snapshot())


def test_a_snapshot_anywhere_changes_nothing():
    rng = np.random.default_rng(7)
    reference, windows = rng.poisson(3.0, (20, 4)).astype(float), rng.poisson(3.5, (70, 4)).astype(float)
    rising = np.array([True, False, True, False])
    whole = ConformalRank(reference, rising)
    other = ConformalRank(reference, rising)
    for window in windows:
        whole.update(window)
        again = ConformalRank(reference, rising)
        again.restore(other.snapshot())
        other = again
        other.update(window)
        np.testing.assert_array_equal(other.log_evidence, whole.log_evidence)
        np.testing.assert_array_equal(other.age, whole.age)
    assert other.snapshot() == whole.snapshot()


def test_a_monitor_of_ranks_keeps_the_budget_whatever_the_distribution():
    assert null("iid", runs=1, windows=720, ranks=True)["pages"] <= 1
    alarms = Alarms()
    for seed in range(4):
        values = np.random.default_rng(seed).standard_cauchy((360 + 360, 50))
        running, strata = monitor(values, 360, ranks=True)
        alarms.follow(running, values[360:], strata[360:])
    assert alarms.pages <= 4  # of 4 * 360 / 720 that would be allowed on average


def test_what_exactness_costs_in_delay():
    found = delays_alone("iid", 0.25, 100, MINIMUM, horizon=20, ranks=True)
    assert 2 < np.median(found) <= 6  # 2 by the adapter


def test_the_evidence_is_that_of_ranks_and_the_rest_the_adapters():
    values = np.random.default_rng(9).standard_normal((300 + 40, 3)) + np.linspace(0, 1, 3)
    values[320:, 1] += 2
    ranked, strata = monitor(values, 300, ranks=True)
    plain, _ = monitor(values, 300)
    alone = ConformalRank(values[:300], np.zeros(3, bool))
    assert isinstance(ranked.adapter, RankAdapter)
    for row, stratum in zip(values[300:], strata[300:].tolist(), strict=True):
        found, expected = ranked.adapter.update(row, stratum), plain.adapter.update(row, stratum)
        alone.update(row)
        np.testing.assert_array_equal(found.log_evidence, alone.log_evidence)
        np.testing.assert_array_equal(found.effect, expected.effect)
        np.testing.assert_array_equal(found.material, expected.material)
        np.testing.assert_array_equal(ranked.adapter.standing().log_evidence, alone.log_evidence)
    assert found.log_evidence[1] > np.log(720)
    assert found.age[1] in range(18, 25)
    ranked.adapter.reset(np.array([False, True, False]))
    assert ranked.adapter.standing().log_evidence[1] == 0
