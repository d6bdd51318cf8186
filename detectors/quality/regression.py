"""Metrics of regression models."""

from __future__ import annotations

import math

from detectors.quality.metric import Metric, ratio, undefined
from detectors.summaries.log_buckets import RELATIVE_ERROR
from detectors.summaries.outcomes import RegressionOutcomes
from detectors.summaries.outcomes.regression import LEAST_ERROR

QUANTILES = {"q05": 0.05, "q50": 0.5, "q95": 0.95}

_EMPTY = "no row has both label and prediction"
_FLAT = 1e-12  # of the labels' mean square about the center: what rounding alone makes of no variance


def evaluate_regression(outcomes: RegressionOutcomes) -> list[Metric]:
    """All metrics of a regression model."""
    sums, n, weight = outcomes.sums, outcomes.n, outcomes.errors.weight
    squared = ratio("rmse", max(sums.squared, 0.0), weight, n, _EMPTY)
    if squared.value is not None:
        squared = Metric("rmse", math.sqrt(squared.value), None, n)
    nonzero, nonzero_weight = int(outcomes.nonzero.rows[0]), float(outcomes.nonzero.weights[0])
    return [
        ratio("mae", max(sums.absolute, 0.0), weight, n, _EMPTY),
        squared,
        ratio("mape", max(sums.relative, 0.0), nonzero_weight, nonzero, "no label differs from 0"),
        ratio("bias", sums.error, weight, n, _EMPTY),
        _r2(outcomes, weight),
        *(_quantile(outcomes, "error", tag, q) for tag, q in QUANTILES.items()),
        *(_quantile(outcomes, "abs_error", tag, q) for tag, q in QUANTILES.items()),
    ]


def _r2(outcomes: RegressionOutcomes, weight: float) -> Metric:
    sums, n = outcomes.sums, outcomes.n
    if n < 2 or weight <= 0:
        return undefined("r2", n, "fewer than two rows" if n < 2 else "the rows weigh nothing")
    total = sums.label_squared - sums.label**2 / weight
    if total <= _FLAT * sums.label_squared:
        return undefined("r2", n, "the labels do not vary")
    return Metric("r2", 1.0 - sums.squared / total, None, n)


def _quantile(outcomes: RegressionOutcomes, kind: str, tag: str, q: float) -> Metric:
    name = f"{kind}_{tag}"
    value = outcomes.errors.quantile(q, magnitude=kind == "abs_error")
    if value is None:
        return undefined(name, outcomes.n, "the rows weigh nothing" if outcomes.n else _EMPTY)
    # The true value v is within the relative error of itself, so |value| >= (1 - error)·|v|.
    error = max(abs(value) * RELATIVE_ERROR / (1 - RELATIVE_ERROR), LEAST_ERROR)
    return Metric(name, value, error, outcomes.n)
