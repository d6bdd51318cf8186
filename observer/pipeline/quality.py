"""What a model's quality is measured on: how predictions, scores and labels become numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.base import Categories, Column, Floats, Numbers
from detectors.summaries.categories import as_categories
from detectors.summaries.outcomes import (
    MAX_CLASSES,
    BinaryOutcomes,
    MulticlassOutcomes,
    Outcomes,
    RegressionOutcomes,
    score_edges,
)
from detectors.summaries.packing import pack, unpack
from observer.labels import Records
from observer.model import Schema, Task
from observer.references import PREDICTION, SCORE, Reference

_TRUE, _FALSE = ("1", "true"), ("0", "false")


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
    _codes: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        codes = {name: code for code, name in enumerate(self.classes)}
        if self.task == "binary":
            # 1 and true say the same, and so do 0 and false, whatever the producer's taste.
            for alike in (_TRUE, _FALSE):
                known = [codes[name] for name in alike if name in codes]
                codes.update({name: known[0] for name in alike if known})
        object.__setattr__(self, "_codes", codes)

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
        if self.task == "regression":
            if isinstance(column, Numbers):
                return column.values
            return np.full(len(column), np.nan)
        named: Categories = as_categories(column)
        unnamed = self.task == "binary" and self.classes[0] == _other_than(self.classes[1])
        beyond = 0 if unnamed else len(self.classes)
        table = np.array([*(self._codes.get(name, beyond) for name in named.names), -1.0, -1.0])
        return np.asarray(table[named.codes], np.float64)

    def scores(self, scores: dict[str, Numbers], n: int) -> Floats:
        """Scores as float64[n, n_scores], NaN where absent."""
        out = np.full((n, self.n_scores), np.nan)
        if self.task == "binary":
            column = scores.get("") or scores.get(self.classes[1])
            if column is not None:
                out[:, 0] = column.values
        elif self.task == "multiclass":
            for i, name in enumerate(self.classes):
                if name in scores:
                    out[:, i] = scores[name].values
        return out

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


def _other_than(positive: str) -> str:
    """What the negative class is called while nobody has named it."""
    return f"not {positive}"


def settle(schema: Schema, reference: Reference | None) -> Shape | None:
    """The shape, once task and classes are known; None before."""
    task = schema.task
    if task is None:
        return None
    if task == "regression":
        return Shape(task, (), np.empty((0, 0)), np.empty(0), _center(reference))
    classes = schema.classes[:MAX_CLASSES]
    if task == "binary":
        if schema.positive is None:
            return None
        negative = next((name for name in classes if name != schema.positive), _other_than(schema.positive))
        edges = _edges(reference, 256, SCORE)
        return Shape(task, (negative, schema.positive), edges[None, :], np.empty(0), 0.0)
    if len(classes) < 2:
        return None
    edges = np.array([_edges(reference, 64, f"{SCORE}.{name}") for name in classes])
    confidence = np.linspace(0.0, 1.0, 17)[1:-1]
    return Shape(task, classes, edges, confidence, 0.0)


def _edges(reference: Reference | None, bins: int, name: str) -> Floats:
    known = reference.score_edges.get(name) if reference else None
    return known if known is not None and len(known) == bins - 1 else score_edges(np.empty(0), bins)


def _center(reference: Reference | None) -> float:
    if reference is not None and PREDICTION in reference.table.binning.names:
        return float(reference.table.binning.center[reference.table.binning.names.index(PREDICTION)])
    return 0.0
