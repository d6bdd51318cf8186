"""Counts that rows can be taken out of again: a corrected label retracts what the old one added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.base import Bools, Floats, Ints

Codes: TypeAlias = NDArray[np.integer[Any]]


def sums_by(cells: Codes, values: Floats, size: int) -> Floats:
    """Sums of `values` by cell: float64[size]."""
    return np.asarray(np.bincount(cells, values, size), np.float64)


@dataclass(frozen=True, slots=True)
class Batch:
    """How the n rows of one update count.

    Attributes
    ----------
    size : int
        n.
    sign : float64[n] or None
        +1 adds the row, -1 takes it out; None adds every row.
    weight : float64[n] or None
        None when every weight is 1.
    """

    size: int
    sign: Floats | None = None
    weight: Floats | None = None

    @classmethod
    def of(cls, size: int, sign: Codes | None, weight: Floats | None) -> Batch:
        """A batch; signs of all +1 and weights of all 1 cost nothing further."""
        return cls(
            size,
            None if sign is None or bool((sign > 0).all()) else sign.astype(np.float64),
            None if weight is None or bool((weight == 1).all()) else weight,
        )

    def usable(self) -> Bools:
        """Rows whose weight is a finite number of at least 0."""
        if self.weight is None:
            return np.ones(self.size, np.bool_)
        return np.isfinite(self.weight) & (self.weight >= 0)

    def take(self, rows: Bools) -> Batch:
        """The rows where `rows` is true."""
        return Batch(
            int(np.count_nonzero(rows)),
            None if self.sign is None else self.sign[rows],
            None if self.weight is None else self.weight[rows],
        )

    def repeat(self, times: int) -> Batch:
        """Every row `times` times in turn."""
        return Batch(
            self.size * times,
            None if self.sign is None else self.sign.repeat(times),
            None if self.weight is None else self.weight.repeat(times),
        )

    def net(self, rows: Bools) -> int:
        """Rows added less rows taken out, where `rows` is true."""
        return int(np.count_nonzero(rows) if self.sign is None else self.sign @ rows)

    @property
    def mass(self) -> Floats | None:
        """Sign times weight; None when 1 for every row."""
        if self.sign is None or self.weight is None:
            return self.weight if self.sign is None else self.sign
        return self.sign * self.weight

    def sums(self, *values: Floats) -> Floats:
        """Weighted, signed sum of each array of n values."""
        mass = self.mass
        return np.array([v.sum() if mass is None else mass @ v for v in values])

    def sums_by(self, cells: Codes, values: Floats, size: int) -> Floats:
        """Weighted, signed sums of `values` by cell: float64[size]."""
        mass = self.mass
        return sums_by(cells, values if mass is None else values * mass, size)


@dataclass(slots=True, eq=False)
class Tally:
    """Rows per cell: how many, exactly, and how much they weigh.

    Attributes
    ----------
    rows : int64, any shape
        Rows added less rows taken out.
    excess : float64 of that shape, or None
        Sum of weight - 1; None while every weight was 1. Kept instead of the sum of weights so that
        unweighted rows stay exact however they mix with weighted ones.
    """

    rows: Ints
    excess: Floats | None = None

    @classmethod
    def zero(cls, *shape: int) -> Tally:
        """No rows in cells of this shape."""
        return cls(np.zeros(shape, np.int64))

    @property
    def weights(self) -> Floats:
        """Weight per cell, float64; 0 where no row is, whatever rounding a retraction left."""
        if self.excess is None:
            return self.rows.astype(np.float64)
        return np.where(self.rows == 0, 0.0, self.rows + self.excess)

    def add(self, cells: Codes, batch: Batch) -> None:
        """Count rows: `cells` int[n] indexes the flattened cells."""
        size = self.rows.size
        if batch.sign is None:
            rows = np.bincount(cells, minlength=size)
        else:
            rows = np.bincount(cells, batch.sign, size).astype(np.int64)
        self.rows += rows.reshape(self.rows.shape)
        if batch.weight is not None:
            over = batch.weight - 1.0
            if batch.sign is not None:
                over *= batch.sign
            self._exceed(sums_by(cells, over, size).reshape(self.rows.shape))

    def merge(self, other: Self) -> None:
        """Add `other`, of the same shape."""
        self.rows += other.rows
        if other.excess is not None:
            self._exceed(other.excess)

    def _exceed(self, excess: Floats) -> None:
        self.excess = excess.copy() if self.excess is None else self.excess + excess

    def fields(self, name: str) -> dict[str, Ints | Floats | None]:
        """What `pack` takes, under names that `read` finds again."""
        return {f"{name}.rows": self.rows, f"{name}.excess": self.excess}

    def read(self, fields: dict[str, Any], name: str) -> None:
        """Take over what `fields` of a tally of this shape gave; raises `ValueError` on another shape."""
        rows, excess = fields[f"{name}.rows"], fields[f"{name}.excess"]
        if rows.shape != self.rows.shape:
            msg = f"{name}: counts have shape {rows.shape}, not {self.rows.shape}"
            raise ValueError(msg)
        self.rows, self.excess = rows, excess
