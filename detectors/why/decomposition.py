"""A change of mean loss, split exactly into a changed mix of cells and changes within them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from detectors.base import DetectorError
from detectors.summaries.outcomes import MulticlassOutcomes, Outcomes, RegressionOutcomes

REST = "(none)"
"""The cell of rows that belong to no other."""
_DUST = 1e-9  # share of the weight that is rounding, not rows


class Losses(NamedTuple):
    """Losses of some rows, as sums.

    Attributes
    ----------
    weight : float
        How much the rows weigh; their number when unweighted.
    loss, squared : float
        Weighted sums of the loss and of its square.
    """

    weight: float = 0.0
    loss: float = 0.0
    squared: float = 0.0

    @property
    def mean(self) -> float | None:
        """Mean loss; None of no rows."""
        return self.loss / self.weight if self.weight > 0 else None

    @property
    def error(self) -> float:
        """Standard error of the mean of independent rows of equal weight; 0 of no rows."""
        if self.weight <= 0:
            return 0.0
        mean = self.loss / self.weight
        return math.sqrt(max(self.squared / self.weight - mean * mean, 0.0) / self.weight)

    @classmethod
    def of(cls, outcomes: Outcomes) -> Losses:
        """The losses of labelled predictions: 0 or 1 of a class, |prediction - label| of a number.

        The mean is then 1 - accuracy, or the mean absolute error. Rows without a prediction are left out.
        """
        if isinstance(outcomes, RegressionOutcomes):
            return cls(outcomes.errors.weight, outcomes.sums.absolute, outcomes.sums.squared)
        decided = outcomes.confusion.weights[:, :-1].copy()
        if isinstance(outcomes, MulticlassOutcomes):
            decided[-1, -1] = 0.0  # label and prediction both beyond the known classes: says nothing
        weight = float(decided.sum())
        wrong = weight - float(decided.trace())
        return cls(weight, wrong, wrong)

    def without(self, parts: Sequence[Losses]) -> Losses:
        """What is left once `parts` of these are taken away."""
        weight, loss, squared = (whole - sum(part[i] for part in parts) for i, whole in enumerate(self))
        if weight <= _DUST * self.weight:
            return Losses()
        return Losses(weight, max(loss, 0.0), max(squared, 0.0))


@dataclass(frozen=True, slots=True)
class Contribution:
    """One cell's part in a change of the mean loss.

    Attributes
    ----------
    reference_share, window_share : float
        Of the rows' weight.
    reference_loss, window_loss : float or None
        Mean loss; None where the side has no rows of the cell.
    mix : float
        (change of share) x (loss before - mean loss before): positive where a cell worse than the mean
        grew, or a better one shrank.
    within : float
        share now x (change of the cell's loss).
    error : float
        Standard error of `within`, for independent rows and the shares as they are.
    """

    cell: str
    reference_share: float
    window_share: float
    reference_loss: float | None
    window_loss: float | None
    mix: float
    within: float
    error: float

    @property
    def total(self) -> float:
        """What the cell adds to the change."""
        return self.mix + self.within


@dataclass(frozen=True, slots=True)
class Decomposition:
    """A change of the mean loss; `change` = `mix` + `within`, up to rounding.

    Attributes
    ----------
    reference_loss, window_loss : float
        Mean losses.
    error : float
        Standard error of `change`, for independent rows.
    contributions : tuple of Contribution
        Largest |total| first.
    """

    reference_loss: float
    window_loss: float
    change: float
    error: float
    mix: float
    within: float
    contributions: tuple[Contribution, ...]


def decompose(reference: Mapping[str, Losses], window: Mapping[str, Losses]) -> Decomposition:
    """Split the change of the mean loss over cells that part the rows of each side.

    With shares w and mean losses l of the cells, before (r) and now (t), the change is
    Σ (w_t - w_r) l_r (mix) + Σ w_t (l_t - l_r) (within). Shares sum to 1, so taking the mean loss before
    off every l_r in the mix changes no sum and makes each cell's part mean something.

    A cell that only the window has is held against the mean loss before: it counts as within. One
    that only the reference has counts as mix.

    Parameters
    ----------
    reference, window : mapping
        Cell -> losses of its rows; cells without rows, or missing on one side, are accepted.

    Raises
    ------
    DetectorError
        A side has no rows at all.

    References
    ----------
    Kitagawa: Components of a difference between two rates. JASA 50 (1955).
    """
    names = list(dict.fromkeys((*reference, *window)))
    r, t = (
        np.array([side.get(name, Losses()) for name in names], np.float64).reshape(-1, 3)
        for side in (reference, window)
    )
    for what, side in (("reference", r), ("window", t)):
        if not side[:, 0].sum() > 0:
            msg = f"the {what} has no rows with a known loss; both sides need some"
            raise DetectorError(msg)
    before, now = (float(side[:, 1].sum() / side[:, 0].sum()) for side in (r, t))
    w_r, w_t = r[:, 0] / r[:, 0].sum(), t[:, 0] / t[:, 0].sum()
    in_r, in_t = r[:, 0] > 0, t[:, 0] > 0
    l_r = np.divide(r[:, 1], r[:, 0], out=np.full(len(names), before), where=in_r)
    l_t = np.divide(t[:, 1], t[:, 0], out=l_r.copy(), where=in_t)
    mix = (w_t - w_r) * (l_r - before)
    within = w_t * (l_t - l_r)
    errors = np.array([[Losses(*row).error for row in side] for side in (r, t)])
    error = w_t * np.hypot(*errors)
    whole = math.hypot(*(Losses(*side.sum(axis=0)).error for side in (r, t)))
    order = np.argsort(-np.abs(mix + within), kind="stable").tolist()
    return Decomposition(
        before,
        now,
        now - before,
        whole,
        float(mix.sum()),
        float(within.sum()),
        tuple(
            Contribution(
                names[i],
                float(w_r[i]),
                float(w_t[i]),
                float(l_r[i]) if in_r[i] else None,
                float(l_t[i]) if in_t[i] else None,
                float(mix[i]),
                float(within[i]),
                float(error[i]),
            )
            for i in order
            if in_r[i] or in_t[i]
        ),
    )


def partition(whole: Outcomes, parts: Mapping[str, Outcomes]) -> dict[str, Losses]:
    """Losses of the cells of one dimension, and of the rows in none of them under `REST`."""
    cells = {name: Losses.of(outcomes) for name, outcomes in parts.items()}
    rest = Losses.of(whole).without(list(cells.values()))
    return {**cells, REST: rest} if rest.weight > 0 else cells
