"""False alarms of a policy by simulation, and the smallest shifts it finds."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import scipy.stats

from detectors.evidence.alarm import Budget
from detectors.evidence.season import DAY, HOUR, Season
from detectors.watch.backtest import (
    Days,
    FalseAlarms,
    Shuffle,
    deviations,
    false_alarms,
    smallest_shifts,
)
from detectors.watch.history import Row
from detectors.watch.streams import Stream, TableStreams
from detectors.watch.watch import Watch
from tests.unit.pipeline.service import reference
from tests.unit.watch.readings import LEAST, MONDAY, RATES, VALUES, days, reading

DAILY = Season(DAY)
HOURLY = Season(HOUR)


def watch() -> Watch:
    return Watch(Budget(), DAILY, VALUES, RATES, LEAST)


def hourly(hours: int) -> list[Row]:
    rng = np.random.default_rng(0)
    return [Row(MONDAY + hour * HOUR, {"": reading(rng, 10)}) for hour in range(hours)]


def test_days_are_drawn_among_their_kind_and_keep_their_time():
    cut = Days.of(hourly(14 * 24), HOURLY)
    drawn = list(islice(cut.drawn(np.random.default_rng(1)), 21 * 24))
    starts = np.array([row.start for row in drawn])
    assert (np.diff(starts) == HOUR).all()
    own = {id(row.readings): row.start for row in hourly_of(cut)}
    was = np.array([own[id(row.readings)] for row in drawn])
    assert (HOURLY.of(was) == HOURLY.of(starts)).all()
    assert len(set(was.tolist())) < len(was)


def hourly_of(cut: Days) -> list[Row]:
    return [row for each in cut.kinds.values() for day in each for row in day]


def test_history_is_enough_with_what_a_page_needs():
    assert Days.of(hourly(14 * 24), HOURLY).enough
    assert not Days.of(hourly(14 * 24 - 1), HOURLY).enough
    assert not Days.of(
        [row for row in hourly(30 * 24) if HOURLY.of(np.array([row.start]))[0] < 24], HOURLY
    ).enough
    assert Days.of(days(0, 28), DAILY).enough
    assert not Days.of(days(0, 27), DAILY).enough


def test_unchanged_days_give_few_alarms_and_the_same_at_every_run():
    cut = Days.of(days(0, 60), DAILY)
    found = [false_alarms(watch, cut, 5, np.random.default_rng(2)) for _ in range(2)]
    assert found[0] == found[1]
    assert (found[0].runs, found[0].windows, found[0].days) == (5, 150, 150.0)
    assert found[0].pages <= 5


def test_a_budget_spent_freely_gives_alarms():
    rows = days(0, 60)
    calm = false_alarms(watch, Days.of(rows, DAILY), 3, np.random.default_rng(0))
    eager = Budget(false_pages_per_month=29.0, false_tickets_per_month=29.0)
    loud = false_alarms(
        lambda: Watch(eager, DAILY, VALUES, RATES, dict.fromkeys(LEAST, 0.0)),
        Days.of(rows, DAILY),
        3,
        np.random.default_rng(0),
    )
    assert loud.pages + loud.tickets > calm.pages + calm.tickets


def test_monthly_rates_have_poisson_intervals():
    rate, low, high = FalseAlarms(20, 100, 600.0, 3, 0).monthly(3)
    assert rate == pytest.approx(0.15)
    assert low == pytest.approx(scipy.stats.chi2.ppf(0.025, 6) / 40)
    assert high == pytest.approx(scipy.stats.chi2.ppf(0.975, 8) / 40)
    assert FalseAlarms(20, 100, 600.0, 0, 0).monthly(0)[:2] == (0.0, 0.0)


def test_shuffled_windows_look_like_all_of_them_together():
    rng = np.random.default_rng(0)
    columns = {"x": rng.normal(size=2000).tolist(), "plan": rng.choice(["a", "b"], 2000).tolist()}
    summary = reference(columns).summary
    streams = TableStreams(summary)
    shuffle = Shuffle(streams, summary.table.zero())
    shuffle.add(summary)
    read = [shuffle.draw(rng, 100) for _ in range(400)]
    at = {stream: k for k, stream in enumerate(streams.values)}
    location = np.array([one.values[at[Stream("x", "location")]] for one in read])
    assert abs(location.mean()) < 4 * 0.2887 / 200
    assert location.std() == pytest.approx(0.02887, rel=0.15)
    assert {int(one.rows[0]) for one in read} == {100}


def test_the_smallest_shift_is_where_a_watch_begins_to_page():
    running = watch()
    rows = days(0, 28)
    running.remember(rows)
    assert running.fitted is not None
    shifts = {one.key: one for one in smallest_shifts(running.fitted, Budget(), DAILY, LEAST)}
    assert set(shifts) == set(running.fitted.keys)
    # Of a day's window there is one; a single window cannot show that a small shift matters.
    hit = next(key for key in shifts if key.subject == "a" and key.statistic == "missing")
    assert shifts[hit].able
    least = shifts[hit].shift
    assert least is not None
    for factor, pages in ((1.05, True), (0.95, False)):
        again = watch()
        again.remember(rows)
        quiet = reading(np.random.default_rng(5), 5000)
        at = RATES.index(Stream("a", "missing"))
        values = np.zeros(len(VALUES))
        values[-1] = np.median([row.readings[""].values[-1] for row in rows])
        rate = float(running.fitted.rate[0, at])
        hits = running.fitted.rate[0] * 5000
        hits[at] = (rate + factor * least) * 5000
        shifted = type(quiet)(values, quiet.counts, hits, quiet.rows)
        decision = again.update(rows[-1].start + DAY, {"": shifted}).decision
        assert decision is not None
        assert decision.page is pages


def test_a_smaller_budget_finds_only_larger_shifts():
    rng = np.random.default_rng(0)
    running = Watch(Budget(), HOURLY, VALUES, RATES, LEAST)
    running.remember([Row(MONDAY + h * HOUR, {"": reading(rng, 500)}) for h in range(14 * 24)])
    assert running.fitted is not None
    one, ten = (smallest_shifts(running.fitted, Budget(), HOURLY, LEAST, share) for share in (1.0, 10.0))
    for usual, shared in zip(one, ten, strict=True):
        assert usual.shift is not None
        assert shared.shift is not None
        assert LEAST[Stream(*usual.key[1:])] / 2 < usual.shift <= shared.shift < 1
    assert any(usual.shift != shared.shift for usual, shared in zip(one, ten, strict=True))


def test_a_shift_of_ranks_in_standard_deviations():
    x = np.random.default_rng(0).normal(50, 7, 20_000)
    numbers = reference({"x": x.tolist(), "one": [1.0] * len(x)}).summary.numbers
    sigma = deviations(numbers, "x", 0.02)
    assert sigma == pytest.approx(0.02 / 0.2821, rel=0.05)  # 1 / (2 sqrt(pi)) a standard deviation
    moved = deviations(numbers, "x", 0.2)
    expected = scipy.stats.norm.ppf(0.7) * np.sqrt(2)
    assert moved == pytest.approx(expected, rel=0.05)
    assert deviations(numbers, "x", 0.5001) is None
    assert deviations(numbers, "one", 0.02) is None
