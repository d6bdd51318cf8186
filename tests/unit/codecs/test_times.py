from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observer.codecs.times import INVALID_TIME, LATEST, parse

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

zones = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.builds(
    lambda seconds, zone: (EPOCH + timedelta(days=365, seconds=seconds)).astimezone(zone),
    st.floats(0, 228 * 365 * 86400),
    st.just(UTC) | zones,
)


@given(
    st.lists(st.tuples(moments, st.sampled_from(["seconds", "milliseconds", "microseconds"])), max_size=20)
)
@settings(deadline=None)
def test_agrees_with_the_standard_library(cases):
    texts = [moment.isoformat(timespec=precision) for moment, precision in cases]
    zulu = [text.replace("+00:00", "Z") for text in texts]
    expected = [(datetime.fromisoformat(text) - EPOCH) // MILLISECOND for text in texts]
    assert parse(texts).tolist() == parse(zulu).tolist() == expected


@given(st.lists(st.text("0123456789-:.+TZtz ", min_size=15, max_size=32), max_size=10))
@settings(deadline=None)
def test_reads_no_more_than_the_standard_library(texts):
    for text, time in zip(texts, parse(texts).tolist(), strict=True):
        if time != INVALID_TIME:
            assert (datetime.fromisoformat(text) - EPOCH) // MILLISECOND == time


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-01-31T12:00:00Z", 1769860800000),
        ("2026-01-31t12:00:00z", 1769860800000),
        ("2026-01-31 12:00:00Z", 1769860800000),
        ("2026-01-31T12:00:00.1Z", 1769860800100),
        ("2026-01-31T12:00:00.1239999999Z", 1769860800123),
        ("2026-01-31T12:00:00-01:30", 1769866200000),
        ("2026-01-31T12:00:00.25+01:30", 1769855400250),
        ("2016-12-31T23:59:60Z", 1483228800000),
        ("2024-02-29T00:00:00Z", 1709164800000),
        ("2000-02-29T00:00:00Z", 951782400000),
        (0, 0),
        (1769860800250, 1769860800250),
        (1769860800250.9, 1769860800250),
        (LATEST - 1, LATEST - 1),
        ("1970-01-01T00:00:00Z", 0),
    ],
)
def test_accepts(value, expected):
    assert parse([value]).tolist() == [expected]
    assert parse([value, "", 5, 2.5]).tolist() == [expected, INVALID_TIME, 5, 2]


@pytest.mark.parametrize(
    "value",
    [
        "", "2026-01-31", "2026-01-31T12:00:00", "2026-01-31T12:00Z", "2026-1-31T12:00:00Z",
        "2026-02-29T12:00:00Z", "2100-02-29T12:00:00Z", "2026-13-01T12:00:00Z", "2026-00-01T12:00:00Z",
        "2026-01-00T12:00:00Z", "2026-01-31T24:00:00Z", "2026-01-31T12:60:00Z", "2026-01-31T12:00:61Z",
        "2026-01-31T12:00:00.Z", "2026-01-31T12:00:00,5Z", "2026-01-31T12:00:00+0100",
        "2026-01-31T12:00:00+24:00", "2026-01-31T12:00:00+01:60", "2026/01/31T12:00:00Z",
        "20e6-01-31T12:00:00Z", "+026-01-31T12:00:00Z", "1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z",
        "2026-01-31T12:00:00.000000000000000000000000000000Z", "٢٠٢٦-01-31T12:00:00Z",
        -1, LATEST, 2**70, -(2**70), -0.5, float("nan"), float("inf"), 1e300, True, None, [], {},
    ],
)  # fmt: skip
def test_refuses(value):
    assert parse([value]).tolist() == [INVALID_TIME]
    assert parse([value, 7]).tolist() == [INVALID_TIME, 7]


def test_empty():
    assert parse([]).tolist() == []
