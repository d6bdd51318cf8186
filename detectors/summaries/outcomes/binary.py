"""Outcomes of a binary classifier."""

from __future__ import annotations

from typing import Self

import numpy as np

from detectors.base import Floats
from detectors.summaries.packing import pack, unpack
from detectors.summaries.tally import Batch, Codes, Tally

BINS = 256
CALIBRATION_BINS = 16
EPSILON = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 in logarithms, as scikit-learn does."""

_DEEPEST = 1e-5  # share of the reference beyond the outermost quantile edge


def score_edges(scores: Floats, bins: int = BINS) -> Floats:
    """Edges of `bins` score bins, float64[bins - 1] ascending, from a reference's scores.

    They are 0, 1 and quantiles: three quarters spread evenly, which keeps the error of a binned AUC
    small, the rest ever closer to both ends, where the few positives of a rare class lie and average
    precision is decided. Scores with no more distinct values than edges get a bin each, and so does
    a value that several edges fall upon. Without scores the edges are spread evenly over 0..1.
    """
    free = bins - 3
    scores = scores[np.isfinite(scores)]
    distinct = np.unique(scores)
    if len(distinct) == 0:
        return np.linspace(0.0, 1.0, bins - 1)
    if len(distinct) <= free:
        edges = np.concatenate(([0.0, 1.0], distinct, np.full(free - len(distinct), distinct[-1])))
    else:
        tail = free // 8
        body = np.linspace(0.0, 1.0, free - 2 * tail + 2)[1:-1]
        deep = body[0] * (_DEEPEST / body[0]) ** (np.arange(1, tail + 1) / max(tail, 1))
        shares = np.concatenate((deep, body, 1 - deep))
        edges = np.concatenate(([0.0, 1.0], np.quantile(scores, shares, method="inverted_cdf")))
    edges.sort()
    repeated = edges[1:] == edges[:-1]
    edges[1:][repeated] = np.nextafter(edges[1:][repeated], np.inf)
    return edges


class BinaryOutcomes:
    """Labelled predictions of a binary classifier: mergeable and retractable.

    Attributes
    ----------
    edges : float64[B - 1]
        Ascending score edges; bin b holds `[edges[b-1], edges[b])`, the outer bins are open.
    confusion : Tally of [2, 3]
        By label (0 negative, 1 positive) and prediction (negative, positive, absent).
    scores : Tally of [2, B]
        By label and score bin, of the rows that have a score.
    score_sums : float64[C]
        Weighted sums of scores by calibration bin: `CALIBRATION_BINS` equal groups of score bins.
    squared, log : float
        Weighted sums of squared error and log loss of the scores, clipped to 0..1.
    outside : int
        Rows whose score lies outside 0..1: such scores rank, but are no probabilities.
    unusable : int
        Rows left out everywhere: no label of the two classes, or a weight that is no number >= 0.
    """

    __slots__ = ("confusion", "edges", "log", "outside", "score_sums", "scores", "squared", "unusable")

    def __init__(self, edges: Floats) -> None:
        self.edges = edges
        bins = len(edges) + 1
        self.confusion = Tally.zero(2, 3)
        self.scores = Tally.zero(2, bins)
        self.score_sums = np.zeros(min(CALIBRATION_BINS, bins))
        self.squared = 0.0
        self.log = 0.0
        self.outside = 0
        self.unusable = 0

    @property
    def n(self) -> int:
        """Usable rows."""
        return int(self.confusion.rows.sum())

    def calibration_bin(self, score_bin: Codes) -> Codes:
        """The calibration bin of score bins, int[n]."""
        return score_bin * len(self.score_sums) // (len(self.edges) + 1)

    def update(
        self,
        actual: Codes,
        predicted: Codes,
        scores: Floats | None = None,
        weight: Floats | None = None,
        sign: Codes | None = None,
    ) -> None:
        """Add n rows, or take them out again.

        Parameters
        ----------
        actual : int[n]
            1 positive, 0 negative; any other row is unusable.
        predicted : int[n]
            The predicted class, likewise; any other means absent.
        scores : float64[n], optional
            Score of the positive class; NaN where absent.
        weight : float64[n], optional
            Default 1.
        sign : int[n], optional
            +1 (default) adds a row, -1 takes out one that was added with the same values.
        """
        batch = Batch.of(len(actual), sign, weight)
        usable = batch.usable() & ((actual == 0) | (actual == 1))
        if not usable.all():
            self.unusable += batch.net(~usable)
            actual, predicted, batch = actual[usable], predicted[usable], batch.take(usable)
            scores = None if scores is None else scores[usable]
        actual = actual.astype(np.int64)
        known = (predicted == 0) | (predicted == 1)
        self.confusion.add(actual * 3 + np.where(known, predicted, 2), batch)
        if scores is not None:
            scored = ~np.isnan(scores)
            if not scored.all():
                actual, scores, batch = actual[scored], scores[scored], batch.take(scored)
            self._score(actual, scores, batch)

    def _score(self, actual: Codes, scores: Floats, batch: Batch) -> None:
        bins = len(self.edges) + 1
        at = np.searchsorted(self.edges, scores, side="right")
        self.scores.add(actual * bins + at, batch)
        p = np.clip(scores, 0.0, 1.0)
        self.outside += batch.net(p != scores)
        self.score_sums += batch.sums_by(self.calibration_bin(at), p, len(self.score_sums))
        missed = np.where(actual == 1, 1.0 - p, p)
        squared, log = batch.sums(missed**2, -np.log(np.maximum(1.0 - missed, EPSILON)))
        self.squared += float(squared)
        self.log += float(log)

    def merge(self, other: Self) -> None:
        """Add `other`; raises `ValueError` when its score edges differ."""
        if not np.array_equal(self.edges, other.edges):
            raise ValueError("outcomes over different score edges cannot be merged")
        self.confusion.merge(other.confusion)
        self.scores.merge(other.scores)
        self.score_sums += other.score_sums
        self.squared += other.squared
        self.log += other.log
        self.outside += other.outside
        self.unusable += other.unusable

    def to_bytes(self) -> bytes:
        """Compact bytes; the edges are the reference's and not repeated."""
        return pack(
            {
                **self.confusion.fields("confusion"),
                **self.scores.fields("scores"),
                "score_sums": self.score_sums,
                "squared": self.squared,
                "log": self.log,
                "outside": self.outside,
                "unusable": self.unusable,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, edges: Floats) -> BinaryOutcomes:
        """The outcomes that gave `data`; `edges` must be those they were counted over."""
        outcomes, fields = cls(edges), unpack(data)
        outcomes.confusion.read(fields, "confusion")
        outcomes.scores.read(fields, "scores")
        for name in ("score_sums", "squared", "log", "outside", "unusable"):
            setattr(outcomes, name, fields[name])
        return outcomes
