"""Confidence sequences: bounds on an effect that hold at every time at once."""

from __future__ import annotations

import numpy as np

from detectors.base import Floats, Ints


def half_width(n: Ints | Floats, alpha: float, best: float = 24.0) -> Floats:
    """Half width of a confidence sequence for the mean of n terms of variance at most 1.

    Two-sided normal mixture for sub-Gaussian terms: the chance that the mean ever leaves it is at most
    `alpha`. Tightest near n = `best`; infinite at n = 0.

    References
    ----------
    Howard, Ramdas, McAuliffe, Sekhon: Time-uniform, nonparametric, nonasymptotic confidence
    sequences. Annals of Statistics 49 (2021), equation 14.
    """
    surprise = -2 * np.log(alpha)
    rho = best / (surprise + np.log(surprise) + 1)
    n = np.asarray(n, np.float64)
    wide = np.sqrt((n + rho) * np.log((n + rho) / (alpha**2 * rho)))
    return np.asarray(np.divide(wide, n, out=np.full(n.shape, np.inf), where=n > 0))
