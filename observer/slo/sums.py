"""Good and total events of the last so many milliseconds, in buckets, whenever they are learnt of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from detectors.base import Floats, Ints

_FEW = 64
"""Rows that are added sooner one by one than put together first."""


class Batch(NamedTuple):
    """Events put together: int64[m] each."""

    times: Ints
    """Milliseconds since the epoch."""
    good: Ints
    total: Ints

    @classmethod
    def of(cls, times: Ints, good: Ints, total: Ints, resolution: int) -> Batch:
        """Sums by bucket of `resolution` milliseconds; the times are those at which the buckets begin."""
        buckets, where = np.unique(times // resolution, return_inverse=True)
        # Sums of floating-point numbers are exact up to 2**53.
        goods, totals = (
            np.bincount(where, counts, len(buckets)).astype(np.int64) for counts in (good, total)
        )
        return cls(buckets * resolution, goods, totals)


@dataclass(slots=True)
class Sums:
    """Events younger than a span, for one window that ends now.

    A bucket belongs to the window if it begins later than `floor(now) - span`, both in whole buckets. Events
    ahead of now count too: event time is that of the slowest partition.

    Attributes
    ----------
    resolution : int
        Milliseconds of a bucket; divides `span`.
    span : int
        Milliseconds.
    after : int
        Buckets up to this number are gone.
    """

    resolution: int
    span: int
    after: int = -(2**62)
    good: int = 0
    total: int = 0
    _buckets: dict[int, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def over(cls, window: int, parts: int) -> Sums:
        """For a window cut into about so many parts; the span is the window in whole buckets."""
        resolution = max(window // parts, 1)
        return cls(resolution, window // resolution * resolution)

    def add(self, batch: Batch) -> None:
        """Add events, or take them out where counts are negative; those too old are left out."""
        if len(batch.times) > _FEW:
            batch = Batch.of(*batch, self.resolution)
        for time, good, total in zip(*(column.tolist() for column in batch), strict=True):
            number = time // self.resolution
            if number <= self.after:
                continue
            before = self._buckets.get(number, (0, 0))
            self._buckets[number] = before[0] + good, before[1] + total
            self.good += good
            self.total += total

    def advance(self, now: int) -> None:
        """Let go of what is older than the span at `now`, milliseconds."""
        self.forget((now - self.span) // self.resolution)

    def forget(self, after: int) -> None:
        """Let go of buckets up to the number `after`; they do not come back."""
        if after <= self.after:
            return
        self.after = after
        for number in [number for number in self._buckets if number <= after]:
            good, total = self._buckets.pop(number)
            self.good -= good
            self.total -= total

    @property
    def errors(self) -> float | None:
        """Share of bad events; None without events."""
        return (self.total - self.good) / self.total if self.total > 0 else None

    def buckets(self) -> tuple[Ints, Floats, Floats]:
        """Begin of each bucket, good and total events; oldest first."""
        numbers = np.array(sorted(self._buckets), np.int64)
        counts = np.array([self._buckets[n] for n in numbers.tolist()], np.float64).reshape(-1, 2)
        return numbers * self.resolution, counts[:, 0], counts[:, 1]

    def saved(self) -> Ints:
        """int64[m, 3]: bucket, good, total."""
        rows = [(number, *counts) for number, counts in self._buckets.items()]
        return np.array(rows, np.int64).reshape(-1, 3)

    def restore(self, rows: Ints) -> None:
        """Go on from what `saved` gave, of the same window."""
        self._buckets = {number: (good, total) for number, good, total in rows.tolist()}
        self.good = sum(good for good, _ in self._buckets.values())
        self.total = sum(total for _, total in self._buckets.values())
