"""Estimators of one model version: made from a labelled reference once, then asked for every window."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from detectors.base import Column, DetectorError, Floats, Ints
from detectors.quality import evaluate
from detectors.quality.estimation.bbse import estimate_shifted
from detectors.quality.estimation.cbpe import calibrate, estimate_binary
from detectors.quality.estimation.cbpe_multiclass import (
    ClassCalibration,
    calibrate_classes,
    estimate_multiclass,
)
from detectors.quality.estimation.dle import METRICS, DirectLoss
from detectors.quality.estimation.estimate import Estimate, Method, unknown
from detectors.quality.estimation.isotonic import Calibration
from detectors.quality.estimation.margins import Margins
from detectors.quality.estimation.pape import domain_weights, effective_rows
from detectors.quality.estimation.skill import Skill
from detectors.quality.metric import Metric
from detectors.summaries.outcomes import BinaryOutcomes, MulticlassOutcomes, RegressionOutcomes
from detectors.summaries.packing import Packable, pack, unpack
from detectors.summaries.predicted import (
    PREDICTION,
    SCORE,
    ClassTable,
    Predicted,
    PredictedBinary,
    PredictedMulticlass,
)
from detectors.summaries.sample import Sample
from detectors.summaries.table import TableSummary

LABEL, TIME = "@label", "@time"
"""Columns of labelled rows, beside the features, `@prediction` and `@score`: the label as a number (of a
classifier a class code, and so the prediction), and what orders them."""


class ClassifierEstimator:
    """Estimates the metrics of a classifier.

    Attributes
    ----------
    table : ClassTable
        The reference's.
    outcomes, predicted
        All labelled rows of the reference.
    rows : Sample or None
        Some of them; only `pape` needs them.
    backtest : Skill
        Of `cbpe`, on parts of the reference.
    """

    def __init__(
        self,
        table: ClassTable,
        outcomes: BinaryOutcomes | MulticlassOutcomes,
        predicted: Predicted,
        rows: Sample | None,
        backtest: Skill,
    ) -> None:
        self.table, self.outcomes, self.predicted = table, outcomes, predicted
        self.rows, self.backtest = rows, backtest
        self._calibration = _calibrated(outcomes, predicted)

    @property
    def constant(self) -> list[Metric]:
        """The reference's own quality: what one expects who assumes no change."""
        return evaluate(self.outcomes)

    def estimate(
        self, window: Predicted, sample: Sample | None = None, method: Method = "cbpe"
    ) -> list[Estimate]:
        """The metrics of a window.

        Parameters
        ----------
        window
            All its predictions, over the reference's table.
        sample : Sample, optional
            Some of its rows; only `pape` needs them.
        method : str
            `cbpe`, `bbse`, or `pape`: where too few rows of the reference are like the window's, `cbpe`.
        """
        if not np.array_equal(window.edges, self.outcomes.edges):
            raise ValueError("predictions over other score edges than the reference's")
        if method == "bbse":
            return estimate_shifted(self.outcomes, window)[0]
        if method == "pape":
            try:
                return _estimated(self._reweighted(sample), window, method)
            except DetectorError:
                pass  # too few rows to reweight
        return _estimated(self._calibration, window, "cbpe")

    def _reweighted(self, sample: Sample | None) -> _Calibrated:
        """Calibrated on the labelled rows that look like the window's; raises `DetectorError`."""
        rows = self.rows
        if rows is None or sample is None:
            raise DetectorError("there are no sampled rows")
        known, now = (
            {name: one.column(name) for name in one.columns if name[0] not in "@#" or name.startswith(SCORE)}
            for one in (rows, sample)
        )
        weights = domain_weights(known, now, len(rows), len(sample))
        outcomes = self.table.outcomes()
        scores = [_values(rows, SCORE if self.table.binary else f"{SCORE}.{name}") for name in self._scored]
        codes = (_codes(rows, LABEL), _codes(rows, PREDICTION))
        if isinstance(outcomes, BinaryOutcomes):
            outcomes.update(*codes, scores[0], weights)
        else:
            outcomes.update(*codes, np.column_stack(scores), weights)
        return _calibrated(outcomes, self.predicted, effective_rows(weights) / len(weights))

    @property
    def _scored(self) -> tuple[str, ...]:
        return self.table.classes[-1:] if self.table.binary else self.table.classes

    def to_bytes(self) -> bytes:
        """Compact bytes, without the table."""
        return _packed(self, {"predicted": self.predicted.to_bytes()})


class RegressionEstimator:
    """Estimates the metrics of a regression model by `dle`.

    The models are not kept, but learnt again from the same rows when first asked.

    Attributes
    ----------
    outcomes : RegressionOutcomes
        All labelled rows of the reference.
    rows : Sample or None
        Some of them; without, nothing can be estimated.
    backtest : Skill
    """

    def __init__(self, outcomes: RegressionOutcomes, rows: Sample | None, backtest: Skill) -> None:
        self.outcomes, self.rows, self.backtest = outcomes, rows, backtest
        self._loss: DirectLoss | str = ""
        """Learnt, or why it cannot be; empty before."""

    @property
    def constant(self) -> list[Metric]:
        """The reference's own quality: what one expects who assumes no change."""
        return evaluate(self.outcomes)

    @property
    def loss(self) -> DirectLoss:
        """What was learnt; raises `DetectorError` where nothing can be."""
        if self._loss == "":
            try:
                if self.rows is None or not len(self.rows):
                    raise DetectorError("the reference keeps no labelled rows")
                predicted, actual = _values(self.rows, PREDICTION), _values(self.rows, LABEL)
                self._loss = DirectLoss(_features(self.rows), predicted, actual, self.outcomes)
            except DetectorError as error:
                self._loss = str(error)
        if isinstance(self._loss, str):
            raise DetectorError(self._loss)
        return self._loss

    def estimate(self, n: int, sample: Sample | None, margins: Margins | None = None) -> list[Estimate]:
        """The metrics of a window of n rows, some of which are sampled: features and `@prediction`."""
        if sample is None or not len(sample):
            return [unknown(name, "dle", n, "no rows of the window were sampled") for name in METRICS]
        try:
            return self.loss.estimate(_features(sample), _values(sample, PREDICTION), n, margins)
        except DetectorError as error:
            return [unknown(name, "dle", n, str(error)) for name in METRICS]

    def to_bytes(self) -> bytes:
        """Compact bytes; without the models."""
        return _packed(self, {"center": self.outcomes.center})


Estimator: TypeAlias = ClassifierEstimator | RegressionEstimator


def estimate(estimator: Estimator, window: TableSummary, method: Method = "cbpe") -> list[Estimate]:
    """The metrics of a window, summarised under the reference's table; `method` is a classifier's."""
    if isinstance(estimator, RegressionEstimator):
        return estimator.estimate(window.n, window.sample, Margins.of(window))
    if window.predicted is None:
        raise ValueError("a summary without the classifier's predictions")
    return estimator.estimate(window.predicted, window.sample, method)


def read_estimator(data: bytes, table: ClassTable | None) -> Estimator:
    """The estimator that gave `data`, a classifier's with its table; raises `ValueError` on anything else."""
    fields = unpack(data)
    packed, outcomes = fields["rows"], fields.packed("outcomes")
    rows = None if packed is None else Sample.from_bytes(packed)
    backtest = Skill.from_bytes(fields.packed("backtest"))
    if table is None:
        of_rows = RegressionOutcomes.from_bytes(outcomes, fields["center"])
        return RegressionEstimator(of_rows, rows, backtest)
    predicted = table.read(fields.packed("predicted"))
    labelled = (
        BinaryOutcomes.from_bytes(outcomes, table.edges[0])
        if table.binary
        else MulticlassOutcomes.from_bytes(outcomes, table.classes, table.edges)
    )
    return ClassifierEstimator(table, labelled, predicted, rows, backtest)


def _packed(estimator: Estimator, fields: dict[str, Packable]) -> bytes:
    common: dict[str, Packable] = {
        "outcomes": estimator.outcomes.to_bytes(),
        "rows": None if estimator.rows is None else estimator.rows.to_bytes(),
        "backtest": estimator.backtest.to_bytes(),
    }
    return pack(common | fields)


_Calibrated: TypeAlias = Calibration | ClassCalibration


def _calibrated(
    outcomes: BinaryOutcomes | MulticlassOutcomes, predicted: Predicted, effective: float = 1.0
) -> _Calibrated:
    """From labelled rows, and the predictions of all; `effective` as in `calibrate`."""
    if isinstance(outcomes, BinaryOutcomes):
        return calibrate(outcomes, effective)
    if not isinstance(predicted, PredictedMulticlass):
        raise TypeError("predictions of another kind than the outcomes")
    return calibrate_classes(outcomes, predicted, effective)


def _estimated(calibration: _Calibrated, window: Predicted, method: Method) -> list[Estimate]:
    if isinstance(calibration, Calibration) and isinstance(window, PredictedBinary):
        return estimate_binary(calibration, window, method)
    if isinstance(calibration, ClassCalibration) and isinstance(window, PredictedMulticlass):
        return estimate_multiclass(calibration, window, method)
    raise TypeError("predictions of another kind than the reference's")


def _features(sample: Sample) -> dict[str, Column]:
    return {name: sample.column(name) for name in sample.columns if name[0] not in "@#"}


def _values(sample: Sample, name: str) -> Floats:
    """A column as numbers; NaN where it has none, or is not there."""
    cells = sample.columns.get(name)
    return np.full(len(sample), np.nan) if cells is None else cells.values


def _codes(sample: Sample, name: str) -> Ints:
    values = _values(sample, name)
    return np.where(np.isfinite(values), values, -1.0).astype(np.int64)
