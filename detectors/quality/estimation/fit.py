"""An estimator from labelled rows, backtested on parts of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.base import Column, DetectorError, Floats, Ints, Numbers, TableColumn
from detectors.quality import evaluate
from detectors.quality.estimation.estimator import (
    LABEL,
    TIME,
    ClassifierEstimator,
    Estimator,
    RegressionEstimator,
)
from detectors.quality.estimation.skill import Skill
from detectors.summaries.outcomes import BinaryOutcomes, MulticlassOutcomes, RegressionOutcomes
from detectors.summaries.predicted import PREDICTION, SCORE, ClassTable, EncodedPredictions, Predicted
from detectors.summaries.sample import Sample

PARTS = 20
"""Into which a reference is cut, in order, for the backtest."""
ROWS = 60_000
"""Labelled rows kept at most: `dle` must know rows few in a reference and many in a shifted window."""
CLASSIFIER_ROWS = 20_000
"""The same of a classifier, where `pape` learns from them anew in every window."""
CELLS = 4_000_000
"""The same for rows times columns."""


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Rows of a reference, some of which have a label.

    Attributes
    ----------
    keys : uint64[n]
        Uniform hashes of the rows' identities, which choose the rows that are kept.
    features : mapping
        Columns whose values may be kept; learnt from by `dle` and `pape`.
    prediction : Column
    scores : mapping
        By class; `""` for a binary model's one.
    label : Column
    weight : float64[n]
    order : int64[n]
        The rows' times, or places: what cuts them into parts.
    """

    keys: NDArray[np.uint64]
    features: Mapping[str, Column]
    prediction: Column
    scores: Mapping[str, Column]
    label: Column
    weight: Floats
    order: Ints

    def sample(self, own: Mapping[str, Floats], labelled: NDArray[np.intp], most: int) -> Sample | None:
        """At most so many of the rows `labelled`, with numbers of their `own`; None for none."""
        width = len(self.features) + len(own) + 1
        sample = Sample(min(most, CELLS // width))
        numbers = {name: Numbers(values) for name, values in {**own, TIME: self.order.astype(float)}.items()}
        columns: dict[str, TableColumn] = {**self.features, **numbers}
        sample.update(self.keys[labelled], {name: column.take(labelled) for name, column in columns.items()})
        return sample if len(sample) else None

    def parts(self, labelled: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        """The rows `labelled` in `PARTS` parts, in order."""
        ordered = labelled[np.argsort(self.order[labelled], kind="stable")]
        return [part for part in np.array_split(ordered, PARTS) if len(part)]


def fit(rows: LabelledRows, table: ClassTable | None, center: float = 0.0, most: int = ROWS) -> Estimator:
    """The estimator that the labelled ones of `rows` teach.

    Parameters
    ----------
    table : ClassTable or None
        How a classifier's predictions are counted; None for a regression model.
    center : float
        What labels of a regression model are taken about.
    most : int
        Rows kept at most; 0 where none may be.

    Raises
    ------
    DetectorError
        When no row has a label.
    """
    if table is None:
        return _regression(rows, center, most)
    return _classifier(rows, table, most)


def _classifier(rows: LabelledRows, table: ClassTable, most: int) -> ClassifierEstimator:
    label = table.codes(rows.label)
    labelled = _labelled((label >= 0) & (label < len(table.classes)))
    n = len(label)
    called, scores = table.codes(rows.prediction), table.scores(rows.scores, n)
    batch = table.encode(called, scores)
    parts = [_part(table, rows, label, batch, part) for part in rows.parts(labelled)]
    names = [SCORE] if table.binary else [f"{SCORE}.{name}" for name in table.classes]
    own = {LABEL: label.astype(float), PREDICTION: np.where(called < 0, np.nan, called)}
    own |= dict(zip(names, scores.T, strict=True))
    backtest = Skill(backtest=True)
    if len(parts) > 1:
        for i, (predicted, outcomes) in enumerate(parts):
            others = _merged(table, [*parts[:i], *parts[i + 1 :]], None, Skill())
            said = others.estimate(predicted)
            backtest.observe(i, said, evaluate(outcomes), others.constant)
    return _merged(table, parts, rows.sample(own, labelled, min(most, CLASSIFIER_ROWS)), backtest)


_Part = tuple[Predicted, BinaryOutcomes | MulticlassOutcomes]


def _part(
    table: ClassTable, rows: LabelledRows, label: Ints, batch: EncodedPredictions, part: NDArray[np.intp]
) -> _Part:
    predicted, outcomes, of_part = table.zero(), table.outcomes(), batch.take(part)
    predicted.update(of_part)
    weight = rows.weight[part]
    if isinstance(outcomes, BinaryOutcomes):
        outcomes.update(label[part], of_part.called, of_part.scores[:, 0], weight)
    else:
        called = np.where(of_part.called > len(table.classes), -1, of_part.called)
        outcomes.update(label[part], called, of_part.scores, weight)
    return predicted, outcomes


def _merged(
    table: ClassTable, parts: list[_Part], rows: Sample | None, backtest: Skill
) -> ClassifierEstimator:
    predicted, outcomes = table.zero(), table.outcomes()
    for of_part, labelled in parts:
        predicted.merge(of_part)  # type: ignore[arg-type]  # of one table, so of one kind
        outcomes.merge(labelled)  # type: ignore[arg-type]
    return ClassifierEstimator(table, outcomes, predicted, rows, backtest)


def _regression(rows: LabelledRows, center: float, most: int) -> RegressionEstimator:
    label, predicted = _numbers(rows.label), _numbers(rows.prediction)
    labelled = _labelled(np.isfinite(label) & np.isfinite(predicted))
    outcomes = RegressionOutcomes(center)
    outcomes.update(label[labelled], predicted[labelled], rows.weight[labelled])
    kept = rows.sample({LABEL: label, PREDICTION: predicted}, labelled, min(most, ROWS))
    estimator = RegressionEstimator(outcomes, kept, Skill(backtest=True))
    if kept is not None:
        try:
            loss = estimator.loss
        except DetectorError:
            return estimator  # which says why with every estimate
        order = np.argsort(kept.columns[TIME].values[loss.kept], kind="stable")
        loss.backtest(np.array_split(order, PARTS), estimator.backtest)
    return estimator


def _numbers(column: Column) -> Floats:
    return column.values if isinstance(column, Numbers) else np.full(len(column), np.nan)


def _labelled(where: NDArray[np.bool_]) -> NDArray[np.intp]:
    labelled = np.flatnonzero(where)
    if not len(labelled):
        raise DetectorError("no row has a usable label; an estimate needs some to learn from")
    return labelled
