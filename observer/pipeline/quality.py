"""What a model's quality is measured on: how predictions, scores and labels become numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.base import Column, Floats, Numbers
from detectors.summaries.outcomes import BinaryOutcomes, MulticlassOutcomes, Outcomes, RegressionOutcomes
from detectors.summaries.packing import pack, unpack
from detectors.summaries.predicted import ClassTable
from observer.labels import Records
from observer.model import Schema, Task
from observer.references import PREDICTION, Reference, class_table, other_than


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """Task, classes and score bins of a model; settled once, since stored outcomes depend on it.

    Attributes
    ----------
    classes : tuple of str
        Of a binary task negative then positive; empty for regression. A code beyond them stands for
        any other class, -1 for none. Where only the positive class is known, any other is the negative one.
    edges : float64[K, B - 1]
        Score edges per class; one row, the positive class's, for a binary task.
    confidence_edges : float64[C - 1]
        Edges of the top score, for a multiclass task.
    center : float
        Mean label or prediction of the reference, for regression.
    """

    task: Task
    classes: tuple[str, ...]
    edges: Floats
    confidence_edges: Floats
    center: float
    _table: ClassTable | None = field(init=False, repr=False)
    """None for regression."""

    def __post_init__(self) -> None:
        table = None
        if self.task != "regression":
            binary = self.task == "binary"
            unnamed = binary and self.classes[0] == other_than(self.classes[1])
            table = ClassTable(self.classes, self.edges, binary=binary, only_positive=unnamed)
        object.__setattr__(self, "_table", table)

    @property
    def n_scores(self) -> int:
        """Scores kept of a prediction."""
        return {"binary": 1, "multiclass": len(self.classes), "regression": 0}[self.task]

    def zero(self) -> Outcomes:
        """Empty outcomes."""
        if self.task == "binary":
            return BinaryOutcomes(self.edges[0])
        if self.task == "multiclass":
            return MulticlassOutcomes(self.classes, self.edges, self.confidence_edges)
        return RegressionOutcomes(self.center)

    def read(self, data: bytes) -> Outcomes:
        """The outcomes that gave `data`."""
        if self.task == "binary":
            return BinaryOutcomes.from_bytes(data, self.edges[0])
        if self.task == "multiclass":
            return MulticlassOutcomes.from_bytes(data, self.classes, self.edges, self.confidence_edges)
        return RegressionOutcomes.from_bytes(data, self.center)

    def update(self, outcomes: Outcomes, rows: Records, sign: NDArray[np.int8]) -> None:
        """Add joined rows (`observer.labels`), or take out those whose sign is -1."""
        weight = rows["weight"].astype(np.float64)
        if isinstance(outcomes, RegressionOutcomes):
            outcomes.update(rows["label"], rows["prediction"], weight, sign.astype(np.int64))
            return
        actual, predicted = rows["label"].astype(np.int64), rows["prediction"].astype(np.int64)
        if isinstance(outcomes, BinaryOutcomes):
            outcomes.update(
                actual, predicted, rows["scores"][:, 0].astype(np.float64), weight, sign.astype(np.int64)
            )
        else:
            outcomes.update(
                actual, predicted, rows["scores"].astype(np.float64), weight, sign.astype(np.int64)
            )

    def values(self, column: Column) -> Floats:
        """Predictions or labels as float64[n]: numbers, or class codes (-1 missing, K another class)."""
        if self._table is not None:
            return self._table.codes(column).astype(np.float64)
        return column.values if isinstance(column, Numbers) else np.full(len(column), np.nan)

    def scores(self, scores: Mapping[str, Column], n: int) -> Floats:
        """Scores as float64[n, n_scores], NaN where absent."""
        return np.empty((n, 0)) if self._table is None else self._table.scores(scores, n)

    def to_bytes(self) -> bytes:
        """Compact bytes."""
        return pack(
            {
                "task": self.task,
                "classes": list(self.classes),
                "edges": self.edges,
                "confidence_edges": self.confidence_edges,
                "center": self.center,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Shape:
        """The shape that gave `data`."""
        fields = unpack(data)
        return cls(
            fields["task"],
            tuple(fields["classes"]),
            fields["edges"],
            fields["confidence_edges"],
            fields["center"],
        )


def settle(schema: Schema, reference: Reference | None) -> Shape | None:
    """The shape, once task and classes are known; None before."""
    task = schema.task
    if task is None:
        return None
    if task == "regression":
        return Shape(task, (), np.empty((0, 0)), np.empty(0), _center(reference))
    table = class_table(schema, reference.score_edges if reference else {})
    if table is None:
        return None
    confidence = np.empty(0) if table.binary else np.linspace(0.0, 1.0, 17)[1:-1]
    return Shape(task, table.classes, table.edges, confidence, 0.0)


def _center(reference: Reference | None) -> float:
    if reference is not None and PREDICTION in reference.table.binning.names:
        return float(reference.table.binning.center[reference.table.binning.names.index(PREDICTION)])
    return 0.0
