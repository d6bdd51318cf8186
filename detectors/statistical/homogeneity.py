"""Tests that two samples of categories have the same shares: G, Pearson's chi-square, total variation."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from detectors.base import Floats, Verdict
from detectors.statistical.cells import Cells, category_cells, unjudged
from detectors.statistical.nulls import (
    STATISTICS,
    absolute_sum,
    chi_p_value,
    chi_square_p_value,
    permutation_p_values,
    sampling,
    williams,
)
from detectors.statistical.spec import Kind, Spec, verdicts
from detectors.summaries.categories import CategoryCounts


class _Homogeneity(Spec):
    applies_to: ClassVar[tuple[Kind, ...]] = ("category",)
    minimum_effect: float = Field(0.02, ge=0, description="Total variation distance, 0 to 1.")
    _statistic: ClassVar[str]

    def compare(
        self, reference: CategoryCounts, window: CategoryCounts, alpha: float | None = None
    ) -> list[Verdict]:
        """One verdict a column; `alpha` overrides the detector's level."""
        table = category_cells(reference, window)
        n, m = table.reference.sum(axis=1), table.window.sum(axis=1)
        statistic = STATISTICS[self._statistic](table.reference, table.window)
        variation = STATISTICS["variation"](table.reference, table.window)
        p_value = self._asymptotic(statistic, table)
        p_value = permutation_p_values(self._statistic, table.reference, table.window, statistic, p_value)
        effect = np.sqrt(np.maximum(variation**2 - _variation_null(table)[1], 0.0))
        return verdicts(self, statistic, effect, p_value, n, m, alpha, unjudged(table, self.min_rows))

    def _asymptotic(self, statistic: Floats, table: Cells) -> Floats:
        raise NotImplementedError


class GTest(_Homogeneity):
    """Likelihood-ratio test of homogeneity, 2 x categories.

    Statistic: G. P-value: chi-square after Williams' correction; where an expected count is below 5,
    Monte Carlo over the tables with the same margins (1,999 draws, fixed seed). Effect: the root
    of the squared total variation distance less the mean of that square under no change, or 0.
    Categories beyond the counted ones, unseen ones among them, are one cell.

    Sees any change of shares; which categories are new is for `unseen_categories`.
    Source: Sokal and Rohlf, Biometry (1981); Williams, Biometrika 63 (1976).
    """

    type: Literal["g_test"] = "g_test"
    _statistic: ClassVar[str] = "g"

    def _asymptotic(self, statistic: Floats, table: Cells) -> Floats:
        return chi_square_p_value(statistic / williams(table.reference, table.window), table.degrees)


class ChiSquare(_Homogeneity):
    """Pearson's chi-square test of homogeneity: as `g_test`, without a correction for small counts.

    It never takes the reference for exact, as a test of goodness of fit would.
    Source: Pearson, Philosophical Magazine 50 (1900).
    """

    type: Literal["chi_square"] = "chi_square"
    _statistic: ClassVar[str] = "pearson"

    def _asymptotic(self, statistic: Floats, table: Cells) -> Floats:
        return chi_square_p_value(statistic, table.degrees)


class TotalVariation(_Homogeneity):
    """The share of rows that would have to change category: half the sum of |q - p|.

    P-value: a scaled chi distribution with the first two moments of a sum of absolute normal
    variates; Monte Carlo as in `g_test` where an expected count is below 5. Effect: as in `g_test`.

    Sees mass that moved, however spread; weak on rare categories.
    """

    type: Literal["total_variation"] = "total_variation"
    _statistic: ClassVar[str] = "variation"

    def _asymptotic(self, statistic: Floats, table: Cells) -> Floats:
        return chi_p_value(statistic, *_variation_null(table))


def _variation_null(table: Cells) -> tuple[Floats, Floats]:
    """First two moments of the total variation distance under no change: float64[C] each."""
    pooled = (table.reference + table.window).astype(np.float64)
    share = pooled / np.maximum(pooled.sum(axis=1, keepdims=True), 1.0)
    n, m = table.reference.sum(axis=1), table.window.sum(axis=1)
    spread = np.sqrt(share * (1 - share) * sampling(n, m)[:, None])
    odds = np.sqrt(share / np.maximum(1 - share, 1e-300))
    correlations = -odds[:, :, None] * odds[:, None, :]
    diagonal = np.arange(share.shape[1])
    correlations[:, diagonal, diagonal] = 1.0
    return absolute_sum(np.full_like(share, 0.5), spread, correlations)
