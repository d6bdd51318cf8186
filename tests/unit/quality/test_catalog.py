"""Every metric is catalogued, lies in its range, and comes in the catalog's order; bounds hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.quality import CATALOG, bounds, evaluate
from tests.unit.quality.rows import SHAPES

TASKS = ("binary", "multiclass", "regression")


def metrics(task: str, seed: int, n: int) -> list[Any]:
    shape, rng = SHAPES[task], np.random.default_rng(seed)
    outcomes = shape.zero()
    outcomes.update(*shape.rows(rng, n))
    return evaluate(outcomes)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 60))
@pytest.mark.parametrize("task", TASKS)
def test_values_are_finite_and_in_range_or_absent_with_a_reason(task: str, seed: int, n: int) -> None:
    for metric in metrics(task, seed, n):
        assert (metric.value is None) == bool(metric.reason), metric
        if metric.value is not None:
            spec = CATALOG[metric.name]
            assert np.isfinite(metric.value)
            assert type(metric.value) is float
            assert spec.low - 1e-9 <= metric.value <= spec.high + 1e-9, metric
            assert metric.n > 0


def test_the_catalog_holds_exactly_the_metrics_that_exist() -> None:
    names = [metric.name for task in TASKS for metric in metrics(task, 1, 50)]
    assert set(names) == set(CATALOG)
    assert all(spec.name == name for name, spec in CATALOG.items())
    assert all(spec.help.endswith(".") for spec in CATALOG.values())


@given(labels=st.lists(st.booleans(), min_size=1, max_size=30), seen=st.data())
def test_bounds_hold_whatever_the_missing_labels_are(labels: list[bool], seen: st.DataObject) -> None:
    known = seen.draw(st.integers(1, len(labels)))
    low, high = bounds(float(np.mean(labels[:known])), known / len(labels))
    assert low - 1e-12 <= np.mean(labels) <= high + 1e-12
    assert high - low == pytest.approx(1 - known / len(labels))


@pytest.mark.parametrize(("value", "coverage"), [(1.1, 0.5), (0.5, -0.1), (float("nan"), 0.5)])
def test_bounds_of_nonsense_are_refused(value: float, coverage: float) -> None:
    with pytest.raises(ValueError, match=r"0\.\.1"):
        bounds(value, coverage)
