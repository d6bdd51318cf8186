import numpy as np
import pytest

from detectors.evidence.edetector import BETS, STEADY, EDetector


def plain(z, charge, response):
    """The definition, one stream, one number at a time: ln of each S, its age, and its weighted sum of z."""
    bets = [(sign, bet, number >= STEADY) for sign in (1, -1) for number, bet in enumerate(BETS)]
    log_s, age, total = [0.0] * 10, [0] * 10, [0.0] * 10
    for value in z:
        for i, (sign, first, bold) in enumerate(bets):
            if log_s[i] <= 0:
                log_s[i], age[i], total[i] = 0.0, 0, 0.0
            weight = response[min(age[i], len(response) - 1)] if bold else 1.0
            bet = first * weight
            log_s[i] += bet * (sign * value - charge) - bet**2 / 2
            age[i] += 1
            total[i] += weight * sign * value
    return log_s, age, total


def test_it_is_the_definition():
    rng = np.random.default_rng(0)
    charge = np.array([0.0, 0.06, 0.3])
    z = rng.standard_normal((200, 3)) + np.array([0.0, 0.4, -1.0]) * (np.arange(200) > 120)[:, None]
    response = np.array([[1.0, 1.0, 1.0], [1.0, 0.3, 1.2], [1.0, 0.2, 0.1]])
    detector = EDetector.fresh(np.zeros(3, bool))
    for row in z:
        detector.update(row, charge, response)
    lead = detector.leading(charge, response)
    for k in range(3):
        log_s, ages, totals = plain(z[:, k], charge[k], response[:, k])
        assert detector.log_s[:, :, k].ravel() == pytest.approx(log_s)
        assert detector.log_evidence[k] == pytest.approx(np.log(np.exp(log_s).mean()))
        best = int(np.argmax(log_s))
        assert (lead.age[k], lead.direction[k]) == (ages[best], 1 if best < 5 else -1)
        assert lead.gained[k] == pytest.approx(totals[best])
    assert lead.direction.tolist()[1:] == [1, -1]


def test_a_stream_that_can_only_rise_bets_on_nothing_else():
    detector = EDetector.fresh(np.array([True, False]))
    for _ in range(20):
        detector.update(np.array([-2.0, -2.0]), np.zeros(2), np.ones((1, 2)))
    assert detector.log_evidence[0] < 0
    assert detector.log_evidence[1] > 20
    detector.reset(np.array([True, True]))
    assert detector.log_evidence.tolist() == [0.0, 0.0]


def test_what_is_missing_changes_nothing():
    detector = EDetector.fresh(np.zeros(2, bool))
    detector.update(np.array([1.0, 1.0]), np.zeros(2), np.ones((1, 2)))
    before = detector.log_s.copy(), detector.age.copy()
    detector.update(np.array([np.nan, 1.0]), np.zeros(2), np.ones((1, 2)))
    assert np.array_equal(detector.log_s[..., 0], before[0][..., 0])
    assert np.array_equal(detector.age[..., 0], before[1][..., 0])
    assert (detector.age[..., 1] > 0).all()


def test_the_mean_of_normals_rarely_reaches_a_patience():
    """The law behind every page: at least A windows, on average, to a mean evidence of A."""
    rng = np.random.default_rng(3)
    detector = EDetector.fresh(np.zeros(400, bool))
    first = np.full(400, 1000.0)
    for t in range(1000):
        detector.update(rng.standard_normal(400), np.zeros(400), np.ones((1, 400)))
        hit = (detector.log_evidence >= np.log(100)) & (first == 1000)
        first[hit] = t + 1
    assert first.mean() >= 100


def test_evidence_of_years_does_not_overflow():
    detector = EDetector.fresh(np.zeros(1, bool))
    for _ in range(2000):
        detector.update(np.array([12.0]), np.zeros(1), np.ones((1, 1)))
    assert np.isfinite(detector.log_evidence[0])
    assert detector.log_evidence[0] > 1000
