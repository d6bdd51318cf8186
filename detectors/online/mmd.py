"""Maximum mean discrepancy of the last windows from a reference, with a calibrated run length.

References
----------
Cobb, Van Looveren, Klaise: Sequential multivariate change detection with calibrated and memoryless false
detection rates. AISTATS 2022. Gretton, Borgwardt, Rasch, Schölkopf, Smola: A kernel two-sample test. JMLR 13
(2012).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from detectors.base import DetectorError, Floats
from detectors.online.lookback import LookbackSpec, LookbackState
from detectors.online.spec import Fed
from detectors.summaries.packing import Fields, Packable

_CHUNK = 2**21
"""Numbers worked on at a time in a simulation."""
_FAR = 1e6
"""Standard deviations; what lies beyond is taken to lie here."""


class OnlineMMD(LookbackSpec):
    """Parameters of the online maximum mean discrepancy; see `OnlineMMDState`.

    Sees changes of a whole table or embedding, of correlations too; misses a small shift of one column among
    many, which tests of that column see. The run length holds for independent rows.
    """

    fed: ClassVar[Fed] = "table"
    type: Literal["online_mmd"] = "online_mmd"
    rows: int = Field(10, ge=1, le=100, description="Rows of a window that enter.")
    lookbacks: tuple[int, ...] = Field((1, 4, 12), min_length=1, max_length=8, description="Spans, in steps.")
    reference_rows: int = Field(
        1000, ge=50, le=4000, description="Rows of the reference that enter, the first in key order."
    )

    def fresh(self, reference: Floats) -> OnlineMMDState:
        """A detector of rows of numbers, float64[n, D]; NaN where missing."""
        return OnlineMMDState(self, reference)


class OnlineMMDState(LookbackState):
    """Rows: n m / (n + m) ‖μ_w - μ_r‖² in the space of a Gaussian kernel, over each lookback's m rows.

    Columns are divided by their standard deviation in the reference, a missing value is its mean there;
    the kernel's width is the median distance of reference rows. The simulation draws streams from the
    reference without replacement and compares each with the rows left, so the reference needs twice as many
    rows as a simulated stream: 4 · rows · the longest lookback.
    """

    def __init__(self, spec: OnlineMMD, reference: Floats) -> None:
        reference = np.asarray(reference, np.float64)
        reference = reference[:, None] if reference.ndim == 1 else reference
        if reference.ndim != 2:
            msg = f"a reference of shape {reference.shape}; accepted are rows of numbers"
            raise DetectorError(msg)
        held = reference[~np.isnan(reference).all(axis=1)][: spec.reference_rows]
        longest = spec.lookbacks[-1]
        self._center, self._unit = _location(held)
        self._reference = self._standard(held)
        self._norms = (self._reference**2).sum(axis=1)
        self._length = 1.0
        squared = self._squared(self._reference)
        positive = squared[squared > 1e-12]
        reason = ""
        least = 4 * spec.rows * longest
        if len(held) < least:
            reason = f"the reference holds {len(held) or 'no'} rows, {least} are needed"
        elif not len(positive):
            reason = "the reference is constant"
        else:
            self._length = float(np.median(positive))
        super().__init__(spec, reference.shape[1], reason)
        self._within = np.exp(-squared / self._length)
        self._mean = float(self._within.mean()) if len(held) else 0.0
        width = reference.shape[1]
        self._rows = np.zeros((longest, spec.rows, width))
        self._cross = np.zeros(longest)  # sums of the kernel with the reference
        self._pairs = np.zeros((longest, longest))  # and among the steps

    def _standard(self, rows: Floats) -> Floats:
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = rows / self._unit - self._center / self._unit
        return np.asarray(np.clip(np.where(np.isnan(scaled), 0.0, scaled), -_FAR, _FAR))

    def _squared(self, rows: Floats) -> Floats:
        """Squared distances of standardised rows from the reference's, float64[m, n]."""
        product = rows @ self._reference.T
        return np.asarray(np.maximum((rows**2).sum(axis=1)[:, None] + self._norms - 2 * product, 0.0))

    def _push(self, rows: Floats, place: int) -> None:
        rows = self._standard(rows)
        self._rows[place] = rows
        self._cross[place] = np.exp(-self._squared(rows) / self._length).sum()
        apart = self._rows[:, :, None, :] - rows
        sums = np.exp(-(apart**2).sum(axis=3) / self._length).sum(axis=(1, 2))
        self._pairs[place], self._pairs[:, place] = sums, sums

    def _statistics(self) -> Floats:
        n, found = len(self._reference), []
        for span in self.spec.lookbacks:
            recent = self._recent(span)
            m = len(recent) * self.spec.rows
            pairs, cross = self._pairs[np.ix_(recent, recent)].sum(), self._cross[recent].sum()
            found.append(n * m / (n + m) * (pairs / m**2 - 2 * cross / (m * n) + self._mean))
        return np.array(found)

    def _calibrated(self) -> tuple[Floats, Floats]:
        rng = np.random.default_rng(self.spec.seed)
        rows, steps = self.spec.rows, 2 * self.spec.lookbacks[-1]
        n, size = len(self._reference), self.spec.streams(steps)
        blocks, sums, found = n // rows, self._within.sum(axis=1), []
        # Streams of one shuffle share their blocks of rows, not the order of the blocks: shuffling again for
        # each would cost a hundred times as much.
        shuffles = 1 if rows == 1 else min(max(2**26 // n**2, 16), 64)
        for part in np.array_split(np.arange(size), shuffles):
            order = rng.permutation(n)[: blocks * rows]
            within = self._within[np.ix_(order, order)].reshape(blocks, rows, blocks, rows).sum(axis=(1, 3))
            cross = sums[order].reshape(blocks, rows).sum(axis=1)
            pieces = max(len(part) * max(steps**2, blocks) // _CHUNK, 1)
            for piece in np.array_split(part, pieces):
                draws = rng.permuted(np.tile(np.arange(blocks), (len(piece), 1)), axis=1)[:, :steps]
                found.append(self._drawn(within, cross, draws))
        return self.spec.calibrated(np.concatenate(found))

    def _drawn(self, within: Floats, cross: Floats, draws: NDArray[np.intp]) -> Floats:
        """Statistics float64[S, T, L] of streams of blocks int[S, T], each against all rows but its own.

        `within` float64[blocks, blocks] and `cross` float64[blocks] are the kernel's sums over pairs of
        blocks, and of a block with the whole reference.
        """
        rows, (size, steps) = self.spec.rows, draws.shape
        left = len(self._reference) - steps * rows
        total = cross[draws]
        blocks = within[draws[:, :, None], draws[:, None, :]]
        inner = blocks.sum(axis=2)
        whole = self._mean * len(self._reference) ** 2
        rest = (whole - 2 * total.sum(axis=1) + inner.sum(axis=1)) / left**2
        square = np.zeros((size, steps + 1, steps + 1))
        square[:, 1:, 1:] = blocks.cumsum(axis=1).cumsum(axis=2)
        line = np.zeros((size, steps + 1))
        line[:, 1:] = (total - inner).cumsum(axis=1)
        end = np.arange(1, steps + 1)
        found = []
        for span in self.spec.lookbacks:
            begin = np.maximum(end - span, 0)
            m = (end - begin) * rows
            pairs = square[:, end, end] - 2 * square[:, begin, end] + square[:, begin, begin]
            both = line[:, end] - line[:, begin]
            found.append(left * m / (left + m) * (pairs / m**2 - 2 * both / (m * left) + rest[:, None]))
        return np.stack(found, axis=2)

    def _clear(self) -> None:
        self._rows, self._cross = np.zeros_like(self._rows), np.zeros_like(self._cross)
        self._pairs = np.zeros_like(self._pairs)

    def _fields(self) -> dict[str, Packable]:
        return {"rows": self._rows, "cross": self._cross, "pairs": self._pairs}

    def _restore(self, fields: Fields) -> None:
        rows = fields.array("rows", np.float64, *self._rows.shape)
        cross = fields.array("cross", np.float64, *self._cross.shape)
        pairs = fields.array("pairs", np.float64, *self._pairs.shape)
        self._rows, self._cross, self._pairs = rows, cross, pairs


def _location(rows: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of columns, float64[D] each, at any magnitude; 1 where it is 0."""
    width = rows.shape[1]
    largest = np.abs(np.where(np.isfinite(rows), rows, 0.0)).max(axis=0, initial=0.0)
    size = np.where(largest > 0, largest, 1.0)
    scaled = np.where(np.isfinite(rows), rows, np.nan) / size
    count = np.maximum(np.isfinite(scaled).sum(axis=0), 1)
    mean = np.nansum(scaled, axis=0) / count
    deviation = np.sqrt(np.nansum((scaled - mean) ** 2, axis=0) / count)
    unit = np.where(deviation > 1e-12, deviation, 1.0) * size
    return (mean * size if width else mean), np.where(unit > 0, unit, 1.0)
