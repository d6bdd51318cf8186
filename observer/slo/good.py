"""Which events are good: per kind of indicator, over columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.base import Bools, Floats, Ints, Numbers
from detectors.summaries.outcomes.regression import GREATEST
from observer.model import ARMS, Predictions
from observer.segments import Dimension
from observer.slo.spec import Complete, Correct, ErrorWithin, Latency, ObjectiveSpec


@dataclass(frozen=True, slots=True)
class Places:
    """Where each of n events belongs.

    Attributes
    ----------
    versions : sequence of str
        Names by code.
    dimensions : tuple of Dimension
    version, arm : integer[n]
        Codes; of `ARMS` for the arm.
    segments : uint8[n, D]
        Codes of `dimensions`.
    """

    versions: Sequence[str]
    dimensions: tuple[Dimension, ...]
    version: NDArray[np.integer]
    arm: NDArray[np.integer]
    segments: NDArray[np.uint8]

    def within(self, spec: ObjectiveSpec) -> Bools:
        """Which events the objective is about, bool[n]."""
        chosen = np.ones(len(self.version), np.bool_)
        if spec.version is not None:
            known = self.versions.index(spec.version) if spec.version in self.versions else -1
            chosen &= self.version == known
        if spec.arm is not None:
            chosen &= self.arm == ARMS.index(spec.arm)
        if spec.segment:
            chosen &= self._segment(spec.segment)
        return chosen

    def _segment(self, name: str) -> Bools:
        for d, dimension in enumerate(self.dimensions):
            for code in range(len(dimension.values) + 1):
                if dimension.name(code) == name:
                    return np.asarray(self.segments[:, d] == code)
        return np.zeros(len(self.version), np.bool_)


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Predictions with their label.

    Attributes
    ----------
    time, label_time : int64[n]
        Of prediction and label, milliseconds.
    label, prediction : float64[n]
        Numbers, or class codes: -1 absent, `classes` for a class beyond those that are known.
    weight : float64[n]
    sign : int[n]
        +1 adds the row, -1 takes it back.
    classes : int
        How many the model knows; 0 for regression.
    """

    time: Ints
    label_time: Ints
    label: Floats
    prediction: Floats
    weight: Floats
    sign: NDArray[np.int8]
    classes: int


def of_predictions(
    indicator: Complete | Latency, batch: Predictions, features: Sequence[str]
) -> tuple[Bools, Bools]:
    """Which events count, and which are good: bool[n] each; `features` are those of the reference."""
    if isinstance(indicator, Latency):
        return ~np.isnan(batch.latency_ms), batch.latency_ms <= indicator.within
    wanted = indicator.features or features
    good = np.ones(len(batch), np.bool_)
    for name in wanted:
        column = batch.features.get(name)
        if column is None:
            good[:] = False
        elif isinstance(column, Numbers):
            good &= ~np.isnan(column.values)
        else:
            good &= column.codes >= 0
    return np.full(len(batch), bool(wanted)), good


def of_labels(indicator: Correct | ErrorWithin, rows: LabelledRows) -> tuple[Bools, Bools]:
    """Which rows count, and which are good: bool[n] each; rows that quality leaves out do not count."""
    label, prediction = rows.label, rows.prediction
    usable = (rows.weight >= 0) & np.isfinite(rows.weight)
    if isinstance(indicator, Correct):
        usable &= (label >= 0) & (prediction >= 0)
        # A binary model has no third class; of several, two beyond the known ones say nothing.
        usable &= label < rows.classes if rows.classes == 2 else np.minimum(label, prediction) < rows.classes
        return usable, label == prediction
    if rows.classes:
        return np.zeros(len(label), np.bool_), np.zeros(len(label), np.bool_)
    usable &= (np.abs(label) <= GREATEST) & (np.abs(prediction) <= GREATEST)
    allowed = np.full(len(label), indicator.absolute or 0.0)
    if indicator.relative is not None:
        allowed = np.maximum(allowed, indicator.relative * np.abs(label))
    return usable, np.abs(prediction - label) <= allowed
