from __future__ import annotations

import builtins

import numpy as np
import pytest
from scipy.stats import fisher_exact

from detectors.base import Categories, Column, DetectorError, Numbers
from detectors.why import slices
from detectors.why.slices import find_slices

N = 2_000


def table(rng: np.random.Generator, n: int = N) -> dict[str, Column]:
    return {
        "amount": Numbers(np.where(rng.random(n) < 0.1, np.nan, rng.lognormal(4, 1, n))),
        "age": Numbers(rng.integers(18, 90, n).astype(float)),
        "country": Categories(rng.integers(-1, 4, n).astype(np.int32), ("DE", "FR", "US", "IT")),
        "noise": Numbers(rng.normal(size=n)),
    }


def keys(rng: np.random.Generator, n: int = N) -> np.ndarray:
    return rng.integers(0, 2**64, n, np.uint64)


def values(column: Column) -> np.ndarray:
    assert isinstance(column, Numbers)
    return column.values


def test_a_slice_of_two_columns_is_found_and_said() -> None:
    rng = np.random.default_rng(14)
    columns, ids = table(rng), keys(rng)
    inside = (columns["country"].codes == 0) & (values(columns["amount"]) >= 60)
    loss = (rng.random(N) < np.where(inside, 0.6, 0.1)).astype(float)
    (found,) = find_slices(ids, columns, loss)
    assert found.words.startswith("country = DE and amount >= ")
    threshold = float(found.words.rpartition(" ")[2])
    assert 40 < threshold < 80
    # What is told of it comes from the rows with odd keys alone.
    held = ids % np.uint64(2) == 1
    rows = (columns["country"].codes == 0) & (values(columns["amount"]) >= threshold)
    assert found.rows == np.count_nonzero(rows & held)
    assert found.support == pytest.approx(found.rows / held.sum())
    assert found.mean == pytest.approx(loss[rows & held].mean())
    assert found.effect == pytest.approx(loss[rows & held].mean() - loss[~rows & held].mean())
    cells = [[np.count_nonzero(loss[a & held] == x) for x in (1, 0)] for a in (rows, ~rows)]
    assert found.p_value == pytest.approx(fisher_exact(cells, alternative="greater")[1], rel=0.5)


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        (lambda c: np.isnan(values(c["amount"])), "amount is missing"),
        (lambda c: c["country"].codes == -1, "country is missing"),
        (lambda c: c["country"].codes == 2, "country = US"),
        (lambda c: values(c["age"]) < 40, "age < 4"),
        (lambda c: ~(values(c["amount"]) >= 50), "(amount < "),
        (lambda c: (values(c["age"]) >= 40) & (values(c["age"]) < 60), " <= age < "),
        (lambda c: c["country"].codes != 2, "country is not US"),
        (lambda c: ~np.isnan(values(c["amount"])), "amount is not missing"),
    ],
)
def test_words(inside, words: str) -> None:
    rng = np.random.default_rng(15)
    columns = table(rng)
    loss = np.where(inside(columns), 3.0, 1.0) + rng.normal(size=N)
    found = find_slices(keys(rng), columns, loss)[0]
    assert words in found.words
    assert " and " not in found.words
    assert found.p_value == 1 / 2_000  # no permutation comes near


@pytest.mark.parametrize("kind", ["binary", "skewed"])
def test_without_a_slice_none_is_named_more_often_than_alpha(kind: str) -> None:
    rng = np.random.default_rng(16)
    runs, named = 120, 0
    for _ in range(runs):
        columns = table(rng, 600)
        loss = (rng.random(600) < 0.2).astype(float) if kind == "binary" else rng.lognormal(0, 1.5, 600)
        named += bool(find_slices(keys(rng, 600), columns, loss))
    assert named <= 0.05 * runs


def test_the_test_on_the_held_out_half_keeps_its_level_whatever_the_search_claims(monkeypatch) -> None:
    """Without pruning the tree claims something nearly always, and Holm alone must hold."""
    monkeypatch.setattr(slices, "_leaves", lambda tree, *_: np.flatnonzero(tree.children_left < 0))
    rng = np.random.default_rng(17)
    runs, named = 150, 0
    for _ in range(runs):
        loss = (rng.random(400) < 0.3).astype(float)
        named += bool(find_slices(keys(rng, 400), table(rng, 400), loss))
    assert named <= 0.05 * runs + 2 * np.sqrt(0.05 * 0.95 * runs)


def test_rows_without_a_loss_have_no_say() -> None:
    rng = np.random.default_rng(18)
    columns, ids = table(rng), keys(rng)
    loss = (rng.random(N) < np.where(columns["country"].codes == 1, 0.5, 0.1)).astype(float)
    some = np.flatnonzero(rng.random(N) < 0.8)
    gaps = np.full(N, np.nan)
    gaps[some] = loss[some]
    taken = {name: column.take(some) for name, column in columns.items()}
    assert find_slices(ids, columns, gaps) == find_slices(ids[some], taken, loss[some])
    with pytest.raises(DetectorError, match="10 rows have a loss; a search for slices needs 200"):
        find_slices(ids[:10], {name: column.take(slice(10)) for name, column in columns.items()}, loss[:10])


def test_odd_tables_give_no_slices() -> None:
    rng = np.random.default_rng(19)
    loss = rng.random(N)
    assert find_slices(keys(rng), {}, loss) == ()
    constant: dict[str, Column] = {"x": Numbers(np.zeros(N)), "y": Numbers(np.full(N, np.nan))}
    assert find_slices(keys(rng), constant, loss) == ()
    assert find_slices(keys(rng), table(rng), np.ones(N)) == ()
    assert find_slices(np.full(N, 2, np.uint64), table(rng), loss) == ()
    infinite: dict[str, Column] = {"x": Numbers(np.where(rng.random(N) < 0.5, np.inf, -np.inf))}
    assert find_slices(keys(rng), infinite, loss) == ()


def test_without_scikit_learn_it_says_what_to_install(monkeypatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest, **more):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *rest, **more)

    rng = np.random.default_rng(20)
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(DetectorError, match=r"scikit-learn; install ml-observer\[learned\]"):
        find_slices(keys(rng), table(rng), rng.random(N))
