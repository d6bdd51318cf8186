"""The judge of one model over a state in memory. Windows of days: 24 for tickets, 28 for pages, 56 in all."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import Status
from detectors.evidence.alarm import Budget
from detectors.evidence.season import DAY, HOUR
from observer.judge import Attention, JudgeSpec, ModelJudge
from observer.judge.judge import HISTORY, WATCHES
from observer.model import Finding, Said
from tests.unit.judge.memory import MemoryState, binary, judge, reference, start, window


def tell(
    one: ModelJudge, day: int, shift: float = 0.0, version: str = "1", name: str = "r", segments=(), **more
) -> Said:
    """Judge a day's window, and tell the watch."""
    windows = {"": window(day, shift, **more)} | {
        segment: window(day, shift, segment=segment, **more) for segment in segments
    }
    judged = {segment: judged_of(summary) for segment, summary in windows.items()}
    return one.inputs(version, reference(), name, start(day), windows, judged)


@cache
def judged_of(summary):
    return judge(MemoryState()).judge(reference(), summary)


def tell_all(one: ModelJudge, days, shift: float = 0.0, **more) -> list[Said]:
    return [tell(one, day, shift, **more) for day in days]


def of_tier(found: list[Said], tier: str) -> list[Finding]:
    return [finding for said in found for finding in said.findings if finding.tier == tier]


# The life of a watch


def test_a_watch_from_learning_to_an_incident():
    one = judge(MemoryState())
    quiet = tell_all(one, range(60))
    assert [said.report.stage for said in quiet] == ["learning"] * 24 + ["tickets"] * 4 + ["paging"] * 32
    assert [said.report.history for said in quiet] == [*range(1, 57), *[56] * 4]
    assert {said.report.needed for said in quiet} == {28}
    assert [said.report.threshold for said in quiet[24:]] == pytest.approx([np.log10(30)] * 36)
    assert of_tier(quiet, "page") == []
    assert quiet[0].report.streams == ()
    loud = tell_all(one, range(60, 80), 0.5)
    (page,) = of_tier(loud, "page")  # ranks of what has moved spread too, which joins it later
    assert page.causes[0].subject == "x"
    assert ("x", "spread") in {(s.subject, s.statistic) for s in loud[-1].report.streams if s.tier == "page"}
    assert page.since == page.causes[0].since == start(60)
    assert page.window.start == loud[-1].report.incident
    assert page.end == page.window.start + DAY
    assert not any(said.report.closed for said in loud)
    assert [
        one.tier for one in loud[-1].report.streams if (one.subject, one.statistic) == ("x", "location")
    ] == ["page"]
    assert one.close("1") == 1
    assert one.close("1") == 0
    assert one.close("other") == 0


def test_an_incident_that_is_over_is_closed():
    one = judge(MemoryState(), minimum={"location": 0.1})
    tell_all(one, range(60))
    assert len(of_tier(tell_all(one, range(60, 66), 1.0), "page")) == 1
    after = tell_all(one, range(66, 160))
    assert of_tier(after, "page") == []
    assert sum(said.report.closed for said in after) == 1
    assert after[-1].report.incident is None


# State


Told = tuple[tuple, tuple]


@cache
def events(seed: int) -> tuple[tuple[int, float, bool, bool], ...]:
    """Days, how far the inputs have moved, whether quality is bad, whether the segment had events."""
    rng = np.random.default_rng(seed)
    begun = rng.integers([4, 32, 45], [16, 36, 52])
    length = rng.integers([1, 3, 3], [2, 8, 8])
    shift = [1.5 * bool(((begun <= day) & (day < begun + length)).any()) for day in range(64)]
    kept = rng.random(64) < 0.95
    return tuple(
        (day, shift[day], shift[day - 4] > 0, rng.random() < 0.9) for day in range(64) if day < 1 or kept[day]
    )


def say(one: ModelJudge, event: tuple[int, float, bool, bool]) -> Told:
    """Everything that is said of a day."""
    day, shift, bad, has_segment = event
    inputs = tell(one, day, shift, segments=("x=1",) if has_segment else ())
    quality = one.quality("1", start(day), {"": binary(day, 0.3 if bad else 0.1)})
    return tuple((said.report, said.findings, said.raised) for said in (inputs, quality))


@cache
def uninterrupted(seed: int) -> tuple[list[Told], dict[str, dict[bytes, bytes]]]:
    """All that is said, and the state at the end."""
    state = MemoryState()
    one = judge(state, has_labels=True)
    found = [say(one, event) for event in events(seed)]
    one.save()
    return found, held(state)


def held(state: MemoryState) -> dict[str, dict[bytes, bytes]]:
    return {table: values for table, values in state.tables.items() if values}


def test_there_is_something_to_lose():
    for seed in range(4):
        tiers = {finding.tier for said in uninterrupted(seed)[0] for part in said for finding in part[1]}
        assert "page" in tiers
        assert any(part[2] for said in uninterrupted(seed)[0] for part in said)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 3),
    st.sets(st.integers(0, 64), max_size=30),
    st.lists(st.integers(0, 64), max_size=3).map(sorted),
)
def test_a_crash_after_any_window_changes_nothing(seed, saves, crashes):
    """What was not committed is told again, and is the same; so is all that follows, and the state."""
    todo, expected = events(seed), uninterrupted(seed)
    state = MemoryState()
    one = judge(state, has_labels=True)
    at = committed = 0
    while at < len(todo):
        assert say(one, todo[at]) == expected[0][at]
        at += 1
        if at in saves:
            one.save()
            state.commit()
            committed = at
        if crashes and at >= crashes[0]:
            crashes = crashes[1:]
            state.crash()
            one = judge(state, has_labels=True)
            stood = one.resume("1", reference(), "r")
            assert len(stood) == (2 if committed else 0)
            for (last, again), said in zip(stood.values(), expected[0][committed - 1], strict=False):
                assert last == start(todo[committed - 1][0])
                assert (again.findings, again.raised) == said[1:]
            at = committed
    one.save()
    assert held(state) == expected[1]


def test_a_window_told_twice_changes_nothing():
    state = MemoryState()
    one, other = judge(state), judge(MemoryState())
    for day in range(50):
        shift = 0.5 if day in (10, 40, 41) else 0.0
        first = tell(one, day, shift)
        again = tell(one, day, shift)
        older = tell(one, max(day - 3, 0), 0.5 - shift)
        assert first == tell(other, day, shift)
        for repeated in (again, older):
            assert repeated.findings == ()
            assert repeated.raised == frozenset()
            assert repeated.report.history == first.report.history


def test_rows_of_the_history_are_kept_only_until_it_is_complete():
    state = MemoryState()
    one = judge(state)
    held = []
    for day in range(60):
        tell(one, day)
        one.save()
        held.append(len(state.tables.get(HISTORY, {})))
    assert held == [*range(1, 56), *[0] * 5]
    assert len(state.tables[WATCHES]) == 1
    again = judge(state)
    again.resume("1", reference(), "r")
    assert tell(again, 60, 0.5) == tell(one, 60, 0.5)


def test_what_has_not_changed_is_not_written():
    state = MemoryState()
    one = judge(state)
    tell_all(one, range(5))
    one.save()
    state.tables[WATCHES].clear()
    one.save()
    assert state.tables[WATCHES] == {}


def test_models_do_not_meet_in_the_state():
    state = MemoryState()
    judges = {name: judge(state, model=name) for name in ("m", "n")}
    for day in range(30):
        for name, one in judges.items():
            tell(one, day, 0.5 if name == "n" and day > 20 else 0.0)
            one.save()
    again = {name: judge(state, model=name) for name in ("m", "n")}
    for name, one in again.items():
        one.resume("1", reference(), "r")
        assert tell(one, 30) == tell(judges[name], 30)


# References


def test_a_new_reference_begins_anew():
    state = MemoryState()
    one = judge(state)
    tell_all(one, range(40))
    assert tell(one, 40).report.stage == "paging"
    one.save()
    other = tell(one, 41, name="other")
    assert (other.report.stage, other.report.history) == ("learning", 1)
    one.save()
    assert len(state.tables[HISTORY]) == 1
    assert len(state.tables[WATCHES]) == 1
    assert tell(one, 42, name="other").report.history == 2


def test_a_reference_that_changed_between_runs_begins_anew():
    state = MemoryState()
    one = judge(state)
    tell_all(one, range(40))
    one.save()
    again = judge(state)
    assert again.resume("1", reference(), "other") == {}
    said = tell(again, 40, name="other")
    assert (said.report.stage, said.report.history) == ("learning", 1)
    again.save()
    assert len(state.tables[HISTORY]) == 1


def test_another_kind_of_evidence_begins_anew():
    state = MemoryState()
    one = judge(state)
    tell_all(one, range(40))
    one.save()
    again = judge(state, evidence="conformal")
    assert again.streams("1", reference(), "r", start(39)) == ()
    assert again.resume("1", reference(), "r") == {}
    said = tell_all(again, range(40, 100))[-1]
    assert said.report.stage == "paging"
    again.save()
    (stood,) = judge(state, evidence="conformal").resume("1", reference(), "r").values()
    assert stood[1].report == said.report


def lessons(count: int):
    return [(start(day), window(day)) for day in range(count)]


def test_lessons_are_reference_windows():
    one, other = judge(MemoryState()), judge(MemoryState())
    one.remember("1", reference(), "r", lessons(28))
    tell_all(other, range(28))
    found, expected = tell(one, 28), tell(other, 28)
    assert (found.report.stage, found.report.history) == ("paging", 29)
    assert [s.effect for s in found.report.streams] == [s.effect for s in expected.report.streams]


@pytest.mark.parametrize("count", [0, 10, 30, 60])
def test_lessons_are_taken_once(count):
    """Also after a restart before the first window, when few or all rows of the history are in the state."""
    state = MemoryState()
    one = judge(state)
    one.remember("1", reference(), "r", lessons(count))
    one.save()
    state.commit()
    again = judge(state)
    assert again.resume("1", reference(), "r") == {}
    again.remember("1", reference(), "r", [])
    again.remember("1", reference(), "r", lessons(min(count, 3)))
    first = tell(again, 60)
    assert first == tell(one, 60)
    assert first.report.history == min(count + 1, max(count, 56))
    again.remember("1", reference(), "r", lessons(5))
    assert tell(again, 61) == tell(one, 61)


def test_a_new_reference_takes_lessons_too():
    one = judge(MemoryState())
    tell_all(one, range(30))
    one.remember("1", reference(), "accepted", lessons(26))
    said = tell(one, 30, name="accepted")
    assert (said.report.stage, said.report.history) == ("tickets", 27)


# Budgets


def test_versions_share_the_budget_while_both_are_used():
    one = judge(MemoryState())
    threshold = lambda said: round(10**said.report.threshold, 6)  # noqa: E731
    tell_all(one, range(30))
    assert threshold(tell(one, 30)) == 30
    tell(one, 30, version="2")
    assert threshold(tell(one, 31)) == 60
    assert [threshold(tell(one, day)) for day in (32, 33)] == [60, 30]


def test_with_labels_inputs_have_half_of_the_budget():
    one = judge(MemoryState(), has_labels=True)
    tell_all(one, range(30))
    for day in range(30):
        quality = one.quality("1", start(day), {"": binary(day)})
    assert 10**quality.report.threshold == pytest.approx(60)
    assert 10 ** tell(one, 30).report.threshold == pytest.approx(60)


def test_the_share_does_not_depend_on_how_far_the_other_watch_has_come():
    """Quality is told as polls happen to fall, hours or days of event time after the inputs."""
    early, late = (judge(MemoryState(), has_labels=True) for _ in range(2))
    for one in (early, late):
        tell_all(one, range(40))
    for day in range(30):
        early.quality("2", start(day), {"": binary(day)})
        late.quality("2", start(day), {"": binary(day)})
    for day in range(30, 42):
        early.quality("2", start(day), {"": binary(day)})
    one, other = (
        each.inputs("1", reference(), "r", start(40), {"": window(40)}, {}) for each in (early, late)
    )
    assert one == other
    for day in range(30, 42):
        late.quality("2", start(day), {"": binary(day)})
    tell_all(early, range(41, 50), version="3")
    assert early.quality("2", start(42), {"": binary(42)}) == late.quality("2", start(42), {"": binary(42)})


def test_a_budget_is_of_the_configuration():
    one = judge(MemoryState(), budget=Budget(false_pages_per_month=3))
    assert 10 ** tell_all(one, range(26))[-1].report.threshold == pytest.approx(10)


# Attention


def test_a_persons_wishes_for_a_feature():
    days = range(60, 75)
    for wish, tiers in (("page", {"page"}), ("ticket", {"ticket"}), ("info", set())):
        one = judge(MemoryState(), {"x": Attention(tier=wish)})
        tell_all(one, range(60))
        found = tell_all(one, days, 0.5)
        assert {
            finding.tier for said in found for finding in said.findings if finding.subject == "x"
        } == tiers
    patient = judge(MemoryState(), {"x": Attention(minimum={"location": 0.3, "spread": 0.5})})
    tell_all(patient, range(60))
    assert of_tier(tell_all(patient, days, 0.5), "page") == []
    everywhere = judge(MemoryState(), minimum={"location": 0.3, "spread": 0.5})
    tell_all(everywhere, range(60))
    assert of_tier(tell_all(everywhere, days, 0.5), "page") == []


def test_hours_are_those_of_the_users():
    """The same hours, seen from elsewhere, belong to other strata."""
    one, other = judge(MemoryState(), size=HOUR), judge(MemoryState(), size=HOUR, utc_offset=-5.5)
    assert one._season.of(np.array([6 * HOUR])) == 6
    assert other._season.of(np.array([6 * HOUR])) == 0


def test_statistics_that_nobody_watches_are_refused():
    with pytest.raises(ValueError, match="no statistic 'locations'; accepted: location, spread"):
        JudgeSpec(minimum={"locations": 0.1})
    with pytest.raises(ValueError, match="no statistic 'mean'"):
        Attention(minimum={"mean": 0.1})


# Single windows while there is no evidence yet


def test_while_learning_a_lasting_change_is_one_ticket():
    one = judge(MemoryState())
    found = tell_all(one, range(5)) + tell_all(one, range(5, 10), 1.5) + tell_all(one, range(10, 14))
    found += tell_all(one, range(14, 16), 1.5)
    raised = [{(segment, subject) for segment, subject, _ in said.raised} for said in found]
    assert [bool(each) for each in raised] == [day in (5, 14) for day in range(16)]
    assert raised[5] >= {("", "x")}


def test_segments_are_raised_by_themselves_while_learning():
    one = judge(MemoryState())
    tell(one, 0, segments=("x=1",))
    windows = {"": window(1), "x=1": window(1, 1.5, segment="x=1")}
    judged = {segment: one.judge(reference(), summary) for segment, summary in windows.items()}
    said = one.inputs("1", reference(), "r", start(1), windows, judged)
    assert {segment for segment, _, _ in said.raised} == {"x=1"}


def test_with_evidence_single_windows_raise_nothing():
    one = judge(MemoryState())
    tell_all(one, range(26))
    said = tell(one, 26, 1.5)
    assert any(item.verdict.status is Status.DRIFT for item in one.judge(reference(), window(26, 1.5)))
    assert said.raised == frozenset()


def test_what_lasts_over_a_restart_is_not_raised_again():
    state = MemoryState()
    one = judge(state)
    tell_all(one, range(5))
    assert tell(one, 5, 1.5).raised
    one.save()
    assert tell(judge(state), 6, 1.5).raised == frozenset()
