"""What is counted of all rows makes a mean over sampled ones nearly as good as one over all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.base import INVALID, NULL, Categories, Numbers
from detectors.conformance import table_of
from detectors.quality.estimation.margins import ROWS_EACH, Margins
from detectors.summaries.table import TableSummary
from tests.unit.estimation.rows import keys

N = 5_000


def rows(rng: np.random.Generator, n: int = N, moved: float = 0.0) -> dict[str, Numbers | Categories]:
    age = rng.normal(40 + moved, 10, n)
    age[rng.random(n) < 0.1] = np.nan
    plan = rng.choice(4, n, p=[0.5, 0.3, 0.15, 0.05]).astype(np.int32)
    plan[rng.random(n) < 0.05] = NULL
    return {
        "@prediction": Numbers(rng.lognormal(3, 1, n) * (1 + moved / 10)),
        "age": Numbers(age, np.isnan(age)),
        "plan": Categories(plan, tuple("abcd")),
    }


def summarised(columns: dict[str, Numbers | Categories], size: int, seed: int = 1) -> TableSummary:
    table = replace(table_of(rows(np.random.default_rng(0))), sample_size=size)
    window, n = table.zero(), len(next(iter(columns.values())))
    window.update(table.encode(keys(n, seed), columns))
    return window


def values_of(window: TableSummary) -> np.ndarray:
    """Something of each sampled row that its columns mostly explain."""
    age, plan = window.sample.column("age"), window.sample.column("plan")
    return np.nan_to_num(age.values, nan=20.0) / 10 + 3.0 * (plan.codes == 0)


@pytest.mark.parametrize("moved", [0.0, 15.0, 200.0])
def test_samples_say_nearly_what_all_rows_say(moved: float) -> None:
    columns = rows(np.random.default_rng(3), moved=moved)
    exact = values_of(summarised(columns, N)).mean()
    plain, better, held = [], [], []
    for seed in range(40):
        window = summarised(columns, 500, seed)
        values = values_of(window)
        mean, variance = Margins.of(window).mean(values, window.n)
        plain.append(values.mean() - exact)
        better.append(mean - exact)
        held.append(abs(mean - exact) < 2.5 * np.sqrt(variance))
    assert np.std(better) < 0.7 * np.std(plain)
    assert abs(np.mean(better)) < 0.3 * np.std(plain)
    assert np.mean(held) >= 0.9


@given(
    st.lists(
        st.tuples(
            st.one_of(st.floats(), st.none()),
            st.sampled_from([0, 1, 2, NULL, INVALID]),
        ),
        min_size=1,
        max_size=80,
    ),
    st.booleans(),
)
def test_where_every_row_is_sampled_nothing_is_moved(
    cells: list[tuple[float | None, int]], stray: bool
) -> None:
    numbers = np.array([np.nan if x is None else x for x, _ in cells])
    columns = {
        "age": Numbers(numbers, np.array([x is None for x, _ in cells])),
        "plan": Categories(np.array([code for _, code in cells], np.int32), ("a", "b", "x")),
    }
    if stray:  # a number among texts
        columns["age"] = Categories(np.zeros(len(cells), np.int32), ("text",))
    window = summarised(columns, 200)
    values = np.arange(len(cells), dtype=float)
    mean, variance = Margins.of(window).mean(values, window.n)
    assert mean == pytest.approx(values.mean(), abs=1e-6)
    assert variance == pytest.approx(0, abs=1e-6)


def test_without_what_is_counted_it_is_the_plain_mean() -> None:
    values = np.random.default_rng(5).normal(size=300)
    mean, variance = Margins.none(300).mean(values, 1_000)
    assert mean == pytest.approx(values.mean())
    assert variance == pytest.approx(values.var(ddof=1) * (1 / 300 - 1 / 1_000))
    few = summarised(rows(np.random.default_rng(6), ROWS_EACH - 1), 500)
    assert Margins.of(few).covariates.shape == (ROWS_EACH - 1, 0)
