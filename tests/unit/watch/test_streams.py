"""What is read of a window, against the raw rows."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings

from detectors.base import INVALID, NULL, Categories, Numbers, Vectors
from detectors.conformance import summarise, table_of
from detectors.quality import evaluate
from detectors.summaries.outcomes import BinaryOutcomes, MulticlassOutcomes, RegressionOutcomes
from detectors.watch.streams import DISTANCES, LABEL, MINIMA, OutcomeStreams, Stream, TableStreams
from tests.unit.summaries.rows import SEEDS, keys_of, pieces, reference_table, rows, take

ROWS = 2000


def columns(seed: int, n: int, shift: float = 0.0) -> dict:
    """Few values, many, a skewed column with holes, one without numbers; names with holes and newcomers."""
    rng = np.random.default_rng(seed)
    holed = rng.integers(0, 40, n) ** 2.0 + shift
    nulls, invalid = rng.random(n) < 0.1, rng.random(n) < 0.05
    holed[nulls | invalid] = np.nan
    return {
        "few": Numbers(rng.binomial(9, 0.3 + shift / 20, n).astype(np.float64)),
        "many": Numbers(rng.standard_normal(n) + shift),
        "holed": Numbers(holed, nulls, invalid & ~nulls),
        "empty": Numbers(np.full(n, np.nan), np.ones(n, np.bool_)),
        "plan": Categories(rng.choice([NULL, INVALID, 0, 0, 0, 1, 1, 2], n).astype(np.int32), tuple("abc")),
        "city": Categories(rng.integers(0, 5 + 2 * (shift > 0), n).astype(np.int32), tuple("uvwxyzk")),
    }


def read(before: dict, now: dict) -> tuple[dict, dict, TableStreams]:
    """Values with their rows, and rates with theirs, by stream."""
    table = table_of(before)
    streams = TableStreams(summarise(table, before))
    found = streams.read(summarise(table, now))
    values = dict(
        zip(streams.values, zip(found.values.tolist(), found.counts.tolist(), strict=True), strict=True)
    )
    rates = dict(zip(streams.rates, zip(found.hits.tolist(), found.rows.tolist(), strict=True), strict=True))
    return values, rates, streams


def ranks(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Mid-ranks of values among those before, 0..1."""
    ordered = np.sort(before[~np.isnan(before)])
    now = now[~np.isnan(now)]
    below, most = np.searchsorted(ordered, now, "left"), np.searchsorted(ordered, now, "right")
    return (below + most) / 2 / len(ordered)


@pytest.mark.parametrize("shift", [0.0, 1.0])
@pytest.mark.parametrize("name", ["few", "many", "holed"])
def test_location_and_spread_are_those_of_the_ranks(name, shift):
    before, now = columns(1, ROWS), columns(2, 700, shift)
    values, _, _ = read(before, now)
    rank = ranks(before[name].values, now[name].values)
    own = ranks(before[name].values, before[name].values)
    exact = name == "few" or (name, shift) == ("holed", 0.0)
    # Beyond 256 values a bin holds some 1/256 of them; a value between two known ones has the lower's rank.
    near = {"abs": 1e-12 if exact else 1 / 256 if name == "many" else 0.02}
    location, spread = values[Stream(name, "location")], values[Stream(name, "spread")]
    assert location[0] == pytest.approx(rank.mean() - 0.5, **near)
    expected = 12 * (((rank - 0.5) ** 2).mean() - ((own - 0.5) ** 2).mean())
    assert spread[0] == pytest.approx(expected, abs=12 * near["abs"])
    assert location[1] == spread[1] == len(rank)


def test_a_column_without_ties_has_a_spread_of_one_before():
    before = columns(1, ROWS)
    rank = ranks(before["many"].values, before["many"].values)
    assert 12 * ((rank - 0.5) ** 2).mean() == pytest.approx(1, abs=1e-3)
    narrow = {**before, "many": Numbers(before["many"].values * 0.2)}
    values, _, _ = read(before, narrow)
    assert -0.95 < values[Stream("many", "spread")][0] < -0.8


def test_infinities_lie_at_the_ends():
    before = {"x": Numbers(np.arange(100.0)), "y": Numbers(np.arange(100.0))}
    far = np.concatenate((np.full(30, np.inf), np.full(10, -np.inf), np.full(10, 1e300), np.full(50, -1e300)))
    values, _, _ = read(before, {**before, "x": Numbers(far)})
    assert values[Stream("x", "location")] == (pytest.approx(0.4 - 0.5), 100)


@pytest.mark.parametrize("shift", [0.0, 1.0])
@pytest.mark.parametrize("name", ["plan", "city"])
def test_total_variation_is_the_share_that_moved(name, shift):
    before, now = columns(1, ROWS), columns(2, 700, shift)
    values, rates, _ = read(before, now)

    def shares(column):
        known = Counter(column.names[code] for code in column.codes if code >= 0)
        return {key: count / known.total() for key, count in known.items()}, known.total()

    (one, _), (other, rows_) = shares(before[name]), shares(now[name])
    expected = sum(abs(one.get(key, 0) - other.get(key, 0)) for key in {*one, *other}) / 2
    assert values[Stream(name, "total_variation")] == (pytest.approx(expected), rows_)
    newcomers = sum(now[name].names[code] not in one for code in now[name].codes if code >= 0)
    assert rates[Stream(name, "unseen_categories")] == (newcomers, 700)
    assert (newcomers > 0) == (name == "city" and shift > 0)


def test_missing_wrong_and_repeated_rows_are_counted():
    before, now = columns(1, ROWS), columns(2, 700)
    table = table_of(before)
    window = summarise(table, now)
    window.counts.duplicates = 35
    streams = TableStreams(summarise(table, before))
    found = streams.read(window)
    rates = dict(zip(streams.rates, zip(found.hits.tolist(), found.rows.tolist(), strict=True), strict=True))
    holed, plan = now["holed"], now["plan"]
    assert rates[Stream("holed", "missing")] == (holed.nulls.sum(), 700)
    assert rates[Stream("holed", "type_errors")] == (holed.invalid.sum(), 700)
    assert rates[Stream("plan", "missing")] == ((plan.codes == NULL).sum(), 700)
    assert rates[Stream("plan", "type_errors")] == ((plan.codes == INVALID).sum(), 700)
    assert rates[Stream("empty", "missing")] == (700, 700)
    assert rates[Stream("@table", "duplicates")] == (35, 735)


def test_the_reference_read_against_itself_says_nothing():
    before = columns(1, ROWS)
    values, _, streams = read(before, before)
    expected = {stream: pytest.approx(0, abs=1e-12) for stream in streams.values if stream.subject != "empty"}
    assert {stream: values[stream][0] for stream in expected} == expected
    for statistic in ("location", "spread"):
        value, count = values[Stream("empty", statistic)]
        assert math.isnan(value)
        assert count == 0


def test_covariance_is_told_once_and_only_of_enough_rows():
    before = columns(1, ROWS)
    mixed = {
        **before,
        "few": Numbers(np.sort(before["few"].values)),
        "many": Numbers(np.sort(before["many"].values)),
    }
    joint = Stream("@table", "covariance")
    assert read(before, mixed)[0][joint][0] > 1
    assert math.isnan(read(before, columns(2, 100))[0][joint][0])
    table = table_of(before)
    streams = TableStreams(summarise(table, before))
    alone = streams.read(summarise(table, mixed), joint=False)
    assert math.isnan(alone.values[streams.values.index(joint)])
    one = {"few": before["few"]}
    assert math.isnan(read(one, one)[0][joint][0])


def test_a_table_without_columns_still_counts_repeated_rows():
    values, rates, _ = read({}, {})
    assert [math.isnan(value) for value, _ in values.values()] == [True]
    assert rates == {Stream("@table", "duplicates"): (0, 0)}


@settings(max_examples=20)
@given(SEEDS)
def test_parts_of_a_window_may_be_merged_in_any_order(seed):
    table, now, n = reference_table(), rows(seed, 300), 300
    before = table.zero()
    before.update(table.encode(keys_of(99, 500), rows(99, 500)))
    streams, keys = TableStreams(before), keys_of(seed, n)
    whole = table.zero()
    whole.update(table.encode(keys, now))
    merged = table.zero()
    for part in pieces(seed, n):
        one = table.zero()
        one.update(table.encode(keys[part], take(now, part)))
        merged.merge(one)
    one, other = streams.read(whole), streams.read(merged)
    joint = streams.values.index(Stream("@table", "covariance"))
    np.testing.assert_array_equal(np.delete(one.values, joint), np.delete(other.values, joint))
    np.testing.assert_allclose(one.values[joint], other.values[joint], rtol=1e-9)
    for field in ("counts", "hits", "rows"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def vectors(seed: int, n: int, shift: float = 0.0) -> dict:
    """An embedding of eight numbers, with some missing and some of another length."""
    rng = np.random.default_rng(seed)
    lengths = np.where(rng.random(n) < 0.1, NULL, np.where(rng.random(n) < 0.05, INVALID, 8)).astype(np.int32)
    values = rng.standard_normal((int((lengths > 0).sum()), 8)) + shift
    return {"@embedding.e": Vectors(values.astype(np.float32).ravel(), lengths)}


def test_embeddings_are_read_too():
    """How far the mean features moved; rates of what is missing or no such vector."""
    before, found = vectors(1, 1000), []
    for shift in (0.0, 0.3):
        now = vectors(2, 1000, shift)
        values, rates, streams = read(before, now)
        table = table_of(before)
        means = [summarise(table, side).embeddings.means for side in (before, now)]
        distance, count = values[Stream("@embedding.e", "embedding")]
        assert distance == pytest.approx(np.linalg.norm(means[0] - means[1]))
        lengths = now["@embedding.e"].lengths
        assert count == (lengths > 0).sum()
        assert rates[Stream("@embedding.e", "missing")] == ((lengths == NULL).sum(), 1000)
        assert rates[Stream("@embedding.e", "type_errors")] == ((lengths == INVALID).sum(), 1000)
        found.append(distance)
    assert found[1] > 3 * found[0]
    values, rates, _ = read(before, vectors(3, 0))
    assert np.isnan(values[Stream("@embedding.e", "embedding")][0])
    assert streams.values[-1] == Stream("@table", "covariance")


def test_every_stream_has_a_smallest_effect_that_matters():
    _, _, streams = read({**columns(1, 300), **vectors(1, 300)}, {**columns(2, 300), **vectors(2, 300)})
    outcomes = [OutcomeStreams(regression=kind) for kind in (True, False)]
    every = [stream for one in (streams, *outcomes) for stream in (*one.values, *one.rates)]
    assert {stream.statistic for stream in every} == set(MINIMA)
    assert set(MINIMA) > DISTANCES
    assert len(set(every)) == len(every)


# Labelled predictions


def test_errors_of_a_binary_model():
    outcomes = BinaryOutcomes(np.array([0.5]))
    actual, predicted = np.array([0, 0, 0, 1, 1, 1, 1]), np.array([0, 1, 1, 1, 0, -1, -1])
    outcomes.update(actual, predicted)
    streams = OutcomeStreams(regression=False)
    found = streams.read(outcomes)
    assert streams.rates == (Stream(LABEL, "error_rate"),)
    assert (found.hits.tolist(), found.rows.tolist(), len(found.values)) == ([3], [5], 0)


def test_errors_of_a_multiclass_model():
    outcomes = MulticlassOutcomes(("a", "b", "c"))
    outcomes.update(np.array([0, 1, 2, 2, 3, 0]), np.array([0, 2, 2, 0, 1, -1]))
    found = OutcomeStreams(regression=False).read(outcomes)
    assert (found.hits.tolist(), found.rows.tolist()) == ([3], [5])


def test_errors_of_a_regression_are_relative():
    rng = np.random.default_rng(3)
    actual = rng.standard_normal(400)
    streams, values = OutcomeStreams(regression=True), []
    for size in (1.0, 1.1):
        outcomes = RegressionOutcomes()
        outcomes.update(actual, actual + size * np.where(rng.random(400) < 0.5, 1, -1))
        mae = next(m.value for m in evaluate(outcomes) if m.name == "mae")
        found = streams.read(outcomes)
        assert found.values.tolist() == [pytest.approx(math.log(mae))]
        assert found.counts.tolist() == [400]
        values.append(found.values[0])
    assert values[1] - values[0] == pytest.approx(math.log(1.1))
    perfect = RegressionOutcomes()
    perfect.update(actual, actual)
    assert math.isnan(streams.read(perfect).values[0])
    assert math.isnan(streams.read(RegressionOutcomes()).values[0])
