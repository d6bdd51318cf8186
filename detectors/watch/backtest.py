"""What a policy does to traffic that does not change, and the smallest change that it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from detectors.base import Bools, Floats, Ints
from detectors.evidence.alarm import Budget
from detectors.evidence.baseline import LAGS
from detectors.evidence.monitor import adapter_of, may_page
from detectors.evidence.season import DAY, Season
from detectors.online.rates import Rates
from detectors.summaries.histogram import Histogram
from detectors.summaries.table import TableSummary
from detectors.watch.history import Fitted, Key, Row
from detectors.watch.streams import Reading, Stream, TableStreams
from detectors.watch.watch import Watch

MONTH = 30
"""Days that one simulation follows."""
MOST_WINDOWS = 40_000
MOST_CELLS = 200_000_000
"""Followed and drawn in one simulation; of more, fewer runs are made, but one at least."""
_TUESDAY = 5 * DAY
_HIGHEST: Mapping[str, float] = {"location": 0.5, "spread": 2.0, "total_variation": 1.0, "embedding": 1.41}
_UNBOUNDED = 100.0
_HALVINGS = 18
_FURTHEST = 6.0  # standard deviations


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """What was raised where nothing changed.

    Attributes
    ----------
    runs, windows : int
        Simulations, and windows that they followed.
    days : float
        That they lasted together.
    pages, tickets : int
    """

    runs: int
    windows: int
    days: float
    pages: int
    tickets: int

    def monthly(self, alarms: int) -> tuple[float, float, float]:
        """So many alarms per 30 days, and the 95% interval that the simulation's length leaves (Poisson)."""
        months = self.days / MONTH
        low = float(gammaincinv(alarms, 0.025)) if alarms else 0.0
        return alarms / months, low / months, float(gammaincinv(alarms + 1, 0.975)) / months


@dataclass(frozen=True, slots=True, eq=False)
class Days:
    """History cut into days (windows of a day or more: each alone), to be put together anew.

    Days are taken as exchangeable among those of a kind: whatever changes more slowly than within a day
    counts as a change. Kinds are those of the season: weekdays and weekends, or days of the week.

    Attributes
    ----------
    season : Season
    kinds : mapping
        Kind -> its days, each the rows of its windows in time order.
    """

    season: Season
    kinds: Mapping[int, Sequence[Sequence[Row]]]

    @classmethod
    def of(cls, rows: Sequence[Row], season: Season) -> Self:
        """Cut `rows`, in time order, at midnight local time."""
        days: dict[int, list[Row]] = {}
        for row in rows:
            days.setdefault((row.start + season.offset) // cls._length(season), []).append(row)
        kinds: dict[int, list[list[Row]]] = {}
        for day in days.values():
            kinds.setdefault(cls._kind(season, day[0].start), []).append(day)
        return cls(season, kinds)

    @staticmethod
    def _length(season: Season) -> int:
        return max(DAY, season.window)

    @staticmethod
    def _kind(season: Season, start: int) -> int:
        stratum = int(season.of(np.array([start]))[0])
        return stratum // 24 if season.window < DAY else stratum

    @property
    def windows(self) -> int:
        """How many there are."""
        return sum(len(day) for days in self.kinds.values() for day in days)

    @property
    def enough(self) -> bool:
        """Whether there is as much as a page needs, and every kind of day at least twice."""
        kinds = 2 if self.season.window < DAY else self.season.strata
        twice = sum(len(days) >= 2 for days in self.kinds.values())
        return self.windows >= self.season.history and twice == kinds

    def drawn(self, rng: np.random.Generator) -> Iterator[Row]:
        """Days drawn with replacement, one after the other, without end; windows keep their time of day."""
        length, offset = self._length(self.season), self.season.offset
        for number in count(1):
            midnight = number * length - offset
            days = self.kinds[self._kind(self.season, midnight)]
            for row in days[int(rng.integers(len(days)))]:
                yield replace(row, start=midnight + (row.start + offset) % length)


class Shuffle:
    """Windows drawn anew from the rows of all windows together: what is left is chance alone.

    Columns are drawn each by itself, so that nothing is said of all columns at once.

    Parameters
    ----------
    streams : TableStreams
    table : TableSummary
        An empty one, which is filled again and again.
    """

    def __init__(self, streams: TableStreams, table: TableSummary) -> None:
        self._streams = streams
        self._table = table
        self._numbers = np.zeros(table.numbers.counts.shape)
        self._categories = np.zeros(table.categories.counts.shape)
        self._rows = self._repeated = 0

    def add(self, window: TableSummary) -> None:
        """Add the rows of a window."""
        self._numbers += window.numbers.counts
        self._categories += window.categories.counts
        self._rows += window.n
        self._repeated += window.counts.duplicates

    @property
    def cells(self) -> int:
        """Numbers that are drawn for a window."""
        return int(self._numbers.size + self._categories.size)

    def draw(self, rng: np.random.Generator, rows: int) -> Reading:
        """The reading of a window of so many rows."""
        table, all_rows = self._table, max(self._rows, 1)
        table.numbers.counts = rng.multinomial(rows, self._numbers / all_rows)
        table.categories.counts = rng.multinomial(rows, self._categories / all_rows)
        table.numbers.n = table.categories.n = table.counts.n = rows
        table.counts.duplicates = int(rng.poisson(rows * self._repeated / all_rows))
        return self._streams.read(table, joint=False)


def false_alarms(
    make: Callable[[], Watch],
    days: Days,
    runs: int,
    rng: np.random.Generator,
    share: float = 1.0,
    shuffle: Shuffle | None = None,
) -> FalseAlarms:
    """Simulate months of traffic that does not change.

    Every run draws days: reference windows, as many as a watch gathers, then 30 days that it follows; each
    page is closed at once.

    Parameters
    ----------
    make : callable
        A watch that has seen nothing.
    days : Days
        With `enough` of them.
    runs : int
        At most so many.
    share : float
        Among how many watches the budget is divided.
    shuffle : Shuffle, optional
        Draw the windows' content anew too, of all events only; each keeps its number of rows.
    """
    season = days.season
    a_day = days.windows / sum(map(len, days.kinds.values()))
    followed = max(a_day * MONTH * DAY / max(DAY, season.window), 1)
    runs = min(runs, max(int(MOST_WINDOWS / followed), 1))
    if shuffle is not None:
        runs = min(runs, max(int(MOST_CELLS / (shuffle.cells * (followed + 2 * season.history))), 1))
    windows = pages = tickets = 0
    length = MONTH * DAY
    for _ in range(runs):
        rows = days.drawn(rng)
        if shuffle is not None:
            rows = _redrawn(rows, shuffle, rng)
        watch = make()
        reference = list(islice(rows, 2 * season.history))
        watch.remember(reference)
        end = reference[-1].start + length
        for row in rows:
            if row.start > end:
                break
            decision = watch.update(row.start, row.readings, share).decision
            windows += 1
            if decision is not None:
                pages += decision.page
                tickets += bool(len(decision.ticketed))
                if decision.page:
                    watch.close()
    return FalseAlarms(runs, windows, float(MONTH * runs), pages, tickets)


def _redrawn(rows: Iterator[Row], shuffle: Shuffle, rng: np.random.Generator) -> Iterator[Row]:
    for row in rows:
        reading = row.readings[""]
        repeated = float(reading.hits[-1])  # the last rate is that of duplicates, among all that came
        yield Row(row.start, {"": shuffle.draw(rng, int(reading.rows[-1] - repeated))})


@dataclass(frozen=True, slots=True)
class Smallest:
    """The smallest lasting shift of a stream that a page is sent for within a day.

    Attributes
    ----------
    key : Key
    shift : float or None
        In the statistic's unit, of a distance beyond its usual value; None where no shift is large enough.
    able : bool
        Whether the stream's reference is long enough to page.
    """

    key: Key
    shift: float | None
    able: bool


def smallest_shifts(
    fitted: Fitted,
    budget: Budget,
    season: Season,
    minima: Mapping[Stream, float],
    share: float = 1.0,
) -> tuple[Smallest, ...]:
    """Shifts that are just found within a day (or the first window, if that is longer), without noise.

    Found means that the stream alone brings the mean evidence to the threshold, and that its effect is
    material. What a window's noise adds or takes is left out: half of such shifts are found later.
    Windows are those of a Tuesday, of typical size.
    """
    keys, base = fitted.keys, fitted.baseline
    patience = budget.page_patience(season)
    limit = float(np.log(patience * share * max(len(keys), 1)))
    windows = max(round(season.windows(1)), 1)
    starts = _TUESDAY - season.offset + season.window * np.arange(-LAGS, windows)
    strata: list[int] = season.of(starts).tolist()
    own = len(base.streams)

    def by_adapter(shift: Floats) -> Bools:
        adapter = adapter_of(base, patience, budget.alpha, fitted.ranked)
        found = np.zeros(own, np.bool_)
        for at, stratum in enumerate(strata):
            if at == LAGS:  # what lay before is the noise that the reference ended with
                adapter.reset(np.ones(own, np.bool_))
            said = adapter.update(base.expected(stratum) + (shift if at >= LAGS else 0.0), stratum)
            found |= (said.log_evidence >= limit) & said.material
        return found

    exact = keys[own:]
    rate, seen = fitted.rate[fitted.exact], np.maximum(fitted.seen[fitted.exact], 1)
    rows = fitted.typical[:, len(fitted.values) :][fitted.exact]
    least = np.array([minima[Stream(key.subject, key.statistic)] for key in exact])

    def by_rates(shift: Floats) -> Bools:
        rates = Rates(rate, seen, least, patience, budget.alpha)
        found = np.zeros(len(exact), np.bool_)
        for _ in range(windows):
            found |= rates.update(rows * np.minimum(rate + shift, 1.0), rows).log_evidence >= limit
        return found

    rated = {*fitted.rates}
    highest = np.array(
        [1.0 if Stream(*key[1:]) in rated else _HIGHEST.get(key.statistic, _UNBOUNDED) for key in keys[:own]]
    )
    shifts = np.concatenate((_least_found(by_adapter, highest), _least_found(by_rates, 1.0 - rate)))
    enough = fitted.windows[fitted.exact] >= 0.9 * season.history
    able = np.concatenate((may_page(base, season), enough))
    return tuple(
        Smallest(key, shift if np.isfinite(shift) else None, bool(may))
        for key, shift, may in zip(keys, shifts.tolist(), able.tolist(), strict=True)
    )


def _least_found(found: Callable[[Floats], Bools], highest: Floats) -> Floats:
    """The least of `found`, float64[K], by bisection of its logarithm; inf where not even `highest` is."""
    if not len(highest):
        return np.empty(0)
    high = np.maximum(highest, 1e-12)
    low = 1e-6 * high
    never = ~found(high)
    for _ in range(_HALVINGS):
        middle = np.sqrt(low * high)
        yes = found(middle)
        low, high = np.where(yes, low, middle), np.where(yes, middle, high)
    return np.where(never, np.inf, high)


def deviations(reference: Histogram, column: str, shift: float) -> float | None:
    """How far all values must rise for the mean rank to rise by `shift`, in their standard deviations.

    From the reference's own histogram, moved as a whole; None where `shift` takes more than six, or the
    column is constant.
    """
    i = reference.names.index(column)
    boundaries = reference.binning.columns[i]
    sigma = float(reference.deviation[i])
    if len(boundaries) < 2 or not sigma > 0 or not np.isfinite(sigma):
        return None
    counts: Ints = reference.counts[i, 1 : len(boundaries)]
    reached = np.concatenate(([0.0], np.cumsum(counts))) / max(int(counts.sum()), 1)
    middle: NDArray[np.float64] = (boundaries[1:] + boundaries[:-1]) / 2
    moves = np.linspace(0.0, _FURTHEST, 601)
    ranks = np.interp(middle + sigma * moves[:, None], boundaries, reached) @ np.diff(reached) - 0.5
    return float(np.interp(shift, ranks, moves)) if shift <= ranks[-1] else None
