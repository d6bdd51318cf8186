"""Everything that advances window by window, through every check."""

from functools import cache

import numpy as np
import pytest

from detectors.online.adwin import Adwin
from detectors.online.calibration import Calibration, CalibrationResidual
from detectors.online.conformance import ONLINE_CHECKS, check_online, online_windows
from detectors.online.cramer_von_mises import OnlineCramerVonMises
from detectors.online.ecusum import ECusum
from detectors.online.mmd import OnlineMMD
from detectors.online.page_hinkley import PageHinkley
from detectors.online.spec import Moments
from detectors.summaries.packing import pack, unpack

rng = np.random.default_rng(5)
COLUMN, TABLE = rng.standard_normal(300), rng.standard_normal((300, 3))
CVM = OnlineCramerVonMises(run_length=50, rows=20, lookbacks=(1, 3))
MMD = OnlineMMD(run_length=50, rows=5, lookbacks=(1, 3))
NORMAL = Moments(np.full(4, 500.0), np.zeros(4), np.ones(4))
FLAT = Moments(np.full(4, 500.0), np.array([0.0, 7.0, 1e300, -1e-300]), np.zeros(4))


@cache
def simulated(spec):
    """A snapshot of a detector that knows its thresholds, and the reference it is of."""
    reference = COLUMN if spec is CVM else TABLE
    detector = spec.fresh(reference)
    detector.update(reference[:20])
    detector.reset(np.array([True]))
    return detector.snapshot(), reference


def ready(spec):
    state, reference = simulated(spec)
    detector = spec.fresh(reference)
    detector.restore(state)
    return detector


def gains(detector, width):
    """Windows for the e-processes: what hits among rows gain."""
    rows = [rng.integers(0, size + 1, width) for size in (0, 1, 100, 10_000, 10**9) for _ in range(8)]
    return [detector.gained_of(rng.binomial(each, 0.3), each) for each in rows]


class Counted(ECusum):
    def gained_of(self, hits, rows):
        return self.counted(hits.astype(float), rows.astype(float))


class Calibrated(CalibrationResidual):
    def gained_of(self, hits, rows):
        return self.gained(hits, rows)


def counted():
    return Counted(np.array([0.0, 0.1, 0.3, 1.0]), np.array([1, 10, 1000, 10**9]))


def calibrated():
    return Calibrated(np.array([[0.0, 0.2, 1.0], [0.3, 0.3, 0.3]]), np.array([[0, 5, 10], [0, 10**9, 7]]))


CASES = {
    "adwin": (lambda: Adwin().fresh(NORMAL), online_windows("moments", 4)),
    "adwin, up": (lambda: Adwin(direction="up", buckets=2).fresh(NORMAL), online_windows("moments", 4)),
    "page_hinkley": (lambda: PageHinkley().fresh(NORMAL), online_windows("moments", 4)),
    "page_hinkley, learning": (
        lambda: PageHinkley(direction="down").fresh(Moments.none(4)),
        online_windows("moments", 4),
    ),
    "page_hinkley, constant": (lambda: PageHinkley().fresh(FLAT), online_windows("moments", 4)),
    "cramer_von_mises": (lambda: ready(CVM), online_windows("column")),
    "mmd": (lambda: ready(MMD), online_windows("table", 3)),
    "calibration": (lambda: Calibration(reference_rows=1000).fresh(), online_windows("outcomes")),
    "ecusum": (counted, gains(counted(), 4)),
    "calibration residual": (calibrated, gains(calibrated(), (2, 3))),
}


@pytest.mark.parametrize("check", ONLINE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES)
def test_online(case, check):
    check(*CASES[case])


@pytest.mark.parametrize(
    "unusable", [np.full(300, 7.0), np.full(300, np.nan), np.zeros(0), np.array([1.0, 2.0] * 3)]
)
def test_a_reference_that_cannot_be_used(unusable):
    for spec, reference in ((CVM, unusable), (MMD, unusable[:, None])):
        detector = spec.fresh(reference)
        assert detector.reason
        for window in online_windows(spec.fed):
            standing = detector.update(window)
            assert standing.reason == detector.reason
            assert not standing.ready.any()
            assert not standing.drift.any()


class Careless:
    """Broken in one way at a time."""

    shared = np.zeros(4)

    def __init__(self, fault):
        self.fault, self._detector = fault, PageHinkley().fresh(NORMAL)
        self._windows = 0

    def update(self, window):
        if self.fault == "mutates":
            window.mean[:] += 1
        if self.fault == "shares":
            Careless.shared += 1
        said = self._detector.update(window)
        if self.fault == "forgets":
            self._windows += 1
            said.threshold[:] += self._windows
        if self.fault == "nan":
            said.statistic[:] = np.nan
        if self.fault == "always":
            said.drift[:] = True
        return said

    def snapshot(self):
        more = {"shared": self.shared} if self.fault == "shares" else {}
        return pack({"state": self._detector.snapshot(), **more})

    def restore(self, state):
        self._detector.restore(unpack(state).packed("state"))


def test_the_checks_pass_what_is_right():
    check_online(lambda: Careless("none"), online_windows("moments", 4))


@pytest.mark.parametrize("fault", ["mutates", "forgets", "shares", "nan", "always"])
def test_the_checks_catch(fault):
    with pytest.raises(AssertionError):
        check_online(lambda: Careless(fault), online_windows("moments", 4))
