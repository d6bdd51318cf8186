from typing import Annotated

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from observer.model import Partition
from observer.windows import END_OF_TIME, Milliseconds, Watermarks, WindowSpec, duration, milliseconds

SEEDS = st.integers(0, 2**32 - 1)
PARTITIONS = tuple(Partition("predictions", "topic", number) for number in range(3))
BOTH = PARTITIONS[:2]
IDLE = 60.0


# Durations


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("90s", 90_000),
        ("1h", 3_600_000),
        ("1h30m", 5_400_000),
        ("1h 30m", 5_400_000),
        ("7d", 604_800_000),
        ("2w", 1_209_600_000),
        ("1.5s", 1_500),
        ("250ms", 250),
        ("0s", 0),
        (90, 90_000),
        (0.25, 250),
        (0, 0),
        ("36600d", 36_600 * 86_400_000),
    ],
)
def test_durations(text, time):
    assert milliseconds(text) == time


@pytest.mark.parametrize(
    "value",
    [
        "", " ", "h", "5", "1 hour", "-5s", "5x", "1h30", "1e3s", "1,5h", "s5", ".5s", "5.s", "inf", "٣s",
        "36601d", 10**12, 10**400, float("inf"), float("nan"), True, None, [], {}, b"5s",
    ],
)  # fmt: skip
def test_what_is_no_duration(value):
    with pytest.raises(ValueError, match="is not a duration; accepted"):
        milliseconds(value)


@given(st.integers(0, 36_600 * 86_400_000))
def test_durations_are_written_as_they_are_read(time):
    assert milliseconds(duration(time)) == time


def test_durations_in_the_configuration():
    duration = TypeAdapter(Annotated[Milliseconds, "a test"])
    assert duration.validate_python("1h") == 3_600_000
    with pytest.raises(ValidationError, match="accepted: at most 100 years"):
        duration.validate_python(float("nan"))


@given(st.integers(-(10**12), 10**13), st.integers(1_000, 10**9))
def test_windows_tile_time(time, size):
    start = WindowSpec(size=size / 1000).start(np.array([time]))[0]
    assert start % size == 0
    assert start <= time < start + size


@pytest.mark.parametrize(
    "fields", [{"size": "10ms"}, {"lateness": -1}, {"min_events": 0}, {"late": "drop"}, {"x": 1}]
)
def test_window_specs_are_checked(fields):
    with pytest.raises(ValidationError):
        WindowSpec.model_validate(fields)


# Lateness


def events(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 3, n).astype(np.int32), rng.integers(0, 1000, n)


def before_each(
    watermarks: Watermarks, partition: np.ndarray, time: np.ndarray, cuts: list[int]
) -> np.ndarray:
    parts = zip(np.split(partition, cuts), np.split(time, cuts), strict=True)
    return np.concatenate([watermarks.advance(PARTITIONS, p, t, 0.0) for p, t in parts])


@settings(max_examples=60)
@given(SEEDS, st.integers(0, 60), st.lists(st.integers(0, 60), max_size=5))
def test_lateness_is_the_partitions_own_history(seed, n, cuts):
    partition, time = events(seed, n)
    found = before_each(Watermarks(IDLE), partition, time, sorted(min(cut, n) for cut in cuts))
    for i in range(n):
        earlier = time[:i][partition[:i] == partition[i]]
        assert found[i] == (earlier.max() if len(earlier) else -(2**62))


@settings(max_examples=60)
@given(SEEDS, st.integers(0, 60), st.lists(st.integers(0, 60), max_size=5))
def test_lateness_does_not_depend_on_how_partitions_interleave(seed, n, cuts):
    """Each partition keeps its order; between partitions, and in batches, anything goes."""
    partition, time = events(seed, n)
    plain = before_each(Watermarks(IDLE), partition, time, [])
    rng = np.random.default_rng(seed + 1)
    slots = rng.permutation(partition)  # which partition speaks when
    order = np.empty(n, np.intp)
    for number in range(3):
        order[slots == number] = np.flatnonzero(partition == number)
    other = before_each(Watermarks(IDLE), partition[order], time[order], sorted(min(cut, n) for cut in cuts))
    np.testing.assert_array_equal(other, plain[order])


@settings(max_examples=60)
@given(SEEDS, st.integers(0, 60), st.integers(0, 60))
def test_a_run_goes_on_where_it_was_interrupted(seed, n, stop):
    partition, time = events(seed, n)
    stop = min(stop, n)
    whole = Watermarks(IDLE)
    plain = before_each(whole, partition, time, [])
    first, second = Watermarks(IDLE), Watermarks(IDLE)
    head = before_each(first, partition[:stop], time[:stop], [])
    second.restore(first.reached(), 5.0)
    tail = before_each(second, partition[stop:], time[stop:], [])
    np.testing.assert_array_equal(np.concatenate((head, tail)), plain)
    assert second.reached() == whole.reached()


# Watermarks


def advance(watermarks, number, time, now, partitions=BOTH):
    watermarks.advance(partitions, np.array([number], np.int32), np.array([time]), now)


def test_nothing_can_be_said_before_every_partition_was_heard():
    watermarks = Watermarks(IDLE)
    assert watermarks.current(0.0) is None
    watermarks.open(BOTH, 0.0)
    assert watermarks.current(0.0) is None
    advance(watermarks, 0, 100, 0.0)
    assert watermarks.current(0.0) is None
    advance(watermarks, 1, 50, 0.0)
    assert watermarks.current(0.0) == 50


def test_the_slowest_partition_rules():
    watermarks = Watermarks(IDLE)
    for number, time in ((0, 1000), (1, 10), (0, 900), (1, 20)):
        advance(watermarks, number, time, 0.0)
    assert watermarks.current(0.0) == 20


def test_silence_alone_makes_no_partition_idle():
    watermarks = Watermarks(IDLE)
    advance(watermarks, 0, 1000, 0.0)
    advance(watermarks, 1, 10, 0.0)
    assert watermarks.current(1e9) == 10


def test_a_partition_read_to_its_end_is_idle_after_a_while():
    watermarks = Watermarks(IDLE)
    advance(watermarks, 0, 1000, 0.0)
    advance(watermarks, 1, 10, 0.0)
    advance(watermarks, 0, 2000, 50.0)
    watermarks.note_caught_up(BOTH, frozenset({1}))
    assert watermarks.current(IDLE) == 10
    assert watermarks.current(IDLE + 0.1) == 2000


def test_a_partition_that_is_read_again_holds_again():
    watermarks = Watermarks(IDLE)
    advance(watermarks, 0, 1000, 0.0)
    advance(watermarks, 1, 10, 0.0)
    watermarks.note_caught_up(BOTH, frozenset({0, 1}))
    # Messages came that held no event: it is not at its end any more, though nothing advanced it.
    advance(watermarks, 0, 2000, 90.0)
    watermarks.note_caught_up(BOTH, frozenset())
    assert watermarks.current(100.0) == 10
    advance(watermarks, 1, 30, 100.0)
    watermarks.note_caught_up(BOTH, frozenset({1}))
    assert watermarks.current(101.0) == 30


def test_when_all_are_idle_event_time_goes_on_with_the_clock():
    watermarks = Watermarks(IDLE)
    advance(watermarks, 0, 5_000, 0.0)
    advance(watermarks, 1, 10, 0.0)
    watermarks.note_caught_up(BOTH, frozenset({0, 1}))
    assert watermarks.current(IDLE) == 10
    assert watermarks.current(IDLE + 2.0) == 7_000


def test_idle_partitions_without_any_event_say_nothing():
    watermarks = Watermarks(IDLE)
    watermarks.open(BOTH, 0.0)
    watermarks.note_caught_up(BOTH, frozenset({0, 1}))
    assert watermarks.current(1000.0) is None


def test_a_partition_that_is_read_no_more_holds_nothing():
    """The topic has another name now, or the table; else event time would stand still for ever."""
    old, new = (Partition("predictions", name, 0) for name in ("old", "new"))
    watermarks = Watermarks(IDLE)
    watermarks.restore({old: 500}, 0.0)
    assert watermarks.current(1.0) is None
    watermarks.advance((new,), np.zeros(1, np.int32), np.array([9_000]), 1.0)
    assert watermarks.current(1.0) == 9_000
    assert watermarks.reached() == {old: 500, new: 9_000}


def test_a_clock_that_is_set_back_makes_idle_partitions_wait_once_more_only():
    watermarks = Watermarks(IDLE)
    watermarks.advance(BOTH, np.array([0, 1], np.int32), np.array([100, 900]), 10_000.0)
    watermarks.note_caught_up(BOTH, frozenset({0}))
    watermarks.open(BOTH, 5_000.0)
    assert watermarks.current(5_000.0) == 100
    assert watermarks.current(5_000.0 + IDLE + 1) == 900


def test_an_ended_stream_closes_everything():
    watermarks = Watermarks(IDLE)
    watermarks.finished = True
    assert watermarks.current(0.0) == END_OF_TIME


def test_after_a_restart_partitions_that_had_no_event_are_asked_first():
    watermarks = Watermarks(IDLE)
    watermarks.restore({BOTH[0]: 500}, 0.0)
    assert watermarks.current(0.0) is None
    watermarks.open(BOTH, 0.0)
    assert watermarks.current(0.0) is None  # partition 1 may hold anything
    advance(watermarks, 1, 100, 1.0)
    assert watermarks.current(1.0) == 100
    assert watermarks.reached() == {BOTH[0]: 500, BOTH[1]: 100}


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("event"), st.integers(0, 2), st.integers(0, 10**6)),
        st.tuples(st.just("caught up"), st.frozensets(st.integers(0, 2)), st.just(0)),
        st.tuples(st.just("wait"), st.floats(0, 100), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=150)
@given(ACTIONS)
def test_event_time_never_passes_a_partition_that_has_something_left(actions):
    watermarks, now = Watermarks(IDLE), 0.0
    watermarks.open(PARTITIONS, now)
    reached: dict[int, int] = {}
    behind = {0, 1, 2}
    for kind, value, time in actions:
        if kind == "event":
            advance(watermarks, value, time, now, PARTITIONS)
            reached[value] = max(time, reached.get(value, 0))
            behind.add(value)
        elif kind == "caught up":
            watermarks.note_caught_up(PARTITIONS, value)
            behind = {0, 1, 2} - value
        else:
            now += value
        current = watermarks.current(now)
        if behind - reached.keys():
            assert current is None
        elif behind and current is not None:
            assert current <= min(reached[number] for number in behind)
        if current is None:
            assert len(reached) < 3
