"""Counts of numeric columns in the reference's quantile bins, with plain moments.

Looking a value up among 256 uneven boundaries costs 55 ns by binary search. Here a fine uniform grid,
reached by arithmetic, gives the bin up to the one boundary that may cross the value's grid cell, which
one comparison settles; only values in cells that several boundaries cross are searched for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from detectors.base import Bools, Floats, Ints
from detectors.summaries.packing import pack, unpack

BINS = 256
_CELLS = 4096  # grid cells a column
_BLOCK = 32_768  # cells encoded at a time: the temporaries stay in a core's cache
_SPECIAL = ("null", "nan", "minus_infinity", "plus_infinity", "invalid")


def quantile_boundaries(values: Floats, bins: int = BINS) -> Floats:
    """Boundaries of at most `bins` bins of nearly equal mass: float64[<= bins + 1], increasing.

    A column with at most `bins` distinct values gets a bin per value, so that nothing is approximated.
    The last boundary lies just above the maximum: bins are closed on the left. Values must be finite;
    none gives an empty array.
    """
    if len(values) == 0:
        return np.empty(0)
    ordered = np.sort(values)
    distinct = ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))]
    top = np.nextafter(distinct[-1], np.inf)
    if len(distinct) <= bins:
        return np.append(distinct, top)
    at = np.linspace(0, len(ordered), bins + 1)[:-1].astype(np.intp)
    return np.append(np.unique(ordered[at]), top)


def _cells(values: Floats, low: Floats | float, scale: Floats | float) -> NDArray[np.int64]:
    """Grid cell of each value plus one: 0 below the grid (and NaN), `_CELLS` + 1 above it."""
    place = values - low
    place *= scale
    np.fmax(place, -1.0, out=place)
    np.fmin(place, float(_CELLS), out=place)
    place += 1.0
    return place.astype(np.int64)


def _grid(boundaries: Floats) -> tuple[float, float, NDArray[np.int64]]:
    """Low, scale and boundaries per cell of the trimmed grid that crowds the fewest of them.

    A value's bin follows exactly, whatever the rounding: a boundary's cell is computed as a value's
    is, and that arithmetic is monotone, so a boundary in a lower cell lies below the value and one
    in a higher cell above it.
    """
    best = (0.0, 0.0, np.bincount(_cells(boundaries, 0.0, 0.0), minlength=_CELLS + 2))
    fewest = len(boundaries) + 1
    for trim in (0, 2, 6, 16, 40):
        if len(boundaries) <= 2 * trim + 1:
            break
        low, high = float(boundaries[trim]), float(boundaries[len(boundaries) - 1 - trim])
        with np.errstate(over="ignore", divide="ignore"):
            scale = float(np.float64(_CELLS - 1) / np.float64(high - low))
        if scale == 0 or not np.isfinite(scale):
            continue
        per_cell = np.bincount(_cells(boundaries, low, scale), minlength=_CELLS + 2)
        crowded = int(per_cell[per_cell > 1].sum())
        if crowded < fewest:
            best, fewest = (low, scale, per_cell), crowded
    return best


@dataclass(frozen=True, slots=True)
class _Grids:
    """The grids of F columns, ready for look-ups in flattened tables."""

    low: Floats  # [F, 1]
    scale: Floats  # [F, 1]
    first: Ints  # [F, 1]: where a column's cells start in the tables below
    base: NDArray[np.int64]  # boundaries in lower cells, plus where the column's boundaries start
    start: NDArray[np.int64]  # [F, 1]: where a column's boundaries start
    crowded: Bools  # whether several boundaries share the cell
    any_crowded: bool
    boundaries: Floats  # padded with inf

    @classmethod
    def over(cls, columns: tuple[Floats, ...], bins: int) -> _Grids:
        size, cells = len(columns), _CELLS + 2
        grids = [_grid(boundaries) for boundaries in columns]
        per_cell = np.array([g[2] for g in grids], np.int64).reshape(size, cells)
        start = (np.arange(size) * (bins + 2))[:, None]
        padded = np.full((size, bins + 2), np.inf)
        for row, boundaries in zip(padded, columns, strict=True):
            row[: len(boundaries)] = boundaries
        return cls(
            np.array([g[0] for g in grids])[:, None],
            np.array([g[1] for g in grids])[:, None],
            (np.arange(size) * cells)[:, None],
            (np.cumsum(per_cell, axis=1) - per_cell + start).ravel(),
            start,
            (per_cell > 1).ravel(),
            bool((per_cell > 1).any()),
            padded.ravel(),
        )


@dataclass(frozen=True, slots=True)
class Binning:
    """The bins of all numeric columns of a table; built once, from a reference.

    Codes: 0 below the minimum, 1..used bins, used + 1 above the maximum, then (at fixed places
    `bins + 2` ...) null, NaN, -inf, +inf, invalid.
    """

    names: tuple[str, ...]
    columns: tuple[Floats, ...]
    """Increasing boundaries per column, `used + 1` of them; empty where the reference had no value."""
    center: Floats
    """What sums of squares are taken about."""
    bins: int = BINS
    _grids: _Grids = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, boundaries in zip(self.names, self.columns, strict=True):
            if len(boundaries) > self.bins + 1 or np.any(np.diff(boundaries) <= 0):
                msg = f"column {name!r}: boundaries must increase and make at most {self.bins} bins"
                raise ValueError(msg)
        object.__setattr__(self, "_grids", _Grids.over(self.columns, self.bins))

    @property
    def width(self) -> int:
        """Codes a column can have."""
        return self.bins + 2 + len(_SPECIAL)

    @property
    def used(self) -> Ints:
        """Bins in use per column: int64[F]."""
        return np.array([max(len(b) - 1, 0) for b in self.columns], np.int64)

    @property
    def boundaries(self) -> Floats:
        """float64[F, bins + 1], padded with each column's last boundary (NaN where it has none)."""
        out = np.full((len(self.columns), self.bins + 1), np.nan)
        for row, boundaries in zip(out, self.columns, strict=True):
            if len(boundaries):
                row[: len(boundaries)] = boundaries
                row[len(boundaries) :] = boundaries[-1]
        return out

    def encode(self, values: Floats) -> NDArray[np.int64]:
        """Codes of the columns' values: int64[F, n] of float64[F, n]; every NaN counts as NaN."""
        codes = np.empty(values.shape, np.int64)
        step = max(_BLOCK // max(len(values), 1), 64)
        for at in range(0, values.shape[1], step):
            self._encode_block(values[:, at : at + step], codes[:, at : at + step])
        return codes

    def _encode_block(self, x: Floats, out: NDArray[np.int64]) -> None:
        grids = self._grids
        with np.errstate(invalid="ignore", over="ignore"):
            cell = _cells(x, grids.low, grids.scale)
        cell += grids.first
        code = grids.base.take(cell)
        code += x >= grids.boundaries.take(code)
        np.subtract(code, grids.start, out=out)
        if grids.any_crowded:
            crowded = grids.crowded.take(cell)
            for column in np.flatnonzero(crowded.any(axis=1)):
                rows = np.flatnonzero(crowded[column])
                out[column, rows] = np.searchsorted(self.columns[column], x[column, rows], side="right")
        finite = np.isfinite(x)
        if not finite.all():
            odd = ~finite
            value = x[odd]
            out[odd] = np.where(
                np.isnan(value), self.bins + 3, np.where(value < 0, self.bins + 4, self.bins + 5)
            )

    def zero(self) -> Histogram:
        """The empty histogram over these bins."""
        size = len(self.names)
        return Histogram(
            self,
            0,
            np.zeros((size, self.width), np.int64),
            np.zeros(size),
            np.zeros(size),
            np.full(size, np.inf),
            np.full(size, -np.inf),
        )


@dataclass(slots=True, eq=False)
class Histogram:
    """What a window's numeric columns hold: F columns over one `Binning`.

    Attributes
    ----------
    n : int
        Rows.
    counts : int64[F, bins + 7]
        0 below the reference's minimum, 1..bins, bins + 1 above its maximum, then null, NaN, -inf,
        +inf, invalid type.
    sums, squares : float64[F]
        Of the finite values, the squares about `binning.center`.
    minimum, maximum : float64[F]
        Of the finite values; inf and -inf where there are none.
    """

    binning: Binning
    n: int
    counts: Ints
    sums: Floats
    squares: Floats
    minimum: Floats
    maximum: Floats

    @property
    def names(self) -> tuple[str, ...]:
        """Column names."""
        return self.binning.names

    @property
    def bins(self) -> int:
        """B: the most bins a column can have."""
        return self.binning.bins

    @property
    def boundaries(self) -> Floats:
        """float64[F, B + 1], as in `Binning.boundaries`."""
        return self.binning.boundaries

    @property
    def center(self) -> Floats:
        """What `squares` are about: float64[F]."""
        return self.binning.center

    @property
    def finite(self) -> Ints:
        """Finite values per column: int64[F]."""
        return np.asarray(self.counts[:, : self.bins + 2].sum(axis=1))

    @property
    def mean(self) -> Floats:
        """Of the finite values; NaN where there are none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.sums / self.finite

    @property
    def deviation(self) -> Floats:
        """Standard deviation of the finite values; NaN where there are none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = self.squares / self.finite - (self.mean - self.center) ** 2
        return np.sqrt(np.maximum(variance, 0.0))

    def update(self, codes: NDArray[np.int64], values: Floats, *, finite: bool) -> None:
        """Add rows: `codes` int64[F, n] as encoded, `values` float64[F, n].

        `finite` says that every value is finite, which spares the masks.
        """
        size, n = codes.shape
        self.n += n
        if n == 0 or size == 0:
            return
        width = self.binning.width
        flat = codes + (np.arange(size) * width)[:, None]
        counts = np.bincount(flat.ravel(), minlength=size * width).reshape(size, width)
        # A column with fewer bins has its "above" just after them: move it to its common place.
        above = self.binning.used + 1
        short = np.flatnonzero(above <= self.bins)
        counts[short, self.bins + 1] += counts[short, above[short]]
        counts[short, above[short]] = 0
        self.counts += counts
        if finite:
            self.sums += values.sum(axis=1)
            offset = values - self.center[:, None]
            self.squares += np.einsum("ij,ij->i", offset, offset)
            low, high = values.min(axis=1), values.max(axis=1)
        else:
            ok = np.isfinite(values)
            offset = np.where(ok, values - self.center[:, None], 0.0)
            self.sums += offset.sum(axis=1) + self.center * ok.sum(axis=1)
            self.squares += np.einsum("ij,ij->i", offset, offset)
            low = np.where(ok, values, np.inf).min(axis=1)
            high = np.where(ok, values, -np.inf).max(axis=1)
        np.minimum(self.minimum, low, out=self.minimum)
        np.maximum(self.maximum, high, out=self.maximum)

    def merge(self, other: Self) -> None:
        """Add `other`; raises `ValueError` when it has other columns or bins."""
        if other.names != self.names or other.bins != self.bins:
            raise ValueError("histograms over different columns or bins cannot be merged")
        self.n += other.n
        self.counts += other.counts
        self.sums += other.sums
        self.squares += other.squares
        np.minimum(self.minimum, other.minimum, out=self.minimum)
        np.maximum(self.maximum, other.maximum, out=self.maximum)

    def to_bytes(self) -> bytes:
        """Compact bytes; the bins themselves are the reference's and not repeated."""
        return pack(
            {
                "n": self.n,
                "counts": self.counts,
                "sums": self.sums,
                "squares": self.squares,
                "minimum": self.minimum,
                "maximum": self.maximum,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, binning: Binning) -> Histogram:
        """The histogram that gave `data`; `binning` must be the one it was built over."""
        fields = unpack(data)
        if fields["counts"].shape != (len(binning.names), binning.width):
            raise ValueError("histogram was built over other bins")
        return cls(binning, **fields)
