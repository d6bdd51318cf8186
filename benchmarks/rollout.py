"""Rollouts under a ramp and a trend: false promotions, power, hours, and what they cost.

`make bench-statistics ARGS="rollout regret"`. The table in docs/actions.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from detectors.experiment.arms import Arms
from detectors.experiment.design import DesignTest
from detectors.experiment.difference import Difference
from observer.actions.rollout import Rollout
from observer.actions.rollout_spec import RolloutSpec
from observer.actions.steps import Cohort

ALPHA = 0.05
RUNS_OF_REGRET = 60
CALENDAR = {24: 5.0, 72: 20.0, 168: 50.0}
HOURS, PER_HOUR = 336, 500
SHARES, CHANGES = (0.01, 0.05, 0.20, 0.50), (48, 120, 216)
RUNS = {0.0: 2_000, 0.05: 300, 0.10: 300, 0.20: 300, -0.10: 300}


def cohorts(rng: np.random.Generator, lift: float) -> Iterator[Arms]:
    """Two weeks of hours: a ramp of the share, and a rate with a season and a trend."""
    for hour in range(HOURS):
        rate = 0.10 * (1 + 0.5 * math.sin(2 * math.pi * hour / 24) + 0.6 * hour / HOURS)
        share = SHARES[int(np.searchsorted(CHANGES, hour, side="right"))]
        n = int(rng.poisson(PER_HOUR))
        one = int(rng.binomial(n, share))
        better, usual = int(rng.binomial(one, rate * (1 + lift))), int(rng.binomial(n - one, rate))
        yield Arms(share, one, n - one, better, usual)


def rollout() -> Iterator[dict[str, Any]]:
    """By relative lift of the challenger: how often it is promoted or rolled back, and after how long."""
    planned = PER_HOUR * HOURS * 0.09 * 0.16 / 3
    for seed, (lift, runs) in enumerate(RUNS.items()):
        rng = np.random.default_rng(seed)
        promoted: list[int] = []
        back: list[int] = []
        kept = pooled = 0
        for _ in range(runs):
            test, sums, total = DesignTest.expecting(0.1), Difference(), np.zeros(4)
            up = down = None
            for hour, arms in enumerate(cohorts(rng, lift)):
                test.update(arms)
                sums = sums.plus(Difference.of(arms))
                total += arms[1:]
                up = hour if up is None and test.more >= math.log(2 / ALPHA) else up
                down = hour if down is None and test.fewer >= math.log(2 / ALPHA) else down
            promoted += [] if up is None else [up]
            back += [] if down is None else [down]
            n1, n0, x1, x0 = total
            rate = (x1 + x0) / (n1 + n0)
            z = (x1 / n1 - x0 / n0) / math.sqrt(rate * (1 - rate) * (1 / n1 + 1 / n0))
            pooled += bool(z > 1.96)
            band = sums.band(ALPHA, planned)
            kept += bool(band.lower <= 0 <= band.upper) if lift == 0 else 0
        row: dict[str, Any] = {"lift": lift, "runs": runs, "promoted": round(len(promoted) / runs, 3)}
        row["hours"] = float(np.median(promoted)) if promoted else None
        row["rolled back"] = round(len(back) / runs, 3)
        if lift == 0:
            row |= {"by pooled rates": round(pooled / runs, 3), "band keeps 0 at the end": kept / runs}
        yield row


def regret() -> Iterator[dict[str, Any]]:
    """Right predictions lost over 28 days, against all traffic on the better arm from the start.

    Our ramp decides hour by hour; beside it 50/50 from the start until the same evidence decides, and a ramp
    by the calendar (1, 5, 20, 50% at 24, 72 and 168 h) that decides then. A base rate of 10%, 500 requests an
    hour, labels at once.
    """
    for seed, lift in enumerate((0.10, 0.20, -0.10, -0.20, -0.40)):
        lost: dict[str, list[float]] = {"ours": [], "half": [], "calendar": []}
        for run in range(RUNS_OF_REGRET):
            for how, losses in lost.items():
                rng = np.random.default_rng([seed, run])
                losses.append(_lost(rng, how, lift))
        means = {how: round(float(np.mean(losses))) for how, losses in lost.items()}
        yield {"lift": lift, "runs": RUNS_OF_REGRET, **means}


def _lost(rng: np.random.Generator, how: str, lift: float) -> float:
    one = Rollout("m", "v1", "v2", RolloutSpec(target="t"), 0.0)
    one.applied({"ours": 0.0, "half": 50.0, "calendar": 1.0}[how], 0.0)
    lost, ended = 0.0, False
    for hour in range(28 * 24):
        share = one.share / 100
        n = int(rng.poisson(PER_HOUR))
        treated = int(rng.binomial(n, share))
        lost += 0.10 * abs(lift) * (n - treated if lift > 0 else treated)
        now = (hour + 1) * 3600.0
        if 0 < share < 1 and not ended:
            better = int(rng.binomial(treated, 0.10 * (1 + lift)))
            arms = Arms(share, treated, n - treated, better, int(rng.binomial(n - treated, 0.10)))
            labelled = Arms(share, treated, n - treated, treated, n - treated)
            one.observe(Cohort(hour * 3600.0, now, arms, labelled), now)
        up = one.design.more >= math.log(2 / ALPHA)
        down = one.design.fewer >= math.log(2 / ALPHA)
        if how == "ours":
            step = one.decide(now)
            if step.verb in ("advance", "promote", "rollback"):
                one.applied(step.share, now)
        elif (up or down) and not ended:
            one.applied(100.0 if up else 0.0, now)
        elif how == "calendar" and not ended and hour + 1 in CALENDAR:
            one.applied(CALENDAR[hour + 1], now)
        ended = (one.share in (0.0, 100.0) and one.promoted_at is not None) or one.result != ""
    return lost
