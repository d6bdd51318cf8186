"""Arrow arrays -> columns; without copying where the layout allows it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from detectors.base import INVALID, NULL, Bools, Categories, Column, Ints, Numbers, Vectors
from observer.codecs import columns, times

_UNITS = {"s": 1000, "ms": 1, "us": -1000, "ns": -1_000_000}  # to milliseconds; negative divides


def plain_type(array: pa.Array) -> pa.DataType:
    """Type of the values, behind a dictionary if there is one."""
    return array.type.value_type if pa.types.is_dictionary(array.type) else array.type


def is_text(kind: pa.DataType) -> bool:
    """Whether values are text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_number(kind: pa.DataType) -> bool:
    """Whether values are numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def is_vectors(kind: pa.DataType) -> bool:
    """Whether values are lists of numbers."""
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(lists and is_number(kind.value_type))


def null_mask(array: pa.Array) -> Bools:
    """Where the array is null."""
    if pa.types.is_dictionary(array.type) and array.dictionary.null_count:
        array = array.dictionary_decode()
    mask: Bools = pc.is_null(array).to_numpy(zero_copy_only=False)
    return mask


def text(array: pa.Array) -> pa.Array:
    """Text or integers as a large_string array."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array if pa.types.is_large_string(array.type) else array.cast(pa.large_string())


def numbers(array: pa.Array) -> Numbers:
    """A column of numbers; the cells of an array of another type are invalid."""
    n = len(array)
    if not is_number(plain_type(array)):
        return _unusable_numbers(array)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_decimal(array.type) or pa.types.is_float16(array.type):
        array = array.cast(pa.float64(), safe=False)
    if not array.null_count:
        return Numbers(array.to_numpy(zero_copy_only=False).astype(np.float64, copy=False))
    nulls = null_mask(array)
    values = array.fill_null(pa.scalar(0, array.type)).to_numpy(zero_copy_only=False).astype(np.float64)
    values[nulls] = np.nan
    return Numbers(values, nulls) if n else Numbers(values)


def _unusable_numbers(array: pa.Array) -> Numbers:
    nulls = null_mask(array)
    return Numbers(np.full(len(array), np.nan), columns.flags(nulls), columns.flags(~nulls))


def categories(array: pa.Array) -> Categories:
    """A column of categories: of text, numbers or booleans by canonical name; others are invalid."""
    kind = plain_type(array)
    if not (is_text(kind) or is_number(kind) or pa.types.is_boolean(kind)):
        return Categories(np.where(null_mask(array), NULL, INVALID).astype(np.int32), ())
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    indices = array.indices
    if indices.null_count:
        indices = indices.fill_null(NULL)
    codes: NDArray[np.int32] = indices.to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    values = array.dictionary
    if pa.types.is_decimal(values.type) or pa.types.is_float16(values.type):
        values = values.cast(pa.float64(), safe=False)
    interner = columns.Interner()
    new = np.fromiter(map(interner.__getitem__, values.to_pylist()), np.int32, len(values))
    if not np.array_equal(new, np.arange(len(new))):  # a null or a repeated name in the dictionary
        codes = columns.recode(codes, new)
    return Categories(codes, interner.names)


def booleans(array: pa.Array) -> Categories:
    """A column of booleans; the cells of an array of another type are invalid."""
    if pa.types.is_boolean(plain_type(array)):
        return categories(array)
    return Categories(np.where(null_mask(array), NULL, INVALID).astype(np.int32), ())


def inferred(array: pa.Array) -> Column:
    """A column of whatever type the array has."""
    kind = plain_type(array)
    return categories(array) if is_text(kind) or pa.types.is_boolean(kind) else numbers(array)


def vectors(array: pa.Array, longest: int) -> Vectors:
    """A column of lists of numbers; the cells of an array of another type are invalid."""
    kind = array.type
    nulls = null_mask(array)
    if not is_vectors(kind):
        return Vectors(np.empty(0, np.float32), np.where(nulls, NULL, INVALID).astype(np.int32))
    if pa.types.is_fixed_size_list(kind):
        lengths = np.full(len(array), kind.list_size, np.int32)
    else:
        lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int32)
    lengths[nulls] = NULL
    flat = array.flatten()  # leaves out what null lists hold
    if pa.types.is_float32(flat.type) and not flat.null_count:
        values: NDArray[Any] = flat.to_numpy()
    else:
        values = numbers(flat).values
    return columns.usable_vectors(values, lengths, longest)


def milliseconds(array: pa.Array) -> Ints | None:
    """Times in milliseconds, `times.INVALID_TIME` where none; None if the array cannot hold times.

    Timestamps without a zone are UTC.
    """
    kind = plain_type(array)
    nulls = null_mask(array) if array.null_count else None
    if is_text(kind):
        found = times.parse_text(text(array).fill_null(""))
    elif pa.types.is_floating(kind):
        found = times.from_floats(numbers(array).values)
    elif pa.types.is_timestamp(kind) or pa.types.is_integer(kind):
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if pa.types.is_uint64(kind):
            array = pc.min_element_wise(array, pa.scalar(times.LATEST, pa.uint64()))
        raw = array.cast(pa.int64()).fill_null(times.INVALID_TIME).to_numpy(zero_copy_only=False)
        scale = _UNITS[kind.unit] if pa.types.is_timestamp(kind) else 1
        if scale < 0:
            raw = raw // -scale
        elif scale > 1:
            raw = np.clip(raw, times.INVALID_TIME, times.LATEST // scale) * scale
        found = times.believed(raw)
    else:
        return None
    if nulls is not None:
        found = np.where(nulls, times.INVALID_TIME, found)
    return found
