"""Values, as decoders give them -> columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain, compress
from math import isnan
from operator import is_, is_not
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.base import INVALID, NULL, Bools, Categories, Column, Numbers, TableColumn, Vectors

NUMBER_TYPES: frozenset[type] = frozenset({int, float, type(None)})
SCALAR_TYPES: frozenset[type] = frozenset({str, int, float, bool, type(None)})
AnyColumn = TypeVar("AnyColumn", Numbers, Categories, Vectors, Column)
"""A column whose kind is kept."""

BOOLEAN_CODES = {False: 0, True: 1, None: NULL}
BOOLEAN_NAMES = ("false", "true")


def class_name(value: str | int | float) -> str:
    """Canonical name of a class or category: `3.0` and `3` are "3", true is "true"."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return str(value)


class Interner(dict[Any, int]):
    """Value -> code: a value not seen before gets the next one; None and NaN are `NULL`.

    As a dictionary, so that `map(interner.__getitem__, values)` never enters Python for a known value.
    """

    def __init__(self) -> None:
        self[None] = NULL
        self._codes: dict[str, int] = {}

    def __missing__(self, value: str | float | bool) -> int:
        if isinstance(value, float) and isnan(value):
            return NULL
        name = class_name(value)
        code = self._codes.setdefault(name, len(self._codes))
        # 0 == False and 1 == True are one dictionary key each but two names: those are never stored.
        if isinstance(value, str) or value not in (0, 1):
            self[value] = code
        return code

    @property
    def names(self) -> tuple[str, ...]:
        """The names, by code."""
        return tuple(self._codes)


def categories(values: Iterable[Any], n: int, interner: Interner) -> Categories:
    """Encode n values, all of `SCALAR_TYPES`."""
    codes = np.fromiter(map(interner.__getitem__, values), np.int32, n)
    return Categories(codes, interner.names)


def concatenate_flags(parts: Sequence[tuple[Bools | None, int]]) -> Bools | None:
    """Flags of several parts, each with its rows; None stands for a part, or for all, without any set."""
    if all(part is None for part, _ in parts):
        return None
    return np.concatenate([np.zeros(size, np.bool_) if part is None else part for part, size in parts])


def checked_categories(values: list[Any], accepted: frozenset[type] = SCALAR_TYPES) -> Categories:
    """Encode values of any type; those not of an accepted type (nor None) are `INVALID`."""
    accepted |= {type(None)}
    if set(map(type, values)) <= accepted:
        return categories(values, len(values), Interner())
    good = _of_types(values, accepted)
    some = categories(compress(values, good.tolist()), int(good.sum()), Interner())
    codes = np.full(len(values), INVALID, np.int32)
    codes[good] = some.codes
    return Categories(codes, some.names)


def absent(values: list[Any]) -> bool:
    """Whether all values are None."""
    return values.count(None) == len(values)


def checked_numbers(values: list[Any]) -> Numbers:
    """Column of values of any type; whatever is neither number nor None is invalid."""
    n = len(values)
    kinds = set(map(type, values))
    if kinds == {type(None)}:
        return no_numbers(n)
    nulls = None
    if type(None) in kinds:
        nulls = np.fromiter(map(partial(is_, None), values), np.bool_, n)
    if kinds <= NUMBER_TYPES:
        try:
            return Numbers(np.fromiter(values, np.float64, n), nulls)
        except OverflowError:  # an integer beyond the largest float
            good = np.ones(n, np.bool_)
    else:
        good = _of_types(values, NUMBER_TYPES)
    out = np.full(n, np.nan)
    for row in np.flatnonzero(good).tolist():
        try:
            out[row] = values[row]
        except OverflowError:
            good[row] = False
    return Numbers(out, nulls, ~good)


def inferred(values: list[Any]) -> Column:
    """Column of a feature whose type is not known: numbers if all are, else categories."""
    kinds = set(map(type, values))
    if kinds & {str, bool}:
        return checked_categories(values)
    return checked_numbers(values)


def class_column(values: list[Any]) -> Column:
    """Column of predictions or labels, none None: numbers if all are, else categories."""
    if set(map(type, values)) <= NUMBER_TYPES:
        return checked_numbers(values)
    return categories(values, len(values), Interner())


def no_numbers(n: int) -> Numbers:
    """A column of n nulls."""
    return Numbers(np.full(n, np.nan), np.ones(n, np.bool_))


def no_categories(n: int) -> Categories:
    """A column of n nulls."""
    return Categories(np.full(n, NULL, np.int32), ())


def vectors(values: list[Any], longest: int) -> Vectors:
    """Column of lists of numbers, of values of any type; whatever is neither that nor None is invalid.

    So is an empty list, one of more than `longest` numbers, and one with a number that is not finite.
    """
    kinds = set(map(type, values))
    if not kinds <= {list, type(None)}:
        values = [value if type(value) in (list, type(None)) else () for value in values]
    lists = [value for value in values if value is not None]
    counts = np.fromiter(map(len, lists), np.int64, len(lists))
    lengths = np.full(len(values), NULL, np.int32)
    lengths[np.fromiter(map(partial(is_not, None), values), np.bool_, len(values))] = counts
    try:
        lists = msgspec.convert(lists, list[list[float]])
    except msgspec.ValidationError:  # which of them are not lists of numbers, only a look at each can tell
        lists = list(map(_numbers, lists))
        lengths[lengths != NULL] = np.fromiter(map(len, lists), np.int64, len(lists))
    flat = np.fromiter(chain.from_iterable(lists), np.float64, int(np.maximum(lengths, 0).sum()))
    return usable_vectors(flat, lengths, longest)


def _numbers(values: list[Any]) -> list[float]:
    """The list, empty if it holds anything but numbers."""
    try:
        return msgspec.convert(values, list[float])
    except msgspec.ValidationError:
        return []


def usable_vectors(values: NDArray[Any], lengths: NDArray[np.int32], longest: int) -> Vectors:
    """Vectors in single precision, those that are empty, too long or not finite made invalid.

    `values` are those of all rows one after another; `lengths` int32[n] their numbers, `NULL` for none.
    """
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(values, np.float32)
    bad = (lengths == 0) | (lengths > longest)
    finite = np.isfinite(single)
    if not finite.all():
        owner = np.repeat(np.arange(len(lengths)), np.maximum(lengths, 0))
        bad[owner[~finite]] = True
    if not bad.any():
        return Vectors(single, lengths)
    kept = np.repeat(~bad, np.maximum(lengths, 0))
    return Vectors(single[kept], np.where(bad, np.int32(INVALID), lengths))


def spoiled(column: TableColumn | None) -> int:
    """How many cells have a wrong type."""
    if isinstance(column, Vectors):
        return int(np.count_nonzero(column.lengths == INVALID))
    if isinstance(column, Categories):
        return int(np.count_nonzero(column.codes == INVALID))
    return 0 if column is None or column.invalid is None else int(np.count_nonzero(column.invalid))


def flags(mask: Bools) -> Bools | None:
    """The mask, or None where it marks nothing."""
    return mask if mask.any() else None


def _of_types(values: list[Any], accepted: frozenset[type]) -> Bools:
    """Which values are of an accepted type."""
    return np.fromiter(map(accepted.__contains__, map(type, values)), np.bool_, len(values))


def concatenate(parts: Sequence[tuple[Column | None, int]]) -> Column:
    """Join columns, each given with its length; None stands for a column of nulls.

    Numbers joined with categories become categories.
    """
    columns = [column for column, _ in parts if column is not None]
    if any(isinstance(column, Categories) for column in columns):
        return concatenate_categories([(as_categories(column), n) for column, n in parts])
    numbers = [(column if isinstance(column, Numbers) else None, n) for column, n in parts]
    return concatenate_numbers(numbers)


def concatenate_numbers(parts: Sequence[tuple[Numbers | None, int]]) -> Numbers:
    """As `concatenate`, for numbers."""
    if len(parts) == 1 and parts[0][0] is not None:
        return parts[0][0]
    values = np.concatenate([np.full(n, np.nan) if part is None else part.values for part, n in parts])
    nulls = None
    if any(part is None or part.nulls is not None for part, _ in parts):
        nulls = np.concatenate(
            [np.ones(n, np.bool_) if part is None else _mask(part.nulls, n) for part, n in parts]
        )
    invalid = None
    if any(part is not None and part.invalid is not None for part, _ in parts):
        invalid = np.concatenate([_mask(None if part is None else part.invalid, n) for part, n in parts])
    return Numbers(values, nulls, invalid)


def concatenate_categories(parts: Sequence[tuple[Categories | None, int]]) -> Categories:
    """As `concatenate`, for categories: the names are united in order of appearance."""
    if len(parts) == 1 and parts[0][0] is not None:
        return parts[0][0]
    names: tuple[str, ...] = ()
    united: dict[str, int] = {}
    codes: list[NDArray[np.int32]] = []
    for part, n in parts:
        if part is None:
            codes.append(np.full(n, NULL, np.int32))
            continue
        if part.names[: len(names)] == names:  # the usual case: one interner wrote both
            united.update(zip(part.names[len(names) :], range(len(names), len(part.names)), strict=True))
            codes.append(part.codes)
        else:
            of_part = [united.setdefault(name, len(united)) for name in part.names]
            codes.append(recode(part.codes, np.array(of_part, np.int32)))
        names = tuple(united)
    return Categories(np.concatenate(codes) if codes else np.zeros(0, np.int32), names)


def concatenate_vectors(parts: Sequence[tuple[Vectors | None, int]]) -> Vectors:
    """As `concatenate`, for vectors."""
    columns = [Vectors.missing(n) if part is None else part for part, n in parts]
    if len(columns) == 1:
        return columns[0]
    return Vectors(
        np.concatenate([column.values for column in columns]),
        np.concatenate([column.lengths for column in columns]),
    )


def recode(codes: NDArray[np.int32], new: NDArray[np.int32]) -> NDArray[np.int32]:
    """Replace each code c >= 0 by `new[c]`; `NULL` and `INVALID` stay."""
    table = np.concatenate([new, np.array([INVALID, NULL], np.int32)])  # which -2 and -1 index
    return table[codes]


def as_categories(column: Column | None) -> Categories | None:
    """The column as categories, numbers by their canonical text."""
    if column is None or isinstance(column, Categories):
        return column
    distinct, codes = np.unique(column.values, return_inverse=True)
    interner = Interner()
    new = np.fromiter(map(interner.__getitem__, distinct.tolist()), np.int32, len(distinct))
    out = new[codes]
    if column.invalid is not None:
        out[column.invalid] = INVALID
    return Categories(out, interner.names)


def _mask(mask: Bools | None, n: int) -> Bools:
    return np.zeros(n, np.bool_) if mask is None else mask
