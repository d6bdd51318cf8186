"""Whether scores can be read as probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import erf

from detectors.base import Floats, Ints


@dataclass(frozen=True, slots=True)
class Gaps:
    """Observed rate less mean score, in the calibration bins that hold rows; float64[m] each.

    Attributes
    ----------
    share : part of the weight.
    gap : observed rate less mean score.
    deviation : standard deviation of `gap` that chance alone gives.
    """

    share: Floats
    gap: Floats
    deviation: Floats


def calibration_gaps(rows: Ints, weights: Floats, score_sums: Floats) -> Gaps:
    """Gaps from counts by bin.

    Parameters
    ----------
    rows : int64[2, C]
        Rows by outcome (0, 1) and calibration bin.
    weights : float64[2, C]
        Their weights.
    score_sums : float64[C]
        Weighted sums of scores.

    Notes
    -----
    The variance of a rate from n rows is `q(1-q)/n`, where q counts the mean score as one row more,
    so that a bin with outcomes of one kind has a variance too. Uneven weights scale it by the
    weighted over the unweighted variance of the outcome: exact when weights depend on the outcome
    alone, as they do where one class was sampled.
    """
    n, weight = rows.sum(axis=0), weights.sum(axis=0)
    held = (n > 0) & (weight > 0)
    n, weight, rows, weights = n[held], weight[held], rows[:, held], weights[:, held]
    rate, score = weights[1] / weight, np.clip(score_sums[held] / weight, 0.0, 1.0)
    plain = rows[0] * rows[1] / n**2
    scale = np.divide(rate * (1 - rate), plain, out=np.ones_like(rate), where=plain > 0)
    smooth = (n * rate + score) / (n + 1)
    return Gaps(
        weight / weight.sum(), rate - score, np.sqrt(np.maximum(scale * smooth * (1 - smooth) / n, 0.0))
    )


def expected_calibration_error(gaps: Gaps) -> float:
    """Mean |gap|, less what chance adds to it; 0..1.

    A rate scatters about its expectation, so even a perfectly calibrated model shows gaps. If a bin's
    true gap is δ and its deviation σ, the observed |gap| exceeds δ by `E|N(δ, σ²)| - δ` on average;
    that is taken off, with `δ² = max(gap² - σ², 0)`.

    References
    ----------
    Kumar, Liang, Ma: Verified uncertainty calibration. NeurIPS 2019 (who take off the excess at
    the observed gap, which leaves most of it for small bins).
    """
    size, deviation = np.abs(gaps.gap), gaps.deviation
    true = np.sqrt(np.maximum(size**2 - deviation**2, 0.0))
    spread = np.where(deviation > 0, true / np.where(deviation > 0, deviation, 1.0), np.inf)
    folded = deviation * np.sqrt(2 / np.pi) * np.exp(-(spread**2) / 2) + true * erf(spread / np.sqrt(2))
    return float(max((gaps.share * (size - (folded - true))).sum(), 0.0))
