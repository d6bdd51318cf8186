"""Confidence-based estimation for classifiers of several classes.

Each class is calibrated against the rest by its own score. The expected labels of a class are the sum of
those rates; its expected hits the same sum over the rows predicted as that class, times the factor that
makes both agree in the reference. (The other way, to make the rates of each row sum to 1, needs
the rows, and errs more where the model's scores are no probabilities.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.base import Floats
from detectors.quality.estimation.cbpe import FEWEST, NO_CLASS, NO_SCORE, auc_gradient
from detectors.quality.estimation.estimate import DEVIATIONS, Estimate, Method, between, unknown, within
from detectors.quality.estimation.isotonic import Calibration
from detectors.quality.ranking import roc_auc
from detectors.summaries.outcomes import MulticlassOutcomes
from detectors.summaries.predicted import PredictedMulticlass

_KINDS = ("precision", "recall", "f1")
_MOST = 2.0
"""A factor of hits lies between 1/2 and 2: beyond that too few rows speak."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassCalibration:
    """Of each of K classes against the rest.

    Attributes
    ----------
    classes : tuple of K calibrations, by the score of the class
    hit : float64[K]
        Share of hits among the rows predicted as k, over what the calibration of k says of them.
    others : float64[K, K]
        Row k: labels of the rows predicted as k that are not of k; sums to 1.
    """

    classes: tuple[Calibration, ...]
    hit: Floats
    others: Floats

    @property
    def rate(self) -> Floats:
        """Share of the class by bin of its score, float64[K, B]."""
        return np.stack([one.rate for one in self.classes])

    def spread(self, gradient: Floats) -> float:
        """Variance that not knowing the rates gives a value with this gradient in them, float64[K, B]."""
        return sum(one.spread(row) for one, row in zip(self.classes, gradient, strict=True))


def calibrate_classes(
    outcomes: MulticlassOutcomes, predicted: PredictedMulticlass, effective: float = 1.0
) -> ClassCalibration:
    """From labelled rows, and the predictions of the same rows (or of all that they are taken from).

    `effective` is the part of the rows that their weights leave.
    """
    parts = (outcomes.own.weights, outcomes.every.weights, outcomes.every.rows * effective)
    classes = tuple(Calibration.of(*of_class) for of_class in zip(*parts, strict=True))
    size = len(outcomes.classes)
    confusion = outcomes.confusion.weights[:size, :size]
    called = outcomes.confusion.weights[:, :size].sum(axis=0)
    scored = predicted.own.sum(axis=1)
    said = np.array([one.rate @ row for one, row in zip(classes, predicted.own, strict=True)])
    known = (called > 0) & (said > 0)
    hit = np.ones(size)
    hit[known] = confusion.diagonal()[known] / called[known] * scored[known] / said[known]
    apart = 1.0 - np.eye(size)
    others = apart * confusion.T + apart / size  # one row more, of any class
    return ClassCalibration(
        classes, np.clip(hit, 1 / _MOST, _MOST), others / others.sum(axis=1, keepdims=True)
    )


def estimate_multiclass(
    calibration: ClassCalibration, predicted: PredictedMulticlass, method: Method = "cbpe"
) -> list[Estimate]:
    """Every metric but log loss, Brier score and ECE."""
    rate = calibration.rate
    return [*_decisions(calibration, rate, predicted, method), _area(calibration, rate, predicted, method)]


def _decisions(
    calibration: ClassCalibration, rate: Floats, predicted: PredictedMulticlass, method: Method
) -> list[Estimate]:
    own, every = predicted.own.astype(np.float64), predicted.every.astype(np.float64)
    called, n = own.sum(axis=1), int(own.sum())
    names = ["accuracy", *(f"{average}_{kind}" for average in ("macro", "weighted") for kind in _KINDS)]
    if n == 0:
        return [
            *(unknown(name, method, 0, NO_CLASS) for name in names),
            *(unknown("class_recall", method, 0, NO_CLASS, name) for name in predicted.classes),
        ]
    share = np.minimum(rate * calibration.hit[:, None], 1.0)
    hits, expected = (own * share).sum(axis=1), (every * rate).sum(axis=1)
    scale = n / max(float(expected.sum()), 1.0)  # rates against the rest need not sum to 1
    support = np.maximum(expected * scale, hits)
    right = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    labels = calibration.others * (1 - right[:, None]) + np.diag(right)  # row k: of the rows predicted as k

    def made(name: str, value: float, by_hit: Floats, by_label: Floats, class_name: str = "") -> Estimate:
        """`by_hit`, `by_label`: what one more hit, or label, of each class adds to the value."""
        gain = np.diag(by_hit) + by_label
        chance = called @ ((labels * gain**2).sum(axis=1) - (labels * gain).sum(axis=1) ** 2)
        moved = (by_hit * calibration.hit)[:, None] * own + (by_label * scale)[:, None] * every
        variance = float(chance) + calibration.spread(moved)
        return within(name, value, variance, method, n, class_name)

    by_class = {
        "precision": _shares(hits, called, 1.0, 0.0),
        "recall": _shares(hits, support, 1.0, 1.0),
        "f1": _shares(hits, support + called, 2.0, 1.0),
    }
    zero = np.zeros_like(hits)
    used = (called > 0) | (support >= FEWEST)
    even, weight = used / used.sum(), support / support.sum()
    estimates = [made("accuracy", float(hits.sum()) / n, zero + 1 / n, zero)]
    for kind, (value, by_hit, by_label) in by_class.items():
        estimates.append(made(f"macro_{kind}", float(value @ even), by_hit * even, by_label * even))
    for kind, (value, by_hit, by_label) in by_class.items():
        mean = float(value @ weight)
        moved = by_label * weight + (value - mean) / support.sum()
        estimates.append(made(f"weighted_{kind}", mean, by_hit * weight, moved))
    value, by_hit, by_label = by_class["recall"]
    for k, name in enumerate(predicted.classes):
        if support[k] < FEWEST:
            reason = "less than one label of this class is expected"
            estimates.append(unknown("class_recall", method, n, reason, name))
        else:
            one = np.arange(len(zero)) == k
            estimates.append(made("class_recall", float(value[k]), by_hit * one, by_label * one, name))
    return estimates


def _shares(hits: Floats, whole: Floats, times: float, by_label: float) -> tuple[Floats, Floats, Floats]:
    """`times`·hits / whole by class, 0 where there is no whole, and what one more hit or label adds.

    `by_label` is what one more label adds to the whole.
    """
    over = np.divide(1.0, whole, out=np.zeros_like(whole), where=whole > 0)
    value = times * hits * over
    return value, times * over, -by_label * value * over


def _area(
    calibration: ClassCalibration, rate: Floats, predicted: PredictedMulticlass, method: Method
) -> Estimate:
    """Mean AUC of each class against the rest; the errors of the classes are taken to go together."""
    name, n = "macro_roc_auc", int(predicted.every[0].sum())
    if predicted.edges.size == 0 or n == 0:
        return unknown(name, method, n, NO_SCORE if n == 0 else "scores are not kept by class")
    areas, deviations = [], []
    for k, one in enumerate(calibration.classes):
        rows = predicted.every[k].astype(np.float64)
        positives = rows * rate[k]
        negatives = rows - positives
        if min(positives.sum(), negatives.sum()) < FEWEST:
            continue
        slope = auc_gradient(positives, negatives)
        variance = slope**2 @ (positives * (1 - rate[k])) + one.spread(slope * rows)
        areas.append(roc_auc(positives, negatives)[0])
        deviations.append(float(np.sqrt(variance)))
    if not areas:
        return unknown(name, method, n, "labels of one class only are expected")
    value, reach = float(np.mean(areas)), DEVIATIONS * float(np.mean(deviations))
    return between(name, value, value - reach, value + reach, method, n)
