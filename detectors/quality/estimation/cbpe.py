"""Confidence-based estimation for binary classifiers: what calibrated scores say the labels will be.

Assumes that among rows of one score the share of positives is what it was in the reference. Then the
metrics follow from the scores alone, however these have moved. When that share itself moves (concept
drift, or covariate drift that the score does not see), the estimate is wrong and cannot know it.

References
----------
NannyML's CBPE; Garg et al.: Leveraging unlabeled data to predict out-of-distribution performance. ICLR 2022.
"""

from __future__ import annotations

import numpy as np

from detectors.base import Floats
from detectors.quality.estimation.estimate import Estimate, Method, unknown, within
from detectors.quality.estimation.isotonic import Calibration
from detectors.quality.ranking import average_precision, roc_auc
from detectors.summaries.outcomes import BinaryOutcomes
from detectors.summaries.outcomes.binary import EPSILON
from detectors.summaries.predicted import PredictedBinary

NO_SCORE = "no prediction has a score"
NO_CLASS = "no prediction has both class and score"
FEWEST = 1.0
"""Expected rows below which a share of them is not given."""


def calibrate(outcomes: BinaryOutcomes, effective: float = 1.0) -> Calibration:
    """The share of positives by score bin; `effective` is the part of the rows that their weights leave."""
    weights, rows = outcomes.scores.weights, outcomes.scores.rows.sum(axis=0)
    return Calibration.of(weights[1], weights.sum(axis=0), rows * effective)


def estimate_binary(
    calibration: Calibration, predicted: PredictedBinary, method: Method = "cbpe"
) -> list[Estimate]:
    """Every metric but `ece`, which is the very thing that is assumed not to change."""
    cells = predicted.counts[:, :-1].astype(np.float64)
    return [
        *_decisions(calibration, cells, method),
        *_ranking(calibration, cells.sum(axis=0), method),
        *_probabilities(calibration, cells.sum(axis=0), predicted, method),
    ]


def _variance(calibration: Calibration, cells: Floats, gradient: Floats) -> float:
    """Of a value with this gradient in the number of positives of each cell, float64[..., B].

    Labels: Bernoulli in each row, given its rate. Calibration: see `Calibration.spread`.
    """
    labels = float((gradient**2 * cells * calibration.rate * (1 - calibration.rate)).sum())
    moved = (gradient * cells).reshape(-1, cells.shape[-1]).sum(axis=0)
    return labels + calibration.spread(moved)


def _decisions(calibration: Calibration, cells: Floats, method: Method) -> list[Estimate]:
    rate, decided = calibration.rate, cells[:2]
    n, scored = int(decided.sum()), cells.sum(axis=0)
    positive = decided * rate
    true, missed = float(positive[1].sum()), float(positive[0].sum())
    called, actual = float(decided[1].sum()), true + missed
    right = true + float(decided[0].sum()) - missed
    one = np.ones_like(rate)

    def share(name: str, part: float, whole: float, gradient: tuple[float, float], reason: str) -> Estimate:
        if n == 0 or whole < FEWEST:
            return unknown(name, method, n, reason if n else NO_CLASS)
        slope = np.outer(gradient, one) / whole
        return within(name, part / whole, _variance(calibration, decided, slope), method, n)

    recall = true / actual if actual else 0.0
    f1 = 2 * true / (called + actual) if called + actual else 0.0
    estimates = [
        share("accuracy", right, n, (-1.0, 1.0), NO_CLASS),
        share("precision", true, called, (0.0, 1.0), "no row was predicted positive"),
        share("recall", true, actual, (-recall, 1 - recall), "less than one positive label is expected"),
        share("f1", 2 * true, called + actual, (-f1, 2 - f1), "hardly a row is positive"),
    ]
    total = float(scored.sum())
    if total == 0:
        return [unknown("base_rate", method, 0, NO_SCORE), *estimates]
    spread = _variance(calibration, scored, one / total)
    return [within("base_rate", float(scored @ rate) / total, spread, method, int(total)), *estimates]


def _ranking(calibration: Calibration, scored: Floats, method: Method) -> list[Estimate]:
    n, names = int(scored.sum()), ("roc_auc", "pr_auc")
    positives = scored * calibration.rate
    negatives = scored - positives
    P, N = float(positives.sum()), float(negatives.sum())
    if n == 0 or min(P, N) < FEWEST:
        side = "positive" if P < FEWEST else "negative"
        reason = f"less than one {side} label is expected" if n else NO_SCORE
        return [unknown(name, method, n, reason) for name in names]
    area, precision = roc_auc(positives, negatives)[0], average_precision(positives, negatives)[0]
    slopes = (auc_gradient(positives, negatives), _precision_gradient(positives, negatives, precision))
    return [
        within(name, value, _variance(calibration, scored, slope), method, n)
        for name, value, slope in zip(names, (area, precision), slopes, strict=True)
    ]


def auc_gradient(positives: Floats, negatives: Floats) -> Floats:
    """What one more positive, in place of a negative, adds to the AUC; by bin, float64[B]."""
    P, N = positives.sum(), negatives.sum()
    below = np.cumsum(negatives) - negatives / 2
    above = P - np.cumsum(positives) + positives / 2
    area = positives @ below / (P * N)
    return np.asarray((below - above) / (P * N) - area / P + area / N)


def _precision_gradient(positives: Floats, negatives: Floats, value: float) -> Floats:
    """The same of average precision, with a bin's rows taken to lie at its middle."""
    p, rows = positives[::-1], (positives + negatives)[::-1]
    ranked = np.cumsum(rows) - rows / 2
    ranked = np.where(ranked > 0, ranked, 1.0)
    precision = (np.cumsum(p) - p / 2) / ranked
    later = p / ranked
    after = later.sum() - np.cumsum(later) + later / 2
    return np.asarray((precision + after - value) / p.sum())[::-1]


def _probabilities(
    calibration: Calibration, scored: Floats, predicted: PredictedBinary, method: Method
) -> list[Estimate]:
    n, names = int(scored.sum()), ("log_loss", "brier")
    if n == 0 or predicted.outside:
        reason = f"{predicted.outside} rows have scores outside 0..1" if n else NO_SCORE
        return [unknown(name, method, n, reason) for name in names]
    score = np.divide(predicted.score_sums, scored, out=np.full_like(scored, 0.5), where=scored > 0)
    hit, miss = (-np.log(np.maximum(p, EPSILON)) for p in (score, 1.0 - score))
    positives = scored * calibration.rate
    log = float(positives @ hit + (scored - positives) @ miss)
    squared = predicted.squared + float(positives @ (1.0 - 2.0 * score))
    slopes = ((hit - miss) / n, (1.0 - 2.0 * score) / n)
    return [
        within(name, total / n, _variance(calibration, scored, slope), method, n)
        for name, total, slope in zip(names, (log, squared), slopes, strict=True)
    ]
