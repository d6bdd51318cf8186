"""One objective of one model, alive: what was good, how much budget is left, how fast it burns."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from detectors.base import Bools, Ints
from detectors.summaries.packing import Packable, pack, unpack
from observer.model import BurnAlert, BurnRate, Exhaustion, ObjectiveStanding
from observer.slo.burn import DAY, MINUTE, RATES, AlertRule, read
from observer.slo.forecast import STEPS, exhaustion
from observer.slo.periods import period
from observer.slo.spec import Freshness, ObjectiveSpec, zone
from observer.slo.sums import Batch, Sums

PARTS, PERIOD_PARTS = 30, 360
"""Buckets of a burn window, and of the rolling window that the budget is for."""
CALENDAR_RESOLUTION = 15 * MINUTE
"""So that midnight of every time zone begins a bucket."""
_MOVED = 0.01
"""Error shares that differ by less, as a part of what is allowed, give nearly the same forecast."""
SLICE = 10_000
"""Milliseconds between two looks at freshness."""


def alert_rules(spec: ObjectiveSpec, size: int) -> tuple[AlertRule, ...]:
    """The rules that alert for an objective of a model whose windows last `size` milliseconds.

    Left out are those whose long window exceeds the objective's own, and those that could never fire: with a
    target of 90% even errors alone burn no faster than 10.
    """
    gap = size if spec.is_condition else SLICE if isinstance(spec.indicator, Freshness) else 0
    longest = spec.window if spec.calendar is None else DAY * 366
    rules = read(spec.burn_windows).spanning(gap)
    return tuple(r for r in rules if r.long <= longest and r.factor * (1 - spec.target) < 1)


def burn_windows(spec: ObjectiveSpec, rules: tuple[AlertRule, ...]) -> tuple[int, ...]:
    """Windows whose burn rates are given, shortest first: Sloth's, those that alert, the objective's own."""
    asked = {*RATES, *(w for rule in rules for w in (rule.short, rule.long))}
    if spec.calendar is not None:
        return tuple(sorted(asked))
    return (*sorted(window for window in asked if window < spec.window), spec.window)


@dataclass(slots=True)
class Arrived:
    """What was newly learnt, for counters that only grow."""

    good: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class _Forecast:
    """A forecast, and what it rests on: error shares of late and in the whole window."""

    now: int
    recent: float | None
    spent: float | None
    found: Exhaustion | None

    def holds(self, now: int, recent: float | None, spent: float | None, allowed: float, reach: int) -> bool:
        """Whether another one would say nearly the same; `reach` is how far ahead it looks."""
        if now - self.now > reach / STEPS / 4 or (spent is None or spent >= allowed):
            return False
        pairs = ((recent, self.recent), (spent, self.spent))
        return all(
            one is not None and other is not None and abs(one - other) <= _MOVED * allowed
            for one, other in pairs
        )


@dataclass(slots=True, eq=False)
class Objective:
    """Counts by the time of the prediction, which late labels move, and by the arrival of its label.

    Attributes
    ----------
    budget : Sums
        By time of prediction, over the objective's window; authoritative.
    arrived : Sums
        The same by arrival; `budget` itself where nothing waits for labels.
    rates : dict
        By arrival, for each burn window.
    marks : dict
        What each window counts, where windows are what is counted: by version and start.
    news : Arrived
        Since they were last taken.
    """

    model: str
    name: str
    spec: ObjectiveSpec
    size: int
    """Milliseconds of the model's windows."""
    rules: tuple[AlertRule, ...] = field(init=False)
    budget: Sums = field(init=False)
    arrived: Sums = field(init=False)
    rates: dict[int, Sums] = field(init=False)
    marks: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    news: Arrived = field(default_factory=Arrived)
    dirty: bool = False
    now: int = 0
    _finest: int = field(init=False)
    _since: int | None = None
    _standing: ObjectiveStanding | None = None
    _forecast: _Forecast | None = None

    def __post_init__(self) -> None:
        self.rules = alert_rules(self.spec, self.size)
        self.budget = self._whole()
        self.arrived = self._whole() if self.spec.waits_for_labels else self.budget
        windows = burn_windows(self.spec, self.rules)
        self.rates = {w: Sums.over(w, PARTS) for w in windows if w != self.spec.window or self.spec.calendar}
        every = (self.budget, *self.rates.values())
        self._finest = math.gcd(*(sums.resolution for sums in every))

    def _whole(self) -> Sums:
        if self.spec.calendar is not None:
            return Sums(CALENDAR_RESOLUTION, 366 * DAY)
        return Sums.over(self.spec.window, PERIOD_PARTS)

    # What happened

    def count(self, times: Ints, arrivals: Ints, good: Bools, sign: Ints) -> None:
        """Add n events, or take them back where `sign` is -1; those do not unhappen by arrival."""
        if not len(times):
            return
        batch = Batch.of(times, sign * good, sign, self._finest)
        self.budget.add(batch)
        new = sign > 0
        self._arrive(Batch.of(arrivals[new], good[new].astype(np.int64), sign[new], self._finest))

    def _arrive(self, batch: Batch) -> None:
        if self.arrived is not self.budget:
            self.arrived.add(batch)
        for sums in self.rates.values():
            sums.add(batch)
        self.news.good += int(batch.good.sum())
        self.news.total += int(batch.total.sum())
        self.dirty, self._standing = True, None

    def set(self, version: str, start: int, arrival: int, good: int, total: int) -> None:
        """Say what the window of a version that begins at `start` counts; it may be said again."""
        key = (version, start)
        before = self.marks.get(key)
        if (good, total) == before or start // self.budget.resolution <= self.budget.after:
            return
        self.marks[key] = (good, total)
        was_good, was_total = before or (0, 0)
        delta = Batch(np.array([start]), np.array([good - was_good]), np.array([total - was_total]))
        self.budget.add(delta)
        self.dirty, self._standing = True, None
        if before is None:
            self._arrive(Batch(np.array([arrival]), np.array([good]), np.array([total])))

    def advance(self, now: int) -> None:
        """Let the windows end at `now`, milliseconds; time does not go back."""
        if now <= self.now:
            return
        self.now = now
        for sums in (self.budget, self.arrived):
            if self.spec.calendar is None:
                sums.advance(now)
            else:
                sums.forget(self._period()[0] // sums.resolution - 1)
        for sums in self.rates.values():
            sums.advance(now)
        for key in [key for key in self.marks if key[1] // self.budget.resolution <= self.budget.after]:
            del self.marks[key]
        self._standing = None

    def _period(self) -> tuple[int, int]:
        if self.spec.calendar is None:
            return self.now - self.spec.window, self.now
        return period(self.spec.calendar, zone(self.spec.time_zone), self.now)

    # Where it stands

    def standing(self) -> ObjectiveStanding:
        """Where the objective stands now."""
        if self._standing is None:
            self._standing = self._stand()
        return self._standing

    def _stand(self) -> ObjectiveStanding:
        spec, allowed = self.spec, 1 - self.spec.target
        start, end = self._period()
        rates = dict(self.rates)
        if spec.calendar is None:
            rates[spec.window] = self.arrived
        burn = tuple(BurnRate(w, self._rate(sums), sums.total) for w, sums in sorted(rates.items()))
        by_window = {one.window: one.rate or 0.0 for one in burn}
        alerts = tuple(
            BurnAlert(
                rule.severity,
                rule.short,
                rule.long,
                rule.factor,
                min(by_window[rule.short], by_window[rule.long]) > rule.factor,
            )
            for rule in self.rules
        )
        self._burns(any(alert.firing for alert in alerts))
        recent = rates[min((w for w in rates if w >= (end - start) / 30), default=max(rates))]
        return ObjectiveStanding(
            self.model,
            self.name,
            spec.description,
            spec.indicator.words,
            spec.version or "",
            spec.arm or "",
            spec.segment,
            getattr(spec.indicator, "basis", "realised"),
            spec.target,
            spec.calendar or "",
            start,
            end,
            self.budget.good,
            self.budget.total,
            self._remaining(self.budget),
            self._remaining(self.arrived),
            burn,
            alerts,
            self._exhaustion(recent, allowed, end),
            self._since,
        )

    def _burns(self, firing: bool) -> None:
        """Remember since when some alert fires."""
        if firing != (self._since is not None):
            self._since = self.now if firing else None
            self.dirty = True

    def _exhaustion(self, recent: Sums, allowed: float, end: int) -> Exhaustion | None:
        """The forecast; the last one for as long as nothing has happened that would move it much.

        It is what costs most of a standing, and tells times that are a `STEPS`th of the window apart.
        """
        calendar = self.spec.calendar is not None
        late, spent = recent.errors, self.budget.errors
        kept, reach = self._forecast, end - self.now if calendar else self.spec.window
        if kept is None or not kept.holds(self.now, late, spent, allowed, reach):
            found = exhaustion(self.budget, recent, allowed, self.now, end if calendar else None)
            kept = self._forecast = _Forecast(self.now, late, spent, found)
        return kept.found

    def _rate(self, sums: Sums) -> float | None:
        errors = sums.errors
        return None if errors is None else errors / (1 - self.spec.target)

    def _remaining(self, sums: Sums) -> float | None:
        rate = self._rate(sums)
        return None if rate is None else 1 - rate

    # State

    @property
    def identity(self) -> str:
        """What is counted; with anything else the counting begins anew."""
        counted = {"indicator", "version", "arm", "segment", "window", "calendar", "time_zone"}
        return self.spec.model_dump_json(include=counted)

    def to_bytes(self) -> bytes:
        """Compact bytes."""
        marks = [[version, start, *counts] for (version, start), counts in self.marks.items()]
        fields: dict[str, Packable] = {
            "identity": self.identity,
            "now": self.now,
            "marks": marks,
            "budget": self.budget.saved(),
            "arrived": self.arrived.saved(),
            "windows": list(self.rates),
            "since": self._since,
        }
        return pack(fields | {f"rate.{window}": sums.saved() for window, sums in self.rates.items()})

    def restore(self, data: bytes) -> None:
        """Go on from the bytes, unless they are of another objective under the same name."""
        fields = unpack(data)
        if fields["identity"] != self.identity:
            return
        self.budget.restore(fields.array("budget", np.int64, -1, 3))
        if self.arrived is not self.budget:
            self.arrived.restore(fields.array("arrived", np.int64, -1, 3))
        for window in set(fields["windows"]) & set(self.rates):
            self.rates[window].restore(fields.array(f"rate.{window}", np.int64, -1, 3))
        self.marks = {(version, start): (good, total) for version, start, good, total in fields["marks"]}
        self._since = fields.get("since")  # states of 0.1.0 do not say
        self.advance(fields["now"])
