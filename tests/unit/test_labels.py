"""The label join against a model in plain Python, and its rules one by one."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observer.labels import LabelJoin, Outcome, Unmatched, record_dtype
from observer.labels import join as joining
from observer.stores.lmdb import LmdbState

DTYPE = record_dtype(n_scores=2, n_dims=1)
HORIZON = 80


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    state = LmdbState(tmp_path_factory.mktemp("state"))
    yield state
    state.close()


@pytest.fixture
def join(state):
    return empty(state)


def empty(state, horizon=HORIZON, buckets=8):
    for space in state.spaces():
        state.drop(space)
    return LabelJoin(state, horizon, buckets)


def keys(ids):
    ids = np.asarray(ids, np.uint64)
    return np.stack([ids * np.uint64(0x9E3779B97F4A7C15), ids], axis=1)


def predict(join, ids, times, payload=None, dtype=DTYPE):
    records = np.zeros(len(ids), dtype)
    records["time"] = times
    records["prediction"] = np.arange(len(ids)) if payload is None else payload
    return join.predictions(keys(ids), records)


def label(join, ids, times, values, weights=None, dtype=DTYPE):
    weights = np.ones(len(ids)) if weights is None else np.asarray(weights, float)
    return join.labels(dtype, keys(ids), np.asarray(times, np.int64), np.asarray(values, float), weights)


def signed(total, joined):
    for row, sign in zip(joined.rows, joined.sign, strict=True):
        total[
            int(row["time"]),
            float(row["prediction"]),
            float(row["label"]),
            float(row["weight"]),
            int(row["label_time"]),
        ] += int(sign)


def net(total):
    return {row: count for row, count in total.items() if count}


def outcomes(joined):
    return [Outcome(code) for code in joined.outcome]


# The law: the sum of signed rows is a function of the two streams alone.

ID = st.integers(0, 5)
PREDICTION = st.tuples(ID, st.integers(0, 99))
LABEL = st.tuples(ID, st.integers(0, 400), st.integers(0, 2), st.integers(1, 2))


def model(times, predictions, labels):
    """The joined rows, from the rules and two dicts."""
    first, wins = {}, {}
    for key, payload in predictions:
        first.setdefault(key, payload)
    for key, time, value, weight in labels:
        in_time = key in first and abs(time - times[key]) <= HORIZON
        if in_time and (key not in wins or time >= wins[key][0]):
            wins[key] = (time, value, weight)
    return {
        (times[key], float(first[key]), float(value), float(weight), time): 1
        for key, (time, value, weight) in wins.items()
    }


@st.composite
def streams(draw):
    times = draw(st.lists(st.integers(100, 300), min_size=6, max_size=6))
    predictions = draw(st.lists(PREDICTION, max_size=12))
    labels = draw(st.lists(LABEL, max_size=25))
    turns = draw(st.permutations([True] * len(predictions) + [False] * len(labels)))
    cuts = draw(st.lists(st.booleans(), min_size=len(turns), max_size=len(turns)))
    return times, predictions, labels, turns, cuts


def batches(predictions, labels, turns, cuts):
    """The two streams interleaved by `turns`, a new batch at every change of stream and at every cut."""
    streams = {True: iter(predictions), False: iter(labels)}
    batch, kind = [], None
    for turn, cut in zip(turns, cuts, strict=True):
        if batch and (cut or turn != kind):
            yield kind, batch
            batch = []
        kind = turn
        batch.append(next(streams[turn]))
    if batch:
        yield kind, batch


@settings(max_examples=150, deadline=None)
@given(streams(), st.integers(1, 9))
def test_batches_and_interleaving_do_not_matter(state, events, buckets):
    times, predictions, labels, turns, cuts = events
    join = empty(state, buckets=buckets)
    total, fates, ended, fresh = Counter(), Counter(), Counter(), 0
    for is_prediction, batch in batches(predictions, labels, turns, cuts):
        if is_prediction:
            ids, payload = zip(*batch, strict=True)
            result = predict(join, ids, [times[key] for key in ids], payload)
            fresh += int(result.fresh.sum())
            ended.update(result.waited)
            assert not result.late.any()
        else:
            ids, at, values, weights = zip(*batch, strict=True)
            result = label(join, ids, at, values, weights)
            fates.update(outcomes(result))
        signed(total, result.joined)
        join = LabelJoin(state, HORIZON, buckets) if len(batch) % 3 == 0 else join  # as after a restart

    assert net(total) == model(times, predictions, labels)

    # Nothing is lost on the way: every event is accounted for once.
    assert fresh == len({key for key, _ in predictions})
    assert fates.total() == len(labels)
    matched = fates[Outcome.MATCHED] + ended[Outcome.MATCHED]
    waiting = fates[Outcome.WAITING] - ended.total()
    assert matched == len(model(times, predictions, labels))
    assert join.pending() == Unmatched(fresh - matched, waiting)
    assert join.expire(10_000) == Unmatched(fresh - matched, waiting)
    assert join.pending() == Unmatched(0, 0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=30))
def test_outcomes_equal_one_at_a_time(state, labels):
    def by(step):
        join = empty(state)
        predict(join, [0, 1], [2, 2])
        parts = (labels[start : start + step] for start in range(0, len(labels), step))
        return [found for part in parts for found in outcomes(label(join, *zip(*part, strict=True)))]

    assert by(len(labels)) == by(1)


# The rules


def test_the_first_of_a_repeated_id_stays(join):
    first = predict(join, [7, 8, 7], [10, 10, 10], payload=[1, 2, 3])
    again = predict(join, [8, 9], [10, 10], payload=[4, 5])
    assert first.fresh.tolist() == [True, True, False]
    assert again.fresh.tolist() == [False, True]
    rows = label(join, [7, 8], [11, 11], [0, 1]).joined.rows
    assert sorted(rows["prediction"].tolist()) == [1, 2]


def test_a_correction_takes_the_old_label_back(join):
    predict(join, [1], [10], payload=[5])
    total = Counter()
    first = label(join, [1], [20], [0])
    later = label(join, [1], [30], [1], [2.0])
    signed(total, first.joined)
    signed(total, later.joined)
    assert outcomes(first) == [Outcome.MATCHED]
    assert outcomes(later) == [Outcome.CORRECTED]
    assert later.joined.sign.tolist() == [-1, 1]
    assert later.joined.rows[0].tobytes() == first.joined.rows[0].tobytes()
    assert net(total) == {(10, 5.0, 1.0, 2.0, 30): 1}


def test_outcomes_within_one_batch(join):
    predict(join, [1], [10])
    found = label(join, [1] * 6 + [2], [20, 20, 19, 20, 25, 91, 20], [0, 0, 1, 1, 1, 0, 0])
    assert outcomes(found) == [
        Outcome.MATCHED,
        Outcome.DUPLICATE,
        Outcome.STALE,
        Outcome.CORRECTED,
        Outcome.CORRECTED,
        Outcome.EXPIRED,
        Outcome.WAITING,
    ]
    assert found.joined.sign.tolist() == [1]
    assert found.joined.rows["label_time"].tolist() == [25]


def test_a_missing_value_repeated_is_a_duplicate(join):
    predict(join, [1], [10])
    assert outcomes(label(join, [1, 1], [20, 20], [np.nan, np.nan])) == [Outcome.MATCHED, Outcome.DUPLICATE]


@pytest.mark.parametrize(("label_time", "joins"), [(219, False), (220, True), (380, True), (381, False)])
@pytest.mark.parametrize("label_first", [False, True])
def test_the_horizon_is_exact_on_both_sides(join, label_time, joins, label_first):
    total = Counter()
    if label_first:
        label(join, [1], [label_time], [1])
    signed(total, predict(join, [1], [300], payload=[0]).joined)
    if not label_first:
        signed(total, label(join, [1], [label_time], [1]).joined)
    assert bool(net(total)) is joins


def test_a_waiting_label_beyond_the_horizon_does_not_hide_an_earlier_one(join):
    label(join, [1, 1], [379, 381], [1, 0])
    found = predict(join, [1], [300])
    assert found.joined.rows["label_time"].tolist() == [379]
    assert found.waited == {Outcome.MATCHED: 1, Outcome.STALE: 0, Outcome.EXPIRED: 1}


def test_many_waiting_labels_of_one_id_are_bounded(join):
    found = label(join, [1] * 40, range(320, 360), np.zeros(40))
    kept = outcomes(found).count(Outcome.WAITING)
    again = label(join, [1] * 40, range(320, 360), np.zeros(40))
    assert 8 <= kept < 80
    assert Outcome.WAITING not in outcomes(again)
    assert join.pending().labels == kept


def test_an_id_used_again_is_a_duplicate_in_its_bucket_and_new_in_another(join):
    assert predict(join, [1], [100], payload=[1]).fresh.all()
    assert not predict(join, [1], [109], payload=[2]).fresh.any()
    assert predict(join, [1], [140], payload=[3]).fresh.all()
    assert label(join, [1], [150], [1]).joined.rows["prediction"].tolist() == [3]


def test_models_of_other_record_types_do_not_meet(join):
    other = record_dtype(n_scores=0, n_dims=3)
    predict(join, [1], [10])
    assert outcomes(label(join, [1], [10], [1], dtype=other)) == [Outcome.WAITING]
    assert predict(join, [1], [10], dtype=other).joined.rows["label"].tolist() == [1.0]


def test_the_callers_flags_and_payload_come_back(join):
    records = np.zeros(1, DTYPE)
    records["flags"], records["time"], records["version"], records["arm"] = 0xA7, 10, 300, 2
    records["segments"], records["scores"], records["label"] = [[9]], [[0.25, 0.75]], 99
    join.predictions(keys([1]), records)
    row = label(join, [1], [12], [1]).joined.rows[0]
    assert row["flags"] & 0xF0 == 0xA0
    assert (row["version"], row["arm"], row["segments"].tolist(), row["scores"].tolist()) == (
        300,
        2,
        [9],
        [0.25, 0.75],
    )
    assert (row["label"], row["label_time"] - row["time"]) == (1.0, 2)


def test_expire_drops_only_what_nothing_can_match(state, join):
    predict(join, [1, 2], [100, 115])
    label(join, [2, 3], [116, 104], [1, 1])
    assert join.expire(189) == Unmatched(0, 0)
    assert outcomes(label(join, [1], [180], [1])) == [Outcome.MATCHED]
    assert join.expire(190) == Unmatched(0, 1)
    assert join.expire(200) == Unmatched(0, 0)
    assert [name for name in state.spaces() if name != "floor"] == []


def test_what_comes_after_its_bucket_was_dropped_is_late(state, join):
    join.expire(190)
    for key, again in enumerate([join, LabelJoin(state, HORIZON)]):
        found = predict(again, [1, 2], [109, 110])
        assert found.late.tolist() == [True, False]
        assert not found.fresh[0]
        assert outcomes(label(again, [8, key + 6], [109, 110], [1, 1])) == [Outcome.EXPIRED, Outcome.WAITING]
        assert again.deduplicate(keys([9]), np.array([109]))[1].tolist() == [True]


def test_deduplicate_keeps_ids_only(state, join):
    fresh, late = join.deduplicate(keys([1, 2, 1]), np.array([10, 10, 10]))
    assert fresh.tolist() == [True, True, False]
    assert not late.any()
    assert join.deduplicate(keys([2, 3]), np.array([10, 10]))[0].tolist() == [False, True]
    assert join.pending() == Unmatched(0, 0)
    assert join.expire(1000) == Unmatched(0, 0)
    assert list(state.spaces()) == ["floor"]


def test_empty_batches_are_harmless(join):
    assert len(predict(join, [], []).fresh) == 0
    assert len(label(join, [], [], []).outcome) == 0
    predict(join, [1], [10])
    assert len(label(join, [], [], []).joined.rows) == 0


def test_a_changed_horizon_still_finds_what_was_held(state, join):
    predict(join, [1], [100])
    label(join, [2], [100], [1])
    longer = LabelJoin(state, horizon_ms=1000, buckets=4)
    assert outcomes(label(longer, [1], [900], [1])) == [Outcome.MATCHED]
    assert predict(longer, [2], [800]).joined.rows["label"].tolist() == [1.0]
    assert longer.pending() == Unmatched(0, 0)


def test_labels_spread_over_buckets_reach_the_right_predictions(join):
    rng = np.random.default_rng(3)
    ids = rng.permutation(500)
    times = rng.integers(1000, 1160, 500)
    predict(join, ids, times, payload=ids)
    delay = rng.integers(-80, 81, 500)
    found = label(join, ids, times + delay, ids % 3)
    assert (found.outcome == Outcome.MATCHED).all()
    got = defaultdict(set)
    for row in found.joined.rows:
        got[int(row["prediction"])].add((int(row["time"]), float(row["label"]), int(row["label_time"])))
    assert got == {
        int(i): {(int(t), float(i % 3), int(t + d))} for i, t, d in zip(ids, times, delay, strict=True)
    }


def test_months_of_rare_events_fit_one_poll(tmp_path):
    """Each needs a bucket of its own where the horizon is shorter than the time between two."""
    state = LmdbState(tmp_path)
    try:
        rare = LabelJoin(state, HORIZON)
        ids, times = np.arange(5_000), np.arange(5_000) * 10 * HORIZON
        assert rare.deduplicate(keys(ids), times)[0].all()
        assert not rare.deduplicate(keys(ids[::50]), times[::50])[0].any()
        rare.expire(int(times[-1]) + 2 * HORIZON)
        assert len(state.spaces()) <= 3
    finally:
        state.close()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-500, 2_000), max_size=30), st.lists(st.integers(-500, 2_000), max_size=30),
    st.integers(1, 9),
)  # fmt: skip
def test_spaces_are_asked_for_just_the_rows_that_they_can_match(state, held, times, buckets):
    """By the definition, one space at a time; the rows in the order in which they came."""
    join = empty(state, buckets=buckets)
    predict(join, range(len(held)), held)
    time, span = np.array(times, np.int64), join._span
    starts = time // span * span
    expected = []
    for space in sorted(join._spaces, key=lambda one: -one.start):
        near = (starts - span * buckets < space.end) & (space.start < starts + span + span * buckets)
        if near.any():
            expected.append((space, np.flatnonzero(near).tolist()))
    found = join._near("prediction", "2x1", time)
    assert [(space, rows.tolist()) for space, rows in found] == expected
    parts = join._by_space("prediction", "2x1", time, time % 2 == 0)
    assert {space.start: rows.tolist() for space, rows in parts} == {
        start: np.flatnonzero((starts == start) & (time % 2 == 0)).tolist()
        for start in starts[time % 2 == 0].tolist()
    }


def test_few_buckets_have_a_filter_and_predictions_find_the_labels_of_all(join, monkeypatch):
    """A filter takes half a megabyte, a waiting label some bytes."""
    monkeypatch.setattr(joining, "_FILTERS", 3)
    ids, times = np.arange(40), np.arange(40) * 10 * HORIZON
    assert set(outcomes(label(join, ids, times, ids % 2))) == {Outcome.WAITING}
    assert len(join._filters) == 3
    assert len(predict(join, ids, times).joined.rows) == 40


def test_record_types_are_packed():
    assert record_dtype(0, 0).itemsize == 40
    assert record_dtype(2, 3).itemsize == 40 + 8 + 3
