"""Population stability index."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from detectors.base import Verdict
from detectors.statistical.cells import Cells, Columns, cells, unjudged
from detectors.statistical.nulls import chi_square_p_value, pearson_statistic, sampling
from detectors.statistical.spec import Kind, Spec, verdicts


class PopulationStability(Spec):
    """Population stability index: sum of (q - p) ln(q / p) over shares of cells.

    Numeric columns in at most `groups` cells of equal reference mass (40 values or more in each),
    categories as they are. Half a row is added to every cell in use, so that an empty one stays
    finite. Effect: PSI less its mean under no
    change, (cells - 1)(1/n + 1/m), at least 0. P-value: Pearson's homogeneity X² of the same cells,
    which PSI n m / (n + m) tends to and which keeps its level at smaller counts.

    Sees changes of shape in any cell; blind within a cell and to order.
    Source: Yurdakul and Naranjo, Journal of Risk Model Validation 14 (2020).
    """

    applies_to: ClassVar[tuple[Kind, ...]] = ("number", "category")
    type: Literal["psi"] = "psi"
    minimum_effect: float = Field(0.1, ge=0, description="PSI in nats; 0.1 is usually called moderate.")
    groups: int = Field(10, ge=2, le=256, description="Most cells of a numeric column.")

    def compare(self, reference: Columns, window: Columns, alpha: float | None = None) -> list[Verdict]:
        """One verdict a column; `alpha` overrides the detector's level."""
        table = cells(reference, window, self.groups)
        n, m = table.reference.sum(axis=1), table.window.sum(axis=1)
        index = _index(table)
        effect = np.maximum(index - table.degrees * sampling(n, m), 0.0)
        p_value = chi_square_p_value(pearson_statistic(table.reference, table.window), table.degrees)
        return verdicts(self, index, effect, p_value, n, m, alpha, unjudged(table, self.min_rows))


def _index(table: Cells) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    used = (table.reference + table.window) > 0
    p, q = (np.where(used, counts + 0.5, 0.0) for counts in (table.reference, table.window))
    p /= np.maximum(p.sum(axis=1, keepdims=True), 0.5)
    q /= np.maximum(q.sum(axis=1, keepdims=True), 0.5)
    with np.errstate(invalid="ignore", divide="ignore"):
        terms = (q - p) * np.log(q / p)
    return np.asarray(np.where(used, terms, 0.0).sum(axis=1))
