"""Reference windows and what is fitted to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.evidence.alarm import Budget
from detectors.evidence.baseline import LEAST_WINDOWS
from detectors.evidence.season import DAY, HOUR, Season
from detectors.watch import history
from detectors.watch.history import Fitted, Key, Row, fitted
from detectors.watch.streams import Reading, Stream
from detectors.watch.watch import Watch
from tests.unit.watch.readings import LEAST, MONDAY, RATES, VALUES, days, reading

DAILY = Season(DAY)


def fit(rows, season=DAILY, values=VALUES, rates=RATES, minima=LEAST) -> Fitted:
    return fitted(rows, values, rates, minima, season)


def same(one: Row, other: Row) -> bool:
    return one.to_bytes() == other.to_bytes()


numbers = st.floats(allow_nan=True, allow_infinity=False)


@st.composite
def rows_of(draw):
    """A window of any number of segments."""
    v, h = draw(st.integers(0, 4)), draw(st.integers(0, 3))

    def one():
        counts = [draw(st.integers(0, 2**40)) for _ in range(v)]
        floats = [np.array([draw(numbers) for _ in range(size)], np.float64) for size in (v, h, h)]
        return Reading(floats[0], np.array(counts, np.int64), floats[1], floats[2])

    names = draw(st.lists(st.text(max_size=5), unique=True, max_size=3))
    return Row(draw(st.integers(0, 2**50)), {name: one() for name in names})


@settings(max_examples=50)
@given(rows_of())
def test_a_window_is_what_its_bytes_give(row):
    again = Row.from_bytes(row.to_bytes())
    assert again.start == row.start
    assert list(again.readings) == list(row.readings)
    for name, one in row.readings.items():
        for field in ("values", "counts", "hits", "rows"):
            np.testing.assert_array_equal(getattr(again.readings[name], field), getattr(one, field))


def test_bytes_that_are_damaged_are_refused():
    data = days(0, 1)[0].to_bytes()
    for damaged in (data[:-3], b"", b"\x00" * 40):
        with pytest.raises(ValueError, match=r"."):
            Row.from_bytes(damaged)
    whole = fit(days(0, 30)).to_bytes()
    with pytest.raises(ValueError, match=r"."):
        Fitted.from_bytes(whole[:-3])


def test_what_is_fitted_is_what_its_bytes_give():
    found = fit(days(0, 40, segments=("x=1", "x=2")))
    again = Fitted.from_bytes(found.to_bytes())
    assert again.to_bytes() == found.to_bytes()
    assert again.keys == found.keys
    window = days(1, 1)[0].readings
    for one, other in zip(found.inputs(window), again.inputs(window), strict=True):
        np.testing.assert_array_equal(one, other)


def varying(seed: int, count: int, more: float) -> list[Row]:
    """Windows whose missing values vary from day to day by `more` beside chance."""
    rng = np.random.default_rng(seed)
    out = []
    for row in days(seed, count):
        one = row.readings[""]
        hits = one.hits.copy()
        hits[0] = rng.binomial(5000, 0.05 + more * rng.standard_normal())
        out.append(Row(row.start, {"": replace(one, hits=hits)}))
    return out


def test_rates_that_vary_by_chance_alone_are_exact_and_others_are_numbers():
    found = fit(varying(0, 56, 0.0))
    assert found.exact.tolist() == [[True, True]]
    assert found.keys[-2:] == tuple(Key("", *stream) for stream in RATES)
    hits = np.sum([row.readings[""].hits for row in varying(0, 56, 0.0)], axis=0)
    assert found.rate[0] == pytest.approx(hits / (56 * 5000))
    assert found.seen.tolist() == [[56 * 5000] * 2]
    busy = fit(varying(0, 56, 0.01))
    assert busy.exact.tolist() == [[False, True]]
    assert busy.keys == (*(Key("", *s) for s in VALUES), Key("", "a", "missing"), Key("", *RATES[1]))
    assert len(busy.baseline.streams) == len(VALUES) + 1
    window = days(1, 1)[0]
    values, hits, rows = busy.inputs(window.readings)
    one = window.readings[""]
    assert values[-1] == pytest.approx(one.hits[0] / 5000 - busy.rate[0, 0])
    assert (hits.tolist(), rows.tolist()) == ([one.hits[1]], [5000])


def test_chance_alone_seldom_looks_like_more():
    """Of rates from common ones to a handful of hits in all."""
    rng = np.random.default_rng(0)
    chances = np.tile([0.3, 0.05, 0.002, 0.0001, 0.0], 200)
    names = tuple(Stream(f"x{k}", "missing") for k in range(len(chances)))
    rows = [
        Row(
            MONDAY + day * DAY,
            {
                "": Reading(
                    np.empty(0),
                    np.empty(0, np.int64),
                    rng.binomial(500, chances) * 1.0,
                    np.full(len(chances), 500.0),
                )
            },
        )
        for day in range(56)
    ]
    found = fit(rows, values=(), rates=names, minima=dict.fromkeys(names, 0.01))
    assert (~found.exact).sum() <= 10


def test_segments_with_too_little_history_are_not_watched():
    rows = days(0, 40, segments=("often", "seldom"))
    rows = [
        Row(row.start, {k: v for k, v in row.readings.items() if k != "seldom" or day < LEAST_WINDOWS - 1})
        for day, row in enumerate(rows)
    ]
    assert fit(rows).segments == ("", "often")
    assert fit(rows[: LEAST_WINDOWS - 1]).segments == ("",)
    several = fit(days(0, 40, segments=("b", "a")))
    assert several.segments == ("", "a", "b")
    assert len(several.keys) == 3 * (len(VALUES) + len(RATES))


def test_of_too_many_segments_those_with_most_windows_are_watched(monkeypatch):
    monkeypatch.setattr(history, "MOST_STREAMS", 30)  # of 9 each: all events, and two segments more
    rows = days(0, 40, segments=("a", "b", "c"))
    rows = [
        Row(row.start, {k: v for k, v in row.readings.items() if k != "a" or day != 20})
        for day, row in enumerate(rows)
    ]
    assert fit(rows).segments == ("", "b", "c")


def test_missing_windows_keep_their_place():
    """Windows beside a gap are no neighbours: nothing is fitted to them as if they were."""
    rows = days(0, 60)
    kept = [row for day, row in enumerate(rows) if day not in (20, 21, 40)]
    found = fit(kept)
    assert found.baseline.windows[0] == 57
    assert found.baseline.counts[:, 0].sum() == 57
    holed = []
    for day, row in enumerate(rows):
        one = row.readings[""]
        nothing = Reading(np.full(len(VALUES), np.nan), np.zeros(len(VALUES), np.int64), *np.zeros((2, 2)))
        holed.append(Row(row.start, {"": nothing if day in (20, 21, 40) else one}))
    assert fit(holed).to_bytes() == found.to_bytes()


@pytest.mark.parametrize("gap", [200, 20_000_000])
def test_a_long_gap_costs_nothing(gap):
    """A model that rested for years; only neighbours matter."""
    rows = days(0, 60)
    apart = [
        row if day < 30 else Row(row.start + gap // 7 * 7 * DAY, row.readings) for day, row in enumerate(rows)
    ]
    near = [row if day < 30 else Row(row.start + 98 * DAY, row.readings) for day, row in enumerate(rows)]
    assert fit(apart).baseline.to_bytes() == fit(near).baseline.to_bytes()


def test_departures_have_the_noise_of_a_typical_window():
    """Numbers of small windows shrink, those of large ones stay; distances, being noise, go both ways."""
    rows = days(0, 60, rows=400)
    found = fit(rows)
    assert found.typical.tolist() == [[400.0] * (len(VALUES) + len(RATES))]
    one = rows[0].readings[""]
    for size, number, distance in ((100, 0.5, 0.5), (400, 1.0, 1.0), (1600, 1.0, 2.0)):
        window = replace(one, counts=np.full(len(VALUES), size))
        values, _, _ = found.inputs({"": window})
        assert values[:6] == pytest.approx((one.values[:6] - found.center[0, :6]) * number)
        assert values[6] == pytest.approx(one.values[6] * distance)


def test_what_a_window_lacks_is_unknown():
    found = fit(days(0, 40, segments=("x=1",)))
    values, hits, rows = found.inputs({"": days(1, 1)[0].readings[""]})
    assert np.isfinite(values).tolist() == [True] * len(VALUES) + [False] * len(VALUES)
    assert rows.tolist() == [5000, 5000, 0, 0]
    assert hits[2:].tolist() == [0, 0]


def test_a_history_without_any_stream_is_fitted():
    nothing = Reading(np.empty(0), np.empty(0, np.int64), np.empty(0), np.empty(0))
    found = fit([Row(MONDAY + day * DAY, {"": nothing}) for day in range(30)], values=(), rates=(), minima={})
    assert found.keys == ()
    assert Fitted.from_bytes(found.to_bytes()).keys == ()


def test_unchanged_windows_of_very_different_sizes_keep_the_budget():
    """Hours of 60 rows at night and 900 by day: 26 streams, two weeks before anything may page."""
    names = tuple("abcdefghij")
    values = (
        *(Stream(name, "location") for name in names),
        *(Stream(name, "spread") for name in names),
        *(Stream(name, "total_variation") for name in ("plan", "city", "device")),
    )
    rates = tuple(Stream(name, "missing") for name in ("a", "plan", "city"))
    season, rng = Season(HOUR), np.random.default_rng(11)
    minima = {
        stream: LEAST.get(stream, {"location": 0.02, "spread": 0.06}.get(stream.statistic, 0.01))
        for stream in (*values, *rates)
    }
    watch = Watch(Budget(), season, values, rates, minima)
    pages, tickets = 0, 0
    for hour in range(672 + 720):
        rows = rng.poisson(60 + 840 * (1 - np.cos(2 * np.pi * (hour % 24) / 24)) / 2)
        found = watch.update(MONDAY + hour * HOUR, {"": reading(rng, rows, values=values, rates=rates)})
        if found.decision is not None:
            pages += found.decision.page
            tickets += len(found.decision.ticketed) > 0
            if found.decision.page:
                watch.close()
    assert watch.complete
    assert pages <= 1
    assert tickets <= 8
