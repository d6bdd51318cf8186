"""Counters, gauges and snapshots keep what they were given, clean and bounded."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observer.metrics import Caps, Counters, Distribution, Gauges, Metric, Values, catalog, clean

COUNT = Metric("observer_things_total", "counter", ("model", "outcome"), "", "Things.")
TIME = Metric("observer_time_seconds", "histogram", (), "seconds", "Time.", buckets=(1.0, 2.0))
ROWS = catalog.WINDOW_ROWS


def values(metric, series):
    found = Values()
    for labels, value in series.items():
        found.set(metric, labels, value)
    return found


def test_counters_add_up():
    counters = Counters()
    counters.add(COUNT, ("m", "accepted"), 3)
    counters.add(COUNT, ("m", "accepted"))
    counters.add(COUNT, ("m", "rejected"), np.int64(0))
    assert counters.read().series == {COUNT: {("m", "accepted"): 4.0, ("m", "rejected"): 0.0}}
    assert all(type(value) is float for value in counters.read().series[COUNT].values())


def test_a_counter_never_falls():
    with pytest.raises(ValueError, match="observer_things_total only grows, and was given -1"):
        Counters().add(COUNT, ("m", "accepted"), -1)


def test_labels_must_be_complete():
    with pytest.raises(ValueError, match=r"takes the labels \('model', 'outcome'\)"):
        Counters().add(COUNT, ("m",))
    with pytest.raises(ValueError, match="observer_window_rows takes the labels"):
        Values().set(ROWS, ("m", "1"), 1)


def test_a_reading_does_not_change_afterwards():
    counters = Counters()
    counters.add(COUNT, ("m", "accepted"))
    counters.observe(TIME, (), 1.5)
    before = counters.read()
    counters.add(COUNT, ("m", "accepted"))
    counters.observe(TIME, (), 1.5)
    assert before.series == {COUNT: {("m", "accepted"): 1.0}, TIME: {(): Distribution((0, 1, 0), 1.5)}}


def test_a_bucket_holds_its_upper_bound():
    counters = Counters()
    for value in (1.0, 1.5, 2.0, 2.5):
        counters.observe(TIME, (), value)
    assert counters.read().series[TIME][()] == Distribution((1, 2, 1), 7.0)


@given(st.lists(st.integers(0, 12).map(lambda quarter: quarter / 4)))
def test_an_array_of_observations_is_as_many_single_ones(observed):
    one, many = Counters(), Counters()
    for value in [*observed, 0.0]:
        one.observe(TIME, (), value)
    many.observe(TIME, (), np.array([*observed, 0.0, math.nan]))
    assert one.read().series == many.read().series


def test_counters_are_bounded_and_keep_the_first():
    counters = Counters(limit=3)
    for model in ["a", "b", "c", "d", "e", "a", "d"]:
        counters.add(COUNT, (model, "accepted"))
    assert counters.read().series == {
        COUNT: {("a", "accepted"): 2, ("b", "accepted"): 1, ("c", "accepted"): 1, ("other", "accepted"): 3},
        catalog.SERIES_CAPPED: {("observer_things_total",): 2},
    }


def test_ten_thousand_models_do_not_fill_the_memory():
    counters = Counters(limit=100)
    for number in range(10_000):
        counters.add(COUNT, (f"model-{number}", "accepted"))
    read = counters.read()
    assert len(read.series[COUNT]) == 101
    assert sum(read.series[COUNT].values()) == 10_000
    assert read.series[catalog.SERIES_CAPPED] == {("observer_things_total",): 100}


def test_another_thread_may_read_while_one_counts():
    counters = Counters()
    done = threading.Event()
    totals: list[float] = []

    def read():
        while not done.is_set():
            totals.append(sum(counters.read().series.get(COUNT, {}).values()))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(20_000):
        counters.add(COUNT, (str(number), "accepted"))
    done.set()
    reader.join()
    assert totals == sorted(totals)
    assert sum(counters.read().series[COUNT].values()) == 20_000


def test_a_group_is_replaced_and_dropped_as_a_whole():
    gauges = Gauges()
    gauges.put("one", values(ROWS, {("m", "1", ""): 1, ("m", "1", "country=NL"): 2}))
    gauges.put("two", values(ROWS, {("m", "2", ""): 3}))
    gauges.put("one", values(ROWS, {("m", "1", ""): 4}))
    assert gauges.snapshot(Values()).series == {ROWS: {("m", "1", ""): 4, ("m", "2", ""): 3}}
    gauges.drop("one")
    gauges.drop("never there")
    assert gauges.snapshot(Values()).series == {ROWS: {("m", "2", ""): 3}}


def test_a_snapshot_does_not_change_and_holds_the_service_too():
    gauges = Gauges()
    gauges.put("one", values(ROWS, {("m", "1", ""): 1}))
    before = gauges.snapshot(values(catalog.CHECKPOINT_NUMBER, {(): 7}))
    gauges.put("one", values(ROWS, {("m", "1", ""): 2}))
    gauges.snapshot(Values())
    assert before.series == {ROWS: {("m", "1", ""): 1}, catalog.CHECKPOINT_NUMBER: {(): 7}}
    assert len(before) == 2
    with pytest.raises(TypeError):
        before.series[ROWS] = {}


def test_the_services_gauges_are_no_group():
    with pytest.raises(ValueError, match="observer_checkpoint_number has no label `model`"):
        Gauges().put("one", values(catalog.CHECKPOINT_NUMBER, {(): 7}))


def test_gauges_say_when_a_cap_bites():
    gauges = Gauges(Caps(per_metric=2))
    gauges.put("one", values(ROWS, {("m", "1", f"country={code}"): 1 for code in ("BE", "DE", "NL")}))
    assert gauges.snapshot(Values()).series == {
        ROWS: {("m", "1", "country=BE"): 1, ("m", "1", "other"): 2},
        catalog.SERIES_CAPPED: {("observer_window_rows",): 2},
    }


@pytest.mark.parametrize(
    "value", ["", "amount", "café €", 'say "no" \\', "two\nlines", "\N{PILE OF POO}", "x" * 128]
)
def test_an_ordinary_value_stays(value):
    assert clean(value) == value


@pytest.mark.parametrize(
    "value", ["nul\0", "bell\a", "esc\x1b[31m", "bytes \udcff", "turn \u202e", "x" * 129]
)
def test_a_hostile_value_is_replaced_and_marked(value):
    stem, _, mark = clean(value).rpartition("~")
    assert len(mark) == 12
    assert stem == value[:115].translate(dict.fromkeys(map(ord, "\0\a\x1b\udcff\u202e"), "\ufffd"))


@given(st.text(st.characters(), max_size=200), st.text(st.characters(), max_size=200))
def test_clean_values_are_short_valid_and_distinct(one, two):
    for value in (clean(one), clean(two)):
        assert len(value) <= 128
        assert value.encode().decode() == value
        assert not any(ord(letter) < 32 or ord(letter) == 127 for letter in value.replace("\n", ""))
        assert clean(value) == value
    assert (clean(one) == clean(two)) == (one == two)


@given(st.binary(max_size=40))
def test_bytes_that_are_not_utf8_can_be_shown(raw):
    clean(raw.decode("utf-8", "surrogateescape")).encode()
