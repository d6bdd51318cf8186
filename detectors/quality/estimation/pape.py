"""Reweighted confidence-based estimation: calibration on the reference rows that look like the window's.

CBPE assumes that rows of one score keep their share of positives. Under covariate shift this fails where rows
of one score but other features differ in it. Here each labelled reference row counts by how much more
likely its features are in the window than in the reference, as a classifier of the two tells.
It sees only what the features show, and pays for it in variance.

References
----------
Białek, Nieder, Kuberski, Perrakis: Estimating model performance under covariate shift without labels.
arXiv 2401.08348. Bickel, Brückner, Scheffer: Discriminative learning under covariate shift. JMLR 2009.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from detectors.base import Column, DetectorError, Floats
from detectors.quality.estimation.design import Design, boosted, folds, one_thread

FEWEST_EFFECTIVE = 1_000
"""Effective reference rows needed: a share of them has a standard error of up to 1.6 points."""
FEWEST_ROWS = 200
"""Rows of a window without which it is not told from the reference."""
_FOLDS = 4
_MOST = 50.0


def domain_weights(
    reference: Mapping[str, Column], window: Mapping[str, Column], n_reference: int, n_window: int
) -> Floats:
    """Density of the window over that of the reference at each reference row: float64[n_reference], mean 1.

    Out of fold, so that no row has told the classifier where it belongs. Weights are at most 50 before
    they are scaled to mean 1.

    Raises
    ------
    DetectorError
        When the window has fewer than `FEWEST_ROWS` rows, when the weights leave fewer than
        `FEWEST_EFFECTIVE` effective reference rows, or when scikit-learn is not installed.
    """
    for what, given, least in (
        ("reference", n_reference, FEWEST_EFFECTIVE),
        ("window", n_window, FEWEST_ROWS),
    ):
        if given < least:
            msg = f"{given} sampled rows of the {what}; accepted: at least {least}"
            raise DetectorError(msg)
    design = Design.of(reference)
    rows = np.concatenate((design.rows(reference, n_reference), design.rows(window, n_window)))
    domain = np.arange(len(rows)) >= n_reference
    chance = np.empty(len(rows))
    with one_thread():
        for held in folds(len(rows), _FOLDS):
            model = boosted("domain", design, len(rows)).fit(rows[~held], domain[~held])
            chance[held] = model.predict_proba(rows[held])[:, 1]
    chance = chance[:n_reference]
    weights = np.minimum(chance / np.maximum(1 - chance, 1e-12) * n_reference / n_window, _MOST)
    weights /= weights.mean()
    effective = effective_rows(weights)
    if effective < FEWEST_EFFECTIVE:
        msg = (
            f"only {effective:.0f} effective reference rows look like the window's; "
            f"accepted: at least {FEWEST_EFFECTIVE}"
        )
        raise DetectorError(msg)
    return weights


def effective_rows(weights: Floats) -> float:
    """As many rows of equal weight would tell as much (Kish)."""
    return float(weights.sum() ** 2 / (weights @ weights))
