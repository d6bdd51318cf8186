"""Summaries of plain arrays, one column a row."""

import numpy as np

from detectors.base import Categories, Numbers
from detectors.conformance import summarise, table_of
from detectors.summaries.categories import CategoryCounts, Vocabularies, vocabulary
from detectors.summaries.histogram import Binning, quantile_boundaries


def histograms(reference, window, bins=256):
    """Histograms of float64[F, n] and float64[F, m] over the reference's bins."""
    names = tuple(f"x{i}" for i in range(len(reference)))
    finite = [row[np.isfinite(row)] for row in reference]
    boundaries = tuple(quantile_boundaries(row, bins) for row in finite)
    center = np.array([row.mean() if len(row) else 0.0 for row in finite])
    binning = Binning(names, boundaries, center, bins)
    out = []
    for values in (reference, window):
        histogram = binning.zero()
        histogram.update(binning.encode(values), values)
        out.append(histogram)
    return out


def category_counts(reference, window, names=None, top=64):
    """Category counts of int[C, n] and int[C, m] codes over the reference's vocabulary."""
    size = 1 + max(int(reference.max(initial=0)), int(window.max(initial=0)))
    names = names or tuple(f"v{i}" for i in range(size))
    before = [Categories(row.astype(np.int32), names) for row in reference]
    now = [Categories(row.astype(np.int32), names) for row in window]
    known = [vocabulary(column, top) for column in before]
    vocabularies = Vocabularies(
        tuple(f"c{i}" for i in range(len(before))),
        tuple(k[0] for k in known),
        tuple(k[1] for k in known),
        top,
    )
    out = []
    for columns, rows in ((before, reference.shape[1]), (now, window.shape[1])):
        counts: CategoryCounts = vocabularies.zero()
        counts.count(rows)
        for i, column in enumerate(columns):
            counts.update(i, vocabularies.encode(i, column), column)
        out.append(counts)
    return out


def tables(reference, window, sample_size=1000):
    """Table summaries of float64[F, n] and float64[F, m]."""
    before, now = ({f"x{i}": Numbers(row) for i, row in enumerate(rows)} for rows in (reference, window))
    table = table_of(before, sample_size)
    return summarise(table, before), summarise(table, now)


def p_values(verdicts):
    return np.array([verdict.p_value for verdict in verdicts])
