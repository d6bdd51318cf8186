"""Reference windows of one version, and what is fitted to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from detectors.base import Bools, Floats, Ints
from detectors.evidence.baseline import LEAST_WINDOWS, Baseline, Streams, fit
from detectors.evidence.season import Season
from detectors.summaries.packing import pack, unpack
from detectors.watch.streams import DISTANCES, Reading, Stream

_FAR = 49
"""Windows so far apart have no common term in what is fitted: a longer gap need not be filled."""
MOST_STREAMS = 5_000
"""Of one version, all segments together; of more, the segments with the fewest rows are not watched."""


class Key(NamedTuple):
    """A stream of one segment."""

    segment: str
    """`""` overall, else `dimension=value`."""
    subject: str
    statistic: str


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One window: a reading for each segment that had enough events."""

    start: int
    readings: Mapping[str, Reading]

    def to_bytes(self) -> bytes:
        """Compact bytes."""
        readings = list(self.readings.values())
        return pack(
            {
                "start": self.start,
                "segments": list(self.readings),
                "values": np.concatenate([one.values for one in readings] or [np.empty(0)]),
                "counts": np.concatenate([one.counts for one in readings] or [np.empty(0, np.int64)]),
                "hits": np.concatenate([one.hits for one in readings] or [np.empty(0)]),
                "rows": np.concatenate([one.rows for one in readings] or [np.empty(0)]),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Row:
        """The row that gave `data`; raises `ValueError` when it is damaged."""
        fields = unpack(data)
        segments: list[str] = fields["segments"]
        size = max(len(segments), 1)
        parts = [
            np.split(fields.array(name, kind, -1), size)
            for name, kind in (
                ("values", np.float64),
                ("counts", np.int64),
                ("hits", np.float64),
                ("rows", np.float64),
            )
        ]
        readings = (Reading(*four) for four in zip(*parts, strict=True))
        return cls(fields["start"], dict(zip(segments, readings, strict=False)))


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What unchanged windows look like; a window's readings become the inputs of a `Monitor` by it.

    Rates that vary from window to window by chance alone are exact streams (`detectors.online.rates`); the
    others (seasons, bursts) go through the adapter as numbers.

    Attributes
    ----------
    segments : tuple of str
    baseline : Baseline
        Of the numbers, and of rates that vary by more than chance, segment by segment.
    exact : bool[S, H]
        Rates that vary by chance alone.
    typical : float64[S, V + H]
        Median rows behind a number: noise is brought to this size.
    center : float64[S, V]
        Median of a number; 0 for distances.
    rate, seen : float64[S, H], int64[S, H]
        Rates of the history, and rows they were seen in.
    windows : int64[S, H]
        Windows in which each was seen.
    ranked : float64[R, K] or None
        The reference windows as the baseline has seen them, where evidence is that of ranks among them.
    """

    segments: tuple[str, ...]
    values: tuple[Stream, ...]
    rates: tuple[Stream, ...]
    baseline: Baseline
    exact: Bools
    typical: Floats
    center: Floats
    rate: Floats
    seen: Ints
    windows: Ints
    ranked: Floats | None = None

    @property
    def keys(self) -> tuple[Key, ...]:
        """Every stream, in the order of a `Monitor`: the baseline's, then the exact rates."""
        numbers = [Key(segment, *stream) for segment in self.segments for stream in self.values]
        each = [Key(segment, *stream) for segment in self.segments for stream in self.rates]
        exact = self.exact.ravel().tolist()
        varying = [key for key, alone in zip(each, exact, strict=True) if not alone]
        alone = [key for key, alone in zip(each, exact, strict=True) if alone]
        return (*numbers, *varying, *alone)

    def inputs(self, readings: Mapping[str, Reading]) -> tuple[Floats, Floats, Floats]:
        """Numbers float64[K], and hits and rows float64[E] of the exact rates, of one window."""
        row = Row(0, readings)
        values, counts, hits, rows = _stacked([row], self.segments, len(self.values), len(self.rates))
        middle = np.concatenate((self.center, self.rate), axis=1)
        numbers = _standardised(values, counts, hits, rows, self.typical, middle, self.values)[0]
        return (
            _ordered(numbers, ~self.exact),
            np.nan_to_num(hits[0][self.exact]),
            np.nan_to_num(rows[0][self.exact]),
        )

    def to_bytes(self) -> bytes:
        """Compact bytes."""
        return pack(
            {
                "segments": list(self.segments),
                "values": [list(one) for one in self.values],
                "rates": [list(one) for one in self.rates],
                "baseline": self.baseline.to_bytes(),
                "exact": self.exact,
                "typical": self.typical,
                "center": self.center,
                "rate": self.rate,
                "seen": self.seen,
                "windows": self.windows,
                "ranked": self.ranked,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Fitted:
        """The one that gave `data`; raises `ValueError` when it is damaged."""
        fields = unpack(data)
        segments = tuple(fields["segments"])
        values = tuple(Stream(*one) for one in fields["values"])
        rates = tuple(Stream(*one) for one in fields["rates"])
        S, V, H = len(segments), len(values), len(rates)
        return cls(
            segments,
            values,
            rates,
            Baseline.from_bytes(fields.packed("baseline")),
            fields.array("exact", np.bool_, S, H),
            fields.array("typical", np.float64, S, V + H),
            fields.array("center", np.float64, S, V),
            fields.array("rate", np.float64, S, H),
            fields.array("seen", np.int64, S, H),
            fields.array("windows", np.int64, S, H),
            None if fields["ranked"] is None else fields.array("ranked", np.float64, -1, -1),
        )


def fitted(
    rows: Sequence[Row],
    values: tuple[Stream, ...],
    rates: tuple[Stream, ...],
    minima: Mapping[Stream, float],
    season: Season,
    *,
    ranks: bool = False,
) -> Fitted:
    """Fit the null model to reference windows, in time order; `minima` are smallest effects that matter.

    `ranks`: keep the windows, so that evidence can be that of ranks among them.
    """
    segments = _segments(rows, len(values) + len(rates))
    stacked = _stacked(rows, segments, len(values), len(rates))
    v, counts, hits, seen = stacked
    with np.errstate(invalid="ignore"):
        total_hits, total_rows = np.nansum(hits, axis=0), np.nansum(seen, axis=0)
    rate = np.divide(total_hits, total_rows, out=np.zeros_like(total_hits), where=total_rows > 0)
    windows = np.asarray((np.nan_to_num(seen) > 0).sum(axis=0), np.int64)
    exact = ~_overdispersed(hits, seen, rate, windows)
    both = np.concatenate((counts, np.nan_to_num(seen)), axis=2)
    typical = np.maximum(_median(np.where(both > 0, both, np.nan), empty=1.0), 1.0)
    distance = np.array([stream.statistic in DISTANCES for stream in values], np.bool_)
    center = np.where(distance, 0.0, _median(v, empty=0.0))
    numbers = _standardised(v, counts, hits, seen, typical, np.concatenate((center, rate), axis=1), values)
    table = np.stack([_ordered(row, ~exact) for row in numbers])
    partial = Fitted(
        segments,
        values,
        rates,
        _NO_BASELINE,
        exact,
        typical,
        center,
        rate,
        np.asarray(total_rows, np.int64),
        windows,
    )
    keys = partial.keys[: table.shape[1]]
    streams = Streams.of(
        ["\0".join(key) for key in keys],
        np.array([minima[Stream(key.subject, key.statistic)] for key in keys]),
        np.array([key.statistic in DISTANCES for key in keys], np.bool_),
    )
    starts = np.array([row.start for row in rows], np.int64)
    apart = np.diff(starts, prepend=starts[0]) // season.window
    at = np.cumsum(np.minimum(apart, _FAR))
    consecutive = np.full((int(at[-1]) + 1, table.shape[1]), np.nan)
    consecutive[at] = table
    strata = np.zeros(len(consecutive), np.int64)
    strata[at] = season.of(starts)
    baseline = fit(streams, consecutive, strata, season.strata)
    return replace(partial, baseline=baseline, ranked=table if ranks else None)


_NO_BASELINE = fit(Streams.of([]), np.empty((0, 0)), np.empty(0, np.int64), 1)


def _segments(rows: Sequence[Row], streams: int) -> tuple[str, ...]:
    """Segments with history enough to be watched: all events first, then those with the most windows."""
    windows: dict[str, int] = {}
    for row in rows:
        for segment in row.readings:
            windows[segment] = windows.get(segment, 0) + 1
    able = [name for name, count in windows.items() if count >= LEAST_WINDOWS and name]
    most = max(MOST_STREAMS // max(streams, 1) - 1, 0)
    chosen = sorted(able, key=lambda name: (-windows[name], name))[:most]
    return ("", *sorted(chosen))


def _stacked(
    rows: Sequence[Row], segments: tuple[str, ...], values: int, rates: int
) -> tuple[Floats, Floats, Floats, Floats]:
    """Values and counts float64[R, S, V], hits and rows float64[R, S, H]; NaN or 0 where missing."""
    shape = len(rows), len(segments)
    v, counts = np.full((*shape, values), np.nan), np.zeros((*shape, values))
    hits, seen = np.zeros((*shape, rates)), np.zeros((*shape, rates))
    for r, row in enumerate(rows):
        for s, segment in enumerate(segments):
            reading = row.readings.get(segment)
            if reading is not None:
                v[r, s], counts[r, s] = reading.values, reading.counts
                hits[r, s], seen[r, s] = reading.hits, reading.rows
    return v, counts, hits, seen


def _standardised(
    values: Floats,
    counts: Floats,
    hits: Floats,
    rows: Floats,
    typical: Floats,
    middle: Floats,
    streams: tuple[Stream, ...],
) -> Floats:
    """Departures from `middle` with the noise of a window of typical size, float64[R, S, V + H].

    Noise falls with the root of the rows, and traffic has its own seasons. A distance is noise alone while
    nothing changes, so it is scaled both ways; another number is only shrunk, in smaller windows.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = hits / rows
    numbers = np.concatenate((values, rates), axis=2) - middle
    factor = np.sqrt(np.concatenate((counts, rows), axis=2) / typical)
    distance = np.zeros(numbers.shape[2], np.bool_)
    distance[: len(streams)] = [stream.statistic in DISTANCES for stream in streams]
    return np.asarray(numbers * np.where(distance, factor, np.minimum(factor, 1.0)))


def _ordered(numbers: Floats, varying: Bools) -> Floats:
    """float64[S, V + H] of one window as a `Monitor` has it: numbers by segment, then the `varying` rates."""
    values = numbers.shape[1] - varying.shape[1]
    return np.concatenate((numbers[:, :values].ravel(), numbers[:, values:][varying]))


def _overdispersed(hits: Floats, rows: Floats, rate: Floats, windows: Ints) -> Bools:
    """bool[S, H]: rates that vary between windows by more than chance, Pearson's X² far beyond its mean."""
    expected = rows * rate
    spread = expected * (1 - rate)
    with np.errstate(invalid="ignore", divide="ignore"):
        terms = np.where(spread > 0, (hits - expected) ** 2 / spread, 0.0)
    degrees = np.maximum(windows - 1, 1)
    # Where hits are rare, single ones give large terms: their variance is 1 / expected beyond the usual 2.
    rare = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0).sum(axis=0) / degrees
    limit = degrees + 4 * np.sqrt(degrees * (2 + rare))
    return np.asarray(terms.sum(axis=0) > limit)


def _median(values: Floats, empty: float) -> Floats:
    """Median over axis 0 of what is a number; `empty` where nothing is."""
    if not len(values):
        return np.full(values.shape[1:], empty)
    ordered = np.sort(values, axis=0)  # NaN last
    middle = np.maximum((np.isfinite(values).sum(axis=0) - 1) // 2, 0)[None]
    found = np.take_along_axis(ordered, middle, axis=0)[0]
    return np.where(np.isfinite(found), found, empty)
