"""Counted rates under watch: when they page, and when they are verified stable."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.online.ecusum import ECusum, upper_rate
from detectors.online.rates import Rates

SEEN = 50_000
PATIENCE, ALPHA = 720.0, 0.05


def rates(rate, minimum=0.01, rows=SEEN) -> Rates:
    rate = np.atleast_1d(np.asarray(rate, np.float64))
    return Rates(rate, np.full(len(rate), rows), np.full(len(rate), minimum), PATIENCE, ALPHA)


def windows(rng, chances, count: int, rows: int = 500):
    """Hits of `count` windows, of each rate."""
    return rng.binomial(rows, chances, (count, len(chances))).astype(np.float64), np.full(
        len(chances), float(rows)
    )


@pytest.mark.parametrize(("chance", "minimum"), [(0.1, 0.0), (0.1, 0.01), (0.002, 0.0), (0.5, 0.0)])
def test_unchanged_rates_run_on_for_as_long_as_they_should(chance, minimum):
    """The reference is drawn anew for each of 200 rates; at most 1 alarm in A of their windows."""
    rng = np.random.default_rng(2)
    chances, limit = np.full(200, chance), 100.0
    reference = rng.binomial(SEEN, chances) / SEEN
    running = Rates(reference, np.full(200, SEEN), np.full(200, minimum), PATIENCE, ALPHA)
    hits, rows = windows(rng, chances, 600)
    alarms = 0
    for now in hits:
        reached = running.update(now, rows).log_evidence >= np.log(limit)
        alarms += int(reached.sum())
        running.reset(reached)
    assert alarms <= 200 * 600 / limit


@pytest.mark.parametrize(
    ("chance", "after", "most"), [(0.1, 0.15, 4), (0.1, 0.3, 1), (0.0, 0.03, 4), (0.9, 0.95, 4)]
)
def test_a_rise_is_found_within_a_few_windows(chance, after, most):
    running = rates(chance)
    rng = np.random.default_rng(3)
    before, rows = windows(rng, [chance], 50)
    for now in before:
        assert running.update(now, rows).log_evidence[0] < np.log(PATIENCE)
    risen, _ = windows(rng, [after], most)
    for now in risen:
        found = running.update(now, rows)
    assert found.log_evidence[0] > np.log(PATIENCE)
    assert 1 <= found.age[0] <= most


def test_a_rise_by_less_than_matters_is_no_evidence():
    running = rates(0.1, minimum=0.05)
    hits, rows = windows(np.random.default_rng(4), [0.13], 300)
    assert max(running.update(now, rows).log_evidence[0] for now in hits) < np.log(PATIENCE)
    less = rates(0.1, minimum=0.01)
    assert max(less.update(now, rows).log_evidence[0] for now in hits) > np.log(PATIENCE)


def test_a_fall_is_no_evidence():
    running = rates(0.1)
    hits, rows = windows(np.random.default_rng(4), [0.01], 100)
    found = [running.update(now, rows) for now in hits]
    assert max(one.log_evidence[0] for one in found) < 1
    assert {one.effect[0] for one in found} == {0.0}


def test_effect_and_bound_are_of_the_rise():
    """In at most 5% of streams may the bound ever exceed the effect."""
    rng = np.random.default_rng(5)
    chances = np.full(300, 0.2)
    running = rates(np.full(300, 0.1))
    hits, rows = windows(rng, chances, 60)
    wrong = np.zeros(300, np.bool_)
    for now in hits:
        found = running.update(now, rows)
        wrong |= found.lower > 0.1
        assert (found.lower <= found.effect).all()
        assert found.deviation == pytest.approx(now / rows - 0.1)
    assert wrong.mean() <= ALPHA
    assert found.effect == pytest.approx(np.full(300, 0.1), abs=0.02)
    assert found.lower.mean() > 0.08
    assert found.material.all()
    assert (found.age >= 55).all()


def test_unchanged_rates_are_verified_and_those_that_rose_are_not():
    rng = np.random.default_rng(6)
    chances = np.array([0.1, 0.002, 0.5])
    running = rates(chances)
    hits, rows = windows(rng, chances, 60)
    found = [running.update(now, rows) for now in hits]
    assert not found[0].verified.any()
    assert found[-1].verified.all()
    risen, _ = windows(rng, chances + 0.05, 60)
    assert not [running.update(now, rows) for now in risen][-1].verified.any()
    back, _ = windows(rng, chances, 120)
    assert [running.update(now, rows) for now in back][-1].verified.all()


def test_a_rise_that_just_matters_is_seldom_verified_stable():
    rng = np.random.default_rng(7)
    size, count = 100, 400
    running = rates(np.full(size, 0.1))
    limit = upper_rate(np.array([0.1]), np.array([SEEN]))[0] + 0.01
    hits, rows = windows(rng, np.full(size, limit), count)
    times, before = 0, np.zeros(size, np.bool_)
    for now in hits:
        verified = running.update(now, rows).verified
        times += int((verified & ~before).sum())
        before = verified
    assert times <= size * count / PATIENCE


def test_a_window_without_rows_changes_nothing():
    running, other = rates([0.1, 0.2]), rates([0.1, 0.2])
    hits, rows = windows(np.random.default_rng(8), [0.3, 0.2], 5)
    for now in hits:
        running.update(now, rows)
        other.update(now, rows)
        after = other.update(np.zeros(2), np.zeros(2))
        assert np.isnan(after.deviation).all()
    assert running.snapshot() == other.snapshot()
    found = other.update(np.array([0.0, 100.0]), np.array([0.0, 500.0]))
    assert np.isnan(found.deviation).tolist() == [True, False]
    assert found.log_evidence[0] == running.standing().log_evidence[0]


def test_fractions_of_hits_are_losses_and_never_say_more_than_their_rows():
    found = rates(0.3).update(np.array([250.0]), np.array([500.0]))
    rows = ECusum(np.array([0.3]), np.array([SEEN]), np.array([0.01]))
    rows.update(rows.gained(np.full(500, 0.5), np.zeros(500, np.int64)))
    assert 0 < found.log_evidence[0] <= rows.log_evidence[0]
    assert found.effect[0] == pytest.approx(0.2)


def test_what_is_forgotten_is_forgotten_of_some_only():
    running = rates([0.1, 0.1])
    hits, rows = windows(np.random.default_rng(9), [0.2, 0.2], 10)
    for now in hits:
        before = running.update(now, rows)
    running.reset(np.array([True, False]))
    after = running.standing()
    assert (after.log_evidence[0], after.effect[0], after.lower[0], after.age[0]) == (0, 0, 0, 0)
    assert after.log_evidence[1] == before.log_evidence[1]
    assert after.effect[1] == before.effect[1]
    calm, rows = windows(np.random.default_rng(9), [0.1, 0.1], 80)
    for now in calm:
        verified = running.update(now, rows).verified
    assert verified.all()
    running.distrust(np.array([False, True]))
    assert running.standing().verified.tolist() == [True, False]
    assert running.update(calm[0], rows).verified.tolist() == [True, False]


def test_standing_repeats_the_last_window():
    running = rates([0.1, 0.4])
    hits, rows = windows(np.random.default_rng(1), [0.2, 0.4], 8)
    for now in hits:
        last = running.update(now, rows)
    standing = running.standing()
    assert np.isnan(standing.deviation).all()
    for name in ("log_evidence", "effect", "lower", "material", "verified", "age"):
        np.testing.assert_array_equal(getattr(standing, name), getattr(last, name))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.floats(0, 0.2))
def test_a_snapshot_anywhere_changes_nothing(seed, cut, shift):
    rng = np.random.default_rng(seed)
    chances = np.array([0.0, 0.1, 0.6, 1.0])
    hits, rows = windows(rng, np.minimum(chances + shift, 1.0), 30, 200)
    whole, first, second = (rates(chances) for _ in range(3))
    for now in hits:
        whole.update(now, rows)
    for now in hits[:cut]:
        first.update(now, rows)
    second.restore(first.snapshot())
    assert second.snapshot() == first.snapshot()
    for now in hits[cut:]:
        found = second.update(now, rows)
        assert np.isfinite(found.log_evidence).all()
    assert second.snapshot() == whole.snapshot()


def test_a_state_of_other_rates_is_refused():
    state = rates([0.1, 0.2]).snapshot()
    with pytest.raises(ValueError, match="instead of"):
        rates(0.1).restore(state)
    with pytest.raises(ValueError, match=r"."):
        rates([0.1, 0.2]).restore(state[:-4])


def test_no_rates_at_all():
    running = rates([])
    assert len(running) == 0
    found = running.update(np.empty(0), np.empty(0))
    assert len(found.log_evidence) == len(found.verified) == 0
    running.restore(running.snapshot())


def test_impossible_references_are_safe():
    """A rate of 1 cannot rise, one of 0 was perhaps not seen for long."""
    running = Rates(np.array([1.0, 0.0, 0.0]), np.array([1, 1, 10**9]), np.full(3, 0.01), PATIENCE, ALPHA)
    for hits in (0.0, 500.0, 500.0):
        found = running.update(np.full(3, hits), np.full(3, 500.0))
    for name in ("log_evidence", "effect", "lower"):
        assert np.isfinite(getattr(found, name)).all()
    assert found.log_evidence[0] < 1
    assert found.log_evidence[2] > np.log(PATIENCE)
