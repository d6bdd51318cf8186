"""Counts of predictions: laws of summaries, and direct counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.base import Categories, Numbers
from detectors.summaries.predicted import ClassTable, EncodedPredictions, PredictedBinary, PredictedMulticlass
from tests.unit.estimation.rows import BINARY, CLASSES, SEVERAL

TABLES = {"binary": BINARY, "several": SEVERAL}


def batch(table: ClassTable, rng: np.random.Generator, n: int) -> EncodedPredictions:
    """Awkward predictions: absent, unknown, without scores, with scores outside 0..1."""
    scores = rng.dirichlet(np.ones(3), n)[:, : 1 if table.binary else 3]
    scores[rng.random(n) < 0.2] = np.nan
    scores[rng.random(n) < 0.1, 0] = rng.choice([-1.0, 2.0, np.inf, 0.0, 1.0])
    return table.encode(rng.integers(-1, 5, n), scores)


def state(predicted: PredictedBinary | PredictedMulticlass) -> list[object]:
    names = predicted.__slots__
    return [getattr(predicted, name) for name in names if name not in ("classes", "edges")]


def same(a, b) -> None:
    for x, y in zip(state(a), state(b), strict=True):
        if np.asarray(x).dtype.kind == "f":
            np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9)
        else:
            np.testing.assert_array_equal(x, y)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 150))
@pytest.mark.parametrize("name", TABLES)
def test_any_split_and_order_gives_the_same(name: str, seed: int, n: int) -> None:
    table, rng = TABLES[name], np.random.default_rng(seed)
    rows = batch(table, rng, n)
    whole, pieces = table.zero(), table.zero()
    whole.update(rows)
    for part in np.array_split(rng.permutation(n), rng.integers(1, 6)):
        if rng.random() < 0.5:
            pieces.update(rows.take(part))
        else:
            other = table.zero()
            other.update(rows.take(part))
            pieces.merge(other)
    same(whole, pieces)
    same(whole, table.read(whole.to_bytes()))
    assert whole.n == n


@pytest.mark.parametrize("name", TABLES)
def test_zero_changes_nothing(name: str) -> None:
    table = TABLES[name]
    one, two = table.zero(), table.zero()
    for predicted in (one, two):
        predicted.update(batch(table, np.random.default_rng(3), 50))
    one.merge(table.zero())
    same(one, two)


def test_other_edges_cannot_be_merged() -> None:
    other = ClassTable(("0", "1"), BINARY.edges + 0.1, binary=True)
    with pytest.raises(ValueError, match="different score edges"):
        BINARY.zero().merge(other.zero())
    names = ClassTable(("a", "b", "x"), SEVERAL.edges, binary=False)
    with pytest.raises(ValueError, match="different classes"):
        SEVERAL.zero().merge(names.zero())


def test_binary_counts_are_direct_ones() -> None:
    called, scores = np.array([1, 0, 1, -1, 1, 2]), np.array([0.9, 0.2, 0.2, 0.7, np.nan, 1.5])
    predicted = BINARY.zero()
    predicted.update(BINARY.encode(called, scores[:, None]))
    at = np.searchsorted(BINARY.edges[0], scores, side="right")
    expected = np.zeros_like(predicted.counts)
    for row, bin_of_row in ((1, at[0]), (0, at[1]), (1, at[2]), (2, at[3]), (1, 256), (2, at[5])):
        expected[row, bin_of_row] += 1
    np.testing.assert_array_equal(predicted.counts, expected)
    assert predicted.outside == 1
    assert predicted.score_sums.sum() == pytest.approx(0.9 + 0.2 + 0.2 + 0.7 + 1.0)
    assert predicted.squared == pytest.approx(0.81 + 0.04 + 0.04 + 0.49 + 1.0)


def test_counts_of_several_classes_are_direct_ones() -> None:
    scores = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [np.nan, 0.5, 0.5], [0.2, 0.2, 0.6]])
    predicted = SEVERAL.zero()
    predicted.update(SEVERAL.encode(np.array([0, 1, 2, 7]), scores))
    assert predicted.called.tolist() == [1, 1, 1, 1, 0]
    assert predicted.own.sum(axis=1).tolist() == [1, 1, 0]  # one without scores, one of another class
    assert predicted.every.sum(axis=1).tolist() == [3, 3, 3]
    for k, edges in enumerate(SEVERAL.edges):
        expected = np.bincount(np.searchsorted(edges, scores[[0, 1, 3], k], side="right"), minlength=64)
        np.testing.assert_array_equal(predicted.every[k], expected)


def test_columns_become_codes_and_scores() -> None:
    prediction = Categories(np.array([0, 1, 2, -1, -2], np.int32), ("true", "0", "maybe"))
    assert BINARY.codes(prediction).tolist() == [1, 0, 2, -1, -1]
    lonely = ClassTable(("not fraud", "fraud"), BINARY.edges, binary=True, only_positive=True)
    assert lonely.codes(Categories(np.array([0, 1, -1], np.int32), ("fraud", "fine"))).tolist() == [1, 0, -1]
    columns = {
        "@prediction": Categories(np.array([2, 0], np.int32), CLASSES),
        "@score.a": Numbers(np.array([0.1, 0.9])),
        "@score.b": Numbers(np.array([0.2, 0.05])),
        "@score.c": Numbers(np.array([0.7, 0.05])),
        "x": Numbers(np.zeros(2)),
    }
    read = SEVERAL.read_columns(columns, 2)
    assert read.called.tolist() == [2, 0]
    np.testing.assert_array_equal(read.scores, [[0.1, 0.2, 0.7], [0.9, 0.05, 0.05]])
    named = BINARY.read_columns({"@score.1": Numbers(np.array([0.25, np.nan]))}, 2)
    assert named.called.tolist() == [3, 3]
    assert named.scores[0, 0] == 0.25
    assert named.cells[1, 0] == -1
