"""When the budget will be spent."""

from __future__ import annotations

import numpy as np
import pytest

from observer.slo.forecast import error_band, exhaustion
from observer.slo.sums import Batch, Sums

HOUR, DAY = 3_600_000, 86_400_000
NOW = 1_700_000_000_000 // DAY * DAY


def sums(window: int, parts: int, rows: list[tuple[int, int, int]]) -> Sums:
    """Of rows of hours ago, good, total."""
    found = Sums.over(window, parts)
    ago, good, total = (np.array(column) for column in zip(*rows, strict=True))
    found.add(Batch(NOW - ago * HOUR, good, total))
    found.advance(NOW)
    return found


def test_a_steady_burn_spends_what_is_left_when_arithmetic_says_so():
    """A month without errors, and a fifth of the last day's events are bad."""
    month = [(hour, 100, 100) for hour in range(1, 30 * 24)]
    recent = [(hour, 80, 100) for hour in range(1, 24)]
    found = exhaustion(sums(30 * DAY, 360, month), sums(DAY, 30, recent), 0.1, NOW, None)
    # Of 72,000 events 7,200 may be bad; about 100 an hour come, a fifth of them bad: after 360 hours.
    assert found is not None
    assert found.expected == pytest.approx(NOW + 360 * HOUR, abs=12 * HOUR)
    assert found.earliest <= found.expected <= found.latest


def test_a_budget_that_lasts_has_no_end():
    month = [(hour, 100, 100) for hour in range(1, 30 * 24)]
    recent = [(hour, 95, 100) for hour in range(1, 24)]
    assert exhaustion(sums(30 * DAY, 360, month), sums(DAY, 30, recent), 0.1, NOW, None) is None


def test_a_spent_budget_has_no_forecast():
    month = [(hour, 50, 100) for hour in range(1, 30 * 24)]
    assert exhaustion(sums(30 * DAY, 360, month), sums(DAY, 30, month), 0.1, NOW, None) is None


def test_good_days_that_leave_the_window_are_missed():
    """Half a month without errors, half with nearly twice what is allowed: no error more, and it is spent."""
    month = [(hour, 100 if hour > 15 * 24 else 81, 100) for hour in range(1, 30 * 24)]
    recent = [(hour, 81, 100) for hour in range(1, 24)]
    budget = sums(30 * DAY, 360, month)
    found = exhaustion(budget, sums(DAY, 30, recent), 0.1, NOW, None)
    assert found is not None
    assert found.expected < NOW + 2 * DAY


def test_the_end_of_a_calendar_window_saves_the_budget():
    month = [(hour, 100, 100) for hour in range(1, 10 * 24)]
    recent = [(hour, 80, 100) for hour in range(1, 24)]
    budget, burning = sums(30 * DAY, 360, month), sums(DAY, 30, recent)
    late = exhaustion(budget, burning, 0.1, NOW, NOW + 20 * DAY)
    assert late is not None
    assert late.expected == pytest.approx(NOW + 240 * HOUR, abs=12 * HOUR)
    assert exhaustion(budget, burning, 0.1, NOW, NOW + 5 * DAY) is None


def test_the_band_covers_the_true_ratio():
    """In 95 of 100 samples, for errors that come evenly, and nearly so where they come in bursts."""
    random = np.random.default_rng(7)
    held = {"even": 0, "bursts": 0}
    for _ in range(300):
        for kind in held:
            share = 0.1 if kind == "even" else random.beta(1, 9, 24)
            good = 200 - random.binomial(200, share, 24)
            low, ratio, high = error_band(
                sums(DAY, 24, [(h + 1, int(g), 200) for h, g in enumerate(good[:23])])
            )
            assert low <= ratio <= high
            held[kind] += low <= 0.1 <= high
    assert held["even"] >= 275
    assert held["bursts"] >= 260
