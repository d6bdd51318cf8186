"""E-values of p-values, and which of many streams to name: e-BH for one shot, e-d-BH over time."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from detectors.base import Bools, Floats

_LEAST = np.finfo(np.float64).tiny
_SMALL = 1e-3  # of -ln p; below, the series is the more exact


def log_calibrated(p_values: Floats, power: Floats | float) -> Floats:
    """Ln of the e-values κ p^(κ - 1) of p-values; κ, the `power`, lies between 0 and 1.

    They are 1 on average over p uniform on 0..1. Small κ pay for very small p only.

    References
    ----------
    Vovk, Wang: E-values: calibration, combination and applications. Annals of Statistics 49 (2021).
    """
    return np.asarray(np.log(power) + (power - 1) * np.log(p_values))


def log_e_of_p(p_values: ArrayLike) -> Floats:
    """Ln of the e-value that a p-value is worth where no κ is to be chosen, float64 of the same shape.

    e = ∫₀¹ κ p^(κ-1) dκ = (1 - p + p ln p) / (p ln² p), the mean of `log_calibrated`'s over κ: at most 1 on
    average whenever p is valid, and about 1 / (p ln² p) for small p. A p of 0 counts as the smallest
    normal number.

    References
    ----------
    Vovk, Wang: E-values: calibration, combination and applications. Annals of Statistics 49 (2021).
    """
    u = -np.log(np.clip(np.asarray(p_values, np.float64), _LEAST, 1.0))
    near = np.log(0.5 + u / 6 + u**2 / 24)
    v = np.maximum(u, _SMALL)
    far = v + np.log1p(-(1 + v) * np.exp(-v)) - 2 * np.log(v)
    return np.where(u < _SMALL, near, far)


def e_bh(log_e: Floats, alpha: float) -> Bools:
    """Which of K hypotheses are rejected: the k largest e-values, k the largest with e_(k) >= K / (k α).

    Of e-values, at most a share `alpha` of the rejected are true on average, under any dependence. Of
    e-detectors (e-d-BH), with `alpha` = 1/A, the false share over the windows waited for it is at most 1/A
    whenever one stops. NaN counts as no evidence.

    Parameters
    ----------
    log_e : float64[K]
        Natural logarithms.
    alpha : float

    References
    ----------
    Wang, Ramdas: False discovery rate control with e-values. JRSS B 84 (2022). Dandapanthula,
    Ramdas: Multiple testing in multi-stream sequential change detection, arXiv 2501.04130.
    """
    log_e = np.nan_to_num(np.asarray(log_e, np.float64), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    size = len(log_e)
    order = np.argsort(-log_e, kind="stable")
    needed = -np.log(alpha * np.arange(1, size + 1) / max(size, 1))
    passing = np.flatnonzero(log_e[order] >= needed - 1e-12)
    rejected = np.zeros(size, np.bool_)
    if len(passing):
        rejected[order[: passing[-1] + 1]] = True
    return rejected
