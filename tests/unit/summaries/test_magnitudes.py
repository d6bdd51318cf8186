"""Errors of a regression in wide bins that every summary shares."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detectors.summaries.log_buckets import MAGNITUDES, LogBuckets
from detectors.summaries.tally import Batch


def of(values) -> LogBuckets:
    buckets = LogBuckets(1e-9)
    buckets.update(np.array(values, np.float64), Batch(len(values)))
    return buckets


@given(st.lists(st.floats(-1e15, 1e15), min_size=1, max_size=30))
def test_every_row_is_in_one_bin_whatever_its_sign_and_merging_adds_up(values):
    counts = of(values).magnitudes()
    assert (counts.sum(), len(counts)) == (len(values), MAGNITUDES)
    assert (counts == of(np.negative(values)).magnitudes()).all()
    merged = of(values)
    merged.merge(of([1.0, -2.0]))
    assert (merged.magnitudes() == counts + of([1.0, -2.0]).magnitudes()).all()


def test_twice_the_error_is_two_bins_further():
    at = [int(np.argmax(of([1.1 * 2.0**power]).magnitudes())) for power in range(-20, 20)]
    assert set(np.diff(at)) <= {1, 2, 3}
    assert abs(at[-1] - at[0] - 2 * 39) <= 1
