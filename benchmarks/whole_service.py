"""The budget through the whole service: events in, pages out.

`python -m benchmarks.statistics service`: messages of ten features, 60 rows an hour, are decoded,
deduplicated, windowed, summarised and judged as in production, with state on disk. Four weeks become the
history of the watch; a month follows in which nothing changes, then the first feature shifts by half a sigma.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence import latent
from observer.codecs.arrow import encode_predictions
from observer.model import WindowReport
from tests.unit.pipeline.service import START, Ticking, config, reference, run

FEATURES, ROWS = 10, 60
KNOWN, LIVE, CHANGED = 672, 720, 72
"""Windows of history, unchanged ones that count, and ones after the shift."""
SHIFT = 0.5
DAY, HOUR = 86_400_000, 3_600_000
MONDAY = START // DAY * DAY - DAY


def _messages(rng: np.random.Generator, means: np.ndarray) -> list[bytes]:
    """A message per day of hourly windows: rows about their latent means, float64[windows, features]."""
    messages = []
    for first in range(0, len(means), 24):
        latent = np.repeat(means[first : first + 24], ROWS, axis=0)
        rows = latent + rng.standard_normal(latent.shape)
        messages.append(
            encode_predictions(
                {
                    "id": [f"{first}-{i}" for i in range(len(rows))],
                    "model": ["m"] * len(rows),
                    "version": ["1"] * len(rows),
                    "time": MONDAY + first * HOUR + np.arange(len(rows)) * (HOUR // ROWS),
                    "features": {f"x{k}": rows[:, k] for k in range(FEATURES)},
                    "prediction": rng.choice(["0", "1"], len(rows)).tolist(),
                }
            )
        )
    return messages


def simulated(folder: Path, regime: str, seed: int) -> list[WindowReport]:
    """Reports of every window, in order, of a service that lives in `folder`."""
    rng = np.random.default_rng(seed)
    before = latent(rng, regime, KNOWN, FEATURES)
    held = before[rng.integers(0, KNOWN, 5000)] + rng.standard_normal((5000, FEATURES))
    path = folder / "m.reference"
    columns = {f"x{k}": held[:, k].tolist() for k in range(FEATURES)}
    reference({**columns, "@prediction": ["0", "1"] * 2500}).save(path)
    window = {"lateness": "0s", "min_events": 30}
    model = {"reference": path, "task": "binary", "positive": "1", "window": window}
    settings = config(folder, models={"m": model}, learn_unknown=False)
    means = latent(rng, regime, KNOWN + LIVE + CHANGED, FEATURES)
    means[KNOWN + LIVE :, 0] += SHIFT
    clock = Ticking(START / 1000 + 1000 * 86_400)
    return run(settings, {0: _messages(rng, means)}, clock=clock, size=4, ends=True).reports.windows


def raised(reports: list[WindowReport], tier: str) -> list[int]:
    """Numbers of the windows, from 0, with a finding of the tier."""
    return [
        (report.key.start - MONDAY) // HOUR
        for report in reports
        if any(one.tier == tier for one in report.findings)
    ]


def rows(
    regimes: tuple[str, ...] = ("iid", "autocorrelated", "seasonal"), runs: int = 2
) -> Iterator[dict[str, Any]]:
    """False pages and tickets in the unchanged month, and windows from the shift to the page."""
    for regime in regimes:
        pages, tickets, delays = 0, 0, []
        for seed in range(1, runs + 1):
            with tempfile.TemporaryDirectory() as folder:
                reports = simulated(Path(folder), regime, seed)
            paged = raised(reports, "page")
            pages += sum(hour < KNOWN + LIVE for hour in paged)
            tickets += sum(KNOWN <= hour < KNOWN + LIVE for hour in raised(reports, "ticket"))
            found = [hour - KNOWN - LIVE + 1 for hour in paged if hour >= KNOWN + LIVE]
            delays.append(str(found[0]) if found else "missed")
        yield {
            "regime": regime,
            "runs of 720 windows": runs,
            "pages": pages,
            "tickets": tickets,
            "windows from a shift of .5 sigma to the page": "/".join(delays),
        }


if __name__ == "__main__":
    for row in rows():
        print(", ".join(f"{key}: {value}" for key, value in row.items()), flush=True)
