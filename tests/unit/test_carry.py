"""Columns that samples do not hold, when a reference is made of sampled rows."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.base import Categories, Column, Numbers, Status, Vectors
from observer.judge import JudgeSpec, WindowJudge
from observer.references import Overrides, Reference, build, carried

N = 2000


def columns(rng: np.random.Generator, rows: int = N, shift: float = 0.0) -> dict[str, Column]:
    common = rng.standard_normal(rows)
    return {
        "x": Numbers(common + rng.standard_normal(rows) + shift),
        "y": Numbers(common + rng.standard_normal(rows)),
        "z": Numbers(common + rng.standard_normal(rows)),
        "plan": Categories(rng.integers(0, 3, rows).astype(np.int32), ("a", "b", "c")),
    }


def vectors(rng: np.random.Generator, rows: int = N) -> dict[str, Vectors]:
    values = rng.standard_normal((rows, 8)).astype(np.float32)
    return {"@embedding.text": Vectors(values.ravel(), np.full(rows, 8, np.int32))}


def made(names: tuple[str, ...], seed: int = 0, with_vectors: bool = False, shift: float = 0.0) -> Reference:
    rng = np.random.default_rng(seed)
    keys = np.arange(N, dtype=np.uint64)
    held = {name: column for name, column in columns(rng, shift=shift).items() if name in names}
    return build(keys, held, Overrides(), "", vectors=vectors(rng) if with_vectors else {})


@pytest.fixture(scope="module")
def both() -> tuple[Reference, Reference]:
    """The reference before, and the one that its windows make, of which some columns are not sampled."""
    before = made(("x", "y", "z", "plan"), with_vectors=True)
    return before, carried(made(("x", "y"), 1, shift=1.0), before, before.summary)


def test_what_is_not_sampled_stays_as_counted(both):
    before, after = both
    one, other = before.summary, after.summary
    assert set(other.numbers.names) == {"x", "y", "z"}
    for part, whole, name in (
        (other.numbers, one.numbers, "z"),
        (other.categories, one.categories, "plan"),
        (other.embeddings, one.embeddings, "@embedding.text"),
    ):
        found, expected = (each.counts[each.names.index(name)] for each in (part, whole))
        np.testing.assert_array_equal(found, expected)
        assert after.notes[name].startswith("kept as counted")
    assert after.schema.features == before.schema.features
    np.testing.assert_array_equal(
        other.numbers.binning.columns[other.numbers.names.index("z")],
        one.numbers.binning.columns[one.numbers.names.index("z")],
    )


def test_it_can_be_saved(both):
    again = Reference.from_bytes(both[1].to_bytes())
    assert again.version == both[1].version
    np.testing.assert_array_equal(again.table.scores.table, both[1].table.scores.table)
    np.testing.assert_array_equal(again.summary.scores.products, both[1].summary.scores.products)


@pytest.mark.parametrize("seed", range(5))
def test_a_window_like_it_is_no_drift(both, seed):
    """Also of all columns at once, though nobody knows how `z` goes together with the others."""
    judge, after = WindowJudge(JudgeSpec(alpha=0.001)), both[1]
    rng = np.random.default_rng(10 + seed)
    held = {**columns(rng, 1000, shift=1.0), **vectors(rng, 1000)}
    window = after.table.zero()
    window.update(after.table.encode(np.arange(1000, dtype=np.uint64), held))
    judged = judge.judge(after.summary, window)
    assert {(one.subject, one.detector) for one in judged if one.verdict.status is Status.DRIFT} == set()
    together = next(one.verdict for one in judged if one.detector == "covariance")
    assert together.status is Status.STABLE
    assert {one.subject for one in judged} >= {"x", "y", "z", "plan", "@embedding.text"}


def test_more_numbers_than_may_be_mixed_are_left_out(both):
    before, rng = both[0], np.random.default_rng(0)
    wide = {f"n{i}": Numbers(rng.standard_normal(N)) for i in range(100)}
    after = carried(build(np.arange(N, dtype=np.uint64), wide, Overrides(), ""), before, before.summary)
    assert {*after.summary.numbers.names} == {*wide}
    assert after.notes["z"].startswith("left out")
    assert "plan" in after.summary.categories.names


def test_nothing_is_carried_where_samples_hold_all(both):
    whole = made(("x", "y", "z", "plan"), 3, with_vectors=True)
    assert carried(whole, both[0], both[0].summary).version == whole.version
