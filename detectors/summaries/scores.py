"""Sums of normal scores: how a table's numeric columns lie under the reference, and together.

A value's normal score is the standard normal quantile of its rank among the reference's values (the
middle of its bin). Unchanged data give scores of mean 0 and variance 1 whatever the columns'
distributions; their products show changes of correlation that no column shows alone.

Scores are multiples of 1/1024, so their sums and sums of products are exact in double precision up to
hundreds of millions of rows: equal to the bit in whatever order and pieces rows arrive.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import ndtri

from detectors.base import Floats, Ints
from detectors.summaries.histogram import Histogram
from detectors.summaries.packing import pack, unpack

_GRAIN = 1024.0
WIDEST = 100  # columns; a wider table is projected to this many dimensions


def _grained(scores: Floats) -> Floats:
    return np.asarray(np.rint(scores * _GRAIN) / _GRAIN)


def _signs(size: int) -> Floats:
    """Random signs, float64[WIDEST, size], that no version of a library can change."""
    noise = hashlib.shake_256(b"projection of normal scores").digest(WIDEST * size // 8 + 1)
    bits = np.unpackbits(np.frombuffer(noise, np.uint8), count=WIDEST * size)
    return np.where(bits.reshape(WIDEST, size), -1.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class ScoreTable:
    """Normal score of every code of every numeric column under a reference.

    Attributes
    ----------
    table : float64[F, codes]
        0 for null, NaN and invalid cells, the value least unlike a missing one.
    projection : float64[WIDEST, F] or None
        For tables wider than `WIDEST`: random signs, always the same, to project by. Their sums of scores
        are exact; only then are they brought to unit variance, so that projected scores are the same
        to the bit however a matrix product orders its terms.
    """

    table: Floats
    projection: Floats | None

    @classmethod
    def of(cls, reference: Histogram) -> ScoreTable:
        """The scores that `reference`'s own counts define."""
        size, width = reference.counts.shape
        inner = reference.counts[:, : reference.bins + 2].astype(np.float64)
        total = inner.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            rank = (np.cumsum(inner, axis=1) - inner / 2) / total
        edge = 1.0 / (2.0 * np.maximum(total, 1.0) + 2.0)
        table = np.zeros((size, width))
        scores = _grained(ndtri(np.clip(rank, edge, 1.0 - edge)))
        table[:, : reference.bins + 2] = np.where(total > 0, scores, 0.0)
        table[:, reference.bins + 4], table[:, reference.bins + 5] = (
            table[:, 0],
            table[:, reference.bins + 1],
        )
        # Codes as encoded put "above" right after the bins in use, not at its common place.
        above = reference.binning.used + 1
        table[np.arange(size), above] = table[:, reference.bins + 1]
        projection = None
        if size > WIDEST:
            projection = _signs(size)
        return cls(table, projection)

    def scores(self, codes: Ints) -> Floats:
        """Normal scores of rows: float64[D, n] from int64[F, n] codes as `Binning.encode` gives them."""
        scores = self.table.take(codes)
        if self.projection is None:
            return scores
        return _grained(self.projection @ scores / np.sqrt(len(self.table)))

    def zero(self) -> NormalScores:
        """The empty sums."""
        size = len(self.table) if self.projection is None else len(self.projection)
        return NormalScores(0, np.zeros(size), np.zeros((size, size)))


@dataclass(slots=True, eq=False)
class NormalScores:
    """Sums over rows of D normal scores.

    Attributes
    ----------
    n : int
        Rows.
    sum : float64[D]
    products : float64[D, D]
        Sum of g gᵀ.
    """

    n: int
    sum: Floats
    products: Floats

    def update(self, codes: Ints, table: ScoreTable) -> None:
        """Add rows: `codes` int64[F, n] as the histogram's binning encodes them."""
        self.n += codes.shape[1]
        if len(self.sum):
            scores = table.scores(codes)
            self.sum += scores.sum(axis=1)
            self.products += scores @ scores.T

    def merge(self, other: Self) -> None:
        """Add `other`; raises `ValueError` when it has other dimensions."""
        if other.sum.shape != self.sum.shape:
            raise ValueError("normal scores of different tables cannot be merged")
        self.n += other.n
        self.sum += other.sum
        self.products += other.products

    def to_bytes(self) -> bytes:
        """Compact bytes: of the symmetric products, one triangle."""
        upper = self.products[np.triu_indices(len(self.sum))]
        return pack({"n": self.n, "sum": self.sum, "upper": upper})

    @classmethod
    def from_bytes(cls, data: bytes) -> NormalScores:
        """The sums that gave `data`."""
        fields = unpack(data)
        sums = fields.array("sum", np.float64, -1)
        size = len(sums)
        products = np.zeros((size, size))
        products[np.triu_indices(size)] = fields.array("upper", np.float64, size * (size + 1) // 2)
        return cls(fields.count("n"), sums, products + np.triu(products, 1).T)
