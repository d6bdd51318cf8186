"""What is watched of a window: a number per stream, and rates that are counted.

A number is the window's departure from the reference, about 0 where nothing has changed:

- `location`: mean of the column's PIT (its rank in the reference, 0..1) less 1/2;
- `spread`: 12 times the PIT's mean square about 1/2, less the reference's (1 for a column without ties);
- `total_variation`: share of rows that changed category; a distance;
- `embedding`: how far the mean features of an embedding moved, 0 to 1.41; a distance;
- `covariance`: the whitened covariance's distance from the reference's, of all numeric columns together.

Rates (`missing`, `type_errors`, `unseen_categories`, `duplicates`) are kept as counts. Of labelled
predictions `error_rate` is a rate, and `absolute_error` the logarithm of the mean absolute error, so that
its effect is a relative one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from detectors.base import Floats, Ints, Status
from detectors.quality import evaluate
from detectors.statistical.covariance import Covariance
from detectors.summaries.categories import CategoryCounts
from detectors.summaries.histogram import Histogram
from detectors.summaries.outcomes import BinaryOutcomes, MulticlassOutcomes, Outcomes, RegressionOutcomes
from detectors.summaries.table import TableSummary

TABLE = "@table"
LABEL = "@label"

MINIMA: Mapping[str, float] = MappingProxyType(
    {
        "location": 0.02,
        "spread": 0.06,
        "total_variation": 0.02,
        "embedding": 0.03,
        "covariance": 0.2,
        "missing": 0.01,
        "type_errors": 0.01,
        "unseen_categories": 0.01,
        "duplicates": 0.01,
        "error_rate": 0.01,
        "absolute_error": 0.05,
    }
)
"""Smallest effect that matters, by statistic, in its own unit."""

DISTANCES = frozenset({"total_variation", "embedding", "covariance"})
"""Statistics that are never negative, and of which only an increase is drift."""

JOINT = frozenset({"covariance"})
"""Statistics of all columns at once, which a change of any single one may move too."""


class Stream(NamedTuple):
    """One statistic of one subject."""

    subject: str
    """Column, `@prediction`, `@score` ..., or `@table`."""
    statistic: str


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What a window says of V numbers and H rates.

    Attributes
    ----------
    values : float64[V]
        NaN where the window holds nothing to tell.
    counts : int64[V]
        Rows that each rests on.
    hits, rows : float64[H], float64[H]
        Rows that count, among how many; hits may be fractions: sums of losses within 0..1.
    """

    values: Floats
    counts: Ints
    hits: Floats
    rows: Floats


class TableStreams:
    """The streams of a table's summaries against a reference.

    Attributes
    ----------
    values, rates : tuple of Stream
    spread : float64[F]
        Of each numeric column in the reference: 12 times the PIT's mean square about 1/2.
    """

    def __init__(self, reference: TableSummary) -> None:
        self._reference = reference
        numbers, categories, embeddings = reference.numbers, reference.categories, reference.embeddings
        self._features = embeddings.means
        self._pit = _pit(numbers)
        self.spread = _spread(self._pit, _inner(numbers))
        self._shares = _shares(categories)
        self._covariance = Covariance.model_validate({})
        self.values = (
            *(Stream(name, "location") for name in numbers.names),
            *(Stream(name, "spread") for name in numbers.names),
            *(Stream(name, "total_variation") for name in categories.names),
            *(Stream(name, "embedding") for name in embeddings.names),
            Stream(TABLE, "covariance"),
        )
        columns = (*numbers.names, *categories.names, *embeddings.names)
        self.rates = (
            *(Stream(name, "missing") for name in columns),
            *(Stream(name, "type_errors") for name in columns),
            *(Stream(name, "unseen_categories") for name in categories.names),
            Stream(TABLE, "duplicates"),
        )

    def read(self, window: TableSummary, *, joint: bool = True) -> Reading:
        """Read a window; `joint` says whether to compute what concerns all columns at once."""
        numbers, categories, embeddings = window.numbers, window.categories, window.embeddings
        inner = _inner(numbers)
        finite = inner.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            location = (inner * self._pit).sum(axis=1) / finite - 0.5
            spread = _spread(self._pit, inner) - self.spread
            shares = _shares(categories)
            variation = np.abs(shares - self._shares).sum(axis=1) / 2
        known = _known(categories).sum(axis=1)
        vectors = embeddings.counts[:, 0]
        moved = np.sqrt(((embeddings.means - self._features) ** 2).sum(axis=1))
        moved[vectors == 0] = np.nan
        distance = np.nan
        if joint and len(numbers.names) > 1:
            verdict = self._covariance.compare(self._reference, window, alpha=0.0)[0]  # no p-value is wanted
            distance = np.nan if verdict.status is Status.INSUFFICIENT else verdict.statistic
        n, repeated = window.counts.n, window.counts.duplicates
        bins, top = numbers.bins, categories.vocabularies.top
        missing = (
            numbers.counts[:, bins + 2] + numbers.counts[:, bins + 3],
            categories.counts[:, top + 2],
            embeddings.counts[:, 1],
        )
        wrong = numbers.counts[:, bins + 6], categories.counts[:, top + 3], embeddings.counts[:, 2]
        hits = np.concatenate((*missing, *wrong, categories.counts[:, top + 1], [repeated]))
        each = tuple(part.counts.sum(axis=1) for part in (numbers, categories, embeddings))
        rows = np.concatenate((*each, *each, each[1], [n + repeated]))
        return Reading(
            np.concatenate((location, spread, variation, moved, [distance])),
            np.concatenate((finite, finite, known, vectors, [n])).astype(np.int64),
            hits.astype(np.float64),
            rows.astype(np.float64),
        )


class OutcomeStreams:
    """The streams of labelled predictions.

    Attributes
    ----------
    values, rates : tuple of Stream
    """

    def __init__(self, *, regression: bool) -> None:
        self.values = (Stream(LABEL, "absolute_error"),) if regression else ()
        self.rates = () if regression else (Stream(LABEL, "error_rate"),)

    def read(self, outcomes: Outcomes) -> Reading:
        """Read a cohort."""
        none = np.empty(0)
        if isinstance(outcomes, RegressionOutcomes):
            mean = next((m.value for m in evaluate(outcomes) if m.name == "mae"), None)
            value = np.nan if not mean else math.log(mean)
            return Reading(np.array([value]), np.array([outcomes.n], np.int64), none, none)
        wrong, known = wrongly(outcomes)
        return Reading(none, np.empty(0, np.int64), np.array([float(wrong)]), np.array([float(known)]))


def wrongly(outcomes: BinaryOutcomes | MulticlassOutcomes) -> tuple[int, int]:
    """Rows predicted as another class than their label, and rows that have both."""
    size = outcomes.confusion.rows.shape[0]
    confusion = outcomes.confusion.rows[:, : outcomes.confusion.rows.shape[1] - 1]
    known = int(confusion.sum())
    return known - int(np.trace(confusion[:, :size])), known


def _inner(numbers: Histogram) -> Ints:
    """Counts of numbers, int64[F, B + 2]: below, the bins, above; infinities at the ends."""
    inner = numbers.counts[:, : numbers.bins + 2].copy()
    inner[:, 0] += numbers.counts[:, numbers.bins + 4]
    inner[:, -1] += numbers.counts[:, numbers.bins + 5]
    return inner


def _pit(reference: Histogram) -> Floats:
    """Mid-rank of each bin in the reference, float64[F, B + 2]; its mean over the reference is 1/2."""
    inner = _inner(reference)
    total = np.maximum(inner.sum(axis=1, keepdims=True), 1)
    return np.asarray((np.cumsum(inner, axis=1) - inner / 2) / total)


def _spread(pit: Floats, inner: Ints) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(12 * (inner * (pit - 0.5) ** 2).sum(axis=1) / inner.sum(axis=1))


def _known(categories: CategoryCounts) -> Ints:
    """Counts of the frequent names, of the other known ones, and of unseen ones: int64[C, top + 2]."""
    return np.asarray(categories.counts[:, : categories.vocabularies.top + 2])


def _shares(categories: CategoryCounts) -> Floats:
    known = _known(categories)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(known / known.sum(axis=1, keepdims=True))
