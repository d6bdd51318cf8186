"""Quality of labelled predictions: named metric values from outcomes summaries."""

from detectors.quality.catalog import CATALOG, MetricSpec
from detectors.quality.classification import evaluate_binary, evaluate_multiclass
from detectors.quality.coverage import bounds
from detectors.quality.metric import Metric
from detectors.quality.regression import evaluate_regression
from detectors.summaries.outcomes import BinaryOutcomes, MulticlassOutcomes, Outcomes

__all__ = ["CATALOG", "Metric", "MetricSpec", "bounds", "evaluate"]


def evaluate(outcomes: Outcomes) -> list[Metric]:
    """Every metric of the outcomes' task, in the catalog's order; undefined ones say why."""
    if isinstance(outcomes, BinaryOutcomes):
        return evaluate_binary(outcomes)
    if isinstance(outcomes, MulticlassOutcomes):
        return evaluate_multiclass(outcomes)
    return evaluate_regression(outcomes)
