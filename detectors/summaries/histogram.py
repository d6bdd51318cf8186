"""Counts of numeric columns in the reference's quantile bins, with plain moments.

Looking a value up among 256 uneven boundaries costs 55 ns by binary search. Here a fine grid, reached by
arithmetic, gives the bin up to the one boundary that may cross the value's grid cell, which one comparison
settles; only values in cells that several boundaries cross are searched for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from detectors.base import Bools, Floats, Ints
from detectors.summaries.packing import pack, unpack

BINS = 256
_CELLS = 4096  # grid cells a column, and one more for what lies at infinity
_BLOCK = 131_072  # values worked on at a time: temporaries beyond a cache, and many small calls, both cost
_FEW = 2  # boundaries that may share a cell before another grid is tried: a maximum and the one just above it
_SPECIAL = ("null", "nan", "minus_infinity", "plus_infinity", "invalid")


def quantile_boundaries(values: Floats, bins: int = BINS) -> Floats:
    """Boundaries of at most `bins` bins of nearly equal mass: float64[<= bins + 1], increasing.

    A column with at most `bins` distinct values gets a bin per value, so that nothing is approximated;
    otherwise a bin holds at most n / bins + 1 values beside copies of its lowest. The last boundary lies
    just above the maximum: bins are closed on the left. Values must be finite; none gives an empty array.
    """
    if len(values) == 0:
        return np.empty(0)
    ordered = np.sort(values + 0.0)  # no -0.0, whose place among zeros is chance
    distinct = ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))]
    with np.errstate(over="ignore"):  # no grid can part 0 from the denormal above it
        top = max(np.nextafter(distinct[-1], np.inf), distinct[-1] + np.finfo(np.float64).tiny)
    if len(distinct) <= bins:
        return np.append(distinct, top)
    at = np.linspace(0, len(ordered), bins + 1)[:-1].astype(np.intp)
    return np.append(np.unique(ordered[at]), top)


class _Grid(NamedTuple):
    """Cells of equal width in 1 / (1 + d), d being how far a value lies from `origin`, in units.

    Near the origin cells are narrow, far away wide: that suits skewed columns, such as amounts and
    durations, and is even enough for bell-shaped ones. Values behind the origin share the first cell.
    A value's bin follows exactly, whatever the rounding: a boundary's cell is computed as a value's is,
    and every step of that arithmetic is monotone, so values in different cells are in order of cells.
    """

    scale: float
    """1 / unit; negative when the origin is at the upper end."""
    shift: float
    """1 - origin / unit"""
    cells: NDArray[np.intp]
    """Cell of each boundary."""

    @classmethod
    def over(cls, boundaries: Floats, first: float) -> _Grid:
        """The grid, of a few, in which the fewest boundaries share a cell; its cells start at `first`."""
        best = cls(0.0, 1.0, np.full(len(boundaries), _CELLS))
        fewest = len(boundaries)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            for origin, unit in _choices(boundaries):
                scale = 1.0 / unit
                grid = cls(scale, 1.0 - origin * scale, np.empty(0, np.intp))
                if scale != 0.0 and np.isfinite(grid[:2]).all():
                    cells = np.empty(len(boundaries), np.intp)
                    _cells(boundaries, scale, grid.shift, first, np.empty(len(boundaries)), cells)
                    cells -= int(first)
                    alone = np.diff(cells, prepend=-1, append=-1) != 0
                    sharing = len(boundaries) - int(np.count_nonzero(alone[1:] & alone[:-1]))
                    if sharing < fewest:
                        best, fewest = grid._replace(cells=cells), sharing
                if fewest <= _FEW:
                    break
        return best

    def below(self) -> Ints:
        """Boundaries below each cell, int64[cells + 1]; -1 where several share the cell."""
        inside = np.bincount(self.cells, minlength=_CELLS + 1)
        before = np.cumsum(inside) - inside
        if self.scale > 0:  # cells are numbered from the far end
            before = len(self.cells) - before - inside
        return np.where(inside > 1, -1, before)


def _choices(boundaries: Floats) -> Iterator[tuple[np.float64, np.float64]]:
    """Origins (the ends, then further in) and units (distances to other boundaries)."""
    size = len(boundaries)
    for trim in (0, 2, 8, 32):
        if size > 2 * trim + 1:
            for ordered in (boundaries, boundaries[::-1]):
                for share in (1.0, 0.75, 0.5, 0.25, 0.1, 0.03):
                    at = max(int(share * (size - 1 - trim)), trim + 1)
                    yield ordered[trim], ordered[at] - ordered[trim]


def _cells(
    values: Floats,
    scale: Floats | float,
    shift: Floats | float,
    first: Floats | float,
    place: Floats,
    out: NDArray[np.intp],
) -> None:
    """Cell of each value, `first` for +inf and values too far away, any for NaN; `place` is scratch."""
    np.multiply(values, scale, out=place)
    place += shift
    np.maximum(place, 1.0, out=place)
    np.divide(_CELLS, place, out=place)
    place += first
    np.copyto(out, place, casting="unsafe")


@dataclass(frozen=True, slots=True)
class _Grids:
    """The grids of F columns, ready for look-ups in flattened tables."""

    scale: Floats  # [F, 1]
    shift: Floats  # [F, 1]
    first: Floats  # [F, 1]: where a column's cells start
    code: Ints  # per cell: code by the boundaries below it, or `crowded`
    crowded: Ints  # [F, 1]: in place of a code where several boundaries share the cell
    boundaries: Floats  # [F * width]: per code, the boundary next above; inf where there is none

    @classmethod
    def over(cls, columns: tuple[Floats, ...], width: int) -> _Grids:
        first = (np.arange(len(columns)) * (_CELLS + 1)).astype(np.float64)
        grids = [_Grid.over(*column) for column in zip(columns, first, strict=True)]
        start = np.arange(len(columns))[:, None] * width
        below = np.array([grid.below() for grid in grids], np.int64).reshape(len(columns), _CELLS + 1)
        boundaries = np.full((len(columns), width), np.inf)
        for row, column in zip(boundaries, columns, strict=True):
            row[: len(column)] = column
        return cls(
            np.array([grid.scale for grid in grids])[:, None],
            np.array([grid.shift for grid in grids])[:, None],
            first[:, None],
            (np.where(below < 0, width - 1, below) + start).ravel(),
            start + width - 1,
            boundaries.ravel(),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Binning:
    """The bins of all numeric columns of a table; built once, from a reference.

    Codes of a column: 0 below the minimum, 1..used bins, used + 1 above the maximum, then (at fixed
    places `bins + 2` ...) null, NaN, -inf, +inf, invalid. Column i's codes start at `i * width`, so that
    counting a table, or looking something up by code, is one pass over all columns.
    """

    names: tuple[str, ...]
    columns: tuple[Floats, ...]
    """Increasing boundaries per column, `used + 1` of them; empty where the reference had no value."""
    center: Floats
    """What sums of squares are taken about."""
    bins: int = BINS
    used: Ints = field(init=False, repr=False)
    """Bins in use per column: int64[F]."""
    _grids: _Grids = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.center) != len(self.names):
            raise ValueError("a binning needs a center for every column")
        for name, boundaries in zip(self.names, self.columns, strict=True):
            increasing = bool(np.all(boundaries[1:] > boundaries[:-1]))
            if len(boundaries) > self.bins + 1 or not increasing or np.isnan(boundaries).any():
                msg = f"column {name!r}: boundaries must increase and make at most {self.bins} bins"
                raise ValueError(msg)
        used = np.array([max(len(b) - 1, 0) for b in self.columns], np.int64)
        object.__setattr__(self, "used", used)
        object.__setattr__(self, "_grids", _Grids.over(self.columns, self.width))

    def same(self, other: Binning) -> bool:
        """Whether `other` encodes alike, so that counts over both can be added."""
        return self is other or (
            (self.names, self.bins) == (other.names, other.bins)
            and np.array_equal(self.center, other.center)
            and all(map(np.array_equal, self.columns, other.columns))
        )

    @property
    def width(self) -> int:
        """Codes a column can have."""
        return self.bins + 2 + len(_SPECIAL)

    @property
    def boundaries(self) -> Floats:
        """float64[F, bins + 1], padded with each column's last boundary (NaN where it has none)."""
        out = np.full((len(self.columns), self.bins + 1), np.nan)
        for row, boundaries in zip(out, self.columns, strict=True):
            if len(boundaries):
                row[: len(boundaries)] = boundaries
                row[len(boundaries) :] = boundaries[-1]
        return out

    def encode(self, values: Floats) -> Ints:
        """Codes of the columns' values: int64[F, n] of float64[F, n]; every NaN counts as NaN."""
        size, n = values.shape
        values = np.ascontiguousarray(values)
        codes = np.empty(values.shape, np.int64)
        step = max(_BLOCK // max(n, 1), 1)
        scratch = np.empty((step, n)), np.empty((step, n), np.intp), np.empty((step, n), np.bool_)
        for at in range(0, size, step):
            self._encode(values, slice(at, min(at + step, size)), codes, scratch)
        return codes

    def _encode(
        self, all_values: Floats, block: slice, codes: Ints, scratch: tuple[Floats, NDArray[np.intp], Bools]
    ) -> None:
        grids, values, out = self._grids, all_values[block], codes[block]
        size = len(values)
        place, cells, flags = scratch[0][:size], scratch[1][:size], scratch[2][:size]
        with np.errstate(invalid="ignore", over="ignore"):
            _cells(values, grids.scale[block], grids.shift[block], grids.first[block], place, cells)
        grids.code.take(cells, out=out, mode="clip")  # a NaN has any cell
        grids.boundaries.take(out, out=place, mode="clip")
        out += np.greater_equal(values, place, out=flags)
        np.equal(out, grids.crowded[block], out=flags)
        for i in np.flatnonzero(flags.any(axis=1)):
            rows = np.flatnonzero(flags[i])
            column = block.start + i
            found = np.searchsorted(self.columns[column], values[i, rows], side="right")
            out[i, rows] = found + column * self.width
        np.isfinite(values, out=flags)
        if not flags.all():
            odd = np.flatnonzero(np.logical_not(flags, out=flags))
            value = values.ravel()[odd]
            special = np.where(np.isnan(value), 3, np.where(value < 0, 4, 5)) + self.bins
            out.ravel()[odd] = special + (block.start + odd // values.shape[1]) * self.width

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


@dataclass(slots=True, eq=False, weakref_slot=True)
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

    def update(self, codes: Ints, values: Floats) -> None:
        """Add rows: `codes` int64[F, n] as encoded from `values` float64[F, n]."""
        size, n = codes.shape
        self.n += n
        if n == 0 or size == 0:
            return
        binning, bins = self.binning, self.bins
        counts = np.bincount(codes.ravel(), minlength=size * binning.width).reshape(size, binning.width)
        # A column with fewer bins has its "above" just after them: move it to its common place.
        short = np.flatnonzero(binning.used < bins)
        above = binning.used[short] + 1
        counts[short, bins + 1] += counts[short, above]
        counts[short, above] = 0
        self.counts += counts
        step = max(_BLOCK // n, 1)
        with np.errstate(over="ignore", invalid="ignore"):
            for at in range(0, size, step):
                self._moments(slice(at, at + step), counts[at : at + step], values[at : at + step])

    def _moments(self, block: slice, counts: Ints, values: Floats) -> None:
        center = self.center[block, None]
        offset = values - center
        low, high = values.min(axis=1), values.max(axis=1)
        gaps = np.flatnonzero(counts[:, self.bins + 2 :].any(axis=1))
        if len(gaps):
            some = values[gaps]
            held = np.isfinite(some)
            offset[gaps] = np.where(held, some - center[gaps], 0.0)
            low[gaps] = np.where(held, some, np.inf).min(axis=1)
            high[gaps] = np.where(held, some, -np.inf).max(axis=1)
        self.sums[block] += offset.sum(axis=1) + self.center[block] * counts[:, : self.bins + 2].sum(axis=1)
        self.squares[block] += np.einsum("ij,ij->i", offset, offset)
        np.minimum(self.minimum[block], low, out=self.minimum[block])
        np.maximum(self.maximum[block], high, out=self.maximum[block])

    def merge(self, other: Self) -> None:
        """Add `other`; raises `ValueError` when it has other columns or bins."""
        if not self.binning.same(other.binning):
            raise ValueError("histograms over different columns or bins cannot be merged")
        self.n += other.n
        self.counts += other.counts
        with np.errstate(invalid="ignore", over="ignore"):  # huge values: the sums may be infinite
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
        fields, size = unpack(data), len(binning.names)
        return cls(
            binning,
            fields.count("n"),
            fields.array("counts", np.int64, size, binning.width),
            fields.array("sums", np.float64, size),
            fields.array("squares", np.float64, size),
            fields.array("minimum", np.float64, size),
            fields.array("maximum", np.float64, size),
        )
