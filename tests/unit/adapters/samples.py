"""Summaries to compare."""

import numpy as np

from detectors.base import Categories, Numbers
from detectors.conformance import summarise, table_of


def columns(seed, n, shift=0.0):
    rng = np.random.default_rng(seed)
    return {
        "amount": Numbers(rng.standard_normal(n) + shift),
        "age": Numbers(rng.standard_normal(n)),
        "income": Numbers(np.where(rng.random(n) < 0.3, np.nan, rng.standard_normal(n))),
        "flag": Numbers((rng.random(n) < 0.3 + 0.3 * (shift > 0)).astype(float)),
        "plan": Categories(rng.choice(4, n, p=[0.4, 0.3, 0.2, 0.1]).astype(np.int32), ("a", "b", "c", "d")),
        "paid": Categories((rng.random(n) < 0.5 + 0.2 * (shift > 0)).astype(np.int32), ("no", "yes")),
    }


def summaries(reference=1000, window=600, shift=1.0, sample_size=1000):
    """A reference, an unchanged window, and a window in which `amount`, `flag` and `paid` changed."""
    rows = columns(1, reference)
    table = table_of(rows, sample_size)
    return (
        summarise(table, rows),
        summarise(table, columns(2, window)),
        summarise(table, columns(3, window, shift)),
    )
