"""What is known of a classifier's predictions before their labels come: counts by class and score bin.

Mergeable; the bins are those that `outcomes` counts labelled predictions in, so that a rate seen there
can be applied here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.base import Column, Floats, Ints, Numbers
from detectors.summaries.categories import as_categories
from detectors.summaries.outcomes import BinaryOutcomes, MulticlassOutcomes
from detectors.summaries.packing import pack, unpack

PREDICTION, SCORE = "@prediction", "@score"
"""Columns of a table; `@score.<class>` per class where there are several."""
_ALIKE = ({"1", "true"}, {"0", "false"})
"""They say the same of a binary model, whatever the producer's taste."""


class EncodedPredictions(NamedTuple):
    """A batch of n predictions under a `ClassTable` of K classes.

    Attributes
    ----------
    called : int64[n]
        Class codes; K is any class beyond the table's, K + 1 an absent one.
    cells : int64[n, scores]
        Score bin of each class, plus its place times the number of bins; -1 in rows without scores.
    scores : float64[n, scores]
        NaN where absent.
    """

    called: Ints
    cells: Ints
    scores: Floats

    def take(self, rows: NDArray[np.intp]) -> EncodedPredictions:
        """The batch at `rows`."""
        return EncodedPredictions(self.called[rows], self.cells[rows], self.scores[rows])


@dataclass(frozen=True, slots=True, eq=False)
class ClassTable:
    """How a classifier's predictions are counted.

    Attributes
    ----------
    classes : tuple of str
        K names; of a binary model negative, then positive.
    edges : float64[K, B - 1]
        Ascending edges of each class's score bins; of a binary model one row, as of `BinaryOutcomes`.
    binary : bool
        One score, that of the second class; else one for each class.
    only_positive : bool
        Of a binary model only the positive class is known: any other is the negative one.
    """

    classes: tuple[str, ...]
    edges: Floats
    binary: bool = field(kw_only=True)
    only_positive: bool = False
    _codes: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        codes = {name: code for code, name in enumerate(self.classes)}
        for alike in _ALIKE if self.binary else ():
            known = [codes[name] for name in sorted(alike) if name in codes]
            codes.update({name: known[0] for name in alike if known})
        object.__setattr__(self, "_codes", codes)

    def codes(self, column: Column) -> Ints:
        """Class codes int64[n] of predictions or labels: -1 where missing, K for any other class."""
        named = as_categories(column)
        beyond = 0 if self.only_positive else len(self.classes)
        table = np.array([*(self._codes.get(name, beyond) for name in named.names), -1, -1], np.int64)
        return np.asarray(table[named.codes])

    def scores(self, columns: Mapping[str, Column], n: int) -> Floats:
        """Scores float64[n, scores] of columns by class (`""` for a binary model's one), NaN where absent."""
        names = [("", self.classes[1])] if self.binary else [(name,) for name in self.classes]
        out = np.full((n, len(names)), np.nan)
        for i, accepted in enumerate(names):
            column = next((columns[name] for name in accepted if name in columns), None)
            if isinstance(column, Numbers):
                out[:, i] = column.values
        return out

    def encode(self, called: Ints, scores: Floats) -> EncodedPredictions:
        """A batch of predictions: `called` and `scores` as `codes` and `scores` give them."""
        size, bins = len(self.classes), self.edges.shape[1] + 1
        cells = np.empty(scores.shape, np.int64)
        for k, edges in enumerate(self.edges):
            cells[:, k] = np.searchsorted(edges, scores[:, k], side="right") + k * bins
        cells[np.isnan(scores).any(axis=1)] = -1
        return EncodedPredictions(np.where(called < 0, size + 1, np.minimum(called, size)), cells, scores)

    def read_columns(self, columns: Mapping[str, Column], n: int) -> EncodedPredictions:
        """The batch that columns of a table hold, `@prediction` and `@score` among them."""
        prediction = columns.get(PREDICTION)
        called = np.full(n, -1, np.int64) if prediction is None else self.codes(prediction)
        scores = {
            name.removeprefix(SCORE).removeprefix("."): column
            for name, column in columns.items()
            if name.startswith(SCORE)
        }
        return self.encode(called, self.scores(scores, n))

    def zero(self) -> Predicted:
        """No predictions."""
        if self.binary:
            return PredictedBinary(self.edges[0])
        return PredictedMulticlass(self.classes, self.edges)

    def outcomes(self) -> BinaryOutcomes | MulticlassOutcomes:
        """No labelled predictions, over the same bins."""
        return BinaryOutcomes(self.edges[0]) if self.binary else MulticlassOutcomes(self.classes, self.edges)

    def read(self, data: bytes) -> Predicted:
        """The predictions that gave `data`."""
        if self.binary:
            return PredictedBinary.from_bytes(data, self.edges[0])
        return PredictedMulticlass.from_bytes(data, self.classes, self.edges)


class PredictedBinary:
    """Predictions of a binary classifier.

    Attributes
    ----------
    edges : float64[B - 1]
        Ascending score edges, as of `BinaryOutcomes`.
    counts : int64[3, B + 1]
        By prediction (negative, positive, absent) and score bin; the last column has no score.
    score_sums : float64[B]
        Sums of scores, clipped to 0..1.
    squared : float
        Sum of squared scores, clipped to 0..1.
    outside : int
        Rows whose score lies outside 0..1.
    """

    __slots__ = ("counts", "edges", "outside", "score_sums", "squared")

    def __init__(self, edges: Floats) -> None:
        self.edges = edges
        bins = len(edges) + 1
        self.counts = np.zeros((3, bins + 1), np.int64)
        self.score_sums = np.zeros(bins)
        self.squared = 0.0
        self.outside = 0

    @property
    def n(self) -> int:
        """Rows."""
        return int(self.counts.sum())

    def update(self, batch: EncodedPredictions) -> None:
        """Add rows that a table with these edges encoded."""
        bins = len(self.score_sums)
        at, known = batch.cells[:, 0], batch.scores[:, 0]
        scored = at >= 0
        if not scored.all():
            known = known[scored]
        p = np.clip(known, 0.0, 1.0)
        self.outside += int(np.count_nonzero(p != known))
        self.score_sums += np.bincount(at[scored], p, bins)
        self.squared += float(p @ p)
        cells = np.minimum(batch.called, 2) * (bins + 1) + np.where(scored, at, bins)
        self.counts += np.bincount(cells, minlength=self.counts.size).reshape(self.counts.shape)

    def merge(self, other: Self) -> None:
        """Add `other`; raises `ValueError` when its score edges differ."""
        if not np.array_equal(self.edges, other.edges):
            raise ValueError("predictions over different score edges cannot be merged")
        self.counts += other.counts
        self.score_sums += other.score_sums
        self.squared += other.squared
        self.outside += other.outside

    def to_bytes(self) -> bytes:
        """Compact bytes; the edges are the reference's and not repeated."""
        return pack(
            {
                "counts": self.counts,
                "score_sums": self.score_sums,
                "squared": self.squared,
                "outside": self.outside,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, edges: Floats) -> PredictedBinary:
        """The predictions that gave `data`; `edges` must be those they were counted over."""
        predicted, fields = cls(edges), unpack(data)
        predicted.counts = fields.array("counts", np.int64, *predicted.counts.shape)
        predicted.score_sums = fields.array("score_sums", np.float64, *predicted.score_sums.shape)
        predicted.squared, predicted.outside = fields["squared"], fields.count("outside")
        return predicted


class PredictedMulticlass:
    """Predictions of a classifier of K classes.

    Attributes
    ----------
    classes : tuple of str
        K names. Code k < K is a class, K any class beyond them, K + 1 absent.
    edges : float64[K, B - 1]
        Ascending edges of each class's score bins, as of `MulticlassOutcomes`.
    called : int64[K + 2]
        By prediction: the classes, any beyond them, absent.
    own : int64[K, B]
        Rows predicted as k, by bin of the score of k.
    every : int64[K, B]
        All rows that have scores, by bin of the score of k.
    """

    __slots__ = ("called", "classes", "edges", "every", "own")

    def __init__(self, classes: tuple[str, ...], edges: Floats) -> None:
        size = len(classes)
        if len(edges) != size:
            msg = f"score edges of {len(edges)} classes for {size} classes"
            raise ValueError(msg)
        self.classes = classes
        self.edges = edges
        self.called = np.zeros(size + 2, np.int64)
        self.own = np.zeros((size, edges.shape[1] + 1), np.int64)
        self.every = np.zeros_like(self.own)

    @property
    def n(self) -> int:
        """Rows."""
        return int(self.called.sum())

    def update(self, batch: EncodedPredictions) -> None:
        """Add rows that a table with these classes and edges encoded."""
        size, bins = self.own.shape
        self.called += np.bincount(batch.called, minlength=size + 2)
        scored = batch.cells[:, 0] >= 0
        called, cells = batch.called[scored], batch.cells[scored]
        self.every += np.bincount(cells.ravel(), minlength=size * bins).reshape(size, bins)
        known = np.flatnonzero(called < size)
        own = cells[known, called[known]]
        self.own += np.bincount(own, minlength=size * bins).reshape(size, bins)

    def merge(self, other: Self) -> None:
        """Add `other`; raises `ValueError` when its classes or edges differ."""
        if self.classes != other.classes or not np.array_equal(self.edges, other.edges):
            raise ValueError("predictions over different classes or edges cannot be merged")
        self.called += other.called
        self.own += other.own
        self.every += other.every

    def to_bytes(self) -> bytes:
        """Compact bytes; classes and edges are the reference's and not repeated."""
        return pack({"called": self.called, "own": self.own, "every": self.every})

    @classmethod
    def from_bytes(cls, data: bytes, classes: tuple[str, ...], edges: Floats) -> PredictedMulticlass:
        """The predictions that gave `data`; the rest must be what they were built with."""
        predicted, fields = cls(classes, edges), unpack(data)
        for name in ("called", "own", "every"):
            shape = getattr(predicted, name).shape
            setattr(predicted, name, fields.array(name, np.int64, *shape))
        return predicted


Predicted: TypeAlias = PredictedBinary | PredictedMulticlass
