"""What it costs to say where many objectives stand, every two seconds, while events go on.

`python -m benchmarks.objectives`; processor seconds of one core.
"""

from __future__ import annotations

import time

import numpy as np

from observer.slo.objective import Objective
from observer.slo.spec import ObjectiveSpec

HOUR = 3_600_000
NOW = 500_000 * HOUR
OBJECTIVES = 1_000
PAST = 20_000
NEW = 3
TURNS = 5
"""Of two seconds each."""


def objective(number: int, draw: np.random.Generator) -> Objective:
    """One with a month of events behind it, of which half spend more than they may."""
    spec = ObjectiveSpec.model_validate({"indicator": {"type": "correct"}, "target": 0.95})
    one = Objective(f"m{number}", "correct", spec, HOUR)
    one.advance(NOW)
    times = NOW - draw.integers(0, 30 * 24 * HOUR, PAST)
    good = draw.random(PAST) < (0.97 if number % 2 else 0.94)
    one.count(times, times, good, np.ones(PAST, np.int64))
    return one


def main() -> None:
    draw = np.random.default_rng(1)
    every = [objective(number, draw) for number in range(OBJECTIVES)]
    found = sum(one.standing().exhaustion is not None for one in every)
    costs = {"counting": 0.0, "advancing": 0.0, "standing": 0.0}
    now = NOW
    for _ in range(TURNS):
        now += 2_000
        times = np.full(NEW, now)
        started = time.process_time()
        for one in every:
            one.count(times, times, draw.random(NEW) < 0.95, np.ones(NEW, np.int64))
        counted = time.process_time()
        for one in every:
            one.advance(now)
        advanced = time.process_time()
        for one in every:
            one.standing()
        costs["counting"] += counted - started
        costs["advancing"] += advanced - counted
        costs["standing"] += time.process_time() - advanced
    print(f"{OBJECTIVES:,} objectives, of which {found:,} have a forecast; a turn of two seconds:")
    for name, cost in costs.items():
        print(f"  {name:10} {cost / TURNS * 1000:7.0f} ms, {cost / TURNS / OBJECTIVES * 1e6:6.0f} µs each")


if __name__ == "__main__":
    main()
