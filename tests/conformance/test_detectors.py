"""Every detector of the catalog, as production builds it, through every check."""

import numpy as np
import pytest

from detectors import catalog, conformance
from detectors.base import Status, Verdict
from detectors.conformance import DETECTOR_CHECKS, check_detector
from detectors.statistical.ks import KolmogorovSmirnov


@pytest.mark.parametrize("check", DETECTOR_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", catalog.names())
def test_detector(name, check):
    check(catalog.build(name))


class Careless(KolmogorovSmirnov):
    """Broken in one way at a time."""

    fault: str

    def compare(self, reference, window, alpha=None):
        found = super().compare(reference, window, alpha)
        match self.fault:
            case "mutates":
                window.counts[:] += 1
            case "nan":
                found = [Verdict(Status.STABLE, float("nan"), 0.0, 1.0, 0.05, 1, 1) for _ in found]
            case "numpy":
                found = [Verdict(Status.STABLE, np.float32(1), 0.0, 1.0, 0.05, 1, 1) for _ in found]
            case "too few":
                found = found[1:]
            case "always":
                found = [Verdict(Status.DRIFT, 1.0, 1.0, 0.0, 0.05, 1, 1) for _ in found]
            case "silent":
                found = [Verdict(Status.INSUFFICIENT, 0.0, 0.0, None, 0.05, 1, 1) for _ in found]
        return found


@pytest.mark.parametrize("fault", ["mutates", "nan", "numpy", "too few", "always", "silent"])
def test_the_checks_catch(fault):
    try:
        with pytest.raises(AssertionError):
            check_detector(Careless(fault=fault))
    finally:
        conformance._cases.cache_clear()
