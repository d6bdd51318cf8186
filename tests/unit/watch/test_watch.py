"""A watch from its first window to the end of an incident.

Windows of days: 28 are needed to page, and A is 30.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.evidence.alarm import Budget, Tier
from detectors.evidence.baseline import LEAST_WINDOWS
from detectors.evidence.season import DAY, Season
from detectors.watch.history import Key, Row
from detectors.watch.streams import Reading, Stream
from detectors.watch.watch import Watch, Watched
from tests.unit.watch.readings import LEAST, MONDAY, RATES, VALUES, days

SEASON = Season(DAY)
MOVED = {Stream("a", "location"): 0.1}
OFTEN = {Stream("a", "missing"): 0.05}


def watch(budget: Budget | None = None, **more) -> Watch:
    return Watch(budget or Budget(), SEASON, VALUES, RATES, LEAST, **more)


def follow(running: Watch, rows, share: float = 1.0) -> list[Watched]:
    return [running.update(row.start, row.readings, share) for row in rows]


def pages(found: list[Watched]) -> list[int]:
    return [day for day, one in enumerate(found) if one.decision is not None and one.decision.page]


def tickets(found: list[Watched]) -> list[int]:
    return [day for day, one in enumerate(found) if one.decision is not None and len(one.decision.ticketed)]


def closings(found: list[Watched]) -> list[int]:
    return [day for day, one in enumerate(found) if one.decision is not None and one.decision.closed]


def streams(one: Watched, tier: Tier) -> set[Key]:
    return {key for key, own in zip(one.keys, one.tier.tolist(), strict=True) if own == tier}


def told(one: Watched) -> tuple:
    """All of it, comparable bit for bit."""
    arrays = (
        [] if one.evidence is None else [one.evidence.log_evidence, one.evidence.effect, one.evidence.lower]
    )
    decision = one.decision and (
        one.decision.page,
        one.decision.paged.tolist(),
        one.decision.ticketed.tolist(),
    )
    numbers = [array.tobytes() for array in (*arrays, one.tier, one.since)]
    return (one.stage, one.history, one.keys, decision, one.log_mean, one.opened, one.page_at, *numbers)


# From learning to paging


def test_stages_follow_the_history():
    found = follow(watch(), days(0, 70))
    stages = [one.stage for one in found]
    assert SEASON.history == 28
    assert stages == ["learning"] * LEAST_WINDOWS + ["tickets"] * (28 - LEAST_WINDOWS) + ["paging"] * 42
    assert [one.history for one in found] == [*range(1, 57), *[56] * 14]
    assert {one.needed for one in found} == {28}
    assert found[23].keys == ()
    assert len(found[24].keys) == len(VALUES) + len(RATES)


def test_nothing_happens_while_nothing_changes():
    for seed in range(3):
        found = follow(watch(), days(seed, 28 + 60))
        assert pages(found) == []
        assert len(tickets(found)) <= 8


def test_ranks_are_evidence_too():
    quiet = follow(watch(ranks=True), days(1, 28 + 60))
    assert pages(quiet) == []
    running = watch(ranks=True)
    found = follow(running, days(1, 100, shift=MOVED, since=80))
    page = pages(found)[0]
    assert page in range(80, 90)
    assert Key("", "a", "location") in streams(found[page], Tier.PAGE)
    key = found[page].keys.index(Key("", "a", "location"))
    assert abs(found[page].since[key] - (MONDAY + 80 * DAY)) <= 10 * DAY
    adapter = follow(watch(), days(1, 100, shift=MOVED, since=80))
    assert pages(adapter)[0] <= page  # what no assumption costs


def test_before_it_may_page_a_shift_gives_a_ticket():
    found = follow(watch(), days(0, 28, shift=MOVED, since=25))
    assert pages(found) == []
    assert tickets(found)[0] in (25, 26)
    assert Key("", "a", "location") in streams(found[-1], Tier.TICKET)


def test_reference_windows_are_gathered_until_there_are_enough():
    running = watch()
    follow(running, days(0, 80))
    assert running.complete
    assert len(running.rows) == running.history == 56


@pytest.mark.parametrize("count", [0, 10, LEAST_WINDOWS, 28, 56])
def test_windows_that_came_with_the_reference_count_as_seen(count):
    """Then the watch is what it would be had it met them, though what it thought meanwhile is forgotten."""
    rows = days(0, 100, shift=MOVED, since=90)
    seen, given_ = watch(), watch()
    follow(seen, rows[:count])
    given_.remember(rows[:count])
    assert given_.history == seen.history
    assert given_.complete == seen.complete
    one, other = follow(seen, rows[count:]), follow(given_, rows[count:])
    assert [(w.stage, w.history) for w in one] == [(w.stage, w.history) for w in other]
    assert pages(one) == pages(other)
    for w, v in zip(one, other, strict=True):
        if w.evidence is not None and w.opened is None:
            np.testing.assert_array_equal(w.evidence.log_evidence, v.evidence.log_evidence)
            np.testing.assert_array_equal(w.since[w.tier == Tier.PAGE], v.since[v.tier == Tier.PAGE])
    assert one[-1].opened == other[-1].opened == rows[count + pages(one)[0]].start


def test_fitting_anew_keeps_tickets_and_forgets_evidence():
    rows = days(0, 60, shift=MOVED, since=52)
    running = watch(quiet=frozenset(MOVED))  # else it pages, and an incident puts off the fit
    found = follow(running, rows)
    assert tickets(found)[0] <= 54
    assert running.complete
    key = found[-1].keys.index(Key("", "a", "location"))
    before, after = found[55], found[56]  # the fit with 56 windows comes after the 56th
    assert before.evidence.log_evidence[key] > after.evidence.log_evidence[key]
    assert after.tier[key] == Tier.TICKET
    assert after.since[key] == before.since[key] == rows[52].start


def test_an_incident_puts_off_the_next_fit():
    running = watch()
    found = follow(running, days(0, 80, shift=MOVED, since=40))
    assert running.history < 50
    assert not running.complete
    assert found[-1].opened is not None
    assert len(running.rows) == running.history


# Pages and incidents


@pytest.mark.parametrize("shift", [MOVED, OFTEN, {Stream("plan", "total_variation"): 0.1}])
def test_a_shift_pages_once_and_closes_when_it_is_verified_over(shift):
    rows = days(1, 200, shift=shift, since=60, until=100)
    found = follow(watch(), rows)
    assert len(pages(found)) == 1
    page = pages(found)[0]
    assert 60 <= page <= 63
    key = Key("", *next(iter(shift)))
    assert key in streams(found[page], Tier.PAGE)
    at = found[page].keys.index(key)
    assert found[page].since[at] == rows[60].start
    assert found[page].opened == rows[page].start
    assert all(one.opened == rows[page].start for one in found[page:100])
    assert len(closings(found)) == 1
    end = closings(found)[0]
    assert 100 <= end < 200
    assert found[end].opened is None
    assert streams(found[end], Tier.PAGE) == set()


def test_how_much_it_moved_is_told():
    found = follow(watch(), days(2, 80, rows=400, shift=MOVED, since=60))
    key = found[-1].keys.index(Key("", "a", "location"))
    assert found[-1].evidence.effect[key] == pytest.approx(0.1, abs=0.02)
    assert 0.02 < found[-1].evidence.lower[key] < 0.1
    assert found[60].evidence.deviation[key] == pytest.approx(0.1, abs=0.03)


def test_a_shift_in_a_segment_pages_too():
    rows = days(1, 80, segments=("x=1", "x=2"))
    moved = days(1, 80, shift=MOVED, segments=("x=1", "x=2"))
    rows = [
        row if day < 60 else Row(row.start, {**row.readings, "x=2": moved[day].readings["x=2"]})
        for day, row in enumerate(rows)
    ]
    found = follow(watch(), rows)
    assert len(pages(found)) == 1
    assert streams(found[-1], Tier.PAGE) == {Key("x=2", "a", "location")}


LATER = {Stream("a", "spread"): 0.4}
OF_ANOTHER = {Stream("b", "spread"): 0.4}


@pytest.mark.parametrize(("later", "expected"), [(LATER, 1), (OF_ANOTHER, 2)])
@pytest.mark.parametrize("segment", ["", "x=1"])
def test_a_column_that_has_paged_pages_no_more(later, expected, segment):
    """Whatever of it moves later, and in whichever segment, joins what is open; other columns page."""
    usual, first, both = (
        days(1, 90, shift=shift, segments=("x=1",)) for shift in ({}, MOVED, {**MOVED, **later})
    )
    rows = usual[:60] + [
        Row(row.start, {"": row.readings[""], "x=1": old.readings["x=1"]})
        for old, row in zip(usual[60:75], first[60:75], strict=True)
    ]
    rows += [
        Row(row.start, {**old.readings, segment: row.readings[segment]})
        for old, row in zip(rows[60:75], both[75:], strict=True)
    ]
    rows = [Row(usual[day].start, row.readings) for day, row in enumerate(rows)]
    found = follow(watch(), rows)
    assert len(pages(found)) == expected
    assert Key(segment, *next(iter(later))) in streams(found[-1], Tier.PAGE)
    assert found[-1].opened == rows[pages(found)[0]].start


def test_what_a_person_closes_pages_again_if_it_lasts():
    rows = days(1, 80, shift=MOVED, since=60)
    running = watch()
    assert not running.close()
    first = follow(running, rows[:70])
    assert len(pages(first)) == 1
    assert not watch().close()
    assert running.close()
    assert not running.close()
    assert running.standing().opened is None
    assert streams(running.standing(), Tier.PAGE) == set()
    again = follow(running, rows[70:])
    assert pages(again) == [0]
    assert again[0].opened == rows[70].start


def test_what_is_over_when_a_person_closes_it_stays_closed():
    rows = days(1, 120, shift=MOVED, since=60, until=70)
    running = watch()
    follow(running, rows[:75])
    running.close()
    assert pages(follow(running, rows[75:])) == []


def test_quiet_streams_give_tickets_only_and_silent_ones_nothing():
    rows = days(1, 80, shift={**MOVED, **OFTEN}, since=60)
    both = frozenset((*MOVED, *OFTEN))
    quiet = follow(watch(quiet=both), rows)
    assert pages(quiet) == []
    assert streams(quiet[-1], Tier.TICKET) >= {Key("", *stream) for stream in both}
    silent = follow(watch(silent=both), rows)
    assert pages(silent) == tickets(silent) == []
    for stream in both:
        assert silent[-1].evidence.log_evidence[silent[-1].keys.index(Key("", *stream))] == 0
    # The others go on as before.
    other = days(1, 80, shift={Stream("b", "spread"): 0.4}, since=60)
    assert len(pages(follow(watch(silent=both), other))) == 1


SUBTLE = days(1, 160, shift={Stream("a", "location"): 0.01}, since=60)


def first_page(budget: Budget | None = None, share: float = 1.0) -> int:
    """Of a small shift, where every effect matters."""
    running = Watch(budget or Budget(), SEASON, VALUES, RATES, dict.fromkeys(LEAST, 0.0))
    return pages(follow(running, SUBTLE, share))[0]


def test_a_budget_divided_waits_longer():
    assert 60 < first_page() < first_page(share=100.0) < first_page(share=1e4)
    last = follow(watch(), days(1, 40), share=4.0)[-1]
    assert last.page_at == pytest.approx(np.log(30 * 4))


def test_a_generous_budget_pages_sooner():
    assert first_page(Budget(false_pages_per_month=10)) < first_page(Budget(false_pages_per_month=0.001))


def test_the_smallest_effect_that_matters_is_a_persons_choice():
    rows = days(1, 160, shift={Stream("a", "location"): 0.03}, since=60)
    assert pages(follow(watch(), rows)) != []
    more = Watch(Budget(), SEASON, VALUES, RATES, {**LEAST, Stream("a", "location"): 0.05})
    assert pages(follow(more, rows)) == []


# Gaps


def test_windows_without_events_are_time_that_passes():
    rows = days(1, 140, shift=MOVED, since=90)
    kept = [row for day, row in enumerate(rows) if not 60 <= day < 88]
    found = follow(watch(), kept)
    assert len(pages(found)) == 1
    one = found[pages(found)[0]]
    key = one.keys.index(Key("", "a", "location"))
    assert one.since[key] == rows[90].start
    assert one.opened == kept[pages(found)[0]].start


def test_a_long_gap_is_as_one_of_a_few_windows():
    """Whoever has forgotten all neighbours forgets no more; only the count of windows goes on."""
    rows = days(1, 80)
    ends = []
    for gap in (8, 9, 8000):
        running = watch()
        follow(running, rows[:60])
        later = [Row(row.start + gap * 7 * DAY, row.readings) for row in rows[60:]]
        ends.append(follow(running, later))
    for one, other, third in zip(*ends, strict=True):
        np.testing.assert_array_equal(one.evidence.log_evidence, other.evidence.log_evidence)
        np.testing.assert_array_equal(one.evidence.log_evidence, third.evidence.log_evidence)


def test_a_window_that_lacks_a_column_changes_nothing_of_it():
    rows = days(1, 70)
    running = watch()
    follow(running, rows[:60])
    key = Key("", "b", "location")
    before = running.standing()
    at = before.keys.index(key)
    one = rows[60].readings[""]
    values = one.values.copy()
    values[VALUES.index(Stream("b", "location"))] = np.nan
    after = running.update(rows[60].start, {"": replace(one, values=values)})
    assert after.evidence.log_evidence[at] == before.evidence.log_evidence[at]
    assert np.isnan(after.evidence.deviation[at])


def test_windows_of_a_segment_alone_are_no_reference_windows():
    running = watch()
    follow(running, days(0, 10, segments=("x=1",)))
    only = days(1, 11, segments=("x=1",))[10]
    running.update(only.start, {"x=1": only.readings["x=1"]})
    assert running.history == 10


# State


EVENTS = days(5, 130, shift={**MOVED, **OFTEN}, since=70, until=90, segments=("x=1",))
EVENTS = [row for day, row in enumerate(EVENTS) if day not in (5, 30, 31, 72, 100)]


@pytest.fixture(scope="module", params=[False, True], ids=["adapter", "ranks"])
def uninterrupted(request) -> tuple[bool, list, bytes]:
    running = watch(ranks=request.param)
    found = [told(one) for one in follow(running, EVENTS)]
    assert any(one[3] and one[3][0] for one in found)
    return request.param, found, running.snapshot()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, len(EVENTS)), max_size=6))
def test_snapshots_anywhere_change_nothing(uninterrupted, cuts):
    ranks, *expected = uninterrupted
    running, found = watch(ranks=ranks), []
    for day, row in enumerate(EVENTS):
        for _ in range(cuts.count(day)):
            rows = [Row.from_bytes(one.to_bytes()) for one in running.rows]
            again = watch(ranks=ranks)
            again.restore(running.snapshot(), rows)
            assert again.snapshot() == running.snapshot()
            assert told(again.standing()) == told(running.standing())
            running = again
        found.append(told(running.update(row.start, row.readings)))
    assert [found, running.snapshot()] == expected


def test_a_complete_watch_needs_no_rows_any_more():
    rows = days(5, 100, shift=MOVED, since=70)
    whole, first, second = watch(), watch(), watch()
    expected = follow(whole, rows)
    follow(first, rows[:65])
    second.restore(first.snapshot(), [])
    assert [told(one) for one in follow(second, rows[65:])] == [told(one) for one in expected[65:]]


def test_a_damaged_state_is_refused():
    running = watch()
    follow(running, days(0, 40))
    for damaged in (running.snapshot()[:-5], b""):
        with pytest.raises(ValueError, match=r"."):
            watch().restore(damaged, [])


def test_standing_says_what_the_last_window_said():
    running = watch()
    assert running.standing().stage == "learning"
    last = follow(running, days(1, 75, shift=MOVED, since=60))[-1]
    standing = running.standing()
    assert standing.decision is None
    assert (standing.stage, standing.opened, standing.log_mean) == (last.stage, last.opened, last.log_mean)
    np.testing.assert_array_equal(standing.evidence.log_evidence, last.evidence.log_evidence)
    np.testing.assert_array_equal(standing.since, last.since)


def test_a_watch_of_counted_rates_alone():
    """Quality of a classifier has no numbers at all, quality of a regression no rates."""
    rate = Stream("@label", "error_rate")
    rng = np.random.default_rng(4)

    def window(day: int, chance: float) -> Row:
        hits = np.array([float(rng.binomial(2000, chance))])
        return Row(
            MONDAY + day * DAY, {"": Reading(np.empty(0), np.empty(0, np.int64), hits, np.array([2000.0]))}
        )

    running = Watch(Budget(), SEASON, (), (rate,), {rate: 0.01})
    found = follow(running, [window(day, 0.1 if day < 60 else 0.2) for day in range(70)])
    assert len(pages(found)) == 1
    assert pages(found)[0] in (60, 61)
    assert found[-1].keys == (Key("", *rate),)
