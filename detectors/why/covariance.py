"""Which pairs of columns no longer go together as they did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.statistical.covariance import change
from detectors.summaries.table import TableSummary

CLEAR = 4.0
"""Standard errors from which one of many pairs is worth naming."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two columns of the whitened covariance sketch, or one twice.

    Attributes
    ----------
    first, second : str
        The same for the spread of a column.
    moved : float
        Entry of W S W - I; for a pair about the change of correlation, in a table of independent columns.
    error : float
        Its standard deviation under no change, for jointly normal scores.
    before, now : float
        Correlation of the normal scores; of a single column their standard deviation.
    """

    first: str
    second: str
    moved: float
    error: float
    before: float
    now: float


def top_pairs(
    reference: TableSummary, window: TableSummary, most: int = 5, least: float = 0.0
) -> tuple[Pair, ...]:
    """The largest entries of |W S W - I|, largest first, if beyond `least` standard errors.

    Whitening takes away what follows from other columns, so that a pair is named for its own change rather
    than for that of a third column. None in tables wider than 100 columns, whose sketch is a projection.
    """
    found = change(reference, window)
    if found is None:
        return ()
    rows, columns = np.triu_indices(len(found.columns))
    order = np.argsort(-np.abs(found.moved[rows, columns]), kind="stable")[:most]
    noise = np.sqrt(1 / reference.scores.n + 1 / window.scores.n)
    spreads = [np.sqrt(np.maximum(np.diag(side), 1e-300)) for side in (found.before, found.now)]
    pairs = []
    for i, j in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        values = [
            spread[i] if i == j else side[i, j] / (spread[i] * spread[j])
            for side, spread in zip((found.before, found.now), spreads, strict=True)
        ]
        pair = Pair(
            found.columns[i],
            found.columns[j],
            float(found.moved[i, j]),
            float(noise * np.sqrt(2.0) if i == j else noise),
            *map(float, values),
        )
        if abs(pair.moved) >= least * pair.error:
            pairs.append(pair)
    return tuple(pairs)
