"""The budget of false alarms, through the whole service: events in, pages out."""

from __future__ import annotations

import numpy as np
import pytest

from observer.codecs.arrow import encode_predictions
from tests.unit.pipeline.service import config, reference
from tests.unit.pipeline.test_evidence import MONDAY, ROWS, evidence, go


def hours_of(rng: np.random.Generator, first: int, count: int, shift: float = 0.0) -> bytes:
    """Independent rows of hours on end, as a message; the first of ten features shifts."""
    rows_ = count * ROWS
    features = {f"x{k}": rng.standard_normal(rows_) for k in range(10)}
    features["x0"] += shift
    return encode_predictions(
        {
            "id": [f"{first}-{i}" for i in range(rows_)],
            "model": ["m"] * rows_,
            "version": ["1"] * rows_,
            "time": MONDAY + first * 3_600_000 + np.arange(rows_) * (3_600_000 // ROWS),
            "features": features,
            "prediction": rng.choice(["0", "1"], rows_).tolist(),
        }
    )


def budget_of(folder, seed: int, known: int = 672, live: int = 720, more: int = 24) -> dict[str, list[int]]:
    """Hours of pages and tickets: ten unchanged features, of which then one shifts by half a σ."""
    rng = np.random.default_rng(seed)
    path = folder / "m.reference"
    held = {f"x{k}": rng.standard_normal(5000).tolist() for k in range(10)}
    reference({**held, "@prediction": ["0", "1"] * 2500}).save(path)
    model = {
        "reference": path,
        "task": "binary",
        "positive": "1",
        "window": {"lateness": "0s", "min_events": 30},
    }
    settings = config(folder, models={"m": model}, learn_unknown=False)
    calm = [hours_of(rng, hour, 24) for hour in range(0, known + live, 24)]
    messages = [*calm, hours_of(rng, known + live, more, shift=0.5)]
    ran = go(settings, {0: messages}, size=4, ends=True)
    found: dict[str, list[int]] = {"page": [], "ticket": []}
    for report in ran.reports.windows:
        for one in report.findings:
            if one.tier != "info":
                found[one.tier].append((report.key.start - MONDAY) // 3_600_000)
    assert len(ran.reports.windows) == known + live + more
    assert evidence(ran.reports.windows[-1]).stage == "paging"
    return found


@pytest.mark.slow
def test_unchanged_events_keep_the_budget_and_a_shift_is_found(tmp_path):
    """Ten features, 60 rows an hour: four weeks of reference windows, a month of 720 without a change."""
    found = budget_of(tmp_path, 1)
    false = [hour for hour in found["page"] if hour < 672 + 720]
    assert len(false) <= 1
    assert len([hour for hour in found["ticket"] if 672 <= hour < 672 + 720]) <= 4
    true = [hour for hour in found["page"] if hour >= 672 + 720]
    assert len(true) >= 1
    assert true[0] - (672 + 720) < 5
