"""Jensen-Shannon distance."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy.special import xlogy

from detectors.base import Verdict
from detectors.statistical.cells import Columns, cells, unjudged
from detectors.statistical.nulls import chi_square_p_value, pearson_statistic, sampling
from detectors.statistical.spec import Kind, Spec, verdicts


class JensenShannon(Spec):
    """Jensen-Shannon distance, in base 2, so from 0 to 1.

    Statistic: square root of the divergence of the two samples' shares of cells (as `psi` makes them).
    Effect: the same of the divergence less its mean under no change, (cells - 1)(1/n + 1/m) / (8 ln 2),
    at least 0. P-value: Pearson's homogeneity X² of the same cells, which 8 ln 2 n m / (n + m) times
    the divergence tends to.

    Sees and misses what `psi` does, with a bounded scale that needs no smoothing.
    Source: Lin, IEEE Transactions on Information Theory 37 (1991).
    """

    applies_to: ClassVar[tuple[Kind, ...]] = ("number", "category")
    type: Literal["jensen_shannon"] = "jensen_shannon"
    minimum_effect: float = Field(0.1, ge=0, description="Distance, 0 to 1.")
    groups: int = Field(10, ge=2, le=256, description="Most cells of a numeric column.")

    def compare(self, reference: Columns, window: Columns, alpha: float | None = None) -> list[Verdict]:
        """One verdict a column; `alpha` overrides the detector's level."""
        table = cells(reference, window, self.groups)
        n, m = table.reference.sum(axis=1), table.window.sum(axis=1)
        p = table.reference / np.maximum(n, 1)[:, None]
        q = table.window / np.maximum(m, 1)[:, None]
        middle = (p + q) / 2
        entropy = xlogy(p, p) / 2 + xlogy(q, q) / 2 - xlogy(middle, middle)
        divergence = np.maximum(entropy.sum(axis=1), 0.0) / np.log(2)
        by_chance = table.degrees * sampling(n, m) / (8 * np.log(2))
        effect = np.sqrt(np.maximum(divergence - by_chance, 0.0))
        p_value = chi_square_p_value(pearson_statistic(table.reference, table.window), table.degrees)
        return verdicts(
            self, np.sqrt(divergence), effect, p_value, n, m, alpha, unjudged(table, self.min_rows)
        )
