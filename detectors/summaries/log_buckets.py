"""A histogram of signed numbers in logarithmic buckets: any quantile within 1% of its value."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from detectors.base import Floats, Ints
from detectors.summaries.tally import Batch, Tally, sums_by

RELATIVE_ERROR = 0.01
"""Of every quantile within the range below."""
RANGE = 1e21
"""Greatest over least magnitude told apart."""

MAGNITUDES = 2 * math.ceil(math.log2(RANGE)) + 1
"""Of `magnitudes`: two a doubling."""

_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GAMMA = math.log(_GAMMA)
_TOP = math.ceil(math.log(RANGE) / _LOG_GAMMA)


@dataclass(slots=True, eq=False)
class LogBuckets:
    """Mergeable, retractable counts of signed numbers.

    Bucket k > 0 holds `(least·γ^(k-1), least·γ^k]`, bucket -k the same below zero, bucket 0 what
    lies within `least` of zero; γ = 1.01/0.99. Magnitudes beyond `least`·10²¹ count in the last bucket.
    Only buckets in use take memory: some hundreds, at most 4837.

    Attributes
    ----------
    least : float
        Magnitudes up to this count as 0.
    keys : int64[m]
        Buckets in use, ascending.
    counts : Tally of m cells

    References
    ----------
    Masson, Rim, Lee: DDSketch: a fast and fully-mergeable quantile sketch with relative-error
    guarantees. VLDB 2019.
    """

    least: float
    keys: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    counts: Tally = field(default_factory=lambda: Tally.zero(0))

    @property
    def n(self) -> int:
        """Rows."""
        return int(self.counts.rows.sum())

    @property
    def weight(self) -> float:
        """Weight of the rows."""
        return float(self.counts.weights.sum())

    def update(self, values: Floats, batch: Batch) -> None:
        """Count finite values, float64[n]."""
        magnitude = np.log(np.maximum(np.abs(values), self.least) / self.least)
        keys = np.minimum(np.ceil(magnitude / _LOG_GAMMA), _TOP)
        dense = self._dense()
        dense.add((np.copysign(keys, values) + _TOP).astype(np.int64), batch)
        self._keep(dense)

    def merge(self, other: Self) -> None:
        """Add `other`; raises `ValueError` when its buckets differ."""
        if other.least != self.least:
            raise ValueError("buckets of different least magnitudes cannot be merged")
        dense = self._dense()
        dense.merge(other._dense())
        self._keep(dense)

    def quantile(self, q: float, *, magnitude: bool = False) -> float | None:
        """Least value v such that a share `q` of the weight lies at or below it, within 1% of v.

        With `magnitude`, of the absolute values. None when there is no weight.
        """
        keys, weights = self.keys, self.counts.weights
        if magnitude:
            keys, weights = np.arange(_TOP + 1), sums_by(np.abs(keys), weights, _TOP + 1)
        keys, weights = keys[weights > 0], weights[weights > 0]
        if len(keys) == 0:
            return None
        upto = np.cumsum(weights)
        # Shares that rows reach exactly, such as q = 0.5 of 4 rows, must not be missed by rounding.
        at = int(np.searchsorted(upto, q * upto[-1] * (1 - 1e-12)))
        key = int(keys[min(at, len(keys) - 1)])
        if key == 0:
            return 0.0
        return math.copysign(self.least * 2 * _GAMMA ** abs(key) / (_GAMMA + 1), key)

    def magnitudes(self) -> Ints:
        """Rows by their magnitude, int64[MAGNITUDES], in wide bins that are the same for every summary."""
        at = np.ceil(2 * np.abs(self.keys) * _LOG_GAMMA / math.log(2)).astype(np.int64)
        rows = np.bincount(np.minimum(at, MAGNITUDES - 1), self.counts.rows, MAGNITUDES)
        return rows.astype(np.int64)

    def rows_below_zero(self) -> int:
        """Rows under -`least`."""
        return int(self.counts.rows[self.keys < 0].sum())

    def fields(self, name: str) -> dict[str, Ints | Floats | None]:
        """What `pack` takes, under names that `read` finds again."""
        return {f"{name}.keys": self.keys, **self.counts.fields(name)}

    def read(self, fields: dict[str, Any], name: str) -> None:
        """Take over what `fields` gave."""
        self.keys = fields[f"{name}.keys"]
        self.counts = Tally.zero(len(self.keys))
        self.counts.read(fields, name)

    def _dense(self) -> Tally:
        """Counts of every bucket there is, -_TOP.._TOP."""
        dense = Tally.zero(2 * _TOP + 1)
        at = self.keys + _TOP
        dense.rows[at] = self.counts.rows
        if self.counts.excess is not None:
            dense.excess = sums_by(at, self.counts.excess, 2 * _TOP + 1)
        return dense

    def _keep(self, dense: Tally) -> None:
        used = dense.rows != 0
        if dense.excess is not None:
            used |= dense.excess != 0
        at = np.flatnonzero(used)
        self.keys = at - _TOP
        self.counts = Tally(dense.rows[at], None if dense.excess is None else dense.excess[at])
