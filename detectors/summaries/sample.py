"""A few rows of a window, chosen by the hash of their key: deterministic, mergeable, order-free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from detectors.base import NULL, Categories, Column, Floats, Numbers
from detectors.summaries.categories import number_text
from detectors.summaries.packing import pack, unpack

Texts: TypeAlias = NDArray[np.object_]
"""Category names; None where missing or invalid."""


def texts_of(values: Floats) -> Texts:
    """Numbers as category names, NaN as None; one conversion per distinct number."""
    distinct, inverse = np.unique(values, return_inverse=True)
    names = [None if np.isnan(v) else number_text(float(v)) for v in distinct]
    return np.array([*names, None], object)[inverse]


def _cells(column: Column, rows: NDArray[np.intp]) -> Floats | Texts:
    if isinstance(column, Numbers):
        return column.values[rows]
    codes = column.codes[rows]
    return np.array([*column.names, None, None], object)[codes]  # -1 and -2 index the two None


@dataclass(slots=True, eq=False)
class Sample:
    """The rows whose keys hash lowest, at most `size`; each key once.

    Attributes
    ----------
    keys : uint64[m]
        Sorted ascending; uniform hashes of the rows' identities.
    columns : mapping
        Name -> float64[m] (NaN where missing) or object[m] of str (None where missing). A column
        that was numeric in one batch and text in another is text.
    seen : int
        Rows offered.
    """

    size: int
    keys: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    columns: dict[str, Floats | Texts] = field(default_factory=dict)
    seen: int = 0

    def __len__(self) -> int:
        return len(self.keys)

    def update(self, keys: NDArray[np.uint64], columns: Mapping[str, Column]) -> None:
        """Offer rows: `keys` uint64[n], and columns of n rows each."""
        self.seen += len(keys)
        if self.size == 0:
            return
        rows = np.flatnonzero(keys < self.keys[-1]) if len(self.keys) == self.size else np.arange(len(keys))
        rows = rows[np.unique(keys[rows], return_index=True)[1][: self.size]]
        if len(rows):
            self._add(keys[rows], {name: _cells(column, rows) for name, column in columns.items()})

    def merge(self, other: Self) -> None:
        """Keep the lowest keys of both; raises `ValueError` when the sizes differ."""
        if other.size != self.size:
            raise ValueError("samples of different sizes cannot be merged")
        self.seen += other.seen
        if len(other.keys):
            self._add(other.keys, other.columns)

    def _add(self, keys: NDArray[np.uint64], columns: Mapping[str, Floats | Texts]) -> None:
        joined, first = np.unique(np.concatenate((self.keys, keys)), return_index=True)
        first = first[: self.size]
        old, new = len(self.keys), len(keys)
        self.columns = {
            name: _concatenate(self.columns.get(name), old, columns.get(name), new)[first]
            for name in sorted({*self.columns, *columns})
        }
        self.keys = joined[: self.size]

    def drop(self, names: Iterable[str]) -> None:
        """Forget columns."""
        for name in names:
            self.columns.pop(name, None)

    def column(self, name: str) -> Column:
        """A column as detectors and references take it."""
        cells = self.columns[name]
        if cells.dtype != object:
            return Numbers(cast("Floats", cells))
        names = sorted({cell for cell in cells if cell is not None})
        code: dict[str | None, int] = {name: i for i, name in enumerate(names)}
        code[None] = NULL
        return Categories(np.fromiter(map(code.__getitem__, cells), np.int32, len(cells)), tuple(names))

    def to_bytes(self) -> bytes:
        """Compact bytes."""
        fields: dict[str, Any] = {"size": self.size, "seen": self.seen, "keys": self.keys}
        kinds: dict[str, list[str] | None] = {}
        for i, name in enumerate(self.columns):
            column = self.column(name)
            if isinstance(column, Numbers):
                kinds[name], fields[f"c{i}"] = None, column.values
            else:
                kinds[name], fields[f"c{i}"] = list(column.names), column.codes
        return pack({**fields, "kinds": kinds})

    @classmethod
    def from_bytes(cls, data: bytes) -> Sample:
        """The sample that gave `data`."""
        fields = unpack(data)
        columns: dict[str, Floats | Texts] = {}
        for i, (name, names) in enumerate(fields["kinds"].items()):
            cells = fields[f"c{i}"]
            columns[name] = cells if names is None else np.array([*names, None], object)[cells]
        return cls(fields["size"], fields["keys"], columns, fields["seen"])


def _concatenate(
    a: Floats | Texts | None, rows_a: int, b: Floats | Texts | None, rows_b: int
) -> NDArray[Any]:
    """Two pieces of a column, a missing piece filled with missing values; text wins over numbers."""
    text = any(piece is not None and piece.dtype == object for piece in (a, b))
    pieces = []
    for piece, rows in ((a, rows_a), (b, rows_b)):
        if piece is None:
            pieces.append(np.full(rows, None, object) if text else np.full(rows, np.nan))
        else:
            pieces.append(texts_of(cast("Floats", piece)) if text and piece.dtype != object else piece)
    return np.concatenate(pieces)
