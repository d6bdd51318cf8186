"""Black-box shift estimation: the shares of labels from those of predictions, if only labels have shifted.

Assumes that rows of one label look as they did (`p(x|y)` unchanged), as when an epidemic makes an illness
more frequent. Then so do the predictions given the label, and the shares of labels q solve
`P(prediction | label) q = shares of predictions`.

References
----------
Lipton, Wang, Smola: Detecting and correcting for label shift with black box predictors. ICML 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.base import DetectorError, Floats, Ints
from detectors.quality.estimation.estimate import LEVEL, Estimate, between, unknown
from detectors.summaries.outcomes import BinaryOutcomes, MulticlassOutcomes
from detectors.summaries.predicted import PredictedBinary, PredictedMulticlass

WORST_CONDITION = 50.0
"""Greatest condition number of `P(prediction | label)` that is inverted: errors grow by up to so much."""
FEWEST_LABELS = 20
"""Labelled reference rows of each class without which nothing is inverted."""
_DRAWS = 200
_SEED = 20


@dataclass(frozen=True, slots=True, eq=False)
class LabelShift:
    """The label shares of a window.

    Attributes
    ----------
    share, reference : float64[K]
        Of each label, in the window and in the reference; each sums to 1.
    deviation : float64[K]
        Standard error of `share`.
    given : float64[K, K]
        Prediction (row) given label (column), in the reference.
    draws : float64[draws, K], float64[draws, K, K]
        `share` and `given` as they could have come out as well.
    condition : float
        Of `given`.
    """

    share: Floats
    reference: Floats
    deviation: Floats
    given: Floats
    draws: tuple[Floats, Floats]
    condition: float

    @property
    def weights(self) -> Floats:
        """Importance of a reference row by its label, float64[K]."""
        return self.share / self.reference


def label_shift(confusion: Ints, called: Ints) -> LabelShift:
    """Label shares of a window.

    Parameters
    ----------
    confusion : int64[K, K]
        Labelled reference rows by label (row) and prediction (column).
    called : int64[K]
        Predictions of the window.

    Raises
    ------
    DetectorError
        When a class has fewer than `FEWEST_LABELS` labels in the reference, the window has no prediction, or
        predictions depend on labels too little for their relation to be inverted.
    """
    support = confusion.sum(axis=1)
    if support.min() < FEWEST_LABELS:
        msg = f"a class with {support.min()} labels in the reference; accepted: at least {FEWEST_LABELS}"
        raise DetectorError(msg)
    n = int(called.sum())
    if n == 0:
        raise DetectorError("the window has no predicted class")
    given = (confusion / support[:, None]).T
    condition = float(np.linalg.cond(given))
    if condition > WORST_CONDITION:
        msg = (
            f"predictions say too little of labels: condition number {condition:.3g}; "
            f"accepted: at most {WORST_CONDITION:g}"
        )
        raise DetectorError(msg)
    rng = np.random.default_rng(_SEED)
    shares = called / n
    drawn_given = np.stack(
        [rng.multinomial(total, row, _DRAWS) / total for total, row in zip(support, given.T, strict=True)],
        axis=2,
    )
    drawn_called = rng.multinomial(n, shares, _DRAWS) / n
    drawn = _simplex(_solve(drawn_given, drawn_called))
    share = _simplex(_solve(given[None], shares[None]))[0]
    return LabelShift(
        share, support / support.sum(), drawn.std(axis=0), given, (drawn, drawn_given), condition
    )


def _solve(given: Floats, shares: Floats) -> Floats:
    """Least squares, so that a draw without an inverse does no harm; float64[draws, K]."""
    return np.asarray((np.linalg.pinv(given) @ shares[:, :, None])[:, :, 0])


def _simplex(shares: Floats) -> Floats:
    """Nothing is less than 0, and all sum to 1; float64[draws, K]."""
    shares = np.maximum(shares, 0.0)
    total = shares.sum(axis=1, keepdims=True)
    return np.asarray(np.where(total > 0, shares / np.where(total > 0, total, 1.0), 1 / shares.shape[1]))


def estimate_shifted(
    reference: BinaryOutcomes | MulticlassOutcomes, predicted: PredictedBinary | PredictedMulticlass
) -> tuple[list[Estimate], LabelShift | None]:
    """The metrics of decisions under label shift, and the shift.

    Where shares cannot be told there is no shift, and every estimate says why. (ROC AUC does not depend on
    the shares of labels: the reference's stays.)
    """
    if isinstance(predicted, PredictedBinary):
        called = predicted.counts[:2].sum(axis=1)
        names = [(name, "") for name in ("base_rate", "accuracy", "precision", "recall", "f1")]
    else:
        called = predicted.called[: len(predicted.classes)]
        names = [(name, "") for name in ("accuracy", "macro_precision", "macro_recall", "macro_f1")]
        names += [("class_recall", name) for name in predicted.classes]
    n, size = int(called.sum()), len(called)
    try:
        shift = label_shift(reference.confusion.rows[:size, :size], called)
    except DetectorError as error:
        return [unknown(name, "bbse", n, str(error), of) for name, of in names], None
    value = _decisions(n * (shift.given * shift.share).T[None])
    shares, given = shift.draws
    expected = (given * shares[:, None, :]).transpose(0, 2, 1).reshape(len(shares), -1)
    rng = np.random.default_rng(_SEED + 1)
    drawn = _decisions(rng.multinomial(n, expected).reshape(-1, size, size).astype(np.float64))
    estimates = []
    for at, (name, of) in enumerate(names):
        low, high = np.quantile(drawn[at], ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
        found = float(value[at, 0])
        estimates.append(between(name, found, min(low, found), max(high, found), "bbse", n, of))
    return estimates, shift


def _decisions(joint: Floats) -> Floats:
    """Metrics float64[metrics, draws], in the order above, of rows by label and prediction [draws, K, K]."""
    hits = np.einsum("dkk->dk", joint)
    support, called = joint.sum(axis=2), joint.sum(axis=1)
    accuracy = hits.sum(axis=1) / joint.sum(axis=(1, 2))
    precision, recall, f1 = (
        np.divide(part, whole, out=np.zeros_like(hits), where=whole > 0)
        for part, whole in ((hits, called), (hits, support), (2 * hits, support + called))
    )
    if joint.shape[1] == 2:
        base = support[:, 1] / support.sum(axis=1)
        return np.stack([base, accuracy, precision[:, 1], recall[:, 1], f1[:, 1]])
    used = support + called > 0
    macro = [(share * used).sum(axis=1) / used.sum(axis=1) for share in (precision, recall, f1)]
    return np.concatenate(([accuracy, *macro], recall.T))
