"""What the labels of a reference's rows teach: an estimator of the model's quality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.base import Column, DetectorError, Floats, Ints
from detectors.quality.estimation import Estimator, LabelledRows, fit
from detectors.quality.estimation.fit import ROWS
from detectors.summaries.table import Table
from observer.references.overrides import PREDICTION, SCORE


@dataclass(frozen=True, slots=True)
class RowLabels:
    """The labels of a reference's rows.

    Attributes
    ----------
    label : Column
        Missing where a row has none.
    order : int64[n]
        Times or places of the rows.
    weight : float64[n] or None
        None where each is 1.
    """

    label: Column
    order: Ints
    weight: Floats | None = None


def estimator(
    keys: NDArray[np.uint64], columns: Mapping[str, Column], labels: RowLabels, table: Table
) -> Estimator | str:
    """What rows with labels teach under the reference's table, or why they teach nothing.

    Of the rows that are kept only columns are that samples may hold, and none where samples are switched off.
    """
    prediction = columns.get(PREDICTION)
    if prediction is None:
        return "there are no predictions to compare labels with"
    allowed = table.sample_columns or frozenset()
    scores = {
        name.removeprefix(SCORE).removeprefix("."): column
        for name, column in columns.items()
        if name.startswith(SCORE)
    }
    names = table.binning.names
    center = float(table.binning.center[names.index(PREDICTION)]) if PREDICTION in names else 0.0
    rows = LabelledRows(
        keys,
        {name: c for name, c in columns.items() if name in allowed and not name.startswith("@")},
        prediction,
        scores,
        labels.label,
        np.ones(len(keys)) if labels.weight is None else labels.weight,
        labels.order,
    )
    try:
        return fit(rows, table.predictions, center, ROWS if table.sample_size else 0)
    except DetectorError as error:
        return str(error)
