"""Cramér and von Mises' distance of the last windows from a reference, with a calibrated run length.

References
----------
Cobb, Van Looveren, Klaise: Sequential multivariate change detection with calibrated and memoryless false
detection rates. AISTATS 2022. Anderson: On the distribution of the two-sample Cramér-von Mises criterion.
Annals of Mathematical Statistics 33 (1962).
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np

from detectors.base import DetectorError, Floats, Ints
from detectors.online.lookback import LookbackSpec, LookbackState
from detectors.online.spec import Fed
from detectors.summaries.histogram import quantile_boundaries
from detectors.summaries.packing import Fields, Packable

_CELLS = 32
_LEAST = 20
"""Values of a reference."""
_TABLE = 2**16
"""Places by which a simulation draws."""


class OnlineCramerVonMises(LookbackSpec):
    """Parameters of the online test of Cramér and von Mises; see `OnlineCramerVonMisesState`.

    Sees any change of a numeric column's distribution, of its middle soonest; misses the far tails. The
    run length holds for independent rows.
    """

    fed: ClassVar[Fed] = "column"
    type: Literal["online_cramer_von_mises"] = "online_cramer_von_mises"

    def fresh(self, reference: Floats) -> OnlineCramerVonMisesState:
        """A detector of one column, float64[n]; NaN where missing."""
        return OnlineCramerVonMisesState(self, reference)


class OnlineCramerVonMisesState(LookbackState):
    """One column: n m / (n + m) ∫ (G - F)² dF over each lookback's m values; F is of n reference values.

    The integral is a sum over at most 32 quantile cells of the reference, one for each value where it has
    no more. The simulation draws the true shares of the cells from what the reference leaves possible
    (Dirichlet), so that a short reference is paid for.
    """

    def __init__(self, spec: OnlineCramerVonMises, reference: Floats) -> None:
        reference = np.asarray(reference, np.float64)
        if reference.ndim != 1:
            msg = f"a reference of shape {reference.shape}; accepted is one column"
            raise DetectorError(msg)
        largest = np.finfo(np.float64).max
        held = np.clip(reference[~np.isnan(reference)], -largest, largest)
        self._edges = quantile_boundaries(held, _CELLS)[1:-1]
        cells = len(self._edges) + 1
        reason = ""
        if len(held) < _LEAST:
            reason = f"the reference holds {len(held) or 'no'} values, {_LEAST} are needed"
        elif cells < 2:
            reason = "the reference is constant"
        super().__init__(spec, 1, reason)
        self._counts = self._cells(held)
        self._n = max(len(held), 1)
        self._share = self._counts / self._n
        self._ring: Ints = np.zeros((spec.lookbacks[-1], cells), np.int64)

    def _cells(self, values: Floats) -> Ints:
        """Values in each cell, int64[G]."""
        size = len(self._edges) + 1
        return np.bincount(np.searchsorted(self._edges, values, side="right"), minlength=size)

    def _push(self, rows: Floats, place: int) -> None:
        self._ring[place] = self._cells(rows[:, 0])

    def _statistics(self) -> Floats:
        recent = np.cumsum(self._ring[self._recent(self.spec.lookbacks[-1])], axis=0)  # the latest first
        spans = np.minimum(self.spec.lookbacks, len(recent))
        return self._distance(np.cumsum(recent[spans - 1], axis=1), spans * self.spec.rows)

    def _distance(self, below: Ints, m: Ints) -> Floats:
        """Statistic [...] from cumulated counts [..., G] of m values [...]."""
        return _distance(below, m, self._share, self._n)

    def _calibrated(self) -> tuple[Floats, Floats]:
        shared = self.spec.model_copy(update={"columns": None})
        return _calibrated(shared, tuple(self._counts.tolist()))

    def _clear(self) -> None:
        self._ring = np.zeros_like(self._ring)

    def _fields(self) -> dict[str, Packable]:
        return {"ring": self._ring}

    def _restore(self, fields: Fields) -> None:
        self._ring = fields.array("ring", np.int64, *self._ring.shape)


def _distance(below: Ints, m: Ints, share: Floats, n: int) -> Floats:
    apart = below / m[..., None] - np.cumsum(share)
    return np.asarray((apart * apart) @ share * (n * m / (n + m)))


@lru_cache(maxsize=256)
def _calibrated(spec: OnlineCramerVonMises, counts: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Scale and thresholds for so many reference values in each cell; continuous columns share them."""
    rng, n, cells = np.random.default_rng(spec.seed), sum(counts), len(counts)
    share, steps = np.array(counts) / n, 3 * spec.lookbacks[-1]
    size, each = spec.streams(steps), 20  # streams against one draw of the shares
    m = [np.minimum(np.arange(1, steps + 1), span) * spec.rows for span in spec.lookbacks]
    found = []
    for truth in rng.dirichlet(counts, -(-size // each)):
        # A value is a place in a table of cells: far faster than searching, and as exact as a reference is.
        places = np.rint(np.cumsum(truth[:-1]) * _TABLE).astype(np.int64)
        table = np.repeat(np.arange(cells), np.diff(places, prepend=0, append=_TABLE))
        cell = table[rng.integers(0, _TABLE, (each * steps, spec.rows), np.uint16)]
        cell += np.arange(each * steps)[:, None] * cells
        counted = np.bincount(cell.ravel(), minlength=each * steps * cells)
        total = counted.reshape(each, steps, cells).cumsum(axis=2).cumsum(axis=1)
        statistics = np.empty((each, steps, len(spec.lookbacks)))
        for i, span in enumerate(spec.lookbacks):
            recent = total.copy()
            recent[:, span:] -= total[:, :-span]
            statistics[..., i] = _distance(recent, m[i], share, n)
        found.append(statistics)
    return spec.calibrated(np.concatenate(found))
