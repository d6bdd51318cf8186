from __future__ import annotations

import numpy as np
import pytest

from detectors.base import Numbers
from detectors.statistical.covariance import Covariance
from detectors.summaries.scores import WIDEST
from detectors.why.covariance import top_pairs
from tests.unit.why.tables import columns, summaries


def test_the_pair_that_came_apart_is_first() -> None:
    rng = np.random.default_rng(3)
    now = columns(rng, 4_000)
    now["b"] = Numbers(rng.normal(size=4_000))
    before, window = summaries(columns(rng, 8_000), now)
    first = top_pairs(before, window)[0]
    assert {first.first, first.second} == {"a", "b"}
    assert first.before == pytest.approx(0.58, abs=0.05)  # of normal scores
    assert first.now == pytest.approx(0.0, abs=0.05)
    assert abs(first.moved) > 10 * first.error


def test_a_spread_is_a_pair_with_itself() -> None:
    rng = np.random.default_rng(4)
    now = columns(rng, 4_000)
    now["c"] = Numbers(np.exp(1.5 * rng.normal(size=4_000)))
    pair = top_pairs(*summaries(columns(rng, 8_000), now), most=1)[0]
    assert (pair.first, pair.second) == ("c", "c")
    assert pair.now / pair.before > 1.2


def test_all_entries_make_the_statistic_of_the_detector() -> None:
    rng = np.random.default_rng(5)
    before, now = summaries(columns(rng, 3_000), columns(rng, 2_000))
    pairs = top_pairs(before, now, most=100)
    square = sum(pair.moved**2 * (1 if pair.first == pair.second else 2) for pair in pairs)
    assert np.sqrt(square) == pytest.approx(Covariance().compare(before, now)[0].statistic)
    assert [abs(pair.moved) for pair in pairs] == sorted((abs(pair.moved) for pair in pairs), reverse=True)


def test_the_error_is_that_of_unchanged_normal_columns() -> None:
    rng = np.random.default_rng(6)
    reference = {name: Numbers(rng.normal(size=20_000)) for name in "abcd"}
    scaled = []
    for _ in range(60):
        window = {name: Numbers(rng.normal(size=1_000)) for name in "abcd"}
        pairs = top_pairs(*summaries(reference, window, sample=0), most=10)
        scaled += [pair.moved / pair.error for pair in pairs]
    assert np.std(scaled) == pytest.approx(1.0, abs=0.15)


def test_too_little_gives_no_pairs() -> None:
    rng = np.random.default_rng(7)
    one = {"a": Numbers(rng.normal(size=500))}
    assert top_pairs(*summaries(one, one)) == ()
    two = {name: Numbers(rng.normal(size=500)) for name in "ab"}
    assert top_pairs(*summaries(two, {name: column.take(slice(1)) for name, column in two.items()})) == ()
    wide = {f"c{i}": Numbers(rng.normal(size=300)) for i in range(WIDEST + 1)}
    assert top_pairs(*summaries(wide, wide, sample=0)) == ()
