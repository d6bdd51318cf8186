"""Hellinger distance."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from detectors.base import Verdict
from detectors.statistical.cells import Columns, cells, unjudged
from detectors.statistical.nulls import chi_square_p_value, pearson_statistic, sampling
from detectors.statistical.spec import Kind, Spec, verdicts


class Hellinger(Spec):
    """Hellinger distance, from 0 to 1.

    Statistic: H = √(1 - Σ √(pq)) over the two samples' shares p, q of cells (as `psi` makes them).
    Effect: the root of H² less its mean under no change, (cells - 1)(1/n + 1/m) / 8, at least 0. P-value:
    Pearson's homogeneity X² of the same cells, which 8 n m / (n + m) times H² tends to.

    Sees and misses what `psi` does, with a bounded scale that needs no smoothing.
    Source: Hellinger, Journal für die reine und angewandte Mathematik 136 (1909).
    """

    applies_to: ClassVar[tuple[Kind, ...]] = ("number", "category")
    type: Literal["hellinger"] = "hellinger"
    minimum_effect: float = Field(0.1, ge=0, description="Distance, 0 to 1.")
    groups: int = Field(10, ge=2, le=256, description="Most cells of a numeric column.")

    def compare(self, reference: Columns, window: Columns, alpha: float | None = None) -> list[Verdict]:
        """One verdict a column; `alpha` overrides the detector's level."""
        table = cells(reference, window, self.groups)
        n, m = table.reference.sum(axis=1), table.window.sum(axis=1)
        p = np.sqrt(table.reference / np.maximum(n, 1)[:, None])
        q = np.sqrt(table.window / np.maximum(m, 1)[:, None])
        squared = ((p - q) ** 2).sum(axis=1) / 2  # 1 - Σ √(pq) would lose the digits of a small one
        effect = np.sqrt(np.maximum(squared - table.degrees * sampling(n, m) / 8, 0.0))
        p_value = chi_square_p_value(pearson_statistic(table.reference, table.window), table.degrees)
        return verdicts(self, np.sqrt(squared), effect, p_value, n, m, alpha, unjudged(table, self.min_rows))
