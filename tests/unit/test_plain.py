"""Values as JSON has them."""

from __future__ import annotations

import json
import math

from detectors.why.covariance import Pair
from observer.model import Period, WindowKey
from observer.plain import plain, rounded, timestamp


def test_times_are_in_utc():
    assert timestamp(1_700_000_000_123) == "2023-11-14T22:13:20Z"
    assert timestamp(1_700_000_000_123, "minutes") == "2023-11-14T22:13Z"
    assert timestamp(1_700_000_000_123, "milliseconds") == "2023-11-14T22:13:20.123Z"


def test_numbers_have_nine_digits():
    assert rounded(1 / 3) == 0.333333333
    assert rounded(None) is None


def test_dataclasses_are_objects_and_what_is_no_number_is_null():
    found = plain(
        {
            "of": WindowKey("m", "1", "", 0),
            "in": Period(0, 3_600_000, 1),
            "pairs": (Pair("a", "b", math.nan, 0.1, 0.2, 1 / 3),),
        }
    )
    assert json.loads(json.dumps(found)) == {
        "of": {"model": "m", "version": "1", "segment": "", "start": "1970-01-01T00:00:00Z"},
        "in": {"start": "1970-01-01T00:00:00Z", "end": "1970-01-01T01:00:00Z", "windows": 1},
        "pairs": [
            {"first": "a", "second": "b", "moved": None, "error": 0.1, "before": 0.2, "now": 0.333333333}
        ],
    }
