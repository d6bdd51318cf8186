"""Time as the evidence sees it: strata of the season, and how much history a page needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.base import DetectorError, Ints

HOUR = 3_600_000
DAY = 24 * HOUR
"""Milliseconds."""

_MONDAY = 3  # 1970-01-01 was a Thursday
_LEAST_WINDOWS = 28


@dataclass(frozen=True, slots=True)
class Season:
    """Strata of tumbling windows of one length: windows of one stratum are expected to look alike.

    Windows shorter than a day: hour of their start x weekend (48 strata); from a day to under a week:
    day of the week (7); longer: none (1).

    Attributes
    ----------
    window : int
        Length of a window, milliseconds.
    offset : int
        Local time less UTC, milliseconds.
    """

    window: int
    offset: int = 0

    def __post_init__(self) -> None:
        if self.window <= 0:
            msg = f"a window of {self.window} ms; accepted: more than 0"
            raise DetectorError(msg)

    @property
    def strata(self) -> int:
        """How many there are."""
        if self.window < DAY:
            return 48
        return 7 if self.window < 7 * DAY else 1

    def of(self, starts: Ints) -> Ints:
        """Stratum of each window, int64[n], from their starts in milliseconds since the epoch."""
        day, within = np.divmod(np.asarray(starts, np.int64) + self.offset, DAY)
        weekday = (day + _MONDAY) % 7
        if self.window < DAY:
            return np.asarray(within // HOUR + 24 * (weekday >= 5))
        return np.asarray(weekday if self.strata == 7 else np.zeros_like(weekday))

    def windows(self, days: float) -> float:
        """Windows in so many days."""
        return days * DAY / self.window

    @property
    def history(self) -> int:
        """Reference windows before anything may page: two weeks of them, from daily windows on four weeks.

        Never fewer than 28 windows, however long each is.
        """
        days = 14 if self.window < DAY else 28
        return max(round(self.windows(days)), _LEAST_WINDOWS)
