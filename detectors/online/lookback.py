"""Detectors that compare the rows of the last windows with a reference, at calibrated thresholds."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
from pydantic import Field, model_validator

from detectors.base import Bools, DetectorError, Floats
from detectors.online.run_length import memoryless_thresholds
from detectors.online.spec import OnlineSpec, Standing
from detectors.summaries.packing import Fields, Packable, pack, unpack


class LookbackSpec(OnlineSpec):
    """Parameters of a detector that looks back over several spans of windows at once.

    A step takes `rows` rows of a closed window, the first in the order of their keys; so few that nearly
    every window has them. Windows with fewer make a step together. `rows` of 1 and windows of one row
    give a detector of single observations.
    """

    run_length: float = Field(720.0, ge=10, le=10_000, description="Mean steps between false alarms.")
    rows: int = Field(50, ge=1, le=1000, description="Rows of a window that enter.")
    lookbacks: tuple[int, ...] = Field((1, 4, 16), min_length=1, max_length=8, description="Spans, in steps.")
    seed: int = Field(0, ge=0, description="Of the simulation that sets the thresholds.")

    @model_validator(mode="after")
    def _increasing(self) -> LookbackSpec:
        spans = self.lookbacks
        if spans[0] < 1 or spans[-1] > 256 or any(a >= b for a, b in zip(spans, spans[1:], strict=False)):
            msg = f"lookbacks {spans}; accepted are increasing numbers of steps, 1..256"
            raise ValueError(msg)
        return self

    def calibrated(self, statistics: Floats) -> tuple[Floats, Floats]:
        """Scale and thresholds from statistics without a change, float64[S, T, L]."""
        return memoryless_thresholds(statistics, self.run_length, self.lookbacks[-1])

    def streams(self, steps: int) -> int:
        """How many streams of so many steps to simulate: enough for some 400 crossings once settled."""
        late = steps - self.lookbacks[-1]
        return max(4000, math.ceil(10 * self.run_length), math.ceil(400 * self.run_length / late))


class LookbackState(ABC):
    """One stream; alarms when the largest of its lookbacks' statistics, each over its scale, is exceptional.

    The threshold of a step is the (1 - 1/run_length) quantile among simulated streams that have not crossed
    before, so that a false alarm is equally likely at every step, from the first on. It is simulated at the
    first step; a snapshot holds it.

    Attributes
    ----------
    reason : str
        Why it cannot answer at all; "" when it can.
    scale : float64[lookbacks]
    thresholds : float64[longest lookback + 1], or [0] before they are known
    """

    def __init__(self, spec: LookbackSpec, width: int, reason: str) -> None:
        self.spec = spec
        self.reason = reason
        self.scale = np.ones(len(spec.lookbacks))
        self.thresholds = np.empty(0)
        self._pending = np.empty((0, width))
        self._steps = 0
        self._ratios = np.zeros(len(spec.lookbacks))

    def update(self, values: Floats) -> Standing:
        """Advance by one closed window: float64[n, D], or [n] of one column; NaN where missing."""
        values = np.asarray(values, np.float64)
        rows = values[:, None] if values.ndim == 1 else values
        if rows.ndim != 2 or rows.shape[1] != self._pending.shape[1]:
            msg = f"rows of shape {values.shape}; the reference has {self._pending.shape[1]} columns"
            raise DetectorError(msg)
        if self.reason:
            return self._standing()
        held = np.concatenate((self._pending, rows[~np.isnan(rows).all(axis=1)][: self.spec.rows]))
        if len(held) < self.spec.rows:
            self._pending = held
            return self._standing()
        if not len(self.thresholds):
            self.scale, self.thresholds = self._calibrated()
        self._pending = held[:0]
        self._push(held[: self.spec.rows], self._steps % self.spec.lookbacks[-1])
        self._steps += 1
        self._ratios = self._statistics() / self.scale
        return self._standing()

    def _recent(self, span: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        """Places of the last `span` steps, or of as many as there were."""
        ring = self.spec.lookbacks[-1]
        return (self._steps - 1 - np.arange(min(span, self._steps))) % ring

    def _standing(self) -> Standing:
        lead, step = int(self._ratios.argmax()), self._steps
        threshold = self.thresholds[min(step, len(self.thresholds)) - 1] if step else 0.0
        return Standing(
            np.array([step > 0]),
            np.array([step > 0 and bool(self._ratios[lead] > threshold)]),
            self._ratios[[lead]],
            np.array([threshold]),
            np.array([min(step, self.spec.lookbacks[lead])]),
            self.reason or ("" if step else f"fewer than {self.spec.rows} rows have come"),
        )

    def reset(self, which: Bools) -> None:
        """Start anew if bool[1] says so; the thresholds too are those of the first steps again."""
        if which[0]:
            self._pending = self._pending[:0]
            self._steps = 0
            self._ratios = np.zeros_like(self._ratios)
            self._clear()

    def snapshot(self) -> bytes:
        """The whole state but the reference; the thresholds too, so that nothing need be simulated again."""
        return pack(
            {
                "scale": self.scale,
                "thresholds": self.thresholds,
                "pending": self._pending,
                "steps": self._steps,
                "ratios": self._ratios,
                **self._fields(),
            }
        )

    def restore(self, state: bytes) -> None:
        """Replace the state by one that `snapshot` gave for this reference; raises `ValueError` if not."""
        fields = unpack(state)
        scale = fields.array("scale", np.float64, len(self.scale))
        thresholds = fields.array("thresholds", np.float64, -1)
        if len(thresholds) not in (0, self.spec.lookbacks[-1] + 1):
            msg = f"{len(thresholds)} thresholds for lookbacks {self.spec.lookbacks}"
            raise ValueError(msg)
        pending = fields.array("pending", np.float64, -1, self._pending.shape[1])
        ratios = fields.array("ratios", np.float64, len(self.scale))
        steps = fields.count("steps")
        self._restore(fields)
        self.scale, self.thresholds, self._pending = scale, thresholds, pending
        self._ratios, self._steps = ratios, steps

    @abstractmethod
    def _calibrated(self) -> tuple[Floats, Floats]:
        """Scale and thresholds (`LookbackSpec.calibrated`)."""

    @abstractmethod
    def _push(self, rows: Floats, place: int) -> None:
        """Put a step's rows in their place of the ring."""

    @abstractmethod
    def _statistics(self) -> Floats:
        """float64[L]: over each lookback."""

    @abstractmethod
    def _clear(self) -> None:
        """Forget the rows."""

    @abstractmethod
    def _fields(self) -> dict[str, Packable]:
        """Of the ring, to be packed."""

    @abstractmethod
    def _restore(self, fields: Fields) -> None:
        """Read what `_fields` gave; raises `ValueError` when it does not fit."""
