"""Evidence between two arms: exactness, laws of the sums, and the ramp with a trend."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.base import DetectorError
from detectors.experiment.arms import Arms
from detectors.experiment.design import TILTS, DesignTest
from detectors.experiment.difference import Difference
from detectors.experiment.fairness import SampleRatio
from detectors.experiment.loss import LossTest

ALPHA = 0.05
HOURS, PER_HOUR = 336, 500


@st.composite
def cohorts(draw: st.DrawFn) -> Arms:
    challenger, champion = draw(st.integers(0, 400)), draw(st.integers(0, 400))
    return Arms(
        draw(st.sampled_from([0.01, 0.1, 0.5])),
        challenger,
        champion,
        draw(st.integers(0, challenger)),
        draw(st.integers(0, champion)),
    )


def ramped(rng: np.random.Generator, lift: float) -> list[Arms]:
    """Two weeks of hours under a ramp of the share, while the base rate has a season and a trend."""
    days = []
    for hour in range(HOURS):
        rate = 0.10 * (1 + 0.5 * math.sin(2 * math.pi * hour / 24) + 0.6 * hour / HOURS)
        share = (0.01, 0.05, 0.20, 0.50)[int(np.searchsorted([48, 120, 216], hour, side="right"))]
        n = int(rng.poisson(PER_HOUR))
        one = int(rng.binomial(n, share))
        hits = rng.binomial(one, rate * (1 + lift)), rng.binomial(n - one, rate)
        days.append(Arms(share, one, n - one, int(hits[0]), int(hits[1])))
    return days


def test_evidence_is_the_product_of_bets_on_single_requests() -> None:
    """Against the definition, request by request, for one tilt."""
    test = DesignTest.expecting(0.3)
    test.update(Arms(0.2, 7, 30, 4, 9))
    odds = 0.3 / 0.7 * (1 + TILTS[2])
    p1, share = odds / (1 + odds), 0.2
    q1 = share * p1 / (share * p1 + 0.8 * 0.3)
    q0 = share * (1 - p1) / (share * (1 - p1) + 0.8 * 0.7)
    wealth = (q1 / share) ** 4 * ((1 - q1) / 0.8) ** 9 * (q0 / share) ** 3 * ((1 - q0) / 0.8) ** 21
    assert test.log_e[0, 2] == pytest.approx(math.log(wealth))


@given(rate=st.floats(0.01, 0.99), share=st.floats(0.01, 0.99), hit=st.booleans())
def test_a_bet_is_fair_under_randomisation(rate: float, share: float, hit: bool) -> None:
    wealth = []
    for challenger in (1, 0):
        test = DesignTest.expecting(rate)
        test.update(Arms(share, challenger, 1 - challenger, challenger * hit, (1 - challenger) * hit))
        wealth.append(np.exp(test.log_e))
    mean = share * wealth[0] + (1 - share) * wealth[1]
    np.testing.assert_allclose(mean, 1, rtol=1e-9)


@given(share=st.floats(0.02, 0.98), bin_=st.integers(0, 3))
def test_a_bet_on_a_loss_is_fair_under_randomisation(share: float, bin_: int) -> None:
    wealth = []
    for arm in (1.0, 0.0):
        test = LossTest.fresh(4)
        test.update(share, np.zeros(4), np.array([5.0, 3.0, 1.0, 1.0]))
        before = test.log_e
        one = np.eye(4)[bin_]
        test.update(share, arm * one, (1 - arm) * one)
        wealth.append(np.exp(test.log_e - before))
    np.testing.assert_allclose(share * wealth[0] + (1 - share) * wealth[1], 1, rtol=1e-9)


def test_the_difference_of_one_cohort_is_the_difference_of_rates() -> None:
    band = Difference.of(Arms(0.5, 200, 300, 50, 60)).band(ALPHA, planned=20.0)
    assert band.estimate == pytest.approx(50 / 200 - 60 / 300)
    assert band.lower < band.estimate < band.upper


@given(st.lists(cohorts(), max_size=6), st.integers(0, 6))
def test_sums_of_differences_add_up_in_any_order(each: list[Arms], cut: int) -> None:
    def total(some: list[Arms]) -> Difference:
        summed = Difference()
        for one in some:
            summed = summed.plus(Difference.of(one))
        return summed

    np.testing.assert_allclose(total(each[:cut]).plus(total(each[cut:])), total(each[::-1]), atol=1e-9)


@given(st.lists(cohorts(), max_size=4), cohorts())
def test_evidence_survives_a_restart(before: list[Arms], after: Arms) -> None:
    test = DesignTest()
    for cohort in before:
        test.update(cohort)
    resumed = DesignTest.from_bytes(test.to_bytes())
    test.update(after)
    resumed.update(after)
    assert (resumed.more, resumed.fewer) == (test.more, test.fewer)


def test_a_ramp_under_a_trend_promotes_nothing_without_a_difference() -> None:
    """Where pooled rates promote always (Simpson's paradox), and the band keeps the truth."""
    rng, promoted, pooled, left = np.random.default_rng(7), 0, 0, 0
    planned = PER_HOUR * HOURS * 0.09 * 0.16 / 3
    runs = 60
    for _ in range(runs):
        test, sums, hits = DesignTest.expecting(0.1), Difference(), np.zeros(4)
        best = 0.0
        for arms in ramped(rng, 0.0):
            test.update(arms)
            sums = sums.plus(Difference.of(arms))
            best = max(best, test.more)
            hits += np.array(arms[1:])
        band = sums.band(ALPHA, planned)
        left += not band.lower <= 0 <= band.upper
        promoted += best >= math.log(2 / ALPHA)
        n1, n0, x1, x0 = hits
        p = (x1 + x0) / (n1 + n0)
        pooled += bool((x1 / n1 - x0 / n0) / math.sqrt(p * (1 - p) * (1 / n1 + 1 / n0)) > 1.96)
    assert promoted <= 5  # expected at most 1.5 of 60
    assert left <= 5
    assert pooled == runs


@pytest.mark.parametrize(("lift", "direction"), [(0.2, "more"), (-0.2, "fewer")])
def test_a_real_difference_is_found_in_its_direction(lift: float, direction: str) -> None:
    rng = np.random.default_rng(8)
    for _ in range(10):
        test = DesignTest.expecting(0.1)
        for arms in ramped(rng, lift):
            test.update(arms)
        other = "fewer" if direction == "more" else "more"
        assert getattr(test, direction) >= math.log(2 / ALPHA)
        assert getattr(test, other) < 0


def test_losses_that_shrink_are_found_and_equal_ones_are_not() -> None:
    rng = np.random.default_rng(9)
    edges = np.linspace(0, 4, 30)

    def binned(n: int, scale: float) -> np.ndarray:
        return np.bincount(np.searchsorted(edges, rng.exponential(scale, n)), minlength=31).astype(float)

    better, equal = LossTest.fresh(31), LossTest.fresh(31)
    for _ in range(50):
        better.update(0.1, binned(50, 0.8), binned(450, 1.0))
        equal.update(0.1, binned(50, 1.0), binned(450, 1.0))
    assert better.smaller > math.log(2 / ALPHA) > better.larger
    assert max(equal.smaller, equal.larger) < math.log(2 / ALPHA)
    assert LossTest.from_bytes(better.to_bytes()).smaller == better.smaller


def test_a_skewed_division_is_noticed_and_a_fair_one_is_not() -> None:
    rng, alarms = np.random.default_rng(10), 0
    for _ in range(100):
        fair = SampleRatio()
        best = 0.0
        for share in (0.05,) * 50 + (0.2,) * 50:
            one = int(rng.binomial(500, share))
            fair.update(share, one, 500 - one)
            best = max(best, fair.evidence)
        alarms += best >= math.log(1 / ALPHA)
    assert alarms <= 12  # expected at most 5
    skewed = SampleRatio()
    for _ in range(50):
        one = int(rng.binomial(500, 0.12))
        skewed.update(0.10, one, 500 - one)
    assert skewed.evidence > math.log(1 / ALPHA)
    assert SampleRatio.from_bytes(skewed.to_bytes()).evidence == skewed.evidence


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(DetectorError, match="share"):
        DesignTest().update(Arms(1.0, 5, 5, 1, 1))
    with pytest.raises(DetectorError, match="hits"):
        Difference.of(Arms(0.5, 5, 5, 6, 1))
    with pytest.raises(DetectorError, match="cannot be added"):
        Arms(0.5, 1, 1, 0, 0).plus(Arms(0.1, 1, 1, 0, 0))
    with pytest.raises(DetectorError, match="bins"):
        LossTest.fresh(1)
    with pytest.raises(DetectorError, match="counts"):
        LossTest.fresh(3).update(0.5, np.ones(2), np.ones(3))
    with pytest.raises(DetectorError, match="share"):
        SampleRatio().update(0, 1, 1)
    with pytest.raises(DetectorError, match="rate"):
        DesignTest.expecting(2)
