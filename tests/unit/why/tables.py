"""Small references and windows over one table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from detectors.base import Categories, Column, Numbers
from detectors.summaries.table import TableSummary
from observer.references import Overrides, build


def categories(codes: np.ndarray, *names: str) -> Categories:
    return Categories(np.asarray(codes, np.int32), names)


def columns(rng: np.random.Generator, n: int) -> dict[str, Column]:
    """Two correlated numbers, one of its own with gaps, and a category."""
    a = rng.normal(size=n)
    gaps = rng.random(n) < 0.1
    return {
        "a": Numbers(a),
        "b": Numbers(0.6 * a + 0.8 * rng.normal(size=n)),
        "c": Numbers(np.where(gaps, np.nan, rng.lognormal(size=n)), gaps),
        "plan": categories(rng.choice(3, n, p=[0.6, 0.3, 0.1]), "basic", "plus", "pro"),
    }


def summaries(
    reference: Mapping[str, Column], window: Mapping[str, Column], sample: int = 1_000
) -> tuple[TableSummary, TableSummary]:
    """Both sides under the reference's table."""
    rng = np.random.default_rng(0)
    before = build(_keys(rng, reference), reference, Overrides(sample_rows=sample), "for a test").summary
    now = before.table.zero()
    now.update(before.table.encode(_keys(rng, window), window))
    return before, now


def _keys(rng: np.random.Generator, table: Mapping[str, Column]) -> np.ndarray:
    return rng.integers(0, 2**64, len(next(iter(table.values()))), np.uint64)
