"""Thresholds from a wished run length: how many steps should pass between false alarms.

References
----------
Page: Continuous inspection schemes. Biometrika 41 (1954). Cobb, Van Looveren, Klaise: Sequential
multivariate change detection with calibrated and memoryless false detection rates. AISTATS 2022.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import ndtr

from detectors.base import Floats


def cusum_run_length(threshold: float, allowance: float) -> float:
    """Mean steps until g <- max(g + Z - allowance, 0) exceeds `threshold`, Z standard normal, g = 0 at first.

    Page's integral equation, solved at Gauss and Legendre's nodes (Nyström's method).
    """
    nodes, weights = np.polynomial.legendre.leggauss(16 + int(6 * threshold))
    y, w = (nodes + 1) * threshold / 2, weights * threshold / 2
    start = np.append(0.0, y)
    stay = ndtr(allowance - start)[:, None]  # back to 0
    move = w * np.exp(-((y + allowance - start[:, None]) ** 2) / 2) / np.sqrt(2 * np.pi)
    kernel = np.hstack((stay, move))
    return float(np.linalg.solve(np.eye(len(start)) - kernel, np.ones(len(start)))[0])


@lru_cache(maxsize=256)
def cusum_threshold(run_length: float, allowance: float) -> float:
    """The threshold with this mean run length (`cusum_run_length`); 0 where even that has a longer one."""
    low, high = 0.0, 1.0
    while cusum_run_length(high, allowance) < run_length:
        low, high = high, 2 * high
    while high - low > 1e-6 * max(high, 0.01):
        middle = (low + high) / 2
        if cusum_run_length(middle, allowance) < run_length:
            low = middle
        else:
            high = middle
    return high


def memoryless_thresholds(statistics: Floats, run_length: float, settled: int) -> tuple[Floats, Floats]:
    """Thresholds that are crossed with chance 1 / `run_length` at every step at which they have not been yet.

    Parameters
    ----------
    statistics : float64[S, T, L]
        Of S simulated streams without a change, at T steps, over L lookbacks.
    run_length : float
        Mean steps between false alarms.
    settled : int
        Steps after which the statistics' distribution no longer changes; less than T.

    Returns
    -------
    scale : float64[L]
        To divide each lookback's statistic by, so that all are equally hard to exceed; the largest ratio is
        what thresholds are for.
    thresholds : float64[settled + 1]
        At each step; the last for all that follow. The streams left at a step are those that have not
        crossed; where chance left too many or too few, the next steps make up for it.
    """
    size, steps, lookbacks = statistics.shape
    rate = 1 / run_length
    late = statistics[:, settled:].reshape(-1, lookbacks)
    scale = np.quantile(late, 1 - rate / lookbacks, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    ratio = (statistics / scale).max(axis=2)
    thresholds = np.empty(settled + 1)
    for step in range(settled + 1):
        at = ratio[:, step] if step < settled else ratio[:, settled:].max(axis=1)
        survivors = size * (1 - rate) ** (step + 1 if step < settled else steps)
        crossing = max(len(ratio) - round(survivors), 0)
        descending = np.sort(at)[::-1]
        thresholds[step] = descending[min(crossing, len(at) - 1)]
        ratio = ratio[at <= thresholds[step]]
    return scale, thresholds
