import numpy as np
import pytest
from scipy import stats

from detectors.base import DetectorError
from detectors.online.page_hinkley import PageHinkley
from detectors.online.spec import Moments


def known(rows, size=1, mean=0.0, variance=1.0):
    return Moments(np.full(size, float(rows)), np.full(size, mean), np.full(size, variance))


def moments(rows):
    return Moments(np.full(rows.shape[1], float(len(rows))), rows.mean(axis=0), rows.var(axis=0))


@pytest.mark.parametrize(
    ("reference", "rows", "shift", "direction"),
    [
        (8, 1, 1.0, "both"),
        (1000, 1, 0.5, "both"),
        (100, 40, 1.0, "both"),
        (30, 5, 2.0, "up"),
        (0, 20, 1.0, "down"),
    ],
)
def test_the_run_length_is_the_wished_one_however_short_the_reference(reference, rows, shift, direction):
    rng = np.random.default_rng(0)
    size, wished = 400, 100
    before = rng.standard_normal((reference, size)) * 3 + 5
    start = moments(before) if reference else known(0, size)
    detector = PageHinkley(run_length=wished, shift=shift, direction=direction).fresh(start)
    count, windows = 0, 1000
    for _ in range(windows):
        drift = detector.update(moments(rng.standard_normal((rows, size)) * 3 + 5)).drift
        count += drift.sum()
        detector.reset(drift)
    assert size * windows / count == pytest.approx(wished, rel=0.06)


def test_its_surprise_is_students_test_of_each_value_against_all_before():
    rng = np.random.default_rng(1)
    x = rng.standard_normal(12)
    detector = PageHinkley(shift=1.0).fresh(known(0))
    up = down = 0.0
    for i, each in enumerate(x):
        standing = detector.update(Moments.of_values(x[[i]]))
        if i >= 2:
            before = x[:i]
            t = (each - before.mean()) / (before.std(ddof=1) * np.sqrt(1 + 1 / i))
            q = stats.norm.ppf(stats.t.cdf(t, i - 1))
            up, down = max(up + q - 0.5, 0), max(down - q - 0.5, 0)
            assert standing.statistic[0] == pytest.approx(max(up, down))


def test_windows_absorb_as_their_rows_would():
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((10, 30, 2)) * 4 + 1e3
    detector = PageHinkley().fresh(moments(rows[0]))
    for window in rows[1:]:
        detector.update(moments(window))
    everything = rows.reshape(-1, 2)
    found = detector._mean * detector._unit + detector._center
    assert found == pytest.approx(everything.mean(axis=0))
    assert detector._squares / 300 * detector._unit**2 == pytest.approx(everything.var(axis=0))


def test_delays_directions_and_age():
    rng = np.random.default_rng(3)
    sides = {side: PageHinkley(direction=side).fresh(known(100_000, 2)) for side in ("both", "up", "down")}
    found = {side: np.full(2, 999) for side in sides}
    ages = {}
    for i in range(60):
        rows = rng.standard_normal((100, 2)) + np.array([0.2, -0.2]) * (i >= 20)
        for side, detector in sides.items():
            standing = detector.update(moments(rows))
            first = standing.drift & (found[side] == 999)
            found[side] = np.where(first, i, found[side])
            ages[side] = np.where(first, standing.age, ages.get(side, 0))
    assert ((found["both"] >= 20) & (found["both"] <= 28)).all()
    assert np.abs(found["both"] - ages["both"] + 1 - 20).max() <= 4
    assert (found["up"] < 999).tolist() == [True, False]
    assert (found["down"] < 999).tolist() == [False, True]


def test_a_constant_reference_is_left_by_any_change_but_not_by_rounding():
    detector = PageHinkley().fresh(known(1000, 2, mean=0.3, variance=0.0))
    for _ in range(50):
        standing = detector.update(Moments(np.full(2, 10.0), np.array([0.3, 0.3 + 1e-16]), np.zeros(2)))
        assert not standing.drift.any()
    standing = detector.update(Moments(np.full(2, 10.0), np.array([0.3, 0.31]), np.zeros(2)))
    assert standing.drift.tolist() == [False, True]


def test_what_it_cannot_use_is_said():
    with pytest.raises(DetectorError, match="K streams"):
        PageHinkley().fresh(Moments(np.ones(2), np.ones(3), np.ones(3)))
    fresh = PageHinkley().fresh(known(0))
    assert not fresh.update(Moments.of_values(np.array([np.nan]))).ready.any()
    with pytest.raises(ValueError, match="instead of"):
        fresh.restore(PageHinkley().fresh(known(0, 2)).snapshot())
