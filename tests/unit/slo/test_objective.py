"""Budgets and burn rates against a computation of their own, over random events with late labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observer.slo import ObjectiveSpec
from observer.slo.forecast import exhaustion
from observer.slo.objective import PARTS, PERIOD_PARTS, Objective, alert_rules

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
BEGIN = 1_700_000_000_000 // DAY * DAY


def spec(**given) -> ObjectiveSpec:
    given.setdefault("indicator", {"type": "correct"})
    given.setdefault("target", 0.9)
    return ObjectiveSpec.model_validate(given)


@dataclass(frozen=True)
class Event:
    time: int
    arrival: int
    good: bool
    corrected: int | None
    """When a second label says the opposite."""


events = st.lists(
    st.builds(
        lambda age, delay, good, again: Event(
            BEGIN + age, BEGIN + age + delay, good, None if again is None else BEGIN + age + delay + again
        ),
        st.integers(0, 40 * DAY),
        st.one_of(st.just(0), st.integers(0, 2 * HOUR), st.integers(0, 20 * DAY)),
        st.booleans(),
        st.none() | st.integers(1, 5 * DAY),
    ),
    max_size=60,
)


def feed(objective: Objective, log: list[Event], now: int, order: np.random.Generator) -> None:
    """Labels in the order of their arrival, in batches, time going on meanwhile."""
    told = []
    for event in log:
        told.append((event.arrival, event.time, event.good, 1))
        if event.corrected is not None:
            told.append((event.corrected, event.time, event.good, -1))
            told.append((event.corrected, event.time, not event.good, 1))
    told = sorted((one for one in told if one[0] <= now), key=lambda one: one[0])
    cuts = np.sort(order.integers(0, len(told) + 1, size=4)) if told else []
    for part in np.split(np.arange(len(told)), cuts):
        rows = [told[i] for i in part]
        if not rows:
            continue
        arrival, time, good, sign = (np.array(column) for column in zip(*rows, strict=True))
        objective.count(time, arrival, good.astype(bool), sign)
        objective.advance(int(arrival.max()))
    objective.advance(now)


def expected(pairs: list[tuple[int, bool]], now: int, window: int, parts: int) -> tuple[int, int]:
    """Good and total of those in the window, by its definition alone."""
    unit = window // parts
    first = (now - window) // unit + 1
    inside = [good for time, good in pairs if time // unit >= first]
    return sum(inside), len(inside)


@given(events, st.integers(0, 45 * DAY), st.integers(0, 2**32 - 1))
def test_budget_and_burn_rates_are_those_of_the_events(log, age, seed):
    now = BEGIN + age
    objective = Objective("m", "o", spec(), HOUR)
    feed(objective, log, now, np.random.default_rng(seed))
    known = [one for one in log if one.arrival <= now]
    by_prediction = [
        (one.time, (not one.good) if one.corrected is not None and one.corrected <= now else one.good)
        for one in known
    ]
    by_arrival = [(one.arrival, one.good) for one in known]
    by_arrival += [(one.corrected, not one.good) for one in known if one.corrected and one.corrected <= now]
    standing = objective.standing()

    good, total = expected(by_prediction, now, 30 * DAY, PERIOD_PARTS)
    assert (standing.good, standing.total) == (good, total)
    if total:
        assert standing.remaining == pytest.approx(1 - (total - good) / total / 0.1)
    else:
        assert standing.remaining is None
    rates = {one.window: one for one in standing.burn}
    assert list(rates) == [5 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 6 * HOUR, DAY, 3 * DAY, 30 * DAY]
    for window, rate in rates.items():
        good, total = expected(by_arrival, now, window, PERIOD_PARTS if window == 30 * DAY else PARTS)
        assert rate.events == total
        assert rate.rate == (pytest.approx((total - good) / total / 0.1) if total else None)
    for alert in standing.alerts:
        short, long = rates[alert.short].rate or 0, rates[alert.long].rate or 0
        assert alert.firing == (short > alert.factor and long > alert.factor)
    whole = expected(by_arrival, now, 30 * DAY, PERIOD_PARTS)
    assert (objective.arrived.good, objective.arrived.total) == whole
    assert (objective.news.good, objective.news.total) == (
        sum(good for _, good in by_arrival),
        len(by_arrival),
    )


@given(events, st.integers(0, 45 * DAY), st.integers(0, 2**32 - 1))
def test_a_restart_changes_nothing(log, age, seed):
    one, other = (Objective("m", "o", spec(), HOUR) for _ in range(2))
    random = np.random.default_rng(seed)
    half = [event for event in log if random.random() < 0.5]
    rest = [event for event in log if event not in half]
    feed(one, half, BEGIN + age // 2, np.random.default_rng(seed))
    other.restore(one.to_bytes())
    assert other.standing() == one.standing()
    for objective in (one, other):
        feed(objective, rest, BEGIN + age, np.random.default_rng(seed))
    assert other.standing() == one.standing()


def test_since_when_it_burns_stays_through_a_restart_and_ends_with_the_burning():
    objective, since, seen = Objective("m", "o", spec(target=0.99), HOUR), None, set()
    for minute in range(0, 15 * 60, 5):
        now = BEGIN + minute * MINUTE
        times = np.full(50, now)
        good = np.full(50, not 120 <= minute < 180)
        objective.count(times, times, good, np.ones(50, np.int64))
        objective.advance(now)
        standing = objective.standing()
        firing = any(alert.firing for alert in standing.alerts)
        since = (since or now) if firing else None
        assert standing.since == since
        seen.add(since)
        saved, objective = objective.to_bytes(), Objective("m", "o", spec(target=0.99), HOUR)
        objective.restore(saved)
    # Six clean hours later even the slowest rule is at rest.
    assert seen == {None, BEGIN + 120 * MINUTE}
    assert objective.standing().since is None


def test_another_indicator_under_the_same_name_begins_anew():
    one = Objective("m", "o", spec(), HOUR)
    now = np.array([BEGIN])
    one.count(now, now, np.array([True]), np.array([1]))
    changed = Objective("m", "o", spec(segment="country=DE"), HOUR)
    changed.restore(one.to_bytes())
    assert changed.standing().total == 0
    retargeted = Objective("m", "o", spec(target=0.5), HOUR)
    retargeted.restore(one.to_bytes())
    assert retargeted.standing().total == 1


windows = st.lists(
    st.tuples(st.integers(0, 200), st.booleans(), st.integers(1, 1000)), min_size=1, max_size=40
)


@given(windows, st.integers(0, 2**32 - 1))
def test_a_window_counts_as_it_was_last_said(said, seed):
    quality = spec(indicator={"type": "quality", "metric": "roc_auc", "at_least": 0.8})
    one, repeated = (Objective("m", "o", quality, HOUR) for _ in range(2))
    last = {}
    for hour, good, rows in said:
        start = BEGIN + hour * HOUR
        last[hour] = (rows if good else 0, rows)
        one.set("1", start, start + HOUR, *last[hour])
    order = np.random.default_rng(seed).permutation(len(last))
    hours = list(last)
    for hour in [*(hours[i] for i in order), *hours]:
        start = BEGIN + hour * HOUR
        repeated.set("1", start, start + HOUR, *last[hour])
    now = BEGIN + 201 * HOUR
    one.advance(now)
    repeated.advance(now)
    wanted = tuple(sum(column) for column in zip(*last.values(), strict=True))
    assert (one.budget.good, one.budget.total) == wanted
    assert (repeated.budget.good, repeated.budget.total) == wanted
    assert (repeated.news.good, repeated.news.total) == wanted


def test_a_window_said_again_after_it_left_the_budget_is_not_counted():
    quality = spec(indicator={"type": "quality", "metric": "roc_auc", "at_least": 0.8}, window="7d")
    one = Objective("m", "o", quality, HOUR)
    one.set("1", BEGIN, BEGIN + HOUR, 5, 10)
    one.advance(BEGIN + 8 * DAY)
    assert one.marks == {}
    one.set("1", BEGIN, BEGIN + HOUR, 10, 10)
    assert (one.budget.total, one.news.total) == (0, 10)


def test_a_calendar_budget_begins_anew():
    one = Objective("m", "o", spec(calendar="day", time_zone="Asia/Kathmandu"), HOUR)
    midnight = BEGIN + DAY - (5 * 60 + 45) * MINUTE  # of the next day there
    for time, good in ((midnight - 1, False), (midnight, True), (midnight + MINUTE, True)):
        now = np.array([time])
        one.count(now, now, np.array([good]), np.array([1]))
    one.advance(midnight - 1)
    assert (one.standing().good, one.standing().total) == (2, 3)
    one.advance(midnight + HOUR)
    standing = one.standing()
    assert (standing.good, standing.total) == (2, 2)
    assert (standing.start, standing.end) == (midnight, midnight + DAY)
    assert standing.remaining == 1


def test_a_constant_error_ratio_alerts_when_the_long_window_has_had_its_share():
    """Events a minute apart; from some hour on all fail: the hour fills with errors.

    With a target of 99% an error ratio of 1 burns at 100; the hour's burn passes 14.4 after 8.64 minutes.
    """
    one = Objective("m", "o", spec(target=0.99, indicator={"type": "latency", "within": "1s"}), HOUR)
    fired = None
    for minute in range(6 * 60 + 30):
        time = BEGIN + minute * MINUTE
        now = np.array([time])
        one.count(now, now, np.array([minute < 6 * 60]), np.array([1]))
        one.advance(time)
        if one.standing().severity == "page" and fired is None:
            fired = minute - 6 * 60 + 1
    assert fired == 9


@pytest.mark.parametrize(
    ("name", "period", "factors"),
    [("google-30d", 30, (14.4, 6, 3, 1)), ("pyrra-28d", 28, (14, 7, 2, 1))],
)
def test_the_packaged_burn_windows(name, period, factors):
    rules = alert_rules(spec(burn_windows=name, window=f"{period}d", target=0.99), HOUR)
    assert tuple(rule.factor for rule in rules) == factors
    assert [rule.severity for rule in rules] == ["page", "page", "ticket", "ticket"]


def test_windows_that_come_hourly_stretch_the_short_windows():
    drift = spec(indicator={"type": "drift"})
    assert [(rule.short, rule.long) for rule in alert_rules(drift, HOUR)] == [
        (2 * HOUR, 6 * HOUR),
        (2 * HOUR, DAY),
        (6 * HOUR, 3 * DAY),
    ]


def test_rules_that_no_share_of_errors_can_reach_are_left_out():
    assert [rule.factor for rule in alert_rules(spec(target=0.9), HOUR)] == [6, 3, 1]


def test_a_short_objective_has_no_longer_alerts():
    assert max(rule.long for rule in alert_rules(spec(window="1d"), HOUR)) == DAY


@pytest.mark.parametrize("kind", [{"window": "30d"}, {"calendar": "month"}])
def test_a_forecast_is_kept_until_something_moves_it(kind, monkeypatch):
    asked = []

    def counted(*arguments):
        asked.append(arguments)
        return exhaustion(*arguments)

    monkeypatch.setattr("observer.slo.objective.exhaustion", counted)
    one = Objective("m", "o", spec(**kind), 1)
    now = 20_650 * DAY  # the middle of a month
    one.advance(now)

    def count(n: int, bad: int, at: int) -> None:
        good = np.arange(n) >= bad
        one.count(np.full(n, at), np.full(n, at), good, np.ones(n, np.int64))

    count(93_000, 7_000, now - 5 * DAY)
    count(50_000, 6_500, now - HOUR)
    first = one.standing().exhaustion
    assert first is not None
    for _ in range(5):  # a little more of the same
        now += 2_000
        count(2, 0, now)
        one.advance(now)
        assert one.standing().exhaustion == first
    assert len(asked) == 1
    count(3_000, 3_000, now)  # a burst
    sooner = one.standing().exhaustion
    assert sooner is None or sooner.expected < first.expected
    assert len(asked) == 2
    now += 3 * HOUR  # and time
    one.advance(now)
    one.standing()
    assert len(asked) == 3
