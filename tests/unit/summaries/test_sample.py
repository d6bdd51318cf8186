import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import NULL, Categories, Numbers
from detectors.summaries.categories import number_text
from detectors.summaries.packing import pack, unpack
from detectors.summaries.sample import Sample
from tests.unit.summaries.rows import SEEDS, keys_of, pieces

CELLS = st.none() | st.floats(-10, 10).map(lambda v: v + 0.0) | st.sampled_from(["a", "b", "3", "0.5"])
ROWS = st.lists(st.fixed_dictionaries({"x": CELLS, "y": CELLS}), max_size=25)


def columns_of(rows, names=("x", "y")):
    """Typed columns as a decoder makes them: numbers unless a cell of the batch is text."""
    columns = {}
    for name in names:
        cells = [row[name] for row in rows]
        if any(isinstance(cell, str) for cell in cells):
            texts = [number_text(c) if isinstance(c, float) else c for c in cells]
            known = sorted({t for t in texts if t is not None})
            codes = [NULL if t is None else known.index(t) for t in texts]
            columns[name] = Categories(np.array(codes, np.int32), tuple(known))
        else:
            columns[name] = Numbers(np.array([np.nan if c is None else c for c in cells], np.float64))
    return columns


def cells_of(column):
    if isinstance(column, Numbers):
        return [None if np.isnan(v) else v for v in column.values]
    return [None if code == NULL else column.names[code] for code in column.codes]


def sampled(size, batches):
    sample = Sample(size)
    for keys, columns in batches:
        sample.update(keys, columns)
    return sample


@settings(max_examples=60)
@given(ROWS, SEEDS, st.integers(0, 12))
def test_the_lowest_keys_stay_whatever_the_split_and_order(rows, seed, size):
    """A batch here has one type per row, so that only which rows are kept decides a column's type."""
    keys = keys_of(seed, len(rows))
    typed = [columns_of([row]) for row in rows]
    lowest = np.argsort(keys)[:size]
    expected = [rows[i] for i in lowest]
    merged = Sample(size)
    for part in pieces(seed, len(rows)):
        merged.merge(sampled(size, [(keys[[i]], typed[i]) for i in part]))
    forward = sampled(size, [(keys[[i]], typed[i]) for i in range(len(rows))])
    assert merged.to_bytes() == forward.to_bytes()
    assert merged.seen == len(rows)
    np.testing.assert_array_equal(merged.keys, np.sort(keys)[:size])
    if size == 0 or not rows:
        return
    for name in ("x", "y"):
        cells = [row[name] for row in expected]
        text = any(isinstance(cell, str) for cell in cells)
        wanted = [number_text(c) if text and isinstance(c, float) else c for c in cells]
        assert cells_of(merged.column(name)) == wanted


@settings(max_examples=60)
@given(SEEDS, st.integers(0, 300), st.integers(1, 40))
def test_batches_of_any_size(seed, n, size):
    rng = np.random.default_rng(seed)
    keys = keys_of(seed, n)
    columns = {
        "number": Numbers(np.where(rng.random(n) < 0.2, np.nan, rng.standard_normal(n))),
        "name": Categories(rng.integers(-2, 3, n).astype(np.int32), ("a", "b", "c")),
    }
    whole = sampled(size, [(keys, columns)])
    parts = [(keys[p], {name: c.take(p) for name, c in columns.items()}) for p in pieces(seed, n)]
    merged = Sample(size)
    for part in parts:
        merged.merge(sampled(size, [part]))
    assert sampled(size, parts).to_bytes() == merged.to_bytes() == whole.to_bytes()


def test_each_key_once():
    keys = np.array([5, 3, 5, 3, 9], np.uint64)
    column = {"x": Numbers(np.array([1.0, 2, 1, 2, 3]))}
    sample = sampled(3, [(keys, column), (keys, column)])
    assert sample.keys.tolist() == [3, 5, 9]
    assert sample.column("x").values.tolist() == [2, 1, 3]
    assert sample.seen == 10


def test_a_column_stays_known_though_none_of_its_rows_is_kept():
    low = (np.array([1, 2], np.uint64), {"x": Numbers(np.ones(2))})
    high = (np.array([8, 9], np.uint64), {"late": Categories(np.zeros(2, np.int32), ("a",))})
    one, other = sampled(2, [low, high]), sampled(2, [high, low])
    assert one.to_bytes() == other.to_bytes()
    assert list(one.columns) == ["late", "x"]
    assert np.isnan(one.column("late").values).all()


def test_text_that_left_leaves_no_trace_and_numbers_among_text_stay_numbers():
    first = sampled(2, [(np.array([10], np.uint64), {"x": Categories(np.zeros(1, np.int32), ("text",))})])
    first.update(np.array([5], np.uint64), {"x": Numbers(np.array([3.0]))})
    assert cells_of(first.column("x")) == ["3", "text"]
    again = Sample.from_bytes(first.to_bytes())
    again.update(np.array([4], np.uint64), {"x": Numbers(np.array([0.5]))})
    assert again.column("x").values.tolist() == [0.5, 3.0]


def test_drop_and_shorten():
    keys = np.array([1, 2, 3], np.uint64)
    columns = {"x": Numbers(np.arange(3.0)), "y": Categories(np.array([-1, -1, 0], np.int32), ("a",))}
    sample = sampled(3, [(keys, columns)])
    sample.shorten(2)
    assert sample.keys.tolist() == [1, 2]
    assert sample.column("x").values.tolist() == [0, 1]
    assert sample.to_bytes() == sampled(2, [(keys, columns)]).to_bytes()
    sample.drop(["x", "never there"])
    assert list(sample.columns) == ["y"]


def test_merge_refuses_another_size():
    with pytest.raises(ValueError, match="different sizes"):
        Sample(2).merge(Sample(3))


@settings(max_examples=30)
@given(ROWS, SEEDS)
def test_bytes_come_back(rows, seed):
    keys = keys_of(seed, len(rows))
    sample = sampled(10, [(keys[[i]], columns_of([row])) for i, row in enumerate(rows)])
    data = sample.to_bytes()
    back = Sample.from_bytes(data)
    assert back.to_bytes() == data
    assert (back.size, back.seen, list(back.columns)) == (10, len(rows), list(sample.columns))
    for name in sample.columns:
        assert cells_of(back.column(name)) == cells_of(sample.column(name))


@pytest.mark.parametrize(
    "change",
    [
        {"size": -1},
        {"size": 1},  # fewer than the keys
        {"seen": None},
        {"keys": np.array([2, 1], np.uint64)},
        {"keys": np.array([1, 1], np.uint64)},
        {"keys": np.array([1, 2], np.int64)},
        {"names": []},
        {"names": {"x": None, "y": [1]}},
        {"names": {"x": None, "y": "ab"}},
        {"names": {"x": ["a"], "y": ["a"]}},  # there are no codes of x
        {"values 0": np.zeros(3)},
        {"codes 1": np.array([0, 1], np.int32)},
        {"codes 1": np.array([-2, 0], np.int32)},
    ],
)
def test_fields_of_other_shapes_are_refused(change):
    sample = Sample(5)
    sample.update(
        np.array([1, 2], np.uint64),
        {"x": Numbers(np.ones(2)), "y": Categories(np.array([0, -1], np.int32), ("a",))},
    )
    with pytest.raises(ValueError, match="field"):
        Sample.from_bytes(pack({**unpack(sample.to_bytes()), **change}))
