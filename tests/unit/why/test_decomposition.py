from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.base import DetectorError
from detectors.quality import evaluate
from detectors.summaries.outcomes import BinaryOutcomes, MulticlassOutcomes, RegressionOutcomes
from detectors.why.decomposition import REST, Losses, decompose, partition

SIDE = st.dictionaries(
    st.sampled_from("abcdef"),
    st.tuples(st.integers(0, 10**6), st.floats(0, 1)).map(
        lambda cell: Losses(cell[0], cell[0] * cell[1], cell[0] * cell[1])
    ),
    min_size=1,
).filter(lambda side: sum(cell.weight for cell in side.values()) > 0)


def mean(side: dict[str, Losses]) -> float:
    return sum(cell.loss for cell in side.values()) / sum(cell.weight for cell in side.values())


@given(SIDE, SIDE)
def test_mix_and_within_sum_to_the_change(reference: dict[str, Losses], window: dict[str, Losses]) -> None:
    split = decompose(reference, window)
    assert split.change == pytest.approx(mean(window) - mean(reference), abs=1e-12)
    assert split.mix + split.within == pytest.approx(split.change, abs=1e-12)
    assert sum(part.total for part in split.contributions) == pytest.approx(split.change, abs=1e-12)
    held = {name for side in (reference, window) for name, cell in side.items() if cell.weight}
    assert {part.cell for part in split.contributions} == held
    # The plain formula, over the cells that both sides have.
    w_r, w_t = (sum(cell.weight for cell in side.values()) for side in (reference, window))
    both = [
        name for name in held if reference.get(name, Losses()).weight and window.get(name, Losses()).weight
    ]
    if len(both) == len(held):
        plain = sum(
            (window[n].weight / w_t - reference[n].weight / w_r) * reference[n].loss / reference[n].weight
            for n in both
        )
        assert split.mix == pytest.approx(plain, abs=1e-12)


def rows(rate: float, n: int) -> Losses:
    return Losses(n, rate * n, rate * n)


def test_a_cell_worse_than_the_rest_that_grows_is_mix() -> None:
    split = decompose({"a": rows(0.1, 900), "b": rows(0.5, 100)}, {"a": rows(0.1, 500), "b": rows(0.5, 500)})
    assert split.within == pytest.approx(0.0, abs=1e-15)
    assert split.mix == pytest.approx(split.change) == pytest.approx(0.16)
    assert [part.cell for part in split.contributions] == ["b", "a"]
    assert split.contributions[0].mix == pytest.approx(0.4 * (0.5 - 0.14))


def test_a_cell_that_became_worse_is_within() -> None:
    split = decompose({"a": rows(0.1, 500), "b": rows(0.1, 500)}, {"a": rows(0.1, 50), "b": rows(0.3, 50)})
    assert split.mix == pytest.approx(0.0, abs=1e-15)
    first = split.contributions[0]
    assert (first.cell, first.reference_loss, first.window_loss) == ("b", 0.1, pytest.approx(0.3))
    assert first.within == pytest.approx(0.1)
    assert first.error == pytest.approx(0.5 * np.sqrt(0.3 * 0.7 / 50 + 0.1 * 0.9 / 500))


def test_cells_of_one_side_only() -> None:
    split = decompose({"a": rows(0.1, 80), "gone": rows(0.6, 20)}, {"a": rows(0.1, 50), "new": rows(0.5, 50)})
    by_name = {part.cell: part for part in split.contributions}
    assert by_name["new"].mix == 0.0
    assert by_name["new"].within == pytest.approx(0.5 * (0.5 - 0.2))
    assert by_name["new"].reference_loss is None
    assert by_name["gone"].within == 0.0
    assert by_name["gone"].mix == pytest.approx(-0.2 * (0.6 - 0.2))
    assert by_name["gone"].window_loss is None
    assert split.mix + split.within == pytest.approx(0.3 - 0.2)


@pytest.mark.parametrize(
    ("empty", "sides"),
    [("reference", ({}, {"a": rows(0.1, 5)})), ("window", ({"a": rows(0.1, 5)}, {"a": Losses()}))],
)
def test_a_side_without_rows_is_refused(empty: str, sides) -> None:
    with pytest.raises(DetectorError, match=f"the {empty} has no rows"):
        decompose(*sides)


def draws(seed: int = 3, n: int = 400):
    rng = np.random.default_rng(seed)
    return rng, rng.integers(0, 3, n), rng.integers(0, 3, n), rng.integers(0, 4, n)


def test_losses_are_those_of_the_metrics() -> None:
    rng, actual, predicted, _ = draws()
    weight = rng.uniform(0.5, 2.0, len(actual))
    binary = BinaryOutcomes(np.array([0.5]))
    binary.update(actual % 2, predicted - 1, None, weight)
    several = MulticlassOutcomes(("x", "y"))
    several.update(actual, predicted, None, weight)
    number = RegressionOutcomes()
    number.update(actual * 1.5, predicted * 1.1, weight)
    for outcomes, name in ((binary, "accuracy"), (several, "accuracy"), (number, "mae")):
        value = next(metric.value for metric in evaluate(outcomes) if metric.name == name)
        losses = Losses.of(outcomes)
        assert losses.mean == pytest.approx(1 - value if name == "accuracy" else value)
    error = np.abs(predicted * 1.1 - actual * 1.5)
    spread = np.average(error**2, weights=weight) - np.average(error, weights=weight) ** 2
    assert Losses.of(number).error == pytest.approx(np.sqrt(spread / weight.sum()))


def test_what_belongs_to_no_cell_is_one_of_its_own() -> None:
    _, actual, predicted, cell = draws()

    def outcomes(rows: np.ndarray) -> BinaryOutcomes:
        found = BinaryOutcomes(np.array([0.5]))
        found.update(actual[rows] % 2, predicted[rows] % 2)
        return found

    whole = outcomes(cell >= 0)
    parts = {f"c={i}": outcomes(cell == i) for i in range(3)}
    cells = partition(whole, parts)
    assert cells[REST] == Losses.of(outcomes(cell == 3))
    complete = partition(whole, {**parts, "c=3": outcomes(cell == 3)})
    assert REST not in complete
    split = decompose(complete, cells)
    assert split.change == pytest.approx(0.0, abs=1e-15)
