"""Every quality metric, once: what it means, its unit, which way is better, and its range."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Better = Literal["higher", "lower", "zero", "neither"]
Unit = Literal["ratio", "nats", "label"]


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """What a metric is.

    Attributes
    ----------
    name : str
    help : str
        One sentence for a person.
    unit : str
        `ratio` (a pure number), `nats`, or `label`: the unit of the model's label.
    better : str
        `higher`, `lower`, nearer to `zero`, or `neither`.
    low, high : float
        Range of possible values.
    share : bool
        A share of labelled rows, so that `coverage.bounds` hold for all predictions.
    """

    name: str
    help: str
    unit: Unit
    better: Better
    low: float = 0.0
    high: float = 1.0
    share: bool = False


def _quantiles() -> list[MetricSpec]:
    specs = []
    for tag, share in (("q05", "5%"), ("q50", "50%"), ("q95", "95%")):
        text = f"{share} of the errors (prediction less label) lie at or below this, within 1%."
        specs.append(MetricSpec(f"error_{tag}", text, "label", "zero", -math.inf, math.inf))
    for tag, share in (("q05", "5%"), ("q50", "50%"), ("q95", "95%")):
        text = f"{share} of the absolute errors lie at or below this, within 1%."
        specs.append(MetricSpec(f"abs_error_{tag}", text, "label", "lower", 0.0, math.inf))
    return specs


CATALOG: Mapping[str, MetricSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            MetricSpec("base_rate", "Share of positive labels.", "ratio", "neither", share=True),
            MetricSpec("accuracy", "Share of rows predicted as labelled.", "ratio", "higher", share=True),
            MetricSpec(
                "precision", "Share of positive labels among positive predictions.", "ratio", "higher"
            ),
            MetricSpec(
                "recall",
                "Share of positive predictions among positive labels.",
                "ratio",
                "higher",
            ),
            MetricSpec("f1", "Harmonic mean of precision and recall.", "ratio", "higher"),
            MetricSpec(
                "roc_auc", "Chance that a positive row scores above a negative one.", "ratio", "higher"
            ),
            MetricSpec("pr_auc", "Average precision over recall.", "ratio", "higher"),
            MetricSpec("macro_precision", "Mean precision of the classes.", "ratio", "higher"),
            MetricSpec("macro_recall", "Mean recall of the classes.", "ratio", "higher"),
            MetricSpec("macro_f1", "Mean F1 of the classes.", "ratio", "higher"),
            MetricSpec(
                "weighted_precision", "Mean precision, classes weighted by labels.", "ratio", "higher"
            ),
            MetricSpec("weighted_recall", "Mean recall, classes weighted by labels.", "ratio", "higher"),
            MetricSpec("weighted_f1", "Mean F1, classes weighted by labels.", "ratio", "higher"),
            MetricSpec(
                "class_recall",
                "Share of the rows labelled as this class that were predicted so.",
                "ratio",
                "higher",
            ),
            MetricSpec("macro_roc_auc", "Mean ROC AUC of each class against the rest.", "ratio", "higher"),
            MetricSpec(
                "log_loss", "Mean negative log probability of the label.", "nats", "lower", 0.0, math.inf
            ),
            MetricSpec(
                "brier",
                "Mean squared error of the probabilities (summed over several classes: up to 2).",
                "ratio",
                "lower",
                0.0,
                2.0,
            ),
            MetricSpec(
                "ece",
                "Mean gap between score and observed rate in fixed bins, less what chance adds.",
                "ratio",
                "lower",
            ),
            MetricSpec("mae", "Mean absolute error.", "label", "lower", 0.0, math.inf),
            MetricSpec("rmse", "Root of the mean squared error.", "label", "lower", 0.0, math.inf),
            MetricSpec(
                "mape",
                "Mean of absolute error over absolute label, where the label is not 0.",
                "ratio",
                "lower",
                0.0,
                math.inf,
            ),
            MetricSpec("bias", "Mean error, prediction less label.", "label", "zero", -math.inf, math.inf),
            MetricSpec("r2", "Share of the labels' variance explained.", "ratio", "higher", -math.inf, 1.0),
            *_quantiles(),
        )
    }
)
