from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import INVALID, NULL, Categories, Numbers
from detectors.summaries.categories import (
    KNOWN,
    UNSEEN_NAMES,
    CategoryCounts,
    UnseenNames,
    Vocabularies,
    as_categories,
    number_text,
    vocabulary,
)
from detectors.summaries.packing import pack, unpack
from tests.unit.summaries.rows import SEEDS, pieces

NAMES = st.text(max_size=3)


def column(values) -> Categories:
    """Texts, None and `INVALID` as a column, with a name that no row uses."""
    names = sorted({v for v in values if isinstance(v, str)} | {"unused name"})
    codes = [names.index(v) if isinstance(v, str) else NULL if v is None else INVALID for v in values]
    return Categories(np.array(codes, np.int32), tuple(names))


def counted(vocabularies, *columns) -> CategoryCounts:
    counts = vocabularies.zero()
    counts.count(len(columns[0]))
    for i, values in enumerate(columns):
        counts.update(i, vocabularies.encode(i, values), values)
    return counts


@given(
    st.lists(st.sampled_from("abcdefgh") | NAMES | st.none() | st.just(INVALID), max_size=60),
    st.lists(st.sampled_from("abcdefgh"), max_size=30),
)
def test_every_cell_counts_once_and_apart(values, known):
    names, rare = vocabulary(column(known), top=3)
    counts = counted(Vocabularies(("c",), (names,), (rare,), top=3), column(values)).counts[0]
    cells = Counter(values)
    for code, name in enumerate(names):
        assert counts[code] == cells[name]
    assert not counts[len(names) : 3].any()
    assert counts[3] == sum(cells[name] for name in rare)
    assert counts[4] == sum(
        n for name, n in cells.items() if isinstance(name, str) and name not in set(known)
    )
    assert counts[5] == cells[None]
    assert counts[6] == cells[INVALID]
    assert counts.sum() == len(values)


@settings(max_examples=60)
@given(SEEDS, st.integers(0, 200), st.integers(1, 60))
def test_split_and_order_do_not_matter(seed, n, newcomers):
    rng = np.random.default_rng(seed)
    vocabularies = Vocabularies(("c",), (("0", "1"),), (frozenset({"2"}),), top=2)
    values = Categories(
        rng.integers(-2, newcomers, n).astype(np.int32), tuple(str(i) for i in range(newcomers))
    )
    whole = counted(vocabularies, values)
    updated, merged = vocabularies.zero(), vocabularies.zero()
    for rows in pieces(seed, n):
        part = values.take(rows)
        if rng.random() < 0.5:  # a batch has its own dictionary
            order = rng.permutation(newcomers)
            table = np.append(np.argsort(order), [INVALID, NULL])
            part = Categories(table[part.codes].astype(np.int32), tuple(str(i) for i in order))
        updated.count(len(part))
        updated.update(0, vocabularies.encode(0, part), part)
        merged.merge(counted(vocabularies, part))
    assert updated.to_bytes() == merged.to_bytes() == whole.to_bytes()
    exact = Counter(values.names[code] for code in values.codes if code >= 0)
    assert all(exact[name] == count for name, count in whole.unseen[0].items())
    assert len(whole.unseen[0]) == min(len(exact.keys() - {"0", "1", "2"}), UNSEEN_NAMES)


@given(st.lists(st.dictionaries(NAMES, st.integers(1, 100), max_size=30), max_size=6), st.randoms())
def test_unseen_names_are_exact_and_free_of_order(batches, random):
    def of(some):
        names = UnseenNames()
        for batch in some:
            names.add(batch)
        return names.counts

    exact = Counter()
    for batch in batches:
        exact.update(batch)
    kept = of(batches)
    assert all(exact[name] == count for name, count in kept.items())
    assert len(kept) == min(len(exact), UNSEEN_NAMES)
    assert of(random.sample(batches, len(batches))) == kept
    half = len(batches) // 2
    assert of([of(batches[:half]), of(batches[half:])]) == kept


@given(st.lists(NAMES, max_size=80), st.integers(1, 8))
def test_a_vocabulary_holds_the_most_frequent_names_first(names, top):
    counted_names, rare = vocabulary(column(names), top)
    counts = Counter(names)
    assert set(counted_names) | rare == set(names)
    assert not set(counted_names) & rare
    assert len(counted_names) == min(top, len(counts))
    order = [(-counts[name], name) for name in counted_names]
    assert order == sorted(order)
    assert all(counts[name] <= min(counts[c] for c in counted_names) for name in rare)


def test_a_vocabulary_is_bounded():
    many = Categories(np.arange(KNOWN + 5, dtype=np.int32), tuple(f"{i:06}" for i in range(KNOWN + 5)))
    names, rare = vocabulary(many)
    assert len(names) + len(rare) == KNOWN
    assert f"{KNOWN:06}" not in rare


@given(st.lists(st.floats(), max_size=40))
def test_numbers_become_categories(values):
    array = np.array(values, np.float64)
    invalid = np.zeros(len(array), np.bool_)
    invalid[::5] = np.isnan(array[::5])
    found = as_categories(Numbers(array, invalid=invalid))
    assert len(set(found.names)) == len(found.names)
    for code, value, wrong in zip(found.codes, array, invalid, strict=True):
        if wrong:
            assert code == INVALID
        elif np.isnan(value):
            assert code == NULL
        else:
            assert found.names[code] == number_text(float(value))
            assert float(found.names[code]) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.0, "3"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (2.0**53, "9007199254740992.0"),
        (-7.5, "-7.5"),
    ],
)
def test_number_text(value, text):
    assert number_text(value) == text


def test_names_that_are_not_unicode_scalars_are_counted():
    vocabularies = Vocabularies(("c",), ((),), (frozenset(),))
    counts = counted(vocabularies, column(["\ud800"]))
    assert counts.unseen == ({"\ud800": 1},)
    assert CategoryCounts.from_bytes(counts.to_bytes(), vocabularies).unseen == counts.unseen


def test_merge_refuses_other_vocabularies():
    one = Vocabularies(("c",), (("a",),), (frozenset(),))
    for other in (
        Vocabularies(("d",), (("a",),), (frozenset(),)),
        Vocabularies(("c",), (("b",),), (frozenset(),)),
        Vocabularies(("c",), (("a",),), (frozenset({"b"}),)),
        Vocabularies(("c",), (("a",),), (frozenset(),), top=3),
    ):
        with pytest.raises(ValueError, match="cannot be merged"):
            one.zero().merge(other.zero())
    one.zero().merge(Vocabularies(("c",), (("a",),), (frozenset(),)).zero())


@pytest.mark.parametrize(
    "change",
    [
        {"n": -3},
        {"counts": np.zeros((1, 3), np.int64)},
        {"unseen": []},
        {"unseen": [["a"]]},
        {"unseen": [{"a": 0}]},
        {"unseen": [{"a": "b"}]},
        {"unseen": {"a": 1}},
        {"unseen": None},
    ],
)
def test_fields_of_other_shapes_are_refused(change):
    vocabularies = Vocabularies(("c",), (("a",),), (frozenset(),))
    fields = unpack(vocabularies.zero().to_bytes())
    with pytest.raises(ValueError, match=next(iter(change))):
        CategoryCounts.from_bytes(pack({**fields, **change}), vocabularies)
