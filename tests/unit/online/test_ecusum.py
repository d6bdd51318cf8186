import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.evidence import ecusum
from detectors.base import DetectorError
from detectors.online.ecusum import GAINS, ECusum, upper_rate


def one(rate=0.1, rows=10_000, **more):
    return ECusum(np.array([rate]), np.array([rows]), **more)


def test_few_false_alarms_and_short_delays():
    """Base error 0.10, A = 10,000 events: the published figures are 947 and 463 events to 0.15 and 0.20."""
    found = ecusum(streams=50, events=3000)
    assert found["false alarms"] <= 3
    assert float(found["delay to 0.15"]) <= 947
    assert float(found["delay to 0.2"]) <= 463


def test_the_bound_is_the_normal_or_clopper_and_pearsons():
    rates, rows = np.array([0.1, 0.0, 0.0005, 1.0, 0.9999]), np.full(5, 10_000)
    found = upper_rate(rates, rows)
    assert found[0] == pytest.approx(0.1 + 2 * np.sqrt(0.09 / 10_000))
    level = stats.norm.cdf(2)
    for k, hits in ((1, 0), (2, 5), (4, 9999)):
        assert found[k] == pytest.approx(stats.beta.ppf(level, hits + 1, 10_000 - hits))
    assert (found <= 1).all()


def test_it_is_the_definition():
    rng = np.random.default_rng(0)
    detector = one(0.2, 500)
    m, (bets,) = detector.bound[0], detector.bets.T
    expected = np.minimum(0.2 * GAINS / (m * (1 - m)), 0.9 / m)
    assert bets == pytest.approx(expected)
    s = np.ones(5)
    for _ in range(40):
        x = rng.random(13)
        detector.update(detector.gained(x, np.zeros(13, int)))
        s = np.maximum(s, 1) * np.prod(1 + bets[:, None] * (x - m), axis=1)
        assert detector.log_evidence[0] == pytest.approx(np.log(s.mean()))
    assert detector.log_evidence[0] > 5


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=60), st.randoms())
def test_rows_in_any_order_and_pieces_gain_the_same(rows, random):
    detector = ECusum(np.array([0.1, 0.0, 0.9]), np.array([1000, 50, 300]))
    stream = np.array([k for k, _ in rows], np.int64)
    loss = np.array([float(x) for _, x in rows])
    whole = detector.gained(loss, stream)
    order = list(range(len(rows)))
    random.shuffle(order)
    half = len(order) // 2
    parts = sum(detector.gained(loss[part], stream[part]) for part in (order[:half], order[half:]))
    hits, count = np.bincount(stream, loss, 3), np.bincount(stream, minlength=3)
    assert parts == pytest.approx(whole)
    assert detector.counted(hits, count) == pytest.approx(whole)


def test_a_rate_of_zero_waits_for_more_than_one_row():
    for minimum, windows in ((0.0, 4), (0.02, 2)):
        detector = one(0.0, 1000, minimum=minimum)
        detector.update(detector.counted(np.array([1]), np.array([100])))
        assert detector.log_evidence[0] < 1
        for _ in range(windows):
            assert detector.log_evidence[0] < np.log(720)
            detector.update(detector.counted(np.array([10]), np.array([100])))
        assert detector.log_evidence[0] > np.log(720)


def test_extreme_rates_are_safe():
    detector = ECusum(np.array([0.0, 1.0, 1.0, 0.5]), np.array([1, 1, 10**6, 1]))
    for _ in range(10):
        detector.update(detector.counted(np.array([5, 5, 5, 5]), np.full(4, 5)))
        detector.update(detector.counted(np.zeros(4), np.full(4, 5)))
    assert np.isfinite(detector.log_evidence).all()


def test_an_empty_window_and_a_rise_that_does_not_matter_leave_it():
    detector = one(0.1, minimum=0.05)
    detector.update(detector.counted(np.array([0]), np.array([0])))
    assert detector.log_evidence[0] == 0
    for _ in range(200):
        detector.update(detector.counted(np.array([14]), np.array([100])))
    assert detector.log_evidence[0] < np.log(720)
    for _ in range(40):
        detector.update(detector.counted(np.array([25]), np.array([100])))
    assert detector.log_evidence[0] > np.log(720)


def test_snapshots_and_resets():
    one_, other = one(), one()
    one_.update(one_.counted(np.array([300]), np.array([1000])))
    other.restore(one_.snapshot())
    for each in (one_, other):
        each.update(each.counted(np.array([130]), np.array([1000])))
    assert other.snapshot() == one_.snapshot()
    one_.reset(np.array([True]))
    assert (one_.log_evidence[0], one_.age[0]) == (0, 0)
    with pytest.raises(ValueError, match="instead of"):
        ECusum(np.zeros(2), np.ones(2, int)).restore(other.snapshot())


def test_what_it_cannot_use_is_said():
    with pytest.raises(DetectorError, match=r"0\.\.1, each seen in at least 1 row"):
        one(1.2)
    with pytest.raises(DetectorError, match="scale a bounded loss"):
        one().gained(np.array([0.2, np.nan]), np.zeros(2, int))
