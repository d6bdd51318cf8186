"""Outcomes of a regression model."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from detectors.base import Bools, Floats
from detectors.summaries.log_buckets import LogBuckets
from detectors.summaries.packing import pack, unpack
from detectors.summaries.tally import Batch, Codes, Tally

LEAST_ERROR = 1e-9
"""Errors up to this count as 0 in quantiles."""
GREATEST = 1e100
"""Labels and predictions beyond this are unusable: their squares would swamp every sum."""


class ErrorSums(NamedTuple):
    """Weighted sums over rows; an error is prediction less label."""

    error: float = 0.0
    absolute: float = 0.0
    """Of |error|."""
    squared: float = 0.0
    """Of error²."""
    label: float = 0.0
    """Of label - center."""
    label_squared: float = 0.0
    """Of (label - center)²."""
    relative: float = 0.0
    """Of |error| / |label| where the label is not 0."""

    def plus(self, more: Floats | ErrorSums) -> ErrorSums:
        """Sums over the rows of both."""
        return ErrorSums(*(np.asarray(self) + np.asarray(more)).tolist())


class RegressionOutcomes:
    """Labelled predictions of a regression model: mergeable and retractable.

    Attributes
    ----------
    center : float
        What labels are taken about, the reference's mean say, so that labels far from 0 keep the
        digits of their variance.
    errors : LogBuckets
        Signed errors; those of |error| follow from it.
    sums : ErrorSums
    nonzero : Tally of [1]
        Rows whose label is not 0.
    unusable : int
        Rows left out everywhere: label or prediction is no number within ±`GREATEST`, or the
        weight no number >= 0.
    """

    __slots__ = ("center", "errors", "nonzero", "sums", "unusable")

    def __init__(self, center: float = 0.0) -> None:
        self.center = center
        self.errors = LogBuckets(LEAST_ERROR)
        self.nonzero = Tally.zero(1)
        self.sums = ErrorSums()
        self.unusable = 0

    @property
    def n(self) -> int:
        """Usable rows."""
        return self.errors.n

    def update(
        self,
        actual: Floats,
        predicted: Floats,
        weight: Floats | None = None,
        sign: Codes | None = None,
    ) -> None:
        """Add n rows, or take them out again.

        Parameters
        ----------
        actual, predicted : float64[n]
            Label and prediction; NaN where absent.
        weight : float64[n], optional
            Default 1.
        sign : int[n], optional
            +1 (default) adds a row, -1 takes out one that was added with the same values.
        """
        batch = Batch.of(len(actual), sign, weight)
        usable: Bools = batch.usable() & (np.abs(actual) <= GREATEST) & (np.abs(predicted) <= GREATEST)
        if not usable.all():
            self.unusable += batch.net(~usable)
            actual, predicted, batch = actual[usable], predicted[usable], batch.take(usable)
        error = predicted - actual
        absolute = np.abs(error)
        label = actual - self.center
        nonzero = actual != 0
        relative = np.divide(absolute, np.abs(actual), out=np.zeros_like(absolute), where=nonzero)
        sums = batch.sums(error, absolute, error * error, label, label * label, relative)
        self.sums = self.sums.plus(sums)
        self.errors.update(error, batch)
        counted = batch.take(nonzero)
        self.nonzero.add(np.zeros(counted.size, np.int64), counted)

    def merge(self, other: Self) -> None:
        """Add `other`; raises `ValueError` when its center differs."""
        if self.center != other.center:
            raise ValueError("outcomes taken about different centers cannot be merged")
        self.errors.merge(other.errors)
        self.nonzero.merge(other.nonzero)
        self.unusable += other.unusable
        self.sums = self.sums.plus(other.sums)

    def to_bytes(self) -> bytes:
        """Compact bytes; the center is the reference's and not repeated."""
        return pack(
            {
                **self.errors.fields("errors"),
                **self.nonzero.fields("nonzero"),
                "unusable": self.unusable,
                "sums": list(self.sums),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, center: float = 0.0) -> RegressionOutcomes:
        """The outcomes that gave `data`; `center` must be the one they were built with."""
        outcomes, fields = cls(center), unpack(data)
        outcomes.errors.read(fields, "errors")
        outcomes.nonzero.read(fields, "nonzero")
        outcomes.unusable = fields["unusable"]
        outcomes.sums = ErrorSums(*fields["sums"])
        return outcomes
