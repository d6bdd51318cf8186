import numpy as np
import pytest

from detectors.online.adwin import Adwin
from detectors.online.spec import Moments


def events(values):
    return Moments(np.ones(len(values)), values, np.zeros(len(values)))


def cuts(values, delta):
    """Whether any cut of the paper differs, all cuts of at least 5 values tried one by one."""
    n = len(values)
    log = np.log(2 * max(np.log(n), 1) / delta)
    for k in range(5, n - 4):
        m = 1 / (1 / k + 1 / (n - k))
        allowed = np.sqrt(2 / m * values.var() * log) + 2 / (3 * m) * log
        if abs(values[:k].mean() - values[k:].mean()) > allowed:
            return True
    return False


def test_without_joined_buckets_it_is_the_definition():
    rng = np.random.default_rng(0)
    spec = Adwin(delta=0.05, buckets=64)
    for shift in (0.0, 0.45, 0.6):
        detector, kept = spec.fresh(Moments.none(1)), np.empty(0)
        for i in range(64):
            x = rng.random() * 0.4 + shift * (i >= 30)
            standing = detector.update(events(np.array([x])))
            kept = np.append(kept, x)
            assert standing.drift[0] == cuts(kept, 0.05)
            while cuts(kept, 0.05):
                kept = kept[1:]
            assert detector.mean[0] == pytest.approx(kept.mean())
            assert standing.age[0] == len(kept)
        assert (len(kept) < 64) == (shift > 0)


def test_a_window_of_rows_counts_as_its_rows():
    """One element of many rows finds what its rows would, were they fed one by one, at the window's end."""
    rng = np.random.default_rng(1)
    rows = (rng.random((40, 60, 2)) < np.where(np.arange(40) < 20, 0.1, 0.3)[:, None, None]).astype(float)
    whole, single = Adwin().fresh(Moments.none(2)), Adwin().fresh(Moments.none(2))
    found = {"whole": np.full(2, -1), "single": np.full(2, -1)}
    for i, window in enumerate(rows):
        one = whole.update(Moments.of_rates(window.sum(axis=0), np.full(2, 60)))
        other = np.logical_or.reduce([single.update(events(row)).drift for row in window])
        for name, drift in (("whole", one.drift), ("single", other)):
            found[name] = np.where(drift & (found[name] < 0), i, found[name])
    assert (found["whole"] >= 20).all()
    assert np.abs(found["whole"] - found["single"]).max() <= 1


def test_no_false_alarm_short_delays_and_bounded_memory():
    rng = np.random.default_rng(2)
    detector, found = Adwin().fresh(Moments.none(50)), np.full(50, np.inf)
    for i in range(1800):
        standing = detector.update(events((rng.random(50) < (0.1 if i < 1200 else 0.3)).astype(float)))
        if i < 1200:
            assert not standing.drift.any()
        found[standing.drift & np.isinf(found)] = i - 1200
    assert np.median(found) < 200
    assert len(detector._level) <= 6 * np.log2(1800)
    assert detector.mean == pytest.approx(0.3, abs=0.08)


def test_streams_do_not_change_each_other():
    rng = np.random.default_rng(3)
    many, few = Adwin().fresh(Moments.none(4)), Adwin().fresh(Moments.none(2))
    for i in range(400):
        x = rng.random(4) + np.array([0, 1, 2, -1]) * (i >= 200)
        x[i % 7 == 0] = np.nan
        both, some = many.update(Moments.of_values(x)), few.update(Moments.of_values(x[:2]))
        for name in ("ready", "drift", "statistic", "threshold", "age"):
            assert getattr(both, name)[:2].tolist() == getattr(some, name).tolist()
    assert (many.update(events(np.zeros(4))).age < 380).sum() >= 3


def test_direction():
    rng = np.random.default_rng(4)
    sides = [Adwin(direction=side).fresh(Moments.none(2)) for side in ("both", "up", "down")]
    found = []
    for i in range(300):
        x = rng.random(2) * 0.3 + np.array([0.6, -0.6]) * (i >= 150)
        found.append([each.update(events(x)).drift for each in sides])
    assert np.any(found, axis=0).tolist() == [[True, True], [True, False], [False, True]]


def test_a_reset_stream_starts_anew():
    detector = Adwin().fresh(Moments.none(2))
    for _ in range(20):
        detector.update(events(np.array([0.0, 0.0])))
    detector.reset(np.array([True, False]))
    assert np.isnan(detector.mean).tolist() == [True, False]
    for _ in range(20):
        standing = detector.update(events(np.array([1.0, 1.0])))
        assert not standing.drift[0]
    assert standing.age[0] == 20
