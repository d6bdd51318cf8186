"""Outcomes of a classifier of several classes."""

from __future__ import annotations

from typing import Self

import numpy as np

from detectors.base import Floats
from detectors.summaries.outcomes.binary import CALIBRATION_BINS, EPSILON
from detectors.summaries.packing import pack, unpack
from detectors.summaries.tally import Batch, Codes, Tally

MAX_CLASSES = 100


class MulticlassOutcomes:
    """Labelled predictions of a classifier of K classes: mergeable and retractable.

    Attributes
    ----------
    classes : tuple of str
        K names, 2..`MAX_CLASSES`. Code k < K is a class, K any class beyond them, -1 absent.
    edges : float64[K, B - 1]
        Ascending edges of each class's score bins (`score_edges`; 64 bins are plenty); [K, 0], the
        default, when nobody asks for the AUC.
    confidence_edges : float64[C - 1]
        Ascending edges of the bins of the top score, for calibration; default: even over 0..1.
    confusion : Tally of [K + 1, K + 2]
        By label and prediction; the last row and the last column but one are the classes beyond
        the K, the last column an absent prediction.
    own, every : Tally of [K, B]
        Bins of each class's score: on the rows with that label, and on all rows.
    confidence : Tally of [2, C]
        By whether the class with the top score was right (1) or wrong (0), and bin of that score.
    confidence_sums : float64[C]
        Weighted sums of the top score.
    squared, log : float
        Weighted sums of the squared distance of scores and outcome (0..2) and of the log loss.
    outside : int
        Rows with a score outside 0..1.
    unusable : int
        Rows left out everywhere: no label, or a weight that is no number >= 0.
    """

    __slots__ = (
        "classes",
        "confidence",
        "confidence_edges",
        "confidence_sums",
        "confusion",
        "edges",
        "every",
        "log",
        "outside",
        "own",
        "squared",
        "unusable",
    )

    def __init__(
        self, classes: tuple[str, ...], edges: Floats | None = None, confidence_edges: Floats | None = None
    ) -> None:
        size = len(classes)
        if not 2 <= size <= MAX_CLASSES:
            msg = f"{size} classes; accepted: 2 to {MAX_CLASSES}"
            raise ValueError(msg)
        self.classes = classes
        self.edges = np.empty((size, 0)) if edges is None else edges
        if len(self.edges) != size:
            msg = f"score edges of {len(self.edges)} classes for {size} classes"
            raise ValueError(msg)
        if confidence_edges is None:
            confidence_edges = np.linspace(0.0, 1.0, CALIBRATION_BINS + 1)[1:-1]
        self.confidence_edges = confidence_edges
        self.confusion = Tally.zero(size + 1, size + 2)
        self.own = Tally.zero(size, self.edges.shape[1] + 1)
        self.every = Tally.zero(size, self.edges.shape[1] + 1)
        self.confidence = Tally.zero(2, len(confidence_edges) + 1)
        self.confidence_sums = np.zeros(len(confidence_edges) + 1)
        self.squared = 0.0
        self.log = 0.0
        self.outside = 0
        self.unusable = 0

    @property
    def n(self) -> int:
        """Usable rows."""
        return int(self.confusion.rows.sum())

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
        actual, predicted : int[n]
            Class codes: 0..K-1, K or more for a class beyond `classes`, negative when absent.
            A row without a label is unusable.
        scores : float64[n, K], optional
            Score of each class; a row with a NaN counts as without scores, and so does one whose
            label is beyond `classes`.
        weight : float64[n], optional
            Default 1.
        sign : int[n], optional
            +1 (default) adds a row, -1 takes out one that was added with the same values.
        """
        size = len(self.classes)
        batch = Batch.of(len(actual), sign, weight)
        usable = batch.usable() & (actual >= 0)
        if not usable.all():
            self.unusable += batch.net(~usable)
            actual, predicted, batch = actual[usable], predicted[usable], batch.take(usable)
            scores = None if scores is None else scores[usable]
        actual = np.minimum(actual.astype(np.int64), size)
        predicted = np.where(predicted < 0, size + 1, np.minimum(predicted, size))
        self.confusion.add(actual * (size + 2) + predicted, batch)
        if scores is not None:
            scored = ~np.isnan(scores).any(axis=1) & (actual < size)
            if not scored.all():
                actual, scores, batch = actual[scored], scores[scored], batch.take(scored)
            self._score(actual, scores, batch)

    def _score(self, actual: Codes, scores: Floats, batch: Batch) -> None:
        n, size = scores.shape
        rows = np.arange(n)
        if self.edges.size:
            bins = self.edges.shape[1] + 1
            cells = np.empty((n, size), np.int64)
            for k, edges in enumerate(self.edges):
                cells[:, k] = np.searchsorted(edges, scores[:, k], side="right") + k * bins
            self.every.add(cells.ravel(), batch.repeat(size))
            self.own.add(cells[rows, actual], batch)
        p = np.clip(scores, 0.0, 1.0)
        self.outside += batch.net((p != scores).any(axis=1))
        top = scores.argmax(axis=1)
        confidence = p[rows, top]
        at = np.searchsorted(self.confidence_edges, confidence, side="right")
        count = len(self.confidence_sums)
        self.confidence.add((top == actual) * count + at, batch)
        self.confidence_sums += batch.sums_by(at, confidence, count)
        own = p[rows, actual]
        distance = np.einsum("nk,nk->n", p, p) + 1.0 - 2.0 * own
        squared, log = batch.sums(distance, -np.log(np.maximum(own, EPSILON)))
        self.squared += float(squared)
        self.log += float(log)

    def merge(self, other: Self) -> None:
        """Add `other`; raises `ValueError` when its classes or edges differ."""
        if (
            self.classes != other.classes
            or not np.array_equal(self.edges, other.edges)
            or not np.array_equal(self.confidence_edges, other.confidence_edges)
        ):
            raise ValueError("outcomes over different classes or edges cannot be merged")
        self.confusion.merge(other.confusion)
        self.own.merge(other.own)
        self.every.merge(other.every)
        self.confidence.merge(other.confidence)
        self.confidence_sums += other.confidence_sums
        self.squared += other.squared
        self.log += other.log
        self.outside += other.outside
        self.unusable += other.unusable

    def to_bytes(self) -> bytes:
        """Compact bytes; classes and edges are the reference's and not repeated."""
        return pack(
            {
                **self.confusion.fields("confusion"),
                **self.own.fields("own"),
                **self.every.fields("every"),
                **self.confidence.fields("confidence"),
                "confidence_sums": self.confidence_sums,
                "squared": self.squared,
                "log": self.log,
                "outside": self.outside,
                "unusable": self.unusable,
            }
        )

    @classmethod
    def from_bytes(
        cls,
        data: bytes,
        classes: tuple[str, ...],
        edges: Floats | None = None,
        confidence_edges: Floats | None = None,
    ) -> MulticlassOutcomes:
        """The outcomes that gave `data`; the rest must be what they were built with."""
        outcomes, fields = cls(classes, edges, confidence_edges), unpack(data)
        for name in ("confusion", "own", "every", "confidence"):
            getattr(outcomes, name).read(fields, name)
        for name in ("confidence_sums", "squared", "log", "outside", "unusable"):
            setattr(outcomes, name, fields[name])
        return outcomes
