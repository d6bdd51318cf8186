"""False alarms, delays, run lengths and cost of online detectors: `make bench-statistics ARGS=online`.

River's ADWIN and Page-Hinkley run beside ours, in an environment of their own. The tables: docs/online.md.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence import PIT, REGIMES, SHIFTS, latent, spell
from benchmarks.peers_null import in_environment
from detectors.base import Floats
from detectors.online.adwin import Adwin, AdwinState
from detectors.online.calibration import CalibrationResidual
from detectors.online.cramer_von_mises import OnlineCramerVonMises
from detectors.online.ecusum import ECusum
from detectors.online.lookback import LookbackState
from detectors.online.mmd import OnlineMMD
from detectors.online.page_hinkley import PageHinkley, PageHinkleyState
from detectors.online.spec import Moments

Row = dict[str, Any]
PATIENCE = 10_000
"""Events between false alarms."""

# Runs in river's environment: for each stream of 0 and 1, the positions of its alarms.
_RIVER = """
import json, sys
import numpy as np
from river import drift
make = {"ADWIN": drift.ADWIN, "Page-Hinkley": lambda: drift.PageHinkley(mode="up")}[sys.argv[2]]
found = []
for stream in np.load(sys.argv[1]):
    detector, at = make(), []
    for i, x in enumerate(stream.tolist()):
        detector.update(x)
        if detector.drift_detected:
            at.append(i + 1)
    found.append(at)
print(json.dumps(found))
"""


def river(name: str, events: Floats) -> list[list[int]]:
    """Where river's detector alarms in each stream, float64[S, n]."""
    path = Path(".cache/data/river-events.npy")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, events)
    found: list[list[int]] = in_environment("river", _RIVER, str(path), name)
    path.unlink()
    return found


def alarms(detector: AdwinState | PageHinkleyState, events: Floats, step: int = 1) -> list[list[int]]:
    """Where a detector alarms in each stream, float64[S, n], of `step` events at once; begun anew then."""
    found: list[list[int]] = [[] for _ in events]
    rows = np.full(len(events), float(step))
    for i in range(step, events.shape[1] + 1, step):
        drift = detector.update(Moments.of_rates(events[:, i - step : i].sum(axis=1), rows)).drift
        for stream in np.flatnonzero(drift):
            found[stream].append(i)
        detector.reset(drift)
    return found


def ecusum_alarms(reference: Floats, events: Floats) -> list[list[int]]:
    """The same, of the e-CUSUM."""
    detector = ECusum(reference, np.full(len(events), PATIENCE))
    found: list[list[int]] = [[] for _ in events]
    for i, x in enumerate(events.T):
        detector.update(detector.counted(x, 1.0))
        alarm = detector.log_evidence >= np.log(PATIENCE)
        for stream in np.flatnonzero(alarm):
            found[stream].append(i + 1)
        detector.reset(alarm)
    return found


def errors(streams: int = 60, before: int = 10_000, after: int = 20_000) -> Iterator[Row]:
    """An error rate of .10 for 20,000 events; or for 10,000, then .15 or .20 for 20,000."""
    rng = np.random.default_rng(1)
    reference = rng.binomial(PATIENCE, 0.1, streams) / PATIENCE
    known = Moments.of_rates(reference * PATIENCE, np.full(streams, PATIENCE))

    hinkley = PageHinkley(run_length=PATIENCE, shift=0.05 / 0.3, direction="up")
    ways: dict[str, Callable[[Floats], list[list[int]]]] = {
        "e-CUSUM": lambda events: ecusum_alarms(reference, events),
        # It looks for a cut every 32 events, as river's does.
        "ADWIN": lambda events: alarms(Adwin(direction="up").fresh(known), events, 32),
        "Page-Hinkley": lambda events: alarms(hinkley.fresh(known), events),
        "river's ADWIN": lambda events: river("ADWIN", events),
        "river's Page-Hinkley": lambda events: river("Page-Hinkley", events),
    }
    null = (rng.random((streams, after)) < 0.1).astype(float)
    shifted = {}
    for rate in (0.15, 0.2):
        head, tail = rng.random((streams, before)) < 0.1, rng.random((streams, after)) < rate
        shifted[rate] = np.hstack((head, tail)).astype(float)
    for name, way in ways.items():
        row: Row = {"detector": name, "streams": streams, "false alarms": sum(map(len, way(null)))}
        for rate, events in shifted.items():
            first = [next((at - before for at in found if at > before), np.inf) for found in way(events)]
            row[f"delay to {rate}"] = spell(np.array(first))
            row[f"missed at {rate}"] = round(float(np.isinf(first).mean()), 3)
        yield row


def regimes(streams: int = 50, before: int = 672, windows: int = 1440) -> Iterator[Row]:
    """Detectors of window means by regime: new alarms of one stream per 720 windows, and delays.

    Windows of 500 rows; an alarm is new when there was none for a day of 24 windows, as in the service.
    """
    specs = {
        "ADWIN, rows": Adwin(),
        "ADWIN, windows": Adwin(observation="window"),
        "Page-Hinkley, windows": PageHinkley(),
        "Page-Hinkley, rows": PageHinkley(observation="row"),
    }
    shift = np.repeat([0.0, *SHIFTS], streams)
    rows, variance = np.full(len(shift), 500.0), np.full(len(shift), 1 / 12)
    for regime in REGIMES:
        rng = np.random.default_rng(4)
        noise = np.sqrt(variance / rows) * rng.standard_normal((before + windows, len(shift)))
        means = 0.5 + PIT * latent(rng, regime, before + windows, len(shift)) + noise
        means[before:] += PIT * shift
        for name, spec in specs.items():
            detector, count = spec.fresh(Moments.none(len(shift))), np.zeros(len(shift))
            first, last = np.full(len(shift), np.inf), np.full(len(shift), -99)
            lasting = 0.0
            for i, mean in enumerate(means):
                moments = Moments(rows, mean, variance)
                drift = detector.update(moments if spec.observation == "row" else moments.whole()).drift
                if i >= before:
                    new = drift & (i - last > 24)
                    count += new
                    lasting += drift[shift == 0].mean() / windows
                    first[new & np.isinf(first)] = i - before + 1
                last[drift] = i
            row: Row = {"regime": regime, "detector": name}
            row["false alarms per 720"] = round(float(count[shift == 0].mean()) * 720 / windows, 3)
            row["share of windows in drift"] = round(lasting, 3)
            yield row | {f"delay {each}": spell(first[shift == each]) for each in SHIFTS}


def lookbacks(runs: int = 15) -> Iterator[Row]:
    """Run lengths from fresh, delays after a shift of one sigma in all columns or one, and cost."""
    rng = np.random.default_rng(3)
    cases: tuple[tuple[OnlineCramerVonMises | OnlineMMD, int], ...] = (
        (OnlineCramerVonMises(run_length=150, rows=1, lookbacks=(5, 10, 20)), 0),
        (OnlineCramerVonMises(run_length=150), 0),
        (OnlineMMD(run_length=150, rows=1, lookbacks=(5, 10, 20)), 1),
        (OnlineMMD(run_length=150), 20),
    )
    for spec, width in cases:
        lengths, fresh, delays, alone, configured, updates, spent = [], [], [], [], 0.0, 0, 0.0
        shape = (spec.rows, width) if width else (spec.rows,)
        first_only = np.arange(max(width, 1)) == 0
        for _ in range(20 if spec.type == "online_cramer_von_mises" else 8):
            reference = rng.standard_normal((1000, *shape[1:]))
            detector = spec.fresh(reference)
            start = time.process_time()
            detector.update(rng.standard_normal(shape))
            configured = max(configured, time.process_time() - start)  # those that are alike share one
            for _ in range(runs):
                start = time.process_time()
                length = first_alarm(detector, rng, shape, 0.0)
                spent, updates = spent + time.process_time() - start, updates + length
                lengths.append(length)
                fresh.append(first_alarm(detector, rng, shape, 1.0))
                delays.append(first_alarm(detector, rng, shape, 1.0, quiet=40))
                if width > 1:
                    alone.append(first_alarm(detector, rng, shape, 1.0 * first_only))
        yield {
            "detector": spec.type,
            "columns": max(width, 1),
            "rows a step": spec.rows,
            "lookbacks": spec.lookbacks,
            "wished run length": spec.run_length,
            "measured": round(float(np.mean(lengths)), 1),
            "standard error": round(float(np.std(lengths) / np.sqrt(len(lengths))), 1),
            "delay at 1 sigma, fresh": round(float(np.mean(fresh)), 2),
            "delay after 40 steps": round(float(np.mean(delays)), 2),
            "delay, one column": round(float(np.mean(alone)), 2) if alone else None,
            "seconds to simulate": round(configured, 2),
            "ms a window": round(spent / updates * 1e3, 3),
        }


def first_alarm(
    detector: LookbackState,
    rng: np.random.Generator,
    shape: tuple[int, ...],
    mean: float | Floats,
    quiet: int = 0,
) -> int:
    """Steps from the shift to the alarm, after so many `quiet` steps without one."""
    step = 0
    detector.reset(np.array([True]))
    while True:
        step += 1
        shift = mean if step > quiet else 0.0
        if detector.update(rng.standard_normal(shape) + shift).drift[0]:
            if step > quiet:
                return step - quiet
            detector.reset(np.array([True]))
            step = 0


def calibration() -> Iterator[Row]:
    """Calibration residual: false alarms, and windows of 200 labels until a changed calibration is found."""
    rng, patience, streams, bins = np.random.default_rng(5), 720, 200, 16
    score = (np.arange(bins) + 0.5) / bins
    for reference in (2000, 10_000, 50_000):
        rows = np.full((streams, bins), reference // bins)
        estimated = rng.binomial(rows, score) / rows
        row: Row = {"detector": "calibration", "reference rows": reference}
        for factor in (1.0, 1.1, 1.25, 1.5):
            odds = factor * score / (1 - score)
            detector, count = CalibrationResidual(estimated, rows, 0.01), 0
            found = np.full(streams, np.inf)
            for window in range(1500 if factor == 1 else 300):
                n = rng.multinomial(200, np.full(bins, 1 / bins), streams)
                detector.update(detector.gained(rng.binomial(n, odds / (1 + odds)), n))
                alarm = detector.log_evidence >= np.log(patience)
                count += int(alarm.sum())
                found[alarm & np.isinf(found)] = window + 1
                detector.reset(alarm)
            if factor == 1:
                row["false alarms per 720"] = round(count * 720 / (1500 * streams), 4)
            else:
                row[f"windows to odds x {factor}"] = spell(found)
        yield row


def cost() -> Iterator[Row]:
    """Milliseconds a window of detectors of means, and bytes of their state after 1000 windows."""
    rng = np.random.default_rng(6)
    for streams in (50, 500):
        for name, spec in (("ADWIN", Adwin()), ("Page-Hinkley", PageHinkley())):
            detector, rows = spec.fresh(Moments.none(streams)), np.full(streams, 500.0)
            start = time.process_time()
            for mean in rng.random((1000, streams)):
                detector.update(Moments(rows, 0.45 + 0.1 * mean, np.full(streams, 1 / 12)))
            spent = (time.process_time() - start) / 1000
            size = len(detector.snapshot()) / streams
            yield {
                "detector": name,
                "streams": streams,
                "ms a window": round(spent * 1e3, 2),
                "bytes a stream": round(size),
            }


def rows() -> Iterator[Row]:
    """Every part, row by row."""
    for part in (errors, regimes, lookbacks, calibration, cost):
        for row in part():
            yield {"part": part.__name__, **row}


if __name__ == "__main__":
    for found in rows():
        print(json.dumps(found), flush=True)
