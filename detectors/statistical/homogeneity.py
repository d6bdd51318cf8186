"""Tests that two samples of categories have the same shares: G, Pearson's chi-square, total variation."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field
from scipy.special import binom

from detectors.base import Floats, Ints, Verdict
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
        found = _compared(reference, window)
        table, n, m = found.table, found.n, found.m
        level = self.alpha if alpha is None else alpha
        statistic = found.variation
        if self._statistic != "variation":
            statistic = STATISTICS[self._statistic](table.reference, table.window)
        p_value = self._asymptotic(statistic, found)
        p_value = permutation_p_values(
            self._statistic, table.reference, table.window, statistic, p_value, level
        )
        effect = np.sqrt(np.maximum(found.variation**2 - found.second, 0.0))
        return verdicts(self, statistic, effect, p_value, n, m, alpha, unjudged(table, self.min_rows))

    def _asymptotic(self, statistic: Floats, found: _Compared) -> Floats:
        raise NotImplementedError


class GTest(_Homogeneity):
    """Likelihood-ratio test of homogeneity, 2 x categories.

    Statistic: G. P-value: chi-square after Williams' correction; where an expected count is below 5,
    Monte Carlo over the tables with the same margins (up to 1,999 draws, fixed seed). Effect: the root
    of the squared total variation distance less the mean of that square under no change, or 0.
    Categories beyond the counted ones, unseen ones among them, are one cell.

    Sees any change of shares; which categories are new is for `unseen_categories`.
    Source: Sokal and Rohlf, Biometry (1981); Williams, Biometrika 63 (1976).
    """

    type: Literal["g_test"] = "g_test"
    _statistic: ClassVar[str] = "g"

    def _asymptotic(self, statistic: Floats, found: _Compared) -> Floats:
        table = found.table
        return chi_square_p_value(statistic / williams(table.reference, table.window), table.degrees)


class ChiSquare(_Homogeneity):
    """Pearson's chi-square test of homogeneity: as `g_test`, without a correction for small counts.

    It never takes the reference for exact, as a test of goodness of fit would.
    Source: Pearson, Philosophical Magazine 50 (1900).
    """

    type: Literal["chi_square"] = "chi_square"
    _statistic: ClassVar[str] = "pearson"

    def _asymptotic(self, statistic: Floats, found: _Compared) -> Floats:
        return chi_square_p_value(statistic, found.table.degrees)


class TotalVariation(_Homogeneity):
    """The share of rows that would have to change category: half the sum of |q - p|.

    P-value: a scaled chi distribution with the first two moments of a sum of absolute normal
    variates; Monte Carlo as in `g_test` where an expected count is below 5. Effect: as in `g_test`.

    Sees mass that moved, however spread; weak on rare categories.
    """

    type: Literal["total_variation"] = "total_variation"
    _statistic: ClassVar[str] = "variation"

    def _asymptotic(self, statistic: Floats, found: _Compared) -> Floats:
        return chi_p_value(statistic, found.mean, found.second)


class _Compared(NamedTuple):
    """What all tests of two samples of categories begin with; arrays over columns."""

    table: Cells
    n: Ints
    m: Ints
    variation: Floats
    """Total variation distance."""
    mean: Floats
    second: Floats
    """Its first two moments under no change."""


def _compared(reference: CategoryCounts, window: CategoryCounts) -> _Compared:
    return _of(reference, reference.n, window, window.n)


@lru_cache(maxsize=2)  # the tests of one window ask one after the other; their rows tell whether it has grown
def _of(reference: CategoryCounts, _n: int, window: CategoryCounts, _m: int) -> _Compared:
    table = category_cells(reference, window)
    n, m = table.reference.sum(axis=1), table.window.sum(axis=1)
    share = (table.reference + table.window) / np.maximum(n + m, 1)[:, None]
    variation = STATISTICS["variation"](table.reference, table.window)
    return _Compared(table, n, m, variation, *variation_null(share, sampling(n, m)))


def variation_null(share: Floats, unit: Floats) -> tuple[Floats, Floats]:
    """First two moments of the total variation distance under no change: float64[C] each.

    Half a sum of |Z_k|, where Z_k has the variance `unit` p_k (1 - p_k) and any two have the squared
    correlation q_k q_l, q = p / (1 - p). Only among the most frequent cells can that be large; for all
    other pairs E|Z_k Z_l| is a power series in it, which sums over k and l separately.

    Parameters
    ----------
    share : float64[C, K]
        p, of the pooled rows.
    unit : float64[C]
        1/n + 1/m.
    """
    share = -np.sort(-share, axis=1)
    spread = 0.5 * np.sqrt(share * (1 - share) * unit[:, None])
    odds = np.where(share < 1, share / np.where(share < 1, 1 - share, 1.0), 0.0)
    root = np.sqrt(odds[:, :_FREQUENT])
    correlations = -root[:, :, None] * root[:, None, :]
    correlations[:, np.arange(root.shape[1]), np.arange(root.shape[1])] = 1.0
    _, second = absolute_sum(np.ones_like(root), spread[:, :_FREQUENT], correlations)
    terms = np.empty((len(_SERIES), *odds.shape))  # spread times powers of the odds
    terms[0] = spread
    for power in range(1, len(_SERIES)):
        np.multiply(terms[power - 1], odds, out=terms[power])
    rare = terms[..., _FREQUENT:]
    among, others = terms[..., :_FREQUENT].sum(axis=2), rare.sum(axis=2)
    itself = np.einsum("jck,jck->jc", rare, rare)
    second += _SERIES @ ((2 * among + others) * others - itself) + itself[0]
    return np.sqrt(2 / np.pi) * spread.sum(axis=1), second


_FREQUENT = 8
"""Cells treated exactly: of a pair with another cell, the squared correlation is at most 1/8."""
_J = np.arange(13)
_SERIES = 2 / np.pi * binom(2 * _J, _J) / 4.0**_J / (2 * _J - 1) ** 2
"""Coefficients of 2/π (√(1-ρ²) + ρ asin ρ) in powers of ρ²; at ρ² = 1/8 the rest is below 1e-14."""
