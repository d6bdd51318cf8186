"""Rows of every sort, whole and in pieces."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from detectors.base import Categories, Numbers
from detectors.conformance import table_of
from detectors.summaries.packing import unpack
from detectors.summaries.table import Table

SEEDS = st.integers(0, 2**32 - 1)


def rows(seed: int, n: int, numeric: int = 4) -> dict:
    """Columns of n rows: skewed, holed, discrete, constant; names with holes, wrong types and newcomers."""
    rng = np.random.default_rng(seed)
    columns = {f"n{i}": Numbers(rng.standard_normal(n) * 10.0**i + i) for i in range(numeric)}
    holed = rng.lognormal(0, 2, n)
    nulls, invalid = rng.random(n) < 0.2, rng.random(n) < 0.1
    holed[rng.random(n) < 0.1] = np.inf
    holed[rng.random(n) < 0.1] = -np.inf
    holed[nulls | invalid | (rng.random(n) < 0.1)] = np.nan
    columns["holed"] = Numbers(holed, nulls, invalid & ~nulls)
    columns["few"] = Numbers(rng.integers(-2, 3, n).astype(np.float64))
    columns["constant"] = Numbers(np.full(n, 7.0))
    columns["name"] = Categories(rng.integers(-2, 8, n).astype(np.int32), tuple("abcdefgh"))
    columns["new"] = Categories(rng.integers(-1, 30, n).astype(np.int32), tuple(f"{i}" for i in range(30)))
    columns["flag"] = Categories(rng.integers(0, 2, n).astype(np.int32), ("false", "true"))
    return columns


def reference_table(sample_size: int = 50) -> Table:
    """The table that 500 rows define, whose columns `new` and `name` know half of the names."""
    columns = rows(99, 500)
    columns["name"] = Categories(np.minimum(columns["name"].codes, 3), tuple("abcdefgh"))
    columns["new"] = Categories(np.minimum(columns["new"].codes, 12), columns["new"].names)
    return table_of(columns, sample_size)


def keys_of(seed: int, n: int) -> np.ndarray:
    """Keys in any order, all different."""
    rng = np.random.default_rng(seed + 1)
    return (rng.permutation(n) * 2**40 + rng.integers(0, 2**40, n)).astype(np.uint64)


def take(columns: dict, where: np.ndarray) -> dict:
    return {name: column.take(where) for name, column in columns.items()}


def pieces(seed: int, n: int) -> list[np.ndarray]:
    """The numbers of n rows in any order, cut anywhere; pieces may be empty."""
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.integers(0, n + 1, rng.integers(0, 6)))
    return np.split(rng.permutation(n), cuts)


def assert_same(one: bytes, other: bytes, scale: float = 1.0) -> None:
    """Equal fields: integers exactly, floats to 1e-9 of what went through their sums."""
    a, b = unpack(one), unpack(other)
    assert a.keys() == b.keys()
    for name, value in a.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            np.testing.assert_allclose(b[name], value, rtol=1e-9, atol=1e-9 * scale, err_msg=name)
        elif isinstance(value, np.ndarray):
            np.testing.assert_array_equal(b[name], value, err_msg=name)
        elif isinstance(value, bytes):
            assert_same(value, b[name], scale)
        else:
            assert value == b[name], name
