import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from detectors.base import DetectorError
from detectors.online.cramer_von_mises import OnlineCramerVonMises, _calibrated
from detectors.online.mmd import OnlineMMD

SINGLE = {"run_length": 50.0, "rows": 1, "lookbacks": (5, 10)}


def run_lengths(spec, draw, reference, references, runs):
    """Of fresh detectors, first alarms; float64[references, runs]."""
    found = np.empty((references, runs))
    for i in range(references):
        detector = spec.fresh(draw(reference))
        for j in range(runs):
            detector.reset(np.array([True]))
            length = 1
            while not detector.update(draw(spec.rows)).drift[0]:
                length += 1
            found[i, j] = length
    return found


CALIBRATED = pytest.mark.parametrize(
    ("spec", "columns"),
    [
        (OnlineCramerVonMises(**SINGLE), 0),
        (OnlineCramerVonMises(run_length=50, rows=20, lookbacks=(1, 4)), 0),
        (OnlineMMD(**SINGLE), 2),
        (OnlineMMD(run_length=50, rows=5, lookbacks=(1, 4)), 2),
    ],
    ids=["cramer_von_mises of values", "cramer_von_mises of windows", "mmd of rows", "mmd of windows"],
)


def skewed(columns):
    rng = np.random.default_rng(0)
    return lambda n: rng.exponential(size=(n, columns) if columns else n)


@CALIBRATED
def test_the_run_length_is_about_the_wished_one(spec, columns):
    found = run_lengths(spec, skewed(columns), 400, 6, 20)
    assert found.mean() == pytest.approx(50, rel=0.3)


@pytest.mark.slow
@CALIBRATED
def test_the_run_length_is_the_wished_one(spec, columns):
    found = run_lengths(spec, skewed(columns), 400, 40, 15)
    assert found.mean() == pytest.approx(50, rel=0.15)
    # Without memory: as many alarms in the first steps as later (e^-0.2 survive ten steps).
    assert (found <= 10).mean() == pytest.approx(1 - np.exp(-0.2), abs=0.06)


@pytest.mark.slow
def test_the_run_length_holds_for_a_column_of_few_values():
    rng = np.random.default_rng(1)
    spec = OnlineCramerVonMises(run_length=50, rows=20, lookbacks=(1, 4))
    found = run_lengths(spec, lambda n: rng.poisson(1, n).astype(float), 400, 40, 15)
    assert found.mean() == pytest.approx(50, rel=0.15)


@pytest.mark.parametrize("spec", [OnlineCramerVonMises(**SINGLE), OnlineMMD(**SINGLE)], ids=str)
def test_delays(spec):
    rng = np.random.default_rng(2)
    detector = spec.fresh(rng.standard_normal(400))
    for shift, most in ((1.0, 10), (3.0, 4)):
        delays = []
        for _ in range(60):
            detector.reset(np.array([True]))
            delays.append(1)
            while not detector.update(rng.standard_normal(1) + shift).drift[0]:
                delays[-1] += 1
        assert np.mean(delays) < most


def test_cramer_von_mises_is_the_distance_from_the_reference():
    """With a cell for each value it is the one-sample statistic of scipy, but for its lattice of ranks."""
    rng = np.random.default_rng(3)
    reference = np.arange(30.0)
    spec = OnlineCramerVonMises(run_length=20, rows=30, lookbacks=(1, 3))
    detector = spec.fresh(reference)
    held = np.empty((0, 30))
    for _ in range(5):
        block = rng.integers(0, 30, 30).astype(float)
        held = np.vstack((block, held))[:3]
        detector.update(block)
        for span, ratio, scale in zip((1, 3), detector._ratios, detector.scale, strict=True):
            x = held[:span].ravel()
            m = len(x)
            below = (x[:, None] <= reference).mean(axis=0)
            f = np.arange(1, 31) / 30
            assert ratio * scale == pytest.approx(30 * m / (30 + m) * ((below - f) ** 2).mean())
    spread = rng.random(2000)
    fine = OnlineCramerVonMises(run_length=20, rows=500, lookbacks=(1,)).fresh(spread)
    x = rng.random(500) ** 1.2
    fine.update(x)
    exact = stats.cramervonmises_2samp(x, spread).statistic
    assert fine._ratios[0] * fine.scale[0] == pytest.approx(exact, rel=0.05)


def test_mmd_is_the_definition():
    rng = np.random.default_rng(4)
    reference = rng.standard_normal((120, 3)) * np.array([1, 10, 0.1]) + 5
    spec = OnlineMMD(run_length=20, rows=4, lookbacks=(1, 3))
    detector = spec.fresh(reference)

    def standard(rows):
        return (rows - reference.mean(axis=0)) / reference.std(axis=0)

    def squared(a, b):
        return ((a[:, None] - b) ** 2).sum(axis=2)

    r = standard(reference)
    between = squared(r, r)
    width = np.median(between[between > 1e-12])
    held = np.empty((0, 3))
    for _ in range(5):
        block = rng.standard_normal((4, 3)) + 5
        held = np.vstack((block, held))[:12]
        detector.update(block)
        for span, ratio, scale in zip((1, 3), detector._ratios, detector.scale, strict=True):
            w = standard(held[: 4 * span])
            m, n = len(w), 120
            means = [np.exp(-squared(a, b) / width).mean() for a, b in ((w, w), (w, r), (r, r))]
            expected = n * m / (n + m) * (means[0] - 2 * means[1] + means[2])
            assert ratio * scale == pytest.approx(expected)


def test_a_step_takes_the_first_rows_and_waits_for_enough():
    rng = np.random.default_rng(5)
    spec = OnlineCramerVonMises(run_length=20, rows=10, lookbacks=(1, 2))
    reference = rng.standard_normal(100)
    values = rng.standard_normal(14)
    whole, pieces = spec.fresh(reference), spec.fresh(reference)
    expected = whole.update(values[:10])
    assert pieces.update(values[:4]).ready.tolist() == [False]
    assert pieces.update(np.full(3, np.nan)).ready.tolist() == [False]
    found = pieces.update(np.append(np.nan, values[4:]))  # the last four are left out
    assert found == expected
    assert pieces.update(values[:9]) == found


def test_thresholds_need_no_second_simulation_and_are_the_same_each_time(monkeypatch):
    rng = np.random.default_rng(6)
    reference, rows = rng.standard_normal((200, 2)), rng.standard_normal((30, 2))
    for spec in (OnlineMMD(**SINGLE), OnlineCramerVonMises(**SINGLE)):
        one = reference if spec.type == "online_mmd" else reference[:, 0]
        detector, other = spec.fresh(one), spec.fresh(one)
        assert len(detector.thresholds) == 0
        for row in rows:
            detector.update(row[None, : one.ndim])
        other.update(rows[:1, : one.ndim])
        assert np.isfinite(other.thresholds).all()
        assert other.thresholds.tolist() == detector.thresholds.tolist()
        again = spec.fresh(one)
        again.restore(detector.snapshot())
        with monkeypatch.context() as patched:
            patched.setattr(type(again), "_calibrated", None)
            assert again.update(rows[:1, : one.ndim]) == detector.update(rows[:1, : one.ndim])
        assert again.snapshot() == detector.snapshot()
        with pytest.raises(ValueError, match="thresholds for lookbacks"):
            spec.model_copy(update={"lookbacks": (2, 5)}).fresh(one).restore(detector.snapshot())


def test_columns_alike_share_a_simulation():
    rng = np.random.default_rng(7)
    spec = OnlineCramerVonMises(**SINGLE)
    before = _calibrated.cache_info()
    for reference in (rng.standard_normal(300), rng.exponential(size=300), rng.random(300)):
        spec.fresh(reference).update(np.zeros(1))
    after = _calibrated.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 2)


def test_what_it_cannot_use_is_said():
    with pytest.raises(ValidationError, match="increasing"):
        OnlineMMD(lookbacks=(4, 4))
    with pytest.raises(DetectorError, match="one column"):
        OnlineCramerVonMises().fresh(np.zeros((3, 2)))
    with pytest.raises(DetectorError, match="2 columns"):
        OnlineMMD().fresh(np.zeros((3, 2))).update(np.zeros((3, 3)))
    assert "2 rows" not in OnlineMMD().fresh(np.zeros((3, 2))).reason
    assert "480 are needed" in OnlineMMD().fresh(np.zeros((3, 2))).reason
