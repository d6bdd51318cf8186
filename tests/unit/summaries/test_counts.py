import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.summaries.counts import Counts
from detectors.summaries.packing import pack

COUNTS = st.builds(Counts, st.integers(0, 2**60), st.integers(0, 2**60))


@given(st.lists(COUNTS, max_size=5))
def test_merge_adds_in_any_order(parts):
    forward, backward = Counts(), Counts()
    for part in parts:
        forward.merge(part)
    for part in reversed(parts):
        backward.merge(part)
    assert forward == backward
    assert (forward.n, forward.duplicates) == (sum(p.n for p in parts), sum(p.duplicates for p in parts))


@given(COUNTS)
def test_bytes_come_back(counts):
    assert Counts.from_bytes(counts.to_bytes()) == counts


@pytest.mark.parametrize("fields", [{}, {"n": 1}, {"n": 1, "duplicates": -1}, {"n": "1", "duplicates": 0}])
def test_other_fields_are_refused(fields):
    with pytest.raises(ValueError, match=r"n'|duplicates"):
        Counts.from_bytes(pack(fields))
