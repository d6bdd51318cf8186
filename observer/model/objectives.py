"""How a service level objective stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class BurnRate:
    """How fast an objective's error budget was spent over one window that ends now."""

    window: int
    """Milliseconds."""
    rate: float | None
    """Share of bad events over the share allowed: 1 spends just the budget, 14.4 that of 30 days in 50 hours;
    None without events."""
    events: int
    """What it rests on; each window's share is weighted by traffic."""


@dataclass(frozen=True, slots=True)
class BurnAlert:
    """A rule of multiwindow, multi-burn-rate alerting: it fires while both windows burn above the factor."""

    severity: Literal["page", "ticket"]
    short: int
    """Milliseconds, as `long`."""
    long: int
    factor: float
    firing: bool


@dataclass(frozen=True, slots=True)
class Exhaustion:
    """When the budget will be spent if traffic and errors go on as they are; milliseconds since the epoch."""

    earliest: int
    """At the upper end of the band of the present error ratio."""
    expected: int | None
    """None where the budget lasts at the present error ratio."""
    latest: int | None
    """At the lower end of the band; None where it lasts there."""


@dataclass(frozen=True, slots=True)
class ObjectiveStanding:
    """Where a service level objective stands.

    Attributes
    ----------
    name : str
        Of the objective, one of its model's.
    indicator : str
        What is measured, in words.
    version, arm, segment : str
        Which of the model's predictions it is about; empty for all of them.
    basis : str
        `realised`, or `estimated` without labels.
    target : float
        Share of events that has to be good.
    calendar : str
        `day`, `week`, `month`, `quarter` or `year`; empty for a rolling window.
    start, end : int
        The window the budget is of, milliseconds; a calendar window ends in the future.
    good, total : int
        Events in it by the time of the prediction, as far as their labels have come: what labels say late
        moves the past.
    remaining : float or None
        Share of the error budget that is left, negative once overspent; None without events.
    remaining_by_arrival : float or None
        The same with events counted when their label came, as Prometheus counts them.
    burn : tuple of BurnRate
        By arrival, shortest window first.
    alerts : tuple of BurnAlert
    exhaustion : Exhaustion or None
        None where the budget lasts, even at the upper end of the band, or is spent already.
    since : int or None
        From when on some alert has fired without a pause, milliseconds; None while none fires.
    """

    model: str
    name: str
    description: str
    indicator: str
    version: str
    arm: str
    segment: str
    basis: Literal["realised", "estimated"]
    target: float
    calendar: str
    start: int
    end: int
    good: int
    total: int
    remaining: float | None
    remaining_by_arrival: float | None
    burn: tuple[BurnRate, ...]
    alerts: tuple[BurnAlert, ...]
    exhaustion: Exhaustion | None
    since: int | None = None

    @property
    def ratio(self) -> float | None:
        """Share of good events; None without events."""
        return self.good / self.total if self.total else None

    @property
    def severity(self) -> Literal["page", "ticket", ""]:
        """The gravest of the alerts that fire."""
        firing = {alert.severity for alert in self.alerts if alert.firing}
        return "page" if "page" in firing else "ticket" if "ticket" in firing else ""
