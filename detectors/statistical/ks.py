"""Kolmogorov-Smirnov distance from bins."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from detectors.base import Verdict
from detectors.statistical.cells import ordered
from detectors.statistical.nulls import KOLMOGOROV_SQUARE, ks_p_value, sampling
from detectors.statistical.spec import Kind, Spec, verdicts
from detectors.summaries.histogram import Histogram


class KolmogorovSmirnov(Spec):
    """Largest difference of the two distribution functions.

    Statistic: D = max |F_w - F_r| at the bins' boundaries, which lies below the exact distance by at
    most the largest bin's share (0.4% with 256 bins; nothing where each value has its bin). Infinite
    values count at the ends. Effect: the root of D² less the mean of D² under no change, or
    0. P-value: Smirnov's limit with n m / (n + m), conservative where values tie.

    Sees any change of one column's distribution, shifts best; weak on tails.
    Source: Smirnov, Annals of Mathematical Statistics 19 (1948).
    """

    applies_to: ClassVar[tuple[Kind, ...]] = ("number",)
    type: Literal["ks"] = "ks"
    minimum_effect: float = Field(0.05, ge=0, description="Distance, 0 to 1.")

    def compare(self, reference: Histogram, window: Histogram, alpha: float | None = None) -> list[Verdict]:
        """One verdict a column; `alpha` overrides the detector's level."""
        r, w = ordered(reference), ordered(window)
        n, m = r.sum(axis=1), w.sum(axis=1)
        below = np.cumsum(r, axis=1) / np.maximum(n, 1)[:, None]
        below -= np.cumsum(w, axis=1) / np.maximum(m, 1)[:, None]
        distance = np.abs(below).max(axis=1, initial=0.0)
        effect = np.sqrt(np.maximum(distance**2 - KOLMOGOROV_SQUARE * sampling(n, m), 0.0))
        return verdicts(self, distance, effect, ks_p_value(distance, n, m), n, m, alpha)
