"""Means over all rows of a window, from sampled rows and from what was counted of all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Self, TypeAlias

import numpy as np

from detectors.base import Floats, Ints, Numbers
from detectors.summaries.predicted import PREDICTION
from detectors.summaries.table import TableSummary

NAMES = 8
"""Names of a category whose shares are held against the sample's."""
ROWS_EACH = 20
"""Sampled rows for each covariate: with fewer, what it explains is what chance made of it."""


@dataclass(frozen=True, slots=True)
class Margins:
    """How m sampled rows differ from all n rows of their window in what was counted of both.

    The regression estimator of survey sampling: what covariates explain of a value is moved by as much as
    their means over all rows lie beside the sample's. Source: Sarndal, Swensson and Wretman, Model Assisted
    Survey Sampling (1992), chapter 6.

    Attributes
    ----------
    covariates : float64[m, K]
        Less their means over the sample.
    inverse : float64[K, m]
        Their pseudoinverse.
    shift : float64[m]
        What each row's weight is more than 1/m.
    """

    covariates: Floats
    inverse: Floats
    shift: Floats

    @classmethod
    def none(cls, m: int) -> Self:
        """Nothing is known but the sample."""
        return cls(np.empty((m, 0)), np.empty((0, m)), np.zeros(m))

    @classmethod
    def of(cls, window: TableSummary) -> Self:
        """By the ranks of numbers and the commonest names, as the window's table has them."""
        m = len(window.sample)
        pairs = list(islice(_covariates(window), m // ROWS_EACH))
        if not pairs:
            return cls.none(m)
        covariates = np.column_stack([values for values, _ in pairs])
        means = covariates.mean(axis=0)
        covariates -= means
        inverse = np.asarray(np.linalg.pinv(covariates, rcond=1e-6), np.float64)
        off: Floats = np.array([mean for _, mean in pairs]) - means
        return cls(covariates, inverse, off @ inverse)

    def mean(self, values: Floats, n: int) -> tuple[float, float]:
        """Mean of `values` float64[m] over all n rows, estimated; and its variance by which were sampled."""
        m = len(values)
        mean = float(values.mean())
        free = max(m - 1 - int(np.count_nonzero(self.covariates.any(axis=0))), 1)
        rest = values - mean - self.covariates @ (self.inverse @ values)
        variance = float(rest @ rest) / free * (max(1 / m - 1 / n, 0.0) + float(self.shift @ self.shift))
        return mean + float(self.shift @ values), variance


_Covariate: TypeAlias = tuple[Floats, float]
"""Values of the sampled rows, and the mean over all rows of the window."""


def _covariates(window: TableSummary) -> Iterator[_Covariate]:
    """The prediction's rank first, then each column's, then the squares of ranks."""
    table, sample = window.table, window.sample
    columns = {name: sample.column(name) for name in sample.columns}
    batch = table.encode(sample.keys, columns)
    names, bins, width = table.binning.names, table.binning.bins, table.binning.width
    ranks = [
        _rank(batch.codes[i] - i * width, window.numbers.counts[i], int(table.binning.used[i]), bins)
        for i in sorted(range(len(names)), key=lambda i: names[i] != PREDICTION)
        # Of numbers among texts a sample does not say which they were.
        if isinstance(columns.get(names[i]), Numbers) and table.binning.used[i]
    ]
    for rank, none, _ in ranks:
        yield rank
        if none[1]:
            yield none
    for i, name in enumerate(table.vocabularies.names):
        if name in columns:
            yield from _shares(batch.category_codes[i], window.categories.counts[i], table.vocabularies.top)
    for _, _, square in ranks:
        yield square


def _rank(codes: Ints, counts: Ints, used: int, bins: int) -> tuple[_Covariate, _Covariate, _Covariate]:
    """Rank among the reference's bins, 1/2 where there is none; whether there is none; the rank's square."""
    at = np.arange(len(counts))
    none = at > bins + 1
    rank: Floats = np.where(none, 0.5, np.clip((at - 0.5) / used, 0.0, 1.0))
    n = max(int(counts.sum()), 1)

    def of(values: Floats) -> _Covariate:
        return values[codes], float(values @ counts) / n

    return of(rank), of(none.astype(np.float64)), of((2 * rank - 1) ** 2)


def _shares(codes: Ints, counts: Ints, top: int) -> Iterator[_Covariate]:
    """Whether a cell has each of the commonest names, and whether it has none."""
    n = max(int(counts.sum()), 1)
    for code in range(min(NAMES, top)):
        if counts[code]:
            yield (codes == code).astype(np.float64), int(counts[code]) / n
    if none := int(counts[top + 2 :].sum()):
        yield (codes > top + 1).astype(np.float64), none / n
