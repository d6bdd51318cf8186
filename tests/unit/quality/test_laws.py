"""Laws of every outcomes summary: zero, merge, split-invariance, bytes, retraction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.summaries.outcomes import BinaryOutcomes, MulticlassOutcomes, RegressionOutcomes
from tests.unit.quality.rows import CLASS_EDGES, CLASSES, EDGES, SHAPES, Shape

seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> Shape:
    return SHAPES[request.param]


def same(shape: Shape, a: Any, b: Any, scales: list[float]) -> None:
    """Counts equal exactly; float sums to 1e-9 of the largest magnitude that went through each."""
    for x, y in zip(shape.counts(a), shape.counts(b), strict=True):
        np.testing.assert_array_equal(x, y)
    for x, y, scale in zip(shape.sums(a), shape.sums(b), scales, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9 * scale)


def filled(shape: Shape, rows: tuple[Any, ...], sign: Any = None) -> Any:
    summary = shape.zero()
    summary.update(*rows, sign=sign)
    return summary


def magnitude(shape: Shape, *summaries: Any) -> list[float]:
    """Largest absolute value in each float sum."""
    sizes = [[float(np.max(np.abs(x))) for x in shape.sums(summary)] for summary in summaries]
    return [max(column) for column in zip(*sizes, strict=True)]


def cut(rows: tuple[Any, ...], part: Any) -> tuple[Any, ...]:
    return tuple(None if column is None else column[part] for column in rows)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, n=st.integers(0, 200))
@pytest.mark.parametrize("name", SHAPES)
def test_any_split_and_order_gives_the_same(name: str, seed: int, n: int) -> None:
    shape, rng = SHAPES[name], np.random.default_rng(seed)
    rows = shape.rows(rng, n)
    whole = filled(shape, rows)
    pieces = shape.zero()
    order = rng.permutation(n)
    for part in np.array_split(order, rng.integers(1, 6)):
        if rng.random() < 0.5:
            pieces.update(*cut(rows, part))
        else:
            pieces.merge(filled(shape, cut(rows, part)))
    same(shape, whole, pieces, magnitude(shape, whole))


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
@pytest.mark.parametrize("name", SHAPES)
def test_merge_is_commutative_associative_and_has_a_zero(name: str, seed: int) -> None:
    shape, rng = SHAPES[name], np.random.default_rng(seed)
    parts = [shape.rows(rng, int(rng.integers(0, 60))) for _ in range(3)]

    def merged(*order: int) -> Any:
        summary = shape.zero()
        for i in order:
            summary.merge(filled(shape, parts[i]))
        return summary

    right = filled(shape, parts[1])
    right.merge(filled(shape, parts[2]))
    nested = filled(shape, parts[0])
    nested.merge(right)
    nested.merge(shape.zero())
    scale = magnitude(shape, nested)
    same(shape, merged(0, 1, 2), nested, scale)
    same(shape, merged(2, 1, 0), nested, scale)


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
@pytest.mark.parametrize("name", SHAPES)
def test_bytes_round_trip_exactly_and_the_copy_lives_on(name: str, seed: int) -> None:
    shape, rng = SHAPES[name], np.random.default_rng(seed)
    rows = shape.rows(rng, 80)
    summary = filled(shape, rows, rng.choice([-1, 1], 80))
    copy = shape.read(summary.to_bytes())
    for x, y in zip(
        shape.counts(summary) + shape.sums(summary), shape.counts(copy) + shape.sums(copy), strict=True
    ):
        np.testing.assert_array_equal(x, y)
    assert copy.to_bytes() == summary.to_bytes()
    for s in (summary, copy):
        s.update(*rows)
    same(shape, summary, copy, magnitude(shape, summary))


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
@pytest.mark.parametrize("name", SHAPES)
def test_taking_rows_out_undoes_adding_them(name: str, seed: int) -> None:
    shape, rng = SHAPES[name], np.random.default_rng(seed)
    kept, gone = shape.rows(rng, 60), shape.rows(rng, 60)
    expected, summary = filled(shape, kept), filled(shape, kept)
    summary.update(*gone)
    scale = magnitude(shape, summary)
    summary.update(*gone, sign=np.full(60, -1))
    same(shape, summary, expected, scale)


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
@pytest.mark.parametrize("name", SHAPES)
def test_a_retraction_may_be_merged_before_what_it_retracts(name: str, seed: int) -> None:
    shape, rng = SHAPES[name], np.random.default_rng(seed)
    kept, gone = shape.rows(rng, 60), shape.rows(rng, 60)
    summary = filled(shape, gone, np.full(60, -1))
    summary = shape.read(summary.to_bytes())
    summary.merge(filled(shape, kept))
    summary.merge(filled(shape, gone))
    same(shape, summary, filled(shape, kept), magnitude(shape, filled(shape, gone), summary))


def test_mixed_signs_in_one_batch_equal_separate_batches(shape: Shape) -> None:
    rng = np.random.default_rng(5)
    rows, sign = shape.rows(rng, 300), rng.choice([-1, 1], 300)
    apart = filled(shape, cut(rows, sign > 0))
    apart.update(*cut(rows, sign < 0), sign=np.full((sign < 0).sum(), -1))
    same(shape, filled(shape, rows, sign), apart, magnitude(shape, apart))


def test_weights_of_one_are_exact_and_cost_nothing() -> None:
    outcomes = BinaryOutcomes(EDGES)
    outcomes.update(np.array([0, 1, 1]), np.array([0, 1, 0]), np.array([0.1, 0.9, 0.4]), np.ones(3))
    assert outcomes.confusion.excess is None
    assert outcomes.scores.weights.sum() == 3.0


def test_rows_without_label_or_with_a_bad_weight_are_counted_as_unusable() -> None:
    binary = BinaryOutcomes(EDGES)
    binary.update(np.array([0, 1, -1, 2, 1]), np.ones(5, int), None, np.array([1, 1, 1, 1, np.nan]))
    assert (binary.n, binary.unusable) == (2, 3)
    multiclass = MulticlassOutcomes(CLASSES)
    multiclass.update(np.array([0, 9, -1, 1]), np.array([0, 0, 0, -1]), None, np.array([1, 1, 1, -2.0]))
    assert (multiclass.n, multiclass.unusable) == (2, 2)
    regression = RegressionOutcomes()
    regression.update(np.array([1, np.nan, 1, 1e200, np.inf]), np.array([1, 1, np.nan, 1, np.inf]))
    assert (regression.n, regression.unusable) == (1, 4)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (BinaryOutcomes(EDGES), BinaryOutcomes(EDGES / 2)),
        (MulticlassOutcomes(CLASSES), MulticlassOutcomes(CLASSES[::-1])),
        (MulticlassOutcomes(CLASSES, CLASS_EDGES), MulticlassOutcomes(CLASSES)),
        (RegressionOutcomes(), RegressionOutcomes(1.0)),
    ],
)
def test_other_shapes_do_not_merge(a: Any, b: Any) -> None:
    with pytest.raises(ValueError, match="different"):
        a.merge(b)


def test_bytes_of_another_shape_are_refused() -> None:
    data = BinaryOutcomes(EDGES).to_bytes()
    with pytest.raises(ValueError, match="shape"):
        BinaryOutcomes.from_bytes(data, EDGES[:-1])


@pytest.mark.parametrize("classes", [("a",), tuple(map(str, range(101)))])
def test_too_few_and_too_many_classes_are_refused(classes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="2 to 100"):
        MulticlassOutcomes(classes)
