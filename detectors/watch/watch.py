"""A watch: it gathers reference windows, fits them, then follows the evidence, window by window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from detectors.base import Ints
from detectors.evidence.adapter import Evidence
from detectors.evidence.alarm import EVERY, Budget, Decision
from detectors.evidence.baseline import LEAST_IN_STRATUM, LEAST_WINDOWS
from detectors.evidence.monitor import Monitor
from detectors.evidence.season import Season
from detectors.online.rates import Rates
from detectors.summaries.packing import pack, unpack
from detectors.watch.history import Fitted, Key, Row, fitted
from detectors.watch.streams import JOINT, Reading, Stream

Stage = Literal["learning", "tickets", "paging"]
_FEW = 8
"""Windows without any event after which a monitor looks the same however many more there are."""


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """Where a watch stands after a window.

    Attributes
    ----------
    stage : str
        `learning`: too few reference windows for any evidence; `tickets`: too few to page; `paging`.
    history, needed : int
        Reference windows so far, and how many paging needs.
    keys : tuple of Key
        The K streams; empty while learning.
    evidence : Evidence or None
        None while learning.
    decision : Decision or None
        What the window changed; None while learning, and without a window.
    log_mean : float
        ln of the mean evidence of the streams that could page.
    tier : int8[K]
        `Tier` of each stream.
    since : int64[K]
        Start of the first window of the shift, milliseconds; -1 where there is none.
    opened : int or None
        Start of the window that opened the incident, milliseconds; None while there is none.
    page_at : float
        ln of the mean evidence at which a page is sent.
    """

    stage: Stage
    history: int
    needed: int
    keys: tuple[Key, ...]
    evidence: Evidence | None
    decision: Decision | None
    log_mean: float
    tier: Ints
    since: Ints
    opened: int | None
    page_at: float


class Watch:
    """The streams of one version; advance it once per window that closed, in order of event time.

    Reference windows are those it was given (`remember`), then the first it sees. With `LEAST_WINDOWS` it has
    a first idea and raises tickets; it fits anew whenever it has twice as many, pages once it has
    `Season.history`, and is done with twice that. While an incident is open nothing is fitted anew.

    Parameters
    ----------
    budget : Budget
    season : Season
    values, rates : tuple of Stream
        What a reading holds.
    minima : mapping
        Stream -> smallest effect that matters.
    quiet, silent : frozenset of Stream
        Those that never page, and those that are not watched at all.
    ranks : bool
        Whether the evidence of numbers is that of ranks among the reference windows (`ConformalRank`).
    """

    def __init__(
        self,
        budget: Budget,
        season: Season,
        values: tuple[Stream, ...],
        rates: tuple[Stream, ...],
        minima: Mapping[Stream, float],
        quiet: frozenset[Stream] = frozenset(),
        silent: frozenset[Stream] = frozenset(),
        *,
        ranks: bool = False,
    ) -> None:
        self.budget = budget
        self.season = season
        self.values, self.rates = values, rates
        self.minima = minima
        self._quiet = quiet | silent
        self._ranks = ranks
        self._silent_values = np.array([stream in silent for stream in values], np.bool_)
        self._silent_rates = np.array([stream in silent for stream in rates], np.bool_)
        self.rows: list[Row] = []
        """Reference windows, while they are still gathered."""
        self.history = 0
        """How many reference windows there are, or were when the last fit was made."""
        self.fitted: Fitted | None = None
        self._monitor: Monitor | None = None
        self._keys: tuple[Key, ...] = ()
        self._origin = 0
        self._last: int | None = None

    # Reference windows

    @property
    def complete(self) -> bool:
        """Whether no more reference windows are gathered."""
        return self.history >= 2 * self.season.history

    def remember(self, rows: Sequence[Row]) -> None:
        """Take reference windows that came with the reference, in time order, before the first update."""
        self.rows.extend(Row(row.start, self._heard(row.readings)) for row in rows)
        self._last = self.rows[-1].start if self.rows else None
        self.history = len(self.rows)
        if self.history >= LEAST_WINDOWS:
            self._fit()

    def _gather(self, row: Row) -> None:
        self.rows.append(row)
        self.history = len(self.rows)
        full = self.season.history
        doubled = {LEAST_WINDOWS * 2**k for k in range(20)}
        due = self.history in doubled if self.history < full else self.history in {full, 2 * full}
        if due:
            self._fit()

    def _fit(self) -> None:
        before, keys = self._monitor, self._keys
        self.fitted = fitted(self.rows, self.values, self.rates, self.minima, self.season, ranks=self._ranks)
        after = self._build(self.fitted)
        if before is not None:
            _carry(before, keys, after, self._keys)

    def _build(self, found: Fitted) -> Monitor:
        """The monitor of what is fitted, without any evidence."""
        keys = found.keys
        patience = self.budget.page_patience(self.season)
        exact = keys[len(found.baseline.streams) :]
        minimum = np.array([self.minima[Stream(key.subject, key.statistic)] for key in exact])
        seen = np.maximum(found.seen[found.exact], 1)
        part = Rates(found.rate[found.exact], seen, minimum, patience, self.budget.alpha)
        able = (found.windows >= 0.9 * self.season.history)[found.exact]
        self._monitor = Monitor(
            self.budget, self.season, found.baseline, part, able, _subjects(keys), found.ranked
        )
        loud = [Stream(key.subject, key.statistic) not in self._quiet for key in keys]
        self._monitor.alarm.able &= np.array(loud, np.bool_)
        self._keys = keys
        return self._monitor

    # Windows

    def update(self, start: int, readings: Mapping[str, Reading], share: float = 1.0) -> Watched:
        """Advance by one window.

        Parameters
        ----------
        start : int
            Of the window, milliseconds since the epoch; later than those before.
        readings : mapping
            Segment -> reading, of those with enough events; `""` for all events.
        share : float
            Among how many watches the model's budget is divided.
        """
        readings = self._heard(readings)
        monitor, evidence, decision = self._monitor, None, None
        if monitor is not None and self.fitted is not None:
            self._skip(start)
            values, hits, rows = self.fitted.inputs(readings)
            stratum = int(self.season.of(np.array([start]))[0])
            assert isinstance(monitor.part, Rates)  # noqa: S101 - as built
            further = monitor.part.update(hits, rows)
            evidence, decision = monitor.update(values, stratum, further, share)
        self._last = start
        state = self._state(evidence, decision, share)
        if "" in readings and not self.complete and state.opened is None:
            self._gather(Row(start, dict(readings)))
        return replace(state, history=self.history)

    def _heard(self, readings: Mapping[str, Reading]) -> Mapping[str, Reading]:
        """The readings without the streams that nobody wants to hear of."""
        if not (self._silent_values.any() or self._silent_rates.any()):
            return readings
        return {
            segment: replace(
                one,
                values=np.where(self._silent_values, np.nan, one.values),
                hits=np.where(self._silent_rates, 0.0, one.hits),
                rows=np.where(self._silent_rates, 0.0, one.rows),
            )
            for segment, one in readings.items()
        }

    def standing(self, share: float = 1.0) -> Watched:
        """Where it stands, without another window."""
        return self._state(self._monitor.standing()[0] if self._monitor else None, None, share)

    def _skip(self, start: int) -> None:
        """Let the windows pass in which nothing came."""
        monitor = self._monitor
        assert monitor is not None  # noqa: S101 - the caller has looked
        if self._last is None:
            return
        gap = (start - self._last) // self.season.window - 1
        for _ in range(min(gap, _FEW)):
            monitor.adapter.update(np.full(len(monitor.adapter.baseline.streams), np.nan), 0)
        monitor.alarm.windows += max(gap, 0)

    def _state(self, evidence: Evidence | None, decision: Decision | None, share: float) -> Watched:
        monitor, needed = self._monitor, self.season.history
        if monitor is None or evidence is None:
            none = np.empty(0, np.int64)
            return Watched("learning", self.history, needed, (), None, None, 0.0, none, none, None, 0.0)
        alarm = monitor.alarm
        if decision is not None:
            log_mean = decision.log_mean
        else:
            log_mean = alarm.log_mean(evidence.log_evidence, evidence.material)
        # Window number alarm.windows - 1 is the one that starts at `_last`.
        zero = (self._last or 0) - (alarm.windows - 1) * self.season.window
        stage: Stage = "paging" if self.history >= needed and alarm.able.any() else "tickets"
        if stage == "tickets" and self._blind():
            stage = "learning"
        return Watched(
            stage,
            self.history,
            needed,
            self._keys,
            evidence,
            decision,
            log_mean,
            alarm.tier.astype(np.int64),
            np.where(alarm.since >= 0, zero + alarm.since * self.season.window, -1),
            None if alarm.opened is None else zero + alarm.opened * self.season.window,
            float(np.log(alarm.page_patience * share)),
        )

    def _blind(self) -> bool:
        """Whether no statistic has reference windows like the last window: of its hour, or of a weekend."""
        if self.fitted is None or self._last is None:
            return True
        stratum = int(self.season.of(np.array([self._last]))[0])
        counts = self.fitted.baseline.counts
        return bool(counts.size) and not (counts[stratum] >= LEAST_IN_STRATUM).any()

    def close(self) -> bool:
        """A person ends the incident; whether there was one. If its shift lasts, it pages again."""
        if self._monitor is None or self._monitor.alarm.opened is None:
            return False
        self._monitor.close()
        return True

    # State

    def snapshot(self) -> bytes:
        """The whole state but the reference windows that are still gathered (`rows`)."""
        return pack(
            {
                "history": self.history,
                "last": self._last,
                "fitted": self.fitted.to_bytes() if self.fitted else b"",
                "monitor": self._monitor.snapshot() if self._monitor else b"",
            }
        )

    def restore(self, state: bytes, rows: Sequence[Row]) -> None:
        """Replace the state by one that `snapshot` gave; raises `ValueError` if it is damaged."""
        fields = unpack(state)
        self.rows = list(rows)
        self.history, self._last = fields.count("history"), fields["last"]
        data = fields.packed("fitted")
        if data:
            self.fitted = Fitted.from_bytes(data)
            self._build(self.fitted).restore(fields.packed("monitor"))


def _subjects(keys: tuple[Key, ...]) -> Ints:
    """A number for each stream's column, whatever the segment; `EVERY` for what concerns all of them."""
    numbers: dict[str, int] = {}
    found = [
        EVERY if key.statistic in JOINT else numbers.setdefault(key.subject, len(numbers)) for key in keys
    ]
    return np.array(found, np.int64)


def _carry(before: Monitor, old: tuple[Key, ...], after: Monitor, new: tuple[Key, ...]) -> None:
    """Tickets, and the count of windows, outlive a new fit."""
    was, now = before.alarm, after.alarm
    now.windows, now.opened = was.windows, was.opened
    place = {key: i for i, key in enumerate(old)}
    pairs = np.array([(i, place[key]) for i, key in enumerate(new) if key in place], np.intp).reshape(-1, 2)
    now.tier[pairs[:, 0]], now.since[pairs[:, 0]] = was.tier[pairs[:, 1]], was.since[pairs[:, 1]]
