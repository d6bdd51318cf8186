"""Predictions of one cohort window against their labels, in retractable sums; no row is kept."""

from typing import TypeAlias

from detectors.summaries.outcomes.binary import BinaryOutcomes, score_edges
from detectors.summaries.outcomes.multiclass import MAX_CLASSES, MulticlassOutcomes
from detectors.summaries.outcomes.regression import RegressionOutcomes

Outcomes: TypeAlias = BinaryOutcomes | MulticlassOutcomes | RegressionOutcomes

__all__ = [
    "MAX_CLASSES",
    "BinaryOutcomes",
    "MulticlassOutcomes",
    "Outcomes",
    "RegressionOutcomes",
    "score_edges",
]
