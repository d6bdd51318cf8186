"""ADWIN: a window of the past that shrinks when its older part has another mean than its newer part.

References
----------
Bifet, Gavaldà: Learning from time-changing data with adaptive windowing. SIAM International Conference
on Data Mining (2007).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from detectors.base import Bools, Floats, Ints
from detectors.online.spec import Direction, Moments, MomentsSpec, Standing
from detectors.summaries.packing import pack, unpack


class Adwin(MomentsSpec):
    """Parameters of ADWIN; see `AdwinState`.

    Needs no reference: it compares what came lately with what came before. Sees shifts of a mean, sudden
    ones soonest; misses slow ones that its window follows, and changes that leave the mean. Takes its
    observations as independent: windows that vary more than their rows do alarm. Values should lie within an
    interval of width 1, as ranks and rates do. `direction` only says which changes count; the window shrinks
    at all.
    """

    type: Literal["adwin"] = "adwin"
    observation: Literal["row", "window"] = Field(
        "row", description="What counts as one observation; of window means it needs a hundred or more."
    )
    delta: float = Field(
        0.002, gt=0, lt=1, description="Chance that a cut of a steady stream is taken for a change."
    )
    buckets: int = Field(5, ge=2, le=64, description="Of each size; more place a change more exactly.")
    min_rows: int = Field(5, ge=1, description="Observations that either part must hold.")
    direction: Direction = Field("both", description="Which shifts count.")

    def fresh(self, reference: Moments) -> AdwinState:
        """A detector of as many streams; of the reference nothing else is used."""
        return AdwinState(self, len(reference.rows))


class AdwinState:
    """K streams, each with the rows since its last change, in buckets that get twice as long with age.

    A window is one element, whatever its rows. Older and newer part differ when their means do by more
    than √(2/m σ² ln(2/δ')) + 2/(3m) ln(2/δ'), m = 1/(1/n₀ + 1/n₁), δ' = δ / ln n; then the oldest
    buckets go until no cut differs. Which windows share a bucket depends on their number alone: a stream
    drops a bucket by emptying it, so no stream changes what another says, and memory grows with the
    logarithm of the windows.
    """

    def __init__(self, spec: Adwin, streams: int) -> None:
        self.spec = spec
        self._streams = streams
        self._level = np.empty(0, np.int64)  # log2 of the windows in each bucket, the oldest first
        self._rows, self._mean, self._squares = (np.empty((0, streams)) for _ in range(3))
        self._windows = np.empty((0, streams), np.int64)  # those with rows

    def update(self, window: Moments) -> Standing:
        """Advance by one closed window of K streams."""
        rows, mean, variance = window.scaled(0.0, 1.0)
        self._level = np.append(self._level, 0)
        self._rows = np.vstack((self._rows, rows))
        self._mean = np.vstack((self._mean, mean))
        self._squares = np.vstack((self._squares, rows * variance))
        self._windows = np.vstack((self._windows, rows > 0))
        self._compress()
        gap, allowed = self._worst()
        statistic, threshold = np.abs(gap), allowed
        cut = statistic > allowed
        differing = cut
        while differing.any():
            oldest = (self._rows > 0).argmax(axis=0)
            self._empty(oldest[differing], np.flatnonzero(differing))
            gap_left, allowed = self._worst()
            differing = differing & (np.abs(gap_left) > allowed)
        wanted = {"both": cut, "up": gap > 0, "down": gap < 0}[self.spec.direction]
        ready = np.isfinite(threshold)
        finite = np.where(ready, threshold, 0.0)
        return Standing(ready, cut & wanted, statistic, finite, self._windows.sum(axis=0))

    def _worst(self) -> tuple[Floats, Floats]:
        """At the cut that differs most: newer less older mean, and what is allowed; infinite without one."""
        rows, mean = self._rows, self._mean
        old = np.cumsum(rows, axis=0)[:-1]
        total = rows.sum(axis=0)
        new = total - old
        center = (rows * mean).sum(axis=0) / np.maximum(total, 1.0)
        apart = rows * (mean - center)
        variance = (self._squares + apart * (mean - center)).sum(axis=0) / np.maximum(total, 1.0)
        fits = (old >= self.spec.min_rows) & (new >= self.spec.min_rows)
        left, right = np.where(fits, old, 1.0), np.where(fits, new, 1.0)
        before = np.cumsum(apart, axis=0)[:-1]  # about the common center: the newer part's is its negative
        gap = -before * (1 / left + 1 / right)
        inverse = 1 / left + 1 / right
        log = np.log(2 * np.maximum(np.log(np.maximum(total, 1.0)), 1.0) / self.spec.delta)
        allowed = np.sqrt(2 * inverse * variance * log) + 2 / 3 * inverse * log
        if not len(fits):
            return np.zeros(len(total)), np.full(len(total), np.inf)
        worst = np.where(fits, np.abs(gap) / allowed, -1.0).argmax(axis=0)
        columns = np.arange(len(total))
        fit = fits[worst, columns]
        return np.where(fit, gap[worst, columns], 0.0), np.where(fit, allowed[worst, columns], np.inf)

    def _compress(self) -> None:
        """Join the two oldest buckets of a size of which there are too many."""
        level = 0
        while np.count_nonzero(self._level == level) > self.spec.buckets:
            at = int((self._level == level).argmax())
            rows, apart = self._rows[at : at + 2], self._mean[at + 1] - self._mean[at]
            total = rows.sum(axis=0)
            share = np.divide(rows[1], total, out=np.zeros_like(total), where=total > 0)
            self._squares[at + 1] += self._squares[at] + apart**2 * share * rows[0]
            self._mean[at + 1] = self._mean[at] + apart * share
            self._rows[at + 1] = total
            self._windows[at + 1] += self._windows[at]
            self._level[at + 1] += 1
            kept = np.arange(len(self._level)) != at
            self._level, self._rows, self._mean = self._level[kept], self._rows[kept], self._mean[kept]
            self._squares, self._windows = self._squares[kept], self._windows[kept]
            level += 1

    def _empty(self, buckets: Ints | slice, streams: Ints | Bools) -> None:
        for each in (self._rows, self._mean, self._squares, self._windows):
            each[buckets, streams] = 0

    @property
    def mean(self) -> Floats:
        """float64[K]: of the rows since the last change; NaN without rows."""
        total = self._rows.sum(axis=0)
        weighted = (self._rows * self._mean).sum(axis=0)
        return np.asarray(np.divide(weighted, total, out=np.full(len(total), np.nan), where=total > 0))

    def reset(self, which: Bools) -> None:
        """Forget all rows of the streams bool[K]."""
        self._empty(slice(None), which)

    def snapshot(self) -> bytes:
        """The whole state."""
        return pack(
            {
                "level": self._level,
                "rows": self._rows,
                "mean": self._mean,
                "squares": self._squares,
                "windows": self._windows,
            }
        )

    def restore(self, state: bytes) -> None:
        """Replace the state by one that `snapshot` gave for as many streams; raises `ValueError` if not."""
        fields = unpack(state)
        level = fields.array("level", np.int64, -1)
        shape = len(level), self._streams
        rows, mean, squares = (fields.array(name, np.float64, *shape) for name in ("rows", "mean", "squares"))
        windows = fields.array("windows", np.int64, *shape)
        self._level, self._rows, self._mean, self._squares = level, rows, mean, squares
        self._windows = windows
