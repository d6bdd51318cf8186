"""Direct loss estimation for regression: how large the errors will be, learnt from features and prediction.

Assumes that rows with the same features and prediction err as they did in the reference.

References
----------
NannyML's DLE. The reference's level is kept and only the difference from it learnt, as by the difference
estimators of survey sampling: Särndal, Swensson, Wretman: Model Assisted Survey Sampling. Springer 1992.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.base import Column, DetectorError, Floats
from detectors.quality.estimation.design import Design, boosted, folds, one_thread
from detectors.quality.estimation.estimate import DEVIATIONS, Estimate, between, unknown, within
from detectors.quality.estimation.margins import Margins
from detectors.quality.estimation.skill import Skill
from detectors.quality.metric import Metric
from detectors.summaries.outcomes import RegressionOutcomes
from detectors.summaries.predicted import PREDICTION

MANY_ROWS = 20_000
"""From more rows than these half of them teaches as much as there is, and models of more folds only cost."""
HEAVIEST = 100
"""Times the mean loss that a row may teach at most: a few heavier ones let the trees' steps, which are
multiplied, overflow. The means of what is learnt and said are those of all loss."""
FEWEST_ROWS = 200
"""Labelled reference rows without which nothing is learnt."""
METRICS = ("mae", "rmse", "mape")


@dataclass(frozen=True, slots=True, eq=False)
class _Target:
    """One kind of loss, and models of it.

    Attributes
    ----------
    level, variance : float
        Of the loss over all labelled reference rows (variance over the rows learnt from).
    models : list
        One per fold; empty where they say less than the mean does.
    loss : float64[rows]
    said : float64[rows]
        What they say of the rows they were not fitted to.
    unexplained : float
        Variance of loss less `said`.
    everywhere : float64[folds]
        Mean of what each says of all rows.
    """

    level: float
    variance: float
    models: list[Any]
    loss: Floats
    said: Floats
    unexplained: float
    everywhere: Floats


class DirectLoss:
    """Models of the reference's errors; fitted anew from the same rows they are the same.

    Parameters
    ----------
    columns : mapping
        Features of the labelled reference rows; the prediction is added.
    predicted, actual : float64[rows]
        Rows where either is no finite number are left out.
    reference : RegressionOutcomes, optional
        All labelled reference rows, where `columns` hold a sample of them: gives the level of the errors.

    Attributes
    ----------
    kept : int[learnt]
        The rows learnt from.
    rows : int
        Labelled reference rows in all.

    Raises
    ------
    DetectorError
        When fewer than `FEWEST_ROWS` rows have a label, or scikit-learn is not installed.
    """

    def __init__(
        self,
        columns: Mapping[str, Column],
        predicted: Floats,
        actual: Floats,
        reference: RegressionOutcomes | None = None,
    ) -> None:
        kept = np.flatnonzero(np.isfinite(predicted) & np.isfinite(actual))
        if len(kept) < FEWEST_ROWS:
            msg = f"{len(kept)} labelled rows in the reference; accepted: at least {FEWEST_ROWS}"
            raise DetectorError(msg)
        columns = {name: column.take(kept) for name, column in columns.items()}
        predicted, actual = predicted[kept], actual[kept]
        self.kept = kept
        if reference is None or reference.n < len(kept):
            reference = RegressionOutcomes()
            reference.update(actual, predicted)
        self.rows = reference.n
        names = Design.of(columns).names
        self._design = Design({**names, PREDICTION: None})
        matrix = self._matrix(columns, predicted)
        error, weight = np.abs(predicted - actual), reference.errors.weight
        some = actual != 0
        with one_thread():
            self._targets = {
                "mae": self._learn(matrix, error, reference.sums.absolute / weight),
                "rmse": self._learn(matrix, error**2, reference.sums.squared / weight),
            }
            if np.count_nonzero(some) >= FEWEST_ROWS:
                level = reference.sums.relative / float(reference.nonzero.weights[0])
                self._targets["mape"] = self._learn(matrix[some], error[some] / np.abs(actual[some]), level)

    def _matrix(self, columns: Mapping[str, Column], predicted: Floats) -> Floats:
        matrix = self._design.rows(columns, len(predicted))
        matrix[:, list(self._design.names).index(PREDICTION)] = predicted
        return matrix

    def _learn(self, matrix: Floats, loss: Floats, level: float) -> _Target:
        variance, mean = float(loss.var()), float(loss.mean())
        nothing = _Target(level, variance, [], loss, np.empty(0), variance, np.empty(0))
        if variance <= 0:
            return nothing
        taught = np.minimum(loss, HEAVIEST * mean)
        taught /= taught.mean()
        models, said, everywhere = [], np.empty_like(loss), []
        for held in folds(len(loss), 4 if len(loss) <= MANY_ROWS else 2):
            model = boosted("loss", self._design, len(loss)).fit(matrix[~held], taught[~held])
            of_all = model.predict(matrix) * mean
            said[held] = of_all[held]
            models.append((model, mean))
            everywhere.append(of_all.mean())
        gained = float(np.mean(taught * np.log(said / mean) - said / mean + 1))  # half the Poisson deviance
        if not gained > 0:
            return nothing
        unexplained = float((loss - said).var())
        return _Target(level, variance, models, loss, said, unexplained, np.array(everywhere))

    def estimate(
        self, columns: Mapping[str, Column], predicted: Floats, n: int, margins: Margins | None = None
    ) -> list[Estimate]:
        """MAE, RMSE and MAPE of a window.

        Parameters
        ----------
        columns, predicted
            Features and predictions of sampled rows of the window.
        n : int
            Rows of the window in all.
        margins : Margins, optional
            What else is known of these; used where every sampled row has a prediction.
        """
        kept = np.flatnonzero(np.isfinite(predicted))
        if len(kept) < 2:
            return [unknown(name, "dle", n, "no rows of the window were sampled") for name in METRICS]
        n = max(n, len(kept))
        if margins is None or len(kept) < len(predicted):
            margins = Margins.none(len(kept))
        matrix = self._matrix({name: c.take(kept) for name, c in columns.items()}, predicted[kept])
        with one_thread():
            found = {
                name: self._expected(target, matrix, n, margins) for name, target in self._targets.items()
            }
        squared, variance = found["rmse"]
        reach = DEVIATIONS * math.sqrt(variance)
        value, low, high = (math.sqrt(max(x, 0.0)) for x in (squared, squared - reach, squared + reach))
        estimates = [
            within("mae", *found["mae"], "dle", n),
            between("rmse", value, low, high, "dle", n),
        ]
        if "mape" in found:
            return [*estimates, within("mape", *found["mape"], "dle", n)]
        return [*estimates, unknown("mape", "dle", n, "too few labels of the reference differ from 0")]

    def backtest(self, chunks: Sequence[NDArray[np.intp]], skill: Skill) -> None:
        """Let `skill` observe parts of the reference's rows, by models that were not fitted to these rows."""
        for start, rows in enumerate(chunks):
            estimates, realised, constant = [], [], []
            for name in ("mae", "rmse"):
                target = self._targets[name]
                said = target.said if target.models else np.full(len(target.loss), target.level)
                moved = float(said[rows].mean() - said.mean())
                level = float(target.loss.mean())
                values = [max(level + moved, 0.0), float(target.loss[rows].mean()), level]
                if name == "rmse":
                    values = [math.sqrt(value) for value in values]
                estimates.append(between(name, values[0], values[0], values[0], "dle", len(rows)))
                realised.append(Metric(name, values[1], None, len(rows)))
                constant.append(Metric(name, values[2], None, len(rows)))
            skill.observe(start, estimates, realised, constant)

    def _expected(self, target: _Target, matrix: Floats, n: int, margins: Margins) -> tuple[float, float]:
        """The mean loss of a window of n rows, and the variance of realised less estimated."""
        if not target.models:
            return target.level, target.variance * (1 / n + 1 / self.rows)
        said = np.stack([model.predict(matrix) * unit for model, unit in target.models])
        mean, sampled = margins.mean(said.mean(axis=0), n)
        value = max(target.level + mean - float(target.said.mean()), 0.0)
        explained, rows = float(target.said.var()), len(target.said)
        # Losses scatter in proportion to their size.
        chance = target.unexplained * (value / target.level) ** 2 / n
        known = target.variance / self.rows + explained * (1 / rows - 2 / self.rows)
        # Jackknife over the folds: how the move would have been with other reference rows.
        moved = said.mean(axis=1) - target.everywhere
        count = len(target.models)
        fitted = (count - 1) ** 2 / count * float(moved.var(ddof=1))
        return value, chance + sampled + max(known, target.unexplained / self.rows) + fitted
