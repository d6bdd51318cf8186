"""How long labels take to come."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np

from detectors.base import Ints
from detectors.summaries.log_buckets import LogBuckets
from detectors.summaries.packing import pack, unpack
from detectors.summaries.tally import Batch, Codes


@dataclass(slots=True, eq=False)
class Delays:
    """Label time less prediction time, in milliseconds; negative where the label came first.

    Quantiles lie within `log_buckets.RELATIVE_ERROR` (1%) of the true value; 0 is exact.
    """

    buckets: LogBuckets = field(default_factory=lambda: LogBuckets(0.5))

    @property
    def count(self) -> int:
        """Delays counted."""
        return self.buckets.n

    @property
    def negative(self) -> int:
        """Delays below zero: labels dated before their prediction."""
        return self.buckets.rows_below_zero()

    def update(self, delays: Ints, sign: Codes | None = None) -> None:
        """Count delays, int64[n] milliseconds; where `sign` is -1 the delay is taken out again."""
        if len(delays):
            self.buckets.update(delays.astype(np.float64), Batch.of(len(delays), sign, None))

    def quantile(self, q: float) -> float | None:
        """Milliseconds by which a share `q` of the labels had come; None without delays."""
        return self.buckets.quantile(q)

    def merge(self, other: Self) -> None:
        """Add `other`."""
        self.buckets.merge(other.buckets)

    def to_bytes(self) -> bytes:
        """Compact bytes."""
        return pack(self.buckets.fields("delays"))

    @classmethod
    def from_bytes(cls, data: bytes) -> Delays:
        """The delays that gave `data`."""
        delays = cls()
        delays.buckets.read(unpack(data), "delays")
        return delays
