import numpy as np
import pytest

from detectors.base import DetectorError
from detectors.online.calibration import BETS, Calibration, CalibrationResidual
from detectors.summaries.outcomes import BinaryOutcomes, MulticlassOutcomes, RegressionOutcomes

SCORES = (np.arange(8) + 0.5) / 8


def simulate(factor, reference, windows, streams=100, mix=None, seed=0):
    """Alarms bool[windows, streams] at A = 100 and directions then, odds of the outcome times `factor`."""
    rng = np.random.default_rng(seed)
    rows = np.full((streams, 8), reference // 8)
    detector = CalibrationResidual(rng.binomial(rows, SCORES) / rows, rows)
    odds = factor * SCORES / (1 - SCORES)
    found, ways = np.zeros((windows, streams), bool), set()
    for window in range(windows):
        n = rng.multinomial(100, np.full(8, 1 / 8) if mix is None else mix(rng), streams)
        detector.update(detector.gained(rng.binomial(n, odds / (1 + odds)), n))
        found[window] = detector.log_evidence >= np.log(100)
        ways |= set(detector.direction[found[window]].tolist())
        detector.reset(found[window])
    return found, ways


@pytest.mark.parametrize("reference", [400, 4000])
def test_an_unchanged_calibration_alarms_less_than_once_in_a_windows(reference):
    found, _ = simulate(1.0, reference, 600)
    assert found.mean() <= 1 / 100


def test_nor_does_a_change_of_the_scores_alone():
    found, _ = simulate(1.0, 4000, 600, mix=lambda rng: rng.dirichlet(np.full(8, 0.3)))
    assert found.mean() <= 1 / 100


@pytest.mark.parametrize(("factor", "sign", "most"), [(1.6, 1, 12), (0.6, -1, 12)])
def test_a_changed_one_is_found_and_which_way(factor, sign, most):
    found, ways = simulate(factor, 4000, 100, streams=40)
    assert (found.argmax(axis=0) + 1).max() < 3 * most
    assert np.median(found.argmax(axis=0) + 1) <= most
    assert ways == {sign}


def test_it_is_the_definition():
    rng = np.random.default_rng(1)
    c, rows = np.array([[0.2, 0.7]]), np.array([[300, 500]])
    detector = CalibrationResidual(c, rows, minimum=0.01)
    s = np.ones(10)
    for _ in range(15):
        n = np.array([[20, 10]])
        bins = np.repeat([0, 1], n[0])
        y = (rng.random(30) < c[0][bins] + 0.15).astype(float)
        hits = np.array([[y[bins == 0].sum(), y[bins == 1].sum()]])
        smooth = (rows * c + 1) / (rows + 2)
        share = n / 30
        charge = 2 * np.sqrt((share**2 * smooth * (1 - smooth) / rows).sum()) + 0.01
        residual = y - c[0][bins]
        bets = np.minimum(BETS, 0.9 / (1 + charge))[:, None]
        gains = [np.prod(1 + bets * (sign * residual - charge), axis=1) for sign in (1, -1)]
        s = np.maximum(s, 1) * np.concatenate(gains)
        detector.update(detector.gained(hits, n))
        assert detector.log_evidence[0] == pytest.approx(np.log(s.mean()))
    assert detector.log_evidence[0] > 0


def test_outcomes_between_0_and_1_gain_no_more_than_they_are_worth():
    c, rows = np.array([[0.3]]), np.array([[10_000]])
    detector = CalibrationResidual(c, rows)
    y = np.array([0.1, 0.9, 0.5, 0.45])
    gained = detector.gained(np.array([[y.sum()]]), np.array([[4]]))[:, 0]
    charge = detector.charge(np.array([[4]]))[0]
    bets = np.minimum(BETS, 0.9 / (1 + charge))[:, None]
    worth = np.concatenate([np.log1p(bets * (sign * (y - 0.3) - charge)).sum(axis=1) for sign in (1, -1)])
    assert (gained <= worth + 1e-12).all()


def test_an_empty_window_leaves_it_and_what_it_cannot_use_is_said():
    detector = CalibrationResidual(np.array([[0.3, 0.0]]), np.array([[10, 0]]))
    before = detector.snapshot()
    detector.update(detector.gained(np.zeros((1, 2)), np.zeros((1, 2))))
    assert detector.snapshot() == before
    with pytest.raises(DetectorError, match=r"so 0\.\.rows"):
        detector.gained(np.array([[2, 0]]), np.array([[1, 0]]))
    with pytest.raises(DetectorError, match="the calibration has shape"):
        detector.gained(np.zeros((2, 2)), np.zeros((2, 2)))
    with pytest.raises(DetectorError, match=r"probabilities of 0\.\.1"):
        CalibrationResidual(np.array([[1.2]]), np.array([[1]]))


def cohort(rng, n=300, factor=1.0, tilt=1.0, of=BinaryOutcomes):
    """Scores on a scale of their own, and outcomes of which they are the square root of the chance."""
    score = rng.random(n) ** tilt
    odds = factor * score**2 / (1 - score**2)
    label = (rng.random(n) < odds / (1 + odds)).astype(np.int64)
    if of is BinaryOutcomes:
        found = BinaryOutcomes(np.linspace(0, 1, 255))
        found.update(label, (score > 0.7).astype(np.int64), score)
        return found
    right = 0.5 + score / 2
    found = MulticlassOutcomes(("a", "b"))
    label = (rng.random(n) < factor * right).astype(np.int64)
    found.update(1 - label, np.zeros(n, np.int64), np.stack((right, 1 - right), axis=1))
    return found


@pytest.mark.parametrize("of", [BinaryOutcomes, MulticlassOutcomes])
def test_a_detector_learns_the_calibration_and_finds_when_it_ends(of):
    rng = np.random.default_rng(3)
    detector = Calibration(reference_rows=3000).fresh()
    learning = [detector.update(cohort(rng, of=of)) for _ in range(9)]
    assert [one.ready.tolist() for one in learning] == [[False]] * 9
    assert learning[-1].reason == "2700 labelled rows have come, 3000 are needed"
    quiet = [detector.update(cohort(rng, of=of)) for _ in range(100)]
    assert all(one.ready.all() and not one.drift.any() for one in quiet)
    loud = [detector.update(cohort(rng, factor=0.7, of=of)) for _ in range(60)]
    first = next(i for i, one in enumerate(loud) if one.drift[0])
    assert first < 20
    assert loud[first].age[0] in range(first, first + 8)
    assert loud[-1].drift[0]
    assert loud[-1].statistic[0] <= 2 * np.log(720) + np.log(10)
    over = [detector.update(cohort(rng, of=of)) for _ in range(60)]
    assert not over[-1].drift[0]


def test_it_is_quiet_when_only_the_scores_move():
    rng, alarms = np.random.default_rng(4), 0
    for _ in range(10):
        detector = Calibration(reference_rows=3000, run_length=100).fresh()
        for i in range(110):
            alarms += detector.update(cohort(rng, tilt=1.0 if i < 10 else 2.5)).drift[0]
    assert alarms <= 10  # 1000 windows


def test_other_bins_and_regressions_are_no_trouble():
    rng = np.random.default_rng(5)
    detector = Calibration(reference_rows=100).fresh()
    detector.update(cohort(rng))
    assert detector.update(cohort(rng)).ready[0]
    assert detector.update(RegressionOutcomes()).reason == "a regression has no scores"
    other = cohort(rng, of=MulticlassOutcomes)
    assert not detector.update(other).drift[0]
    again = Calibration(reference_rows=100).fresh()
    again.restore(detector.snapshot())
    assert again.snapshot() == detector.snapshot()
