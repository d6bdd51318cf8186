"""Rollouts under a ramp and a trend: false promotions, power, hours; `make bench-statistics ARGS=rollout`.

The table in docs/actions.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from detectors.experiment.arms import Arms
from detectors.experiment.design import DesignTest
from detectors.experiment.difference import Difference

ALPHA = 0.05
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
