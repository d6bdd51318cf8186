"""Event times as clients send them -> milliseconds since the epoch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import is_
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from detectors.base import Bools, Floats, Ints

LATEST = 7_258_118_400_000
"""2200-01-01 in milliseconds: a time at or after it, or before 1970, is not believed."""
INVALID_TIME = -1
"""Stands where a time cannot be read or is not believed."""
ACCEPTED = "RFC 3339 with an offset (2026-01-31T12:00:00.000Z) or milliseconds since the epoch, 1970 to 2200"


def parse(values: Sequence[Any]) -> Ints:
    """Milliseconds since the epoch, rounded down; `INVALID_TIME` where a value is no valid time.

    Parameters
    ----------
    values : sequence of int, float or str
        Epoch milliseconds or RFC 3339 text, in any mixture; values of any other type are invalid.
    """
    kinds = set(map(type, values))
    if kinds == {int}:
        try:
            return believed(np.fromiter(values, np.int64, len(values)))
        except OverflowError:
            pass
    elif kinds == {str}:
        return parse_text(pa.array(values, pa.large_string()))
    out = np.full(len(values), INVALID_TIME)
    for kind in kinds & {int, float, str}:
        rows = np.flatnonzero(np.fromiter(map(partial(is_, kind), map(type, values)), np.bool_, len(values)))
        some = [values[row] for row in rows.tolist()]
        if kind is str:
            out[rows] = parse(some)
        elif kind is float:
            out[rows] = from_floats(np.array(some))
        else:
            out[rows] = [value if 0 <= value < LATEST else INVALID_TIME for value in some]
    return out


def believed(milliseconds: Ints) -> Ints:
    """The times, with `INVALID_TIME` for those outside 1970..2200."""
    bad = (milliseconds < 0) | (milliseconds >= LATEST)
    return np.where(bad, INVALID_TIME, milliseconds) if bad.any() else milliseconds


def from_floats(milliseconds: Floats) -> Ints:
    """Whole milliseconds; `INVALID_TIME` for NaN, infinities and times not believed."""
    good = (milliseconds >= 0) & (milliseconds < LATEST)  # False for NaN
    return np.where(good, np.where(good, milliseconds, 0).astype(np.int64), INVALID_TIME)


def parse_text(texts: pa.Array) -> Ints:
    """RFC 3339 texts (a pyarrow large_string array without nulls) -> as `parse`.

    Texts of one length are the rows of one matrix of bytes, so each field is a few columns of it.
    """
    n = len(texts)
    out = np.full(n, INVALID_TIME)
    if not n:
        return out
    _, starts, data = texts.buffers()
    offsets = np.frombuffer(starts, np.int64)[texts.offset : texts.offset + n + 1]
    lengths = np.diff(offsets)
    raw = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    for length in np.unique(lengths):
        if 20 <= length <= 40:  # the shortest is 2026-01-31T12:00:00Z; more digits than 40 hold are no time
            rows = np.flatnonzero(lengths == length)
            if len(rows) == n:
                matrix = raw[offsets[0] : offsets[-1]].reshape(n, length)
            else:
                matrix = raw[offsets[rows][:, None] + np.arange(length)]
            out[rows] = _parse_equal(np.ascontiguousarray(matrix.T))
    return out


def _parse_equal(text: NDArray[np.uint8]) -> Ints:
    """Parse uint8[length, n], one text a column."""
    length, n = text.shape
    zulu = (text[-1] | 0x20) == ord("z")
    if zulu.all():
        return _parse_zone(text[:-1], np.zeros(n, np.int64), zulu)
    good = ~zulu
    if length < 25:
        zone = np.zeros(n, np.int64)
        good[:] = False
    else:
        sign = text[-6]
        good &= ((sign == ord("+")) | (sign == ord("-"))) & (text[-3] == ord(":"))
        hours, minutes = _digits(text[-5:-3], good), _digits(text[-2:], good)
        good &= (hours < 24) & (minutes < 60)
        zone = np.where(sign == ord("-"), -1, 1) * (hours * 60 + minutes) * 60_000
    out = np.full(n, INVALID_TIME)
    if good.any():
        out[good] = _parse_zone(text[:-6, good], zone[good], np.ones(int(good.sum()), np.bool_))
    if zulu.any():
        out[zulu] = _parse_zone(text[:-1, zulu], zone[zulu] * 0, np.ones(int(zulu.sum()), np.bool_))
    return out


def _parse_zone(text: NDArray[np.uint8], zone: Ints, good: Bools) -> Ints:
    """Parse date and time, without the offset at their end, which is `zone` in milliseconds."""
    separator = text[10] | 0x20  # T, t, or the space that RFC 3339 allows
    good = good & (text[4] == ord("-")) & (text[7] == ord("-"))
    good &= (separator == ord("t")) | (separator == ord(" "))
    good &= (text[13] == ord(":")) & (text[16] == ord(":"))
    year, month, day = _digits(text[0:4], good), _digits(text[5:7], good), _digits(text[8:10], good)
    hour, minute, second = _digits(text[11:13], good), _digits(text[14:16], good), _digits(text[17:19], good)
    millisecond = np.zeros(len(zone), np.int64)
    if len(text) > 19:
        good &= text[19] == ord(".")
        if len(text) == 20:
            good[:] = False
        else:
            _digits(text[20:], good)
            millisecond = _digits(text[20:23], good) * 10 ** (3 - len(text[20:23]))
    leap_day = (month == 2) & (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    good &= (month >= 1) & (month <= 12) & (day >= 1)
    good &= day <= _DAYS[np.where(good, month, 0)] + leap_day
    good &= (hour < 24) & (minute < 60) & (second <= 60)  # a leap second counts as the next second
    # Days of the civil calendar, counting years from March (Hinnant, "chrono-compatible low-level date
    # algorithms").
    march_year = year - (month <= 2)
    era_day = 365 * march_year + march_year // 4 - march_year // 100 + march_year // 400
    days = era_day + (153 * ((month + 9) % 12) + 2) // 5 + day - 1 - 719_468
    time = ((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + millisecond - zone
    return believed(np.where(good, time, INVALID_TIME))


_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


def _digits(text: NDArray[np.uint8], good: Bools) -> Ints:
    """The number that the rows of `text` spell; clears `good` where one is no digit."""
    number = np.zeros(text.shape[1], np.int64)
    for row in text:
        digit = row - np.uint8(48)
        good &= digit < 10
        number = number * 10 + digit
    return number
