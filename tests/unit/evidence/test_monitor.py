"""The budget and the delays, simulated: a fast part of benchmarks/evidence.py."""

import numpy as np
import pytest

from benchmarks.evidence import (
    MINIMUM,
    PIT,
    REGIMES,
    delays,
    delays_alone,
    ks_distances,
    monitor,
    null,
    pit_means,
)
from detectors.evidence.alarm import Budget, Tier
from detectors.evidence.baseline import Streams, fit
from detectors.evidence.monitor import Monitor
from detectors.evidence.season import HOUR, Season


@pytest.mark.parametrize("regime", REGIMES)
def test_unchanged_windows_keep_the_budget(regime):
    assert null(regime, runs=1, windows=720)["pages"] <= 1


@pytest.mark.parametrize(
    ("regime", "shift", "gate", "most"),
    [
        ("iid", 0.1, 0.0, 11),
        ("iid", 0.25, MINIMUM, 2),
        ("iid", 0.5, MINIMUM, 1),
        ("autocorrelated", 0.25, 0.0, 68),
        ("seasonal", 0.1, 0.0, 48),
        ("seasonal", 0.25, MINIMUM, 6),
        ("seasonal", 0.5, MINIMUM, 1),
    ],
)
def test_evidence_for_one_stream_in_fifty_comes_in_time(regime, shift, gate, most):
    assert np.median(delays_alone(regime, shift, 200, gate, horizon=70)) <= most


def test_a_shift_of_one_stream_in_fifty_pages_in_time():
    assert np.median(delays("seasonal", 0.25, runs=5, minimum=MINIMUM, horizon=10)) <= 6


def test_unchanged_distances_keep_the_budget_and_a_change_is_found():
    values = ks_distances(np.random.default_rng(0), 400 + 480, 20, rows=100)
    values[-60:, 7] += 0.15
    running, strata = monitor(values, 400, minimum=0.05, distance=True)
    found = [running.update(values[t], int(strata[t]))[1] for t in range(400, len(values))]
    assert not any(decision.page for decision in found[:-60])
    paged = [decision for decision in found if decision.page]
    assert [decision.paged.tolist() for decision in paged] == [[7]]


def shifted(seed=0, regime="seasonal", shift=0.5):
    """672 reference windows, 48 unchanged ones, 96 shifted in streams 1 and 2, and 480 unchanged ones."""
    values = pit_means(np.random.default_rng(seed), regime, 672 + 48 + 96 + 480, 10)
    values[720:816, 1:3] += PIT * shift
    return values


def follow(running, values, strata, start=672):
    return [running.update(values[t], int(strata[t])) for t in range(start, len(values))]


def test_an_incident_from_its_page_to_its_end():
    values = shifted()
    running, strata = monitor(values, 672, MINIMUM)
    found = [decision for _, decision in follow(running, values, strata)]
    pages = [t for t, decision in enumerate(found) if decision.page]
    assert len(pages) == 1
    assert 48 <= pages[0] <= 52
    assert set(np.concatenate([decision.paged for decision in found]).tolist()) == {1, 2}
    closed = [t for t, decision in enumerate(found) if decision.closed]
    assert len(closed) == 1
    assert closed[0] > 48 + 96
    assert (running.alarm.tier == Tier.QUIET).all()


def test_findings_say_how_much_and_since_when():
    values = shifted()[: 672 + 60]
    running, strata = monitor(values, 672, MINIMUM)
    found = follow(running, values, strata)
    evidence, decision = next(pair for pair in found if pair[1].page)
    k = decision.paged[0]
    assert evidence.effect[k] == pytest.approx(PIT * 0.5, abs=0.06)
    assert MINIMUM < evidence.lower[k] < evidence.effect[k]
    assert running.alarm.since[k] == 48


def test_a_short_history_gives_tickets_only():
    values = shifted()
    running, strata = monitor(values, 672, MINIMUM)
    assert running.alarm.able.all()
    short, _ = monitor(values[400:], 272, MINIMUM)
    found = [decision for _, decision in follow(short, values, strata)]
    assert not any(decision.page for decision in found)
    assert {1, 2} <= set(np.concatenate([decision.ticketed for decision in found]).tolist())


def test_a_new_reference_ends_it():
    values = shifted()
    running, strata = monitor(values, 672, MINIMUM)
    follow(running, values[:780], strata)
    assert running.alarm.opened is not None
    accepted = values.copy()
    accepted[:, 1:3] += PIT * 0.5
    season = Season(HOUR)
    again = Monitor(
        Budget(), season, fit(Streams.of(list("abcdefghij"), MINIMUM), accepted[:672], strata[:672], 48)
    )
    found = [decision for _, decision in follow(again, values[:816], strata, 720)]
    assert not any(decision.page for decision in found)


@pytest.mark.parametrize("cut", [49, 150])
def test_a_snapshot_in_between_changes_nothing(cut):
    values = shifted()[: 672 + 200]
    values[700:740:3, 4] = np.nan
    whole, strata = monitor(values, 672, MINIMUM)
    first, second = (monitor(values, 672, MINIMUM)[0] for _ in range(2))
    expected = follow(whole, values, strata)
    follow(first, values[: 672 + cut], strata)
    second.restore(first.snapshot())
    found = follow(second, values, strata, 672 + cut)
    assert second.snapshot() == whole.snapshot()
    assert [d.log_mean for _, d in found] == [d.log_mean for _, d in expected[cut:]]
    assert [d.page for _, d in found] == [d.page for _, d in expected[cut:]]
