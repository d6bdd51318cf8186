import numpy as np
import pytest

from detectors.base import NULL, Categories, Numbers
from detectors.conformance import summarise, table_of
from detectors.learned.rows import Layout


def sides(before, now=None):
    table = table_of(before)
    reference = summarise(table, before)
    return reference, reference if now is None else summarise(table, now)


def features(layout, sample, name):
    return layout.rows(sample)[:, [column == name for column in layout.columns]]


def test_numbers_are_in_robust_units_of_the_reference():
    rng = np.random.default_rng(1)
    x = 50 + 7 * rng.standard_normal(1000)
    x[:10] = 1e9
    reference, window = sides({"x": Numbers(x)}, {"x": Numbers(x + 7)})
    layout = Layout.of(reference)
    assert layout.columns == ("x", "x")
    before, now = (layout.rows(side.sample) for side in (reference, window))
    assert np.std(before[before[:, 0] < 4, 0]) == pytest.approx(1, abs=0.1)
    assert np.median(now[:, 0]) == pytest.approx(1, abs=0.1)
    assert before.max() == 4
    assert not before[:, 1].any()


def test_missing_numbers_are_marked():
    x = np.arange(200.0)
    x[::4] = np.nan
    reference, window = sides({"x": Numbers(x), "y": Numbers(x)}, {"y": Numbers(x)})
    rows = features(Layout.of(reference), reference.sample, "x")
    assert rows[:, 1].sum() == 50
    assert not rows[rows[:, 1] == 1, 0].any()
    assert np.array_equal(features(Layout.of(reference), window.sample, "x"), np.tile([0.0, 1.0], (200, 1)))


@pytest.mark.parametrize("value", [0.0, 7.0, 1e300, -1e-300])
def test_a_value_other_than_the_only_one_lies_far_away(value):
    same = Numbers(np.full(100, value))
    reference, window = sides({"x": same}, {"x": Numbers(np.full(100, value + max(abs(value), 1)))})
    layout = Layout.of(reference)
    assert not layout.rows(reference.sample).any()
    assert (layout.rows(window.sample)[:, 0] == 4).all()


def test_half_zeros_have_a_unit():
    x = np.zeros(1000)
    x[:200] = np.random.default_rng(2).exponential(5, 200)
    reference, _ = sides({"x": Numbers(x)})
    values = Layout.of(reference).rows(reference.sample)[:, 0]
    assert 0.5 < np.std(values) < 2


def test_categories_are_one_hot_with_other_and_missing():
    rng = np.random.default_rng(3)
    codes = rng.choice(3, 1000, p=(0.6, 0.3, 0.1)).astype(np.int32)
    new = np.array([0, 1, 2, 3, NULL] * 20, np.int32)
    reference, window = sides(
        {"c": Categories(codes, ("a", "b", "d"))}, {"c": Categories(new, ("d", "b", "a", "z"))}
    )
    layout = Layout.of(reference)
    rows = layout.rows(window.sample)
    assert layout.columns == ("c",) * 5
    assert (rows.sum(axis=1) == 1).all()
    assert rows.sum(axis=0).tolist() == [20, 20, 20, 20, 20]
    assert layout.rows(reference.sample).mean(axis=0) == pytest.approx([0.6, 0.3, 0.1, 0, 0], abs=0.05)


def test_names_too_alike_are_not_told_apart():
    """Which of many names the reference saw is chance: told apart, they would tell the sides apart."""
    codes = np.random.default_rng(4).integers(0, 5000, (2, 1000)).astype(np.int32)
    names = tuple(f"v{i}" for i in range(5000))
    reference, window = sides(*({"c": Categories(side, names)} for side in codes))
    layout = Layout.of(reference)
    assert np.array_equal(layout.rows(reference.sample), layout.rows(window.sample))


def test_one_text_among_numbers_is_only_one_missing_value():
    x = np.random.default_rng(5).standard_normal(100)
    table = table_of({"x": Numbers(x)})
    reference, window = summarise(table, {"x": Numbers(x)}), table.zero()
    for rows, column in (
        (slice(0, 99), Numbers(x[:99])),
        (slice(99, 100), Categories(np.zeros(1, np.int32), ("?",))),
    ):
        part = table.encode(np.arange(1000, 1100, dtype=np.uint64)[rows], {"x": column})
        window.update(part)
    rows = Layout.of(reference).rows(window.sample)
    assert rows[:, 1].tolist() == [0.0] * 99 + [1.0]
    assert np.count_nonzero(rows[:99, 0]) >= 98  # one may be the median
