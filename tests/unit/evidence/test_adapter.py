from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.evidence import PIT, first_evidence, pit_means
from detectors.base import DetectorError
from detectors.evidence.adapter import Adapter
from detectors.evidence.baseline import Streams, fit
from detectors.evidence.confidence import half_width

SIZE, REFERENCE, LIVE = 6, 480, 50
STRATA = np.arange(REFERENCE + LIVE) % 24


def data(seed=0, holes=0.0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((REFERENCE + LIVE, SIZE))
    for t in range(1, len(x)):
        x[t] += 0.5 * x[t - 1]
    x += np.sin(STRATA)[:, None]
    x[REFERENCE + 20 :, 0] += 3
    x[:, 1] = np.abs(x[:, 1])
    x[rng.random(x.shape) < holes] = np.nan
    return x


def streams(order=range(SIZE)):
    distance = np.array([False, True, False, False, False, False])
    return Streams.of([f"x{k}" for k in order], 0.5, distance[list(order)])


def adapter(x, order=range(SIZE)):
    return Adapter(fit(streams(order), x[:REFERENCE], STRATA[:REFERENCE], 24), 720)


def run(running, x, start=REFERENCE):
    return [running.update(x[t], int(STRATA[t])) for t in range(start, len(x))]


def same(one, other):
    return all(
        np.array_equal(a, b, equal_nan=True) for a, b in zip(astuple(one), astuple(other), strict=True)
    )


def test_one_stream_by_hand():
    """The steps, one number at a time."""
    x = data()
    running = adapter(x)
    base, k = running.baseline, 0
    residuals = []  # of the last reference windows, the latest first
    for t in range(REFERENCE - 1, REFERENCE - 4, -1):
        m = base.counts[STRATA[t], k]
        residuals.append((x[t, k] - base.mean[STRATA[t], k]) * np.sqrt(m / (m - 1)))
    logs = np.zeros(10)
    ar = base.ar[:, k]
    shown = np.maximum([1.0, 1 - ar[0], 1 - ar[0] - ar[1], 0.0], 1 - ar.sum())
    first, ages = np.array([0.25, 0.5, 1, 2, 4] * 2), np.zeros(10, int)
    signs = np.repeat([1, -1], 5)
    for t in range(REFERENCE, len(x)):
        evidence = running.update(x[t], int(STRATA[t]))
        m = base.counts[STRATA[t], k]
        r = (x[t, k] - base.mean[STRATA[t], k]) / np.sqrt(1 + 1 / m)
        v = r - base.ar[:, k] @ residuals[:3]
        residuals.insert(0, r)
        z = np.clip(v / base.unit[k], -12, 12)
        ages[logs <= 0] = 0
        bets = [bet * (shown[min(age, 3)] if bet > 1 else 1) for bet, age in zip(first, ages, strict=True)]
        ages, bets = ages + 1, np.array(bets)
        logs = np.maximum(logs, 0) + bets * (signs * z - base.charge[k]) - bets**2 / 2
        assert evidence.log_evidence[k] == pytest.approx(np.log(np.exp(logs).mean()))
    assert evidence.log_evidence[k] > 10


@settings(max_examples=6)
@given(st.integers(0, 50), st.integers(1, LIVE - 1))
def test_a_snapshot_in_between_changes_nothing(seed, cut):
    x = data(seed, holes=0.1)
    whole, first, second = adapter(x), adapter(x), adapter(x)
    expected = run(whole, x)
    run(first, x[: REFERENCE + cut])
    second.restore(first.snapshot())
    found = run(second, x, REFERENCE + cut)
    assert all(same(a, b) for a, b in zip(found, expected[cut:], strict=True))
    assert second.snapshot() == whole.snapshot()


@settings(max_examples=6)
@given(st.permutations(range(SIZE)))
def test_the_order_of_streams_does_not_matter(order):
    x = data(holes=0.1)
    plain, permuted = run(adapter(x), x), run(adapter(x[:, order], order), x[:, order])
    for one, other in zip(plain, permuted, strict=True):
        for a, b in zip(astuple(one), astuple(other), strict=True):
            assert b == pytest.approx(a[list(order)], nan_ok=True)


def test_a_stream_is_untouched_by_what_others_miss():
    x = data()
    holed = x.copy()
    holed[REFERENCE + 5 : REFERENCE + 30, 3] = np.nan
    holed[REFERENCE + 7, 4] = -np.inf
    plain, missed = run(adapter(x), x), run(adapter(x), holed)
    others = [0, 1, 2, 5]
    for one, other in zip(plain, missed, strict=True):
        assert np.array_equal(one.log_evidence[others], other.log_evidence[others])
        assert np.isfinite(other.log_evidence).all()
    assert missed[20].log_evidence[3] == missed[4].log_evidence[3]
    assert np.isnan(missed[20].deviation[3])
    # After the gap the stream goes on as before it: no alarm, and new evidence.
    assert max(e.log_evidence[3] for e in missed) < np.log(720)
    assert missed[-1].log_evidence[3] != missed[4].log_evidence[3]


@pytest.mark.parametrize("holes", [0.3, 0.7])
def test_streams_with_gaps_raise_no_alarm(holes):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((672 + 400, 200))
    for t in range(1, len(x)):
        x[t] += 0.8 * x[t - 1]
    x[rng.random(x.shape) < holes] = np.nan
    strata = np.arange(len(x)) % 24
    base = fit(Streams.of([str(k) for k in range(200)]), x[:672], strata[:672], 24)
    running = Adapter(base, 720)
    found = [running.update(x[t], int(strata[t])).log_evidence for t in range(672, len(x))]
    reached = (np.array(found) >= np.log(720)).any(axis=0).mean()
    assert reached < 400 / 720 / 10


def test_constant_streams_are_safe():
    x = np.tile([0.1, 0.0, 5.0, 0.1 + 0.2], (300, 1))
    base = fit(Streams.of("abcd", [0.02, 0.0, 0.0, 0.02]), x, np.zeros(300, int), 1)
    running = Adapter(base, 720)
    for _ in range(100):
        evidence = running.update(x[0] + [1e-17, 0.0, 1e-15, -1e-16], 0)
    assert (evidence.log_evidence <= 0).all()
    assert evidence.verified.tolist() == [True, False, False, True]
    # Less than a twelfth of what matters is noise; what matters is found; with no minimum any move is.
    for _ in range(3):
        evidence = running.update(x[0] + [0.001, 0.001, 0.001, 0.1], 0)
    assert evidence.log_evidence[0] < 0
    assert (evidence.log_evidence[[1, 2, 3]] > 10).all()
    assert evidence.material.tolist() == [False, True, True, True]
    assert all(np.isfinite(field).all() for field in astuple(evidence))


def test_huge_and_tiny_streams_are_safe():
    x = data()
    for scale in (1e300, 1e-300):
        running = Adapter(
            fit(Streams.of([str(k) for k in range(SIZE)]), x[:REFERENCE] * scale, STRATA[:REFERENCE], 24), 720
        )
        found = run(running, x * scale)[-1]
        assert found.log_evidence[0] > 10
        assert all(np.isfinite(field).all() for field in astuple(found))


@pytest.mark.parametrize("phi", [0.0, 0.8, -0.5])
def test_the_bound_lies_below_the_effect_and_comes_close(phi):
    rng = np.random.default_rng(7)
    size, live, effect = 300, 200, 2.0
    x = rng.standard_normal((672 + live, size))
    for t in range(1, len(x)):
        x[t] += phi * x[t - 1]
    x[672 + 20 :] += effect
    base = fit(Streams.of([str(k) for k in range(size)]), x[:672], np.zeros(672, int), 1)
    running = Adapter(base, 720)
    bounds = np.array([running.update(row, 0).lower for row in x[672:]])
    assert (bounds[20:] > effect).any(axis=0).mean() <= 0.05
    noise = 1 / (1 - phi) * half_width(np.array([180]), 0.05)[0]
    assert np.median(bounds[-1]) > effect - 2.5 * noise


def test_a_shift_in_the_first_window_is_found_as_soon_as_any_other():
    """The first windows are judged by the last of the reference, which they resemble."""
    values = pit_means(np.random.default_rng(2000), "autocorrelated", 672 + 48, 300)
    values[672:] += PIT * 0.5
    assert np.median(first_evidence(values, 672, quiet=0)) <= 6


def test_a_fall_has_a_negative_effect():
    x = data()
    x[REFERENCE:, 2] -= 4
    found = run(adapter(x), x)[-1]
    assert found.effect[2] == pytest.approx(-4, abs=1)
    assert 2 < found.lower[2] < 4
    assert found.age[2] == LIVE


def test_distances_only_rise():
    rng = np.random.default_rng(9)
    x = rng.rayleigh(0.03, (600, 2))
    x[500:] *= [0.1, 4.0]
    base = fit(Streams.of("ab", 0.02, True), x[:480], np.zeros(480, int), 1)
    running = Adapter(base, 720)
    evidence = [running.update(row, 0) for row in x[480:]][-1]
    assert evidence.log_evidence[0] < 0
    assert evidence.log_evidence[1] > 20
    assert evidence.material.tolist() == [False, True]
    assert 0.05 < evidence.lower[1] < evidence.effect[1] < 0.2


def test_a_stratum_without_history_says_nothing():
    x = data()
    base = fit(streams(), x[:REFERENCE], STRATA[:REFERENCE], 48)
    evidence = Adapter(base, 720).update(x[REFERENCE] + 100, 30)
    assert (evidence.log_evidence == 0).all()


def test_what_does_not_fit_is_refused():
    x = data()
    running = adapter(x)
    with pytest.raises(DetectorError, match="6 streams"):
        running.update(x[0, :3], 0)
    with pytest.raises(DetectorError, match="stratum 24"):
        running.update(x[0], 24)
    before = running.snapshot()
    narrow = Adapter(fit(Streams.of("a"), x[:REFERENCE, :1], STRATA[:REFERENCE], 24), 720)
    with pytest.raises(ValueError, match="instead of"):
        running.restore(narrow.snapshot())
    with pytest.raises(ValueError, match="damaged"):
        running.restore(before[:50])
    assert running.snapshot() == before
