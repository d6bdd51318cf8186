"""Readings of windows made directly, as those of raw rows would be distributed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from detectors.evidence.season import DAY
from detectors.watch.history import Row
from detectors.watch.streams import DISTANCES, MINIMA, Reading, Stream

FEATURES = ("a", "b", "c")
VALUES = (
    *(Stream(name, "location") for name in FEATURES),
    *(Stream(name, "spread") for name in FEATURES),
    Stream("plan", "total_variation"),
)
RATES = (Stream("a", "missing"), Stream("plan", "unseen_categories"))
LEAST = {stream: MINIMA[stream.statistic] for stream in (*VALUES, *RATES)}
MONDAY = 4 * DAY
SHARES = np.array([0.5, 0.3, 0.15, 0.05])
"""Of the categories of `plan`."""


def reading(
    rng: np.random.Generator,
    rows: int,
    shift: Mapping[Stream, float] | None = None,
    rate: float = 0.05,
    values: tuple[Stream, ...] = VALUES,
    rates: tuple[Stream, ...] = RATES,
) -> Reading:
    """Of a window of so many independent rows: ranks of mean 1/2, categories of `SHARES`, hits at `rate`."""
    found = np.empty(len(values))
    for k, stream in enumerate(values):
        if stream.statistic in DISTANCES:
            found[k] = np.abs(rng.multinomial(rows, SHARES) / rows - SHARES).sum() / 2
        else:
            found[k] = rng.standard_normal() * (0.2887 if stream.statistic == "location" else 0.894)
            found[k] /= np.sqrt(rows)
        found[k] += (shift or {}).get(stream, 0.0)
    chance = np.array([rate + (shift or {}).get(stream, 0.0) for stream in rates])
    return Reading(
        found,
        np.full(len(values), rows, np.int64),
        rng.binomial(rows, chance).astype(np.float64),
        np.full(len(rates), float(rows)),
    )


def days(
    seed: int,
    count: int,
    rows: int = 5000,
    shift: Mapping[Stream, float] | None = None,
    since: int = 0,
    until: int | None = None,
    segments: tuple[str, ...] = (),
) -> list[Row]:
    """Windows of a day each, from a Monday on; of those since one and until another `shift` holds."""
    rng = np.random.default_rng(seed)
    out = []
    for day in range(count):
        now = shift if since <= day < (count if until is None else until) else None
        out.append(Row(MONDAY + day * DAY, {name: reading(rng, rows, now) for name in ("", *segments)}))
    return out
