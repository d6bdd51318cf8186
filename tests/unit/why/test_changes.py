from __future__ import annotations

import numpy as np
import pytest

from detectors.base import Numbers
from detectors.why.changes import CategoryChange, NumberChange, changes
from tests.unit.why.tables import categories, summaries


def test_numbers_before_and_now() -> None:
    rng = np.random.default_rng(2)
    before, now = rng.normal(10, 2, 5_000), rng.normal(11, 2, 400)
    now[:40] = np.nan
    now[40:60] = 1e6
    found = changes(*summaries({"x": Numbers(before)}, {"x": Numbers(now, np.isnan(now))}))["x"]
    assert isinstance(found, NumberChange)
    assert found.reference.mean == pytest.approx(before.mean())
    assert found.window.mean == pytest.approx(np.nanmean(now))
    assert (found.reference.missing, found.window.missing) == (0.0, 0.1)
    assert found.window.outside == pytest.approx((np.nan_to_num(now, nan=10) > before.max()).mean())
    assert found.shift == pytest.approx((np.nanmean(now) - before.mean()) / before.std())
    exact = np.quantile(before, [0.05, 0.5, 0.95])
    assert found.reference.quantiles == pytest.approx(exact, abs=0.1)


def test_a_column_without_any_value_now() -> None:
    found = changes(*summaries({"x": Numbers(np.arange(100.0))}, {"x": Numbers(np.full(5, np.nan))}))["x"]
    assert isinstance(found, NumberChange)
    assert (found.window.mean, found.window.deviation, found.window.quantiles) == (None, None, None)
    assert found.shift is None
    assert found.window.missing == 1.0


def test_categories_by_how_much_they_moved() -> None:
    before = categories(np.repeat([0, 1, 2, -1], [50, 30, 19, 1]), "a", "b", "c")
    now = categories(np.repeat([0, 1, 3, 4, -1], [20, 30, 25, 5, 20]), "a", "b", "c", "new", "odd")
    found = changes(*summaries({"x": before}, {"x": now}))["x"]
    assert found == CategoryChange((("a", 0.5, 0.2), ("new: new, odd", 0.0, 0.3), ("c", 0.19, 0.0)))


def test_what_did_not_move_is_not_told() -> None:
    same = categories(np.repeat([0, 1], [50, 50]), "a", "b")
    assert changes(*summaries({"x": same}, {"x": same}))["x"] == CategoryChange(())
