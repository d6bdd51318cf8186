import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import INVALID, NULL, Categories
from observer.codecs.columns import (
    as_categories,
    checked_categories,
    checked_numbers,
    class_column,
    class_name,
    concatenate,
    inferred,
    recode,
)

from .helpers import cells, outcomes, scalars

wild = scalars | st.lists(st.integers(), max_size=1) | st.just({}) | st.integers()


@pytest.mark.parametrize(
    ("value", "name"),
    [("a", "a"), (3, "3"), (3.0, "3"), (-0.0, "0"), (0.1, "0.1"), (True, "true"), (False, "false"),
     (1e22, "1e+22"), (float(2**53 - 1), str(2**53 - 1)), (2**70, str(2**70)), (float("inf"), "inf")],
)  # fmt: skip
def test_class_name(value, name):
    assert class_name(value) == name


@given(st.lists(wild))
def test_categories_hold_canonical_names(values):
    scalar = (str, int, float, bool)
    expected = [None if v is None else class_name(v) if isinstance(v, scalar) else ... for v in values]
    assert cells(checked_categories(values)) == expected


@given(st.lists(wild))
def test_numbers_hold_numbers(values):
    expected = []
    for value in values:
        if value is None or type(value) not in (int, float):
            expected.append(None if value is None else ...)
        else:
            expected.append(float(value))
    assert cells(checked_numbers(values)) == expected


def test_an_integer_beyond_floats_is_invalid():
    assert cells(checked_numbers([1, 10**400, None])) == [1, ..., None]


@given(st.lists(outcomes, min_size=1), st.integers(0, 20))
@settings(deadline=None)
def test_outcomes_split_anywhere_join_to_the_same(values, at):
    parts = [part for part in (values[:at], values[at:]) if part]
    joined = concatenate([(class_column(part), len(part)) for part in parts])
    whole = class_column(values)
    numbers = all(type(value) in (int, float) for value in values)
    assert cells(joined) == cells(whole) if numbers else len(joined) == len(whole)
    if not numbers:
        exact = [value for value in values if type(value) is not int or abs(value) < 2**53]
        if len(exact) == len(values):
            assert cells(joined) == cells(whole)


@given(st.lists(st.none() | st.lists(wild, min_size=1, max_size=6), min_size=1, max_size=5))
@settings(deadline=None)
def test_concatenation_keeps_every_cell(parts):
    columns = [None if part is None else inferred(part) for part in parts]
    joined = concatenate([(column, 2 if column is None else len(column)) for column in columns])
    expected = []
    for column in columns:
        if column is None:
            expected += [None, None]
        else:
            expected += cells(as_categories(column) if isinstance(joined, Categories) else column)
    assert cells(joined) == expected
    if isinstance(joined, Categories):
        assert len(set(joined.names)) == len(joined.names)


def test_recode_keeps_null_and_invalid():
    codes = np.array([0, NULL, 1, INVALID], np.int32)
    assert recode(codes, np.array([7, 5], np.int32)).tolist() == [7, NULL, 5, INVALID]
    assert recode(codes[[1, 3]], np.array([], np.int32)).tolist() == [NULL, INVALID]
