"""How well binned scores rank positives above negatives, with the error that binning can make."""

from __future__ import annotations

import numpy as np

from detectors.base import Floats


def roc_auc(positives: Floats, negatives: Floats) -> tuple[float, float]:
    """Area under the ROC curve, and how far binning can have moved it.

    Parameters
    ----------
    positives, negatives : float64[B]
        Weight per bin, bins by ascending score; both must have weight.

    Returns
    -------
    value, error : float
        Pairs that share a bin count one half, so that the value is off by at most half of them:
        `Σ P_b(ΣN_{<b} + N_b/2) / PN ± ½ΣP_bN_b / PN`.
    """
    pairs = positives.sum() * negatives.sum()
    below = np.cumsum(negatives) - negatives / 2
    return float(positives @ below / pairs), float(positives @ negatives / pairs / 2)


def average_precision(positives: Floats, negatives: Floats) -> tuple[float, float]:
    """Average precision (area under the precision-recall curve), and how far binning can have moved it.

    Within a bin, positives and negatives are taken as evenly mixed (the interpolation of Davis and
    Goadrich). The error covers every order and every ties within bins: a positive's precision is at
    least what it is with all its bin's negatives ranked above it, and at most what it is with all its
    bin's positives and none of its negatives ranked above it.

    Parameters
    ----------
    positives, negatives : float64[B]
        Weight per bin, bins by ascending score; `positives` must have weight.

    References
    ----------
    Davis, Goadrich: The relationship between precision-recall and ROC curves. ICML 2006.
    """
    p, n = positives[::-1], negatives[::-1]
    true, false = np.cumsum(p) - p, np.cumsum(n) - n  # of the bins above
    held = p > 0
    p, n, true, false = p[held], n[held], true[held], false[held]
    size, above = p + n, true + false
    first = above == 0
    growth = np.log1p(size / np.where(first, 1.0, above))
    mixed = p / size * (p + np.where(first, 0.0, (true - p * above / size) * growth))
    most = p * (true + p) / (true + p + false)
    wrong = false + n
    least = p - wrong * np.log1p(p / np.where(true + wrong > 0, true + wrong, 1.0))
    total = p.sum()
    error = max((most - mixed).sum(), (mixed - least).sum())
    return float(mixed.sum() / total), float(max(error, 0.0) / total)
