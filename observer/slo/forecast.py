"""When the error budget will be spent, if traffic and errors go on as they are."""

from __future__ import annotations

import math

import numpy as np

from detectors.base import Floats, Ints
from observer.model import Exhaustion
from observer.slo.sums import Sums

DEVIATIONS = 1.959964
"""Standard deviations on each side of the error ratio that make a band of 95%."""
STEPS = 720
"""Moments looked at, evenly spread over one window of the objective."""


def error_band(recent: Sums) -> tuple[float, float, float]:
    """Error ratio of the last events and a band of 95%; low, ratio, high.

    Errors come in bursts, so the variance is that of the ratio between buckets (Cochran 1977, ratio
    estimator of clusters), or the binomial one if that is greater; a ratio of 0 or 1 is moved by one event,
    so that the band never vanishes.
    """
    _, good, total = recent.buckets()
    kept = total > 0
    bad, total = (total - good)[kept], total[kept]
    n = float(total.sum())
    if n <= 0:
        return 0.0, 0.0, 0.0
    ratio = float(bad.sum()) / n
    moved = (float(bad.sum()) + 1) / (n + 2)
    variance = moved * (1 - moved) / n
    k = len(total)
    if k > 1:
        variance = max(variance, float(((bad - ratio * total) ** 2).sum()) / n**2 * k / (k - 1))
    reach = DEVIATIONS * math.sqrt(variance)
    return max(ratio - reach, 0.0), ratio, min(ratio + reach, 1.0)


def exhaustion(budget: Sums, recent: Sums, allowed: float, now: int, end: int | None) -> Exhaustion | None:
    """When bad events will exceed `allowed` of all in the window.

    Parameters
    ----------
    budget : Sums
        The objective's window.
    recent : Sums
        The traffic and errors that are taken to go on.
    allowed : float
        1 - target.
    end : int or None
        When a calendar window ends; None for a rolling one, out of which the past falls.

    Returns
    -------
    Exhaustion or None
        None if it lasts as long as the window, or is spent already.
    """
    spent = budget.errors
    if not recent.total or (spent is not None and spent >= allowed):
        return None
    reach = budget.span if end is None else max(end - now, 0)
    steps = np.linspace(0.0, reach, STEPS + 1)[1:]
    good, total = _staying(budget, now, steps, rolling=end is None)
    came = steps * (recent.total / recent.span)
    low, ratio, high = error_band(recent)
    early, expected, late = (
        _first(now, steps, total - good + share * came, allowed * (total + came))
        for share in (high, ratio, low)
    )
    return None if early is None else Exhaustion(early, expected, late)


def _staying(budget: Sums, now: int, steps: Floats, *, rolling: bool) -> tuple[Floats, Floats]:
    """Good and total events of today that are still in the window after each step."""
    if not rolling:
        return np.full(len(steps), float(budget.good)), np.full(len(steps), float(budget.total))
    times, good, total = budget.buckets()
    gone: Ints = np.searchsorted(times, now - budget.span + steps, side="right")
    left_good = np.concatenate(([0.0], np.cumsum(good)))[gone]
    left_total = np.concatenate(([0.0], np.cumsum(total)))[gone]
    return budget.good - left_good, budget.total - left_total


def _first(now: int, steps: Floats, bad: Floats, most: Floats) -> int | None:
    over = np.flatnonzero(bad > most)
    return now + round(float(steps[over[0]])) if len(over) else None
