import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import Categories, Numbers
from detectors.summaries.packing import pack, unpack
from detectors.summaries.table import Table, TableSummary
from tests.unit.summaries.rows import SEEDS, assert_same, keys_of, pieces, reference_table, rows, take

TABLE = reference_table()
SCALE = 1e6  # what goes through a column's sums here


def summary_of(columns: dict, keys: np.ndarray, table: Table = TABLE) -> TableSummary:
    summary = table.zero()
    summary.update(table.encode(keys, columns))
    return summary


@settings(max_examples=25)
@given(SEEDS, st.integers(0, 300))
def test_split_and_order_do_not_matter(seed, n):
    columns, keys = rows(seed, n), keys_of(seed, n)
    whole = summary_of(columns, keys)
    updated, merged, grouped = TABLE.zero(), TABLE.zero(), TABLE.zero()
    encoded = TABLE.encode(keys, columns)
    for part in pieces(seed, n):
        updated.update(TABLE.encode(keys[part], take(columns, part)))
        merged.merge(summary_of(take(columns, part), keys[part]))
        grouped.update(encoded.take(part))
    for other in (updated, merged, grouped):
        assert_same(whole.to_bytes(), other.to_bytes(), SCALE)
        assert other.scores.to_bytes() == whole.scores.to_bytes()
        assert other.sample.to_bytes() == whole.sample.to_bytes()
        assert other.categories.to_bytes() == whole.categories.to_bytes()
    assert whole.n == n


@settings(max_examples=20)
@given(SEEDS, st.lists(st.integers(0, 60), min_size=3, max_size=3))
def test_merge_is_associative_and_commutative_with_zero(seed, sizes):
    keys = np.split(keys_of(seed, sum(sizes)), np.cumsum(sizes)[:-1])

    def part(i):
        return summary_of(rows(seed + i, sizes[i]), keys[i])

    def merged(one, other):
        before = other.to_bytes()
        one.merge(other)
        assert other.to_bytes() == before
        return one.to_bytes()

    left, right = part(0), part(1)
    merged(left, part(1))
    merged(right, part(2))
    one, other = part(0), part(2)
    assert_same(merged(left, part(2)), merged(one, right), SCALE)
    merged(other, part(1))
    assert_same(left.to_bytes(), merged(other, part(0)), SCALE)
    assert merged(part(0), TABLE.zero()) == part(0).to_bytes()
    assert merged(TABLE.zero(), part(0)) == part(0).to_bytes()


@settings(max_examples=20)
@given(SEEDS, st.integers(0, 100))
def test_bytes_come_back(seed, n):
    summary = summary_of(rows(seed, n), keys_of(seed, n))
    data = summary.to_bytes()
    back = TableSummary.from_bytes(data, TABLE)
    assert back.to_bytes() == data
    more = rows(seed + 1, 50), keys_of(seed + 1, 50)
    for one in (summary, back):  # it can be counted on
        one.update(TABLE.encode(more[1], more[0]))
    assert back.to_bytes() == summary.to_bytes()


@settings(max_examples=40)
@given(st.data())
def test_damaged_bytes_are_refused(data):
    good = summary_of(rows(1, 60), keys_of(1, 60)).to_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    bad = data.draw(
        st.sampled_from(
            [good[:at], good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :], good[at:], good + b"x"]
        )
    )
    if bad == good:
        return
    with pytest.raises(ValueError, match="damaged"):
        TableSummary.from_bytes(bad, TABLE)


@pytest.mark.parametrize("part", ["counts", "numbers", "categories", "scores", "sample"])
def test_parts_of_other_kinds_are_refused(part):
    fields = unpack(TABLE.zero().to_bytes())
    for wrong in (b"", pack({}), pack({"n": 1}), 3, None, fields["sample" if part == "counts" else "counts"]):
        with pytest.raises(ValueError, match=r"field|damaged"):
            TableSummary.from_bytes(pack({**fields, part: wrong}), TABLE)


def test_bytes_of_another_table_are_refused():
    data = summary_of(rows(1, 20), keys_of(1, 20)).to_bytes()
    with pytest.raises(ValueError, match="another table"):
        TableSummary.from_bytes(data, Table.unknown(10))
    with pytest.raises(ValueError, match="cannot be merged"):
        TABLE.zero().merge(Table.unknown(50).zero())


def test_a_column_that_the_batch_lacks_is_all_null():
    summary = summary_of({}, keys_of(1, 7))
    bins, top = summary.numbers.bins, summary.categories.vocabularies.top
    assert set(summary.numbers.counts[:, bins + 2]) == {7}
    assert set(summary.categories.counts[:, top + 2]) == {7}
    assert summary.numbers.counts.sum() == 7 * len(summary.numbers.names)
    assert summary.n == summary.scores.n == summary.numbers.n == summary.categories.n == 7


def test_null_nan_infinite_and_invalid_cells_are_told_apart():
    values = np.array([np.nan, np.nan, np.nan, np.inf, -np.inf, 0.0])
    column = Numbers(
        values,
        np.array([True, False, False, False, False, False]),
        np.array([False, True, False, False, False, False]),
    )
    summary = summary_of({"n0": column}, keys_of(1, 6))
    i, bins = summary.numbers.names.index("n0"), summary.numbers.bins
    #                                                                     null, nan, -inf, +inf, invalid
    assert summary.numbers.counts[i, bins + 2 :].tolist() == [1, 1, 1, 1, 1]
    assert summary.numbers.counts[i, : bins + 2].sum() == 1


def test_text_in_a_numeric_column_is_invalid():
    texts = Categories(np.array([0, -1, -2, 0], np.int32), ("text",))
    summary = summary_of({"n0": texts}, keys_of(1, 4))
    i, bins = summary.numbers.names.index("n0"), summary.numbers.bins
    assert summary.numbers.counts[i, bins + 2 :].tolist() == [1, 0, 0, 0, 3]


def test_numbers_in_a_column_of_names_go_by_their_text():
    numbers = Numbers(np.array([3.0, 0.5, np.nan, np.nan]), invalid=np.array([False, False, False, True]))
    summary = summary_of({"new": numbers}, keys_of(1, 4))
    i, top = summary.categories.names.index("new"), summary.categories.vocabularies.top
    known = summary.categories.vocabulary[i].index("3")
    counts = summary.categories.counts[i]
    assert (counts[known], counts[top + 1], counts[top + 2], counts[top + 3]) == (1, 1, 1, 1)
    assert summary.categories.unseen[i] == {"0.5": 1}


def test_only_allowed_columns_are_sampled():
    table = Table(TABLE.binning, TABLE.vocabularies, TABLE.scores, 10, frozenset({"n1", "flag"}))
    assert set(
        summary_of({**rows(1, 30), "other": Numbers(np.ones(30))}, keys_of(1, 30), table).sample.columns
    ) == {
        "n1",
        "flag",
    }


def test_an_unknown_table_counts_and_samples_everything():
    columns = rows(1, 30)
    summary = summary_of(columns, keys_of(1, 30), Table.unknown(10))
    assert summary.n == 30
    assert len(summary.sample) == 10
    assert set(summary.sample.columns) == set(columns)
    back = TableSummary.from_bytes(summary.to_bytes(), Table.unknown(10))
    assert back.to_bytes() == summary.to_bytes()


def test_sums_that_overflow_do_not_stop_anything():
    huge = Numbers(np.array([1.7e308, 1.7e308, -1.7e308, np.inf, -np.inf]))
    summary = summary_of({"n0": huge}, keys_of(1, 5))
    summary.merge(summary_of({"n0": huge}, keys_of(2, 5)))
    i = summary.numbers.names.index("n0")
    assert summary.numbers.finite[i] == 6
    assert summary.numbers.maximum[i] == 1.7e308
