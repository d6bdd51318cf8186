"""Metrics of classifiers."""

from __future__ import annotations

import numpy as np

from detectors.base import Floats, Ints
from detectors.quality.calibration import calibration_gaps, expected_calibration_error
from detectors.quality.metric import Metric, ratio, undefined
from detectors.quality.ranking import average_precision, roc_auc
from detectors.summaries.outcomes import BinaryOutcomes, MulticlassOutcomes

_NO_PREDICTION = "no labelled row has a predicted class"
_NO_SCORE = "no labelled row has scores"


def evaluate_binary(outcomes: BinaryOutcomes) -> list[Metric]:
    """All metrics of a binary classifier."""
    return [
        *_binary_decisions(outcomes.confusion.rows, outcomes.confusion.weights),
        *_binary_ranking(outcomes.scores.rows, outcomes.scores.weights),
        *_binary_probabilities(outcomes),
    ]


def _binary_decisions(rows: Ints, weights: Floats) -> list[Metric]:
    (tn, fp), (fn, tp) = weights[:, :2]
    decided = rows[:, :2]
    n, positive, called = int(decided.sum()), int(decided[1].sum()), int(decided[:, 1].sum())
    either = n - int(decided[0, 0])
    return [
        ratio("base_rate", weights[1].sum(), weights.sum(), int(rows.sum()), "no labelled row"),
        ratio("accuracy", tn + tp, tn + fp + fn + tp, n, _NO_PREDICTION),
        ratio("precision", tp, tp + fp, called, "no row was predicted positive"),
        ratio("recall", tp, tp + fn, positive, "no label is positive"),
        ratio("f1", 2 * tp, 2 * tp + fp + fn, either, "no row is positive, by label or prediction"),
    ]


def _binary_ranking(rows: Ints, weights: Floats) -> list[Metric]:
    n = int(rows.sum())
    reason = _one_sided(rows.sum(axis=1), weights.sum(axis=1))
    if reason:
        return [undefined("roc_auc", n, reason), undefined("pr_auc", n, reason)]
    negatives, positives = weights
    return [
        Metric("roc_auc", *roc_auc(positives, negatives), n),
        Metric("pr_auc", *average_precision(positives, negatives), n),
    ]


def _one_sided(rows: Ints, weights: Floats) -> str:
    """Why scores of these negatives and positives cannot be ranked against each other; "" if they can."""
    if rows.sum() <= 0:
        return _NO_SCORE
    for side, name in enumerate(("negative", "positive")):
        if rows[side] <= 0:
            return f"no label with scores is {name}"
        if weights[side] <= 0:
            return f"the {name} rows weigh nothing"
    return ""


def _binary_probabilities(outcomes: BinaryOutcomes) -> list[Metric]:
    bins = outcomes.calibration_bin(np.arange(outcomes.scores.rows.shape[1]))
    first = np.searchsorted(bins, np.arange(len(outcomes.score_sums)))
    rows = np.add.reduceat(outcomes.scores.rows, first, axis=1)
    weights = np.add.reduceat(outcomes.scores.weights, first, axis=1)
    return _probabilities(
        rows, weights, outcomes.score_sums, outcomes.squared, outcomes.log, outcomes.outside
    )


def _probabilities(
    rows: Ints, weights: Floats, score_sums: Floats, squared: float, log: float, outside: int
) -> list[Metric]:
    n, weight = int(rows.sum()), float(weights.sum())
    names = ("log_loss", "brier", "ece")
    if outside:
        return [undefined(name, n, f"{outside} rows have scores outside 0..1") for name in names]
    metrics = [
        ratio("log_loss", max(log, 0.0), weight, n, _NO_SCORE),
        ratio("brier", max(squared, 0.0), weight, n, _NO_SCORE),
    ]
    if metrics[0].value is None:
        return [*metrics, undefined("ece", n, metrics[0].reason)]
    error = expected_calibration_error(calibration_gaps(rows, weights, score_sums))
    return [*metrics, Metric("ece", error, None, n)]


def evaluate_multiclass(outcomes: MulticlassOutcomes) -> list[Metric]:
    """All metrics of a classifier of several classes.

    A class beyond the known ones counts as wrong against every known class; rows where both label
    and prediction are beyond them say nothing and are left out.
    """
    return [
        *_multiclass_decisions(outcomes),
        _macro_roc_auc(outcomes),
        *_probabilities(
            outcomes.confidence.rows,
            outcomes.confidence.weights,
            outcomes.confidence_sums,
            outcomes.squared,
            outcomes.log,
            outcomes.outside,
        ),
    ]


def _multiclass_decisions(outcomes: MulticlassOutcomes) -> list[Metric]:
    size = len(outcomes.classes)
    rows, weights = outcomes.confusion.rows[:, :-1].copy(), outcomes.confusion.weights[:, :-1]
    rows[size, size] = 0
    weights[size, size] = 0.0
    n, total = int(rows.sum()), float(weights.sum())
    hit = weights.diagonal()[:size]
    support, called = weights.sum(axis=1)[:size], weights.sum(axis=0)[:size]
    labels = rows.sum(axis=1)[:size]
    used = labels + rows.sum(axis=0)[:size] > 0
    by_class = {
        "precision": _shares(hit, called),
        "recall": _shares(hit, support),
        "f1": _shares(2 * hit, support + called),
    }
    metrics = [ratio("accuracy", hit.sum(), total, n, _NO_PREDICTION)]
    for name, values in by_class.items():
        metrics.append(ratio(f"macro_{name}", values[used].sum(), used.sum(), n, _NO_PREDICTION))
    for name, values in by_class.items():
        reason = "no label is of a known class" if n else _NO_PREDICTION
        metrics.append(
            ratio(f"weighted_{name}", values @ support, support.sum(), n if labels.any() else 0, reason)
        )
    for k, name in enumerate(outcomes.classes):
        metrics.append(
            ratio("class_recall", hit[k], support[k], int(labels[k]), "no label is of this class", name)
        )
    return metrics


def _shares(part: Floats, whole: Floats) -> Floats:
    """`part` / `whole`, 0 where there is no whole (as scikit-learn has it)."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _macro_roc_auc(outcomes: MulticlassOutcomes) -> Metric:
    """Mean AUC of each class against the rest, over classes with rows on both sides."""
    name, n = "macro_roc_auc", int(outcomes.confidence.rows.sum())
    if not outcomes.edges.size:
        return undefined(name, n, "scores are not kept by class")
    rest_rows = outcomes.every.rows - outcomes.own.rows
    rest = np.where(rest_rows == 0, 0.0, outcomes.every.weights - outcomes.own.weights)
    areas = [
        roc_auc(outcomes.own.weights[k], rest[k])
        for k in range(len(rest))
        if not _one_sided(
            np.array([rest_rows[k].sum(), outcomes.own.rows[k].sum()]),
            np.array([rest[k].sum(), outcomes.own.weights[k].sum()]),
        )
    ]
    if not areas:
        return undefined(name, n, "labels with scores are all of one class" if n else _NO_SCORE)
    value, error = np.mean(areas, axis=0)
    return Metric(name, float(value), float(error), n)
