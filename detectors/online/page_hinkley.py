"""Page and Hinkley's test: a mean that has moved, with a threshold from a wished run length.

References
----------
Page: Continuous inspection schemes. Biometrika 41 (1954). Hinkley: Inference about the change-point from
cumulative sum tests. Biometrika 58 (1971). Hawkins: Self-starting CUSUM charts for location and scale. The
Statistician 36 (1987). Quesenberry: SPC Q charts for start-up processes. Journal of Quality Technology 23
(1991).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field
from scipy.special import ndtri, stdtr

from detectors.base import Bools, DetectorError, Floats
from detectors.online.run_length import cusum_threshold
from detectors.online.spec import Direction, Moments, MomentsSpec, Standing
from detectors.summaries.packing import pack, unpack

_CLIP = 12.0
_TINY = 1e-9
"""Least standard deviation, in units of the reference: what rounding moves."""


class PageHinkley(MomentsSpec):
    """Parameters of Page and Hinkley's test; see `PageHinkleyState`.

    Sees lasting shifts of a mean of about `shift`; misses changes that leave the mean. Takes its observations
    as independent: with `row`, windows whose means vary more than their rows do break the run length;
    with `window` only windows that are like their neighbours do (a season, autocorrelation).
    """

    type: Literal["page_hinkley"] = "page_hinkley"
    run_length: float = Field(50_000.0, ge=2, le=1e7, description="Mean windows between false alarms.")
    shift: float = Field(
        1.0, ge=0.1, le=8, description="Shift found soonest, in standard errors of a window's mean."
    )
    direction: Direction = Field("both", description="Which shifts count.")

    @property
    def threshold(self) -> float:
        """That has the wished run length; two one-sided tests alarm together twice as often as one."""
        sides = 2 if self.direction == "both" else 1
        return cusum_threshold(sides * self.run_length, self.shift / 2)

    def fresh(self, reference: Moments) -> PageHinkleyState:
        """A detector of K streams; where the reference has no rows, the mean is learnt from the windows."""
        return PageHinkleyState(self, reference)


class PageHinkleyState:
    """K streams: g <- max(g ± Q - shift / 2, 0), alarm when g exceeds the threshold.

    Q says how far a window's mean lies from the mean of all rows before it, the reference's among them.
    Standardised by all that is uncertain (the window, the mean and the variance so far) and carried from
    Student's distribution to the normal, the Q of normal rows without a change are independent and standard
    normal, however short the reference. So the run length needs no charge for estimating. Its price:
    a shift becomes part of the mean, and one that is not found within as many rows as came before it fades.
    """

    def __init__(self, spec: PageHinkley, reference: Moments) -> None:
        mean, variance = np.asarray(reference.mean, np.float64), np.asarray(reference.variance, np.float64)
        rows = np.asarray(reference.rows, np.float64)
        if not rows.ndim == 1 or not rows.shape == mean.shape == variance.shape:
            raise DetectorError("a reference: accepted are rows, mean and variance of K streams, [K] each")
        self.spec = spec
        known = (rows > 0) & np.isfinite(mean) & np.isfinite(variance)
        self._center = np.where(known, mean, 0.0)
        unit = np.where(variance > 0, np.sqrt(np.maximum(variance, 0.0)), np.abs(mean))
        self._unit = np.where(known & (unit > 0), unit, 1.0)
        first = reference.scaled(self._center, self._unit)
        self._rows, self._mean, self._squares = first.rows, first.mean, first.rows * first.variance
        self._g = np.zeros((2, len(rows)))  # up, down
        self._age = np.zeros((2, len(rows)), np.int64)

    def update(self, window: Moments) -> Standing:
        """Advance by one closed window of K streams."""
        rows, mean, variance = window.scaled(self._center, self._unit)
        seen = rows > 0
        ready = seen & (self._rows >= 2)
        q = self._surprise(rows, mean, ready)
        g = np.maximum(self._g + np.stack((q, -q)) - self.spec.shift / 2, 0.0)
        g = np.minimum(g, 2 * self.spec.threshold + _CLIP)  # so that what is over is soon forgotten
        self._age = np.where(ready, np.where(g > 0, self._age + 1, 0), self._age)
        self._g = np.where(ready, g, self._g)
        self._absorb(rows, mean, variance)
        return self._standing()

    def _surprise(self, rows: Floats, mean: Floats, ready: Bools) -> Floats:
        """Q, float64[K]; 0 where not ready."""
        freedom = np.where(ready, self._rows - 1, 1.0)
        deviation = np.maximum(np.sqrt(self._squares / freedom), _TINY)
        spread = deviation * np.sqrt(1 / np.where(ready, rows, 1.0) + 1 / np.where(ready, self._rows, 1.0))
        t = np.where(ready, (mean - self._mean) / spread, 0.0)
        tail = stdtr(freedom, -np.abs(t))
        return np.asarray(np.sign(t) * np.minimum(-ndtri(np.maximum(tail, 1e-300)), _CLIP))

    def _absorb(self, rows: Floats, mean: Floats, variance: Floats) -> None:
        total = self._rows + rows
        share = np.divide(rows, total, out=np.zeros_like(total), where=total > 0)
        apart = mean - self._mean
        self._squares = self._squares + rows * variance + apart**2 * share * self._rows
        self._mean = self._mean + apart * share
        self._rows = total

    def _standing(self) -> Standing:
        g = self._g[{"both": [0, 1], "up": [0], "down": [1]}[self.spec.direction]]
        side = g.argmax(axis=0) + (self.spec.direction == "down")
        columns = np.arange(len(self._rows))
        statistic = self._g[side, columns]
        threshold = np.full(len(columns), self.spec.threshold)
        return Standing(
            self._rows >= 2, statistic > threshold, statistic, threshold, self._age[side, columns]
        )

    def reset(self, which: Bools) -> None:
        """Forget the evidence of the streams bool[K]; the mean so far stays."""
        self._g = np.where(which, 0.0, self._g)
        self._age = np.where(which, 0, self._age)

    def snapshot(self) -> bytes:
        """The whole state but the reference."""
        return pack(
            {
                "rows": self._rows,
                "mean": self._mean,
                "squares": self._squares,
                "g": self._g,
                "age": self._age,
            }
        )

    def restore(self, state: bytes) -> None:
        """Replace the state by one that `snapshot` gave for this reference; raises `ValueError` if not."""
        fields, size = unpack(state), len(self._rows)
        rows, mean, squares = (fields.array(name, np.float64, size) for name in ("rows", "mean", "squares"))
        g, age = fields.array("g", np.float64, 2, size), fields.array("age", np.int64, 2, size)
        self._rows, self._mean, self._squares, self._g, self._age = rows, mean, squares, g, age
