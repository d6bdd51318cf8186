"""Anderson-Darling distance from bins: differences of distribution functions, weighted up in the tails."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from detectors.base import Verdict
from detectors.statistical.cells import ordered
from detectors.statistical.nulls import sampling
from detectors.statistical.spec import Kind, Spec, verdicts
from detectors.statistical.squares import Levels, finite, squares
from detectors.summaries.histogram import Histogram

_CERTAIN = 1e-12


class AndersonDarling(Spec):
    """Mean square difference of the two distribution functions, each in units of its own variance.

    Statistic: A² = (n + m - 1) / (n + m) times nm / (n + m) times the mean over the pooled values of
    (F_w - F_r)² / H (1 - H), H the pooled distribution function, all taken at the middle of their jump as
    Scholz and Stephens do for ties (`detectors.statistical.squares`); infinite values count at the ends.
    Its mean under no change is 1. Effect: the root mean square difference, freed of what chance adds, in
    standard deviations of one value's indicator. P-value: the statistic's limit, given the ties.

    Sees shifts as `cramer_von_mises` does, and stretches and tails better than it and `ks`.
    Source: Scholz and Stephens, Journal of the American Statistical Association 82 (1987).
    """

    applies_to: ClassVar[tuple[Kind, ...]] = ("number",)
    type: Literal["anderson_darling"] = "anderson_darling"
    minimum_effect: float = Field(
        0.1, ge=0, description="Root mean square difference of the distribution functions, standardised."
    )

    def compare(self, reference: Histogram, window: Histogram, alpha: float | None = None) -> list[Verdict]:
        """One verdict a column; `alpha` overrides the detector's level."""
        r, w = ordered(reference), ordered(window)
        n, m = r.sum(axis=1), w.sum(axis=1)
        levels = Levels.pooled(r, w)
        variance = levels.variance
        varies = variance > _CERTAIN
        found = squares(r, w, levels, np.where(varies, levels.share / np.where(varies, variance, 1.0), 0.0))
        statistic = found.distance / (sampling(n, m) * finite(n, m))
        return verdicts(self, statistic, found.effect, found.p_value, n, m, alpha)
