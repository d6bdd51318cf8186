"""What an author of a detector tests: the suite that all detectors keep to, and what the detector is for."""

import numpy as np
from example_detector import MedianBin

from detectors.base import Numbers, Status
from detectors.conformance import check_detector, summarise, table_of


def test_it_keeps_to_what_detectors_must():
    check_detector(MedianBin())


def test_it_sees_a_shifted_median():
    values = np.random.default_rng(1).standard_normal((3, 2000))
    before = {"x": Numbers(values[0])}
    table = table_of(before)
    reference = summarise(table, before).numbers
    same, moved = (summarise(table, {"x": Numbers(v)}).numbers for v in (values[1], values[2] + 0.3))
    assert MedianBin().compare(reference, same)[0].status is Status.STABLE
    assert MedianBin().compare(reference, moved)[0].status is Status.DRIFT
