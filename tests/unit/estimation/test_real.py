"""Estimates on the data that NannyML ships with: no worse than its own, as measured on the same chunks.

A part of `make bench-statistics ARGS=estimation`, which asks NannyML itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.estimation import CHUNK, NAMES, Data, measured
from benchmarks.real_streams import _columns, _nannyml
from detectors.base import Numbers
from detectors.quality.estimation import Method

pytestmark = pytest.mark.slow

SETS = {
    "employment": ("employment_MA", "analysis_target", "employed", "prediction", "predicted_probability"),
    "loan": ("synthetic_car_loan", "analysis_target", "repaid", "y_pred", "y_pred_proba"),
    "price": ("regression_synthetic", "analysis_targets", "y_true", "y_pred", None),
}
PRICE = ["car_age", "km_driven", "price_new", "accident_count", "door_count", "fuel", "transmission"]
THEIRS: dict[str, dict[str, float]] = {
    "employment": {"roc_auc": 0.0040, "f1": 0.0066, "accuracy": 0.0051},
    "loan": {"roc_auc": 0.0021, "f1": 0.0026, "accuracy": 0.0031},
    "price": {"mae": 0.012, "rmse": 0.014},
}
"""Mean absolute errors of NannyML 0.13.1, of prices relative."""


def data(name: str) -> Data:
    table, target, label, said, score = SETS[name]
    before, after = _nannyml(f"{table}_reference"), _nannyml(f"{table}_analysis")
    truth = _nannyml(f"{table}_{target}")
    ids, wanted = truth["id"].to_numpy(), after["id"].to_numpy()
    order = np.argsort(ids)
    place = order[np.searchsorted(ids, wanted, sorter=order)]
    assert (ids[place] == wanted).all()
    rows: dict[str, NDArray[Any]] = {}
    for period, part, labels in (
        ("reference", before, before[label].to_numpy()),
        ("analysis", after, truth[label].to_numpy()[place]),
    ):
        rows[f"{period} label"], rows[f"{period} prediction"] = labels, part[said].to_numpy()
        if score is not None:
            rows[f"{period} score 0"] = part[score].to_numpy()
            continue
        for column, values in _columns(part, PRICE).items():
            if isinstance(values, Numbers):
                rows[f"{period} number {column}"] = values.values
            else:
                names = sorted(values.names)
                codes = np.array([names.index(one) for one in values.names], np.int32)
                rows[f"{period} category {column}"] = codes[values.codes]
    every = np.arange(after.num_rows)
    return Data(rows, {}, np.split(every, np.arange(CHUNK, len(every), CHUNK)))


@pytest.mark.parametrize("name", SETS)
def test_errors_are_no_larger_than_those_of_nannyml(name: str) -> None:
    held = data(name)
    method: Method = "cbpe" if held.classes else "dle"
    found = {one["metric"]: one for one in measured(name, held, held.estimator(), NAMES[name], method)}
    assert {one["chunks"] for one in found.values()} == {{"employment": 42, "loan": 10, "price": 12}[name]}
    for metric, most in THEIRS[name].items():
        assert found[metric]["error"] <= most, metric
        assert found[metric]["skill"] > 0.3
