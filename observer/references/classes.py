"""How a classifier's predictions are counted: its classes, and the score bins that its reference fixed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from detectors.base import Floats
from detectors.summaries.outcomes import MAX_CLASSES, score_edges
from detectors.summaries.predicted import ClassTable
from observer.model import Schema
from observer.references.overrides import SCORE

SCORE_BINS = {"binary": 256, "multiclass": 64}
"""Score bins, of each class."""


def other_than(positive: str) -> str:
    """What the negative class is called while nobody has named it."""
    return f"not {positive}"


def class_table(schema: Schema, edges: Mapping[str, Floats]) -> ClassTable | None:
    """The table of a schema and of edges by score column; None of no classifier, or while it is not known.

    A score without edges gets even ones.
    """
    classes = schema.classes[:MAX_CLASSES]
    if schema.task == "binary" and schema.positive is not None:
        negative = next((name for name in classes if name != schema.positive), None)
        names = (other_than(schema.positive) if negative is None else negative, schema.positive)
        one = _edges(edges, SCORE, SCORE_BINS["binary"])
        return ClassTable(names, one[None, :], binary=True, only_positive=negative is None)
    if schema.task == "multiclass" and len(classes) >= 2:
        of_each = [_edges(edges, f"{SCORE}.{name}", SCORE_BINS["multiclass"]) for name in classes]
        return ClassTable(classes, np.array(of_each), binary=False)
    return None


def _edges(edges: Mapping[str, Floats], name: str, bins: int) -> Floats:
    known = edges.get(name)
    return known if known is not None and len(known) == bins - 1 else score_edges(np.empty(0), bins)
