"""False alarms and delays of the evidence, simulated with fixed seeds: generators, and rows for each setting.

The tables in docs/false-alarms.md; parts of `make bench-statistics`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors.evidence.alarm import Budget
from detectors.evidence.baseline import Streams, fit
from detectors.evidence.monitor import Monitor
from detectors.evidence.season import DAY, HOUR, Season
from detectors.online.ecusum import ECusum

PIT = 0.2821
"""Shift of the mean of the PIT for a latent shift of one sigma."""
NOISE = 0.2887 / np.sqrt(500)
"""Sampling noise of a window's PIT mean at 500 rows."""
MINIMUM = 0.02
REGIMES = ("iid", "autocorrelated", "seasonal")
MONDAY = 4 * DAY
SHIFTS = (0.1, 0.25, 0.5)
QUIET = 24
"""Unchanged windows between the reference and a shift."""


def latent(rng: np.random.Generator, regime: str, windows: int, streams: int) -> np.ndarray:
    """Latent means in sigmas, float64[windows, streams], hourly from a Monday on."""
    if regime == "iid":
        return np.zeros((windows, streams))
    phi, deviation = (0.8, 0.1) if regime == "autocorrelated" else (0.5, 0.05)
    x = rng.standard_normal((windows, streams)) * deviation
    for t in range(1, windows):
        x[t] = phi * x[t - 1] + np.sqrt(1 - phi**2) * x[t]
    if regime == "seasonal":
        hour = np.arange(windows)
        x += (0.3 * np.sin(2 * np.pi * (hour % 24) / 24) + 0.15 * (hour // 24 % 7 >= 5))[:, None]
    return x


def pit_means(rng: np.random.Generator, regime: str, windows: int, streams: int) -> np.ndarray:
    """PIT means of windows of 500 rows."""
    noise = NOISE * rng.standard_normal((windows, streams))
    return PIT * latent(rng, regime, windows, streams) + noise


def ks_distances(rng: np.random.Generator, windows: int, streams: int, rows: int = 500) -> np.ndarray:
    """Kolmogorov-Smirnov distances of unchanged windows from a large reference."""
    out = np.empty((windows, streams))
    steps = np.arange(1, rows + 1) / rows
    for t in range(windows):
        u = np.sort(rng.random((streams, rows), np.float32), axis=1)
        out[t] = np.maximum((steps - u).max(axis=1), (u - steps + 1 / rows).max(axis=1))
    return out


def monitor(
    values: np.ndarray,
    reference: int,
    minimum: float = 0.0,
    distance: bool = False,
    season: Season | None = None,
    ranks: bool = False,
) -> tuple[Monitor, np.ndarray]:
    """A monitor fitted to the first `reference` windows, and the strata of all."""
    season = season or Season(HOUR)
    strata = season.of(MONDAY + np.arange(len(values)) * season.window)
    streams = Streams.of([f"x{k}" for k in range(values.shape[1])], minimum, distance)
    baseline = fit(streams, values[:reference], strata[:reference], season.strata)
    return Monitor(Budget(), season, baseline, reference=values[:reference] if ranks else None), strata


@dataclass
class Alarms:
    """Of a simulation without a change."""

    windows: int = 0
    pages: int = 0
    tickets: int = 0

    def follow(self, running: Monitor, values: np.ndarray, strata: np.ndarray) -> None:
        """Run over `values`; each page is closed at once, so that the next can come."""
        for row, stratum in zip(values, strata.tolist(), strict=True):
            _, decision = running.update(row, stratum)
            self.windows += 1
            self.tickets += bool(len(decision.ticketed))
            if decision.page:
                self.pages += 1
                running.close()

    def per(self, windows: float) -> dict[str, float]:
        """Alarms in so many windows."""
        return {
            "pages": round(self.pages / self.windows * windows, 3),
            "tickets": round(self.tickets / self.windows * windows, 3),
        }


def null(
    regime: str,
    streams: int = 50,
    reference: int = 672,
    runs: int = 5,
    windows: int = 3000,
    minimum: float = 0.0,
    ranks: bool = False,
) -> dict[str, float]:
    """False pages and ticket-raising windows per 720 windows."""
    alarms = Alarms()
    for run in range(runs):
        values = pit_means(np.random.default_rng(run), regime, reference + windows, streams)
        running, strata = monitor(values, reference, minimum, ranks=ranks)
        # A reference too short to page is made to, to see what that would do.
        running.alarm.able = np.ones(streams, np.bool_)
        alarms.follow(running, values[reference:], strata[reference:])
    return alarms.per(720)


def first_page(running: Monitor, values: np.ndarray, strata: np.ndarray) -> float:
    """Windows to the first page, counted from 1; infinite if there is none."""
    for t, (row, stratum) in enumerate(zip(values, strata.tolist(), strict=True)):
        if running.update(row, stratum)[1].page:
            return t + 1
    return np.inf


def delays(
    regime: str,
    shift: float,
    streams: int = 50,
    runs: int = 12,
    minimum: float = 0.0,
    horizon: int = 720,
    reference: int = 672,
) -> np.ndarray:
    """Windows from a shift of one stream (sigmas) to the page, float64[runs]; infinite beyond `horizon`."""
    found = []
    for run in range(runs):
        values = pit_means(np.random.default_rng(1000 + run), regime, reference + QUIET + horizon, streams)
        start = reference + QUIET
        values[start:, 0] += PIT * shift
        running, strata = monitor(values, reference, minimum)
        for row, stratum in zip(values[reference:start], strata[reference:start].tolist(), strict=True):
            running.update(row, stratum)
        found.append(first_page(running, values[start:], strata[start:]))
    return np.array(found)


def delays_alone(
    regime: str, shift: float, streams: int, minimum: float = 0.0, horizon: int = 720, ranks: bool = False
) -> np.ndarray:
    """Windows from a shift to evidence that alone makes the mean of 50 reach A, float64[streams].

    Every stream is shifted, and each stands for one simulation of `delays`: the other 49 add next to nothing.
    """
    values = pit_means(np.random.default_rng(2000), regime, 672 + QUIET + horizon, streams)
    values[672 + QUIET :] += PIT * shift
    return first_evidence(values, 672, QUIET, minimum, ranks)


def first_evidence(
    values: np.ndarray, reference: int, quiet: int, minimum: float = 0.0, ranks: bool = False
) -> np.ndarray:
    """Windows, after `quiet` ones, until each stream alone makes the mean of 50 reach A, float64[streams]."""
    running, strata = monitor(values, reference, minimum, ranks=ranks)
    enough, start = np.log(50 * running.alarm.page_patience), reference + quiet
    found = np.full(values.shape[1], np.inf)
    for t in range(reference, len(values)):
        evidence = running.adapter.update(values[t], int(strata[t]))
        if t >= start:
            found[(evidence.log_evidence >= enough) & evidence.material & np.isinf(found)] = t - start + 1
    return found


def spell(delay: np.ndarray) -> str:
    """Median, or "missed"."""
    median = float(np.median(delay))
    return "missed" if np.isinf(median) else f"{median:g}"


def nulls() -> Iterator[dict[str, Any]]:
    """False alarms at K = 50."""
    for reference in (672, 336, 168):
        for regime in REGIMES:
            if not (reference == 168 and regime == "seasonal"):
                yield {"regime": regime, "reference": reference, **null(regime, reference=reference)}
    for regime in REGIMES:
        yield {"regime": regime, "reference": 672, "gate": MINIMUM, **null(regime, minimum=MINIMUM)}


def odd_nulls() -> Iterator[dict[str, Any]]:
    """False alarms of KS distances, and of streams with gaps; K = 50, without the gate."""
    alarms = Alarms()
    values = ks_distances(np.random.default_rng(0), 672 + 6000, 50)
    running, strata = monitor(values, 672, distance=True)
    alarms.follow(running, values[672:], strata[672:])
    yield {"regime": "KS distances of 500 rows", "reference": 672, **alarms.per(720)}
    for regime in REGIMES:
        alarms = Alarms()
        for run in range(3):
            rng = np.random.default_rng(run)
            values = pit_means(rng, regime, 672 + 3000, 50)
            values[rng.random(values.shape) < 0.3] = np.nan
            running, strata = monitor(values, 672)
            alarms.follow(running, values[672:], strata[672:])
        yield {"regime": f"{regime}, 30% missing", "reference": 672, **alarms.per(720)}


def conformal() -> Iterator[dict[str, Any]]:
    """Evidence of ranks: false alarms at K = 50 and median delays, before the gate and with it."""
    for regime in REGIMES:
        for minimum in (0.0, MINIMUM):
            row: dict[str, Any] = {"regime": regime, "gate": minimum}
            row |= null(regime, minimum=minimum, ranks=True)
            for shift in SHIFTS:
                row[f"delay {shift}"] = spell(delays_alone(regime, shift, 200, minimum, ranks=True))
            yield row
    values = np.random.default_rng(0).lognormal(sigma=2.0, size=(672 + 6000, 50))
    for ranks in (False, True):
        alarms = Alarms()
        running, strata = monitor(values, 672, ranks=ranks)
        alarms.follow(running, values[672:], strata[672:])
        yield {"regime": "log-normal, sigma 2", "ranks": ranks, **alarms.per(720)}


def days() -> Iterator[dict[str, Any]]:
    """False alarms of daily windows, by days of reference; K = 50, A = 30."""
    for regime in ("iid", "autocorrelated"):
        for reference in (28, 56, 112):
            for minimum in (0.0, MINIMUM):
                alarms = Alarms()
                for run in range(30):
                    values = pit_means(np.random.default_rng(run), regime, reference + 300, 50)
                    running, strata = monitor(values, reference, minimum, season=Season(DAY))
                    alarms.follow(running, values[reference:], strata[reference:])
                yield {"regime": regime, "reference": reference, "gate": minimum, **alarms.per(30)}


def shifts() -> Iterator[dict[str, Any]]:
    """Median delays at K = 50, before the gate and with it."""
    for regime in REGIMES:
        for shift in SHIFTS:
            for minimum in (0.0, MINIMUM):
                alone = delays_alone(regime, shift, 1000, minimum)
                yield {
                    "regime": regime,
                    "shift": shift,
                    "gate": minimum,
                    "median of 12 runs": spell(delays(regime, shift, minimum=minimum)),
                    "median of 1000": spell(alone),
                    "middle half": [spell(np.quantile(alone, [q], method="nearest")) for q in (0.25, 0.75)],
                }


def many_streams() -> Iterator[dict[str, Any]]:
    """K = 2500."""
    for regime in REGIMES:
        row: dict[str, Any] = {"regime": regime, **null(regime, streams=2500, runs=1)}
        for shift in SHIFTS:
            row[f"delay {shift}"] = spell(delays(regime, shift, streams=2500, runs=6, horizon=200))
        yield row


def gate() -> Iterator[dict[str, Any]]:
    """Effects of just what matters, and recovery from a shift."""
    for regime in REGIMES:
        paged = np.isfinite(delays_alone(regime, MINIMUM / PIT, 1000, MINIMUM)).mean()
        yield {"regime": regime, "effect": "the minimum itself", "page within 720 windows": round(paged, 3)}
    for regime in REGIMES:
        found = []
        for run in range(24):
            values = pit_means(np.random.default_rng(run), regime, 672 + 96 + 1440, 50)
            values[672:768, 0] += PIT * 0.5
            running, strata = monitor(values, 672, MINIMUM)
            pages, closed = 0, np.inf
            for t in range(672, len(values)):
                _, decision = running.update(values[t], int(strata[t]))
                pages += decision.page
                if decision.closed:
                    closed = t - 768 + 1
                    break
            found.append((pages, closed))
        yield {
            "regime": regime,
            "effect": "0.5 sigma for 96 windows",
            "most pages": max(pages for pages, _ in found),
            "windows to verified stable": spell(np.array([closed for _, closed in found])),
        }


def rates() -> Iterator[dict[str, Any]]:
    """The e-CUSUM of events: base error 0.10 of 10,000 reference rows, A = 10,000 events, 200 streams."""
    yield ecusum(200, 20_000)


def ecusum(streams: int, events: int) -> dict[str, Any]:
    """False alarms and median delays of an error rate of 0.10 that rises to 0.15 and 0.20."""
    rng = np.random.default_rng(1)
    reference = rng.binomial(10_000, 0.1, streams) / 10_000
    row: dict[str, Any] = {"streams": streams, "events": events}
    for rate in (0.1, 0.15, 0.2):
        detector = ECusum(reference, np.full(streams, 10_000))
        found = np.full(streams, np.inf)
        for t in range(events):
            detector.update(detector.counted((rng.random(streams) < rate).astype(float), 1.0))
            alarm = (detector.log_evidence >= np.log(10_000)) & np.isinf(found)
            found[alarm] = t + 1
        if rate == 0.1:
            row["false alarms"] = int(np.isfinite(found).sum())
        else:
            row[f"delay to {rate}"] = spell(found)
    return row


def cost() -> Iterator[dict[str, Any]]:
    """Milliseconds per window."""
    for streams in (50, 500, 2500):
        values = pit_means(np.random.default_rng(0), "iid", 672 + 200, streams)
        running, strata = monitor(values, 672)
        start = time.perf_counter()
        Alarms().follow(running, values[672:], strata[672:])
        spent = (time.perf_counter() - start) / 200
        yield {
            "streams": streams,
            "ms per window": round(spent * 1e3, 2),
            "snapshot, kB": round(len(running.snapshot()) / 1e3, 1),
            "baseline, kB": round(len(running.adapter.baseline.to_bytes()) / 1e3, 1),
        }
