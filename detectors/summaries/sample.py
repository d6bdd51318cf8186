"""A few rows of a window, chosen by the hash of their key: deterministic, mergeable, order-free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from detectors.base import INVALID, NULL, Categories, Column, Floats, Numbers, TableColumn, Vectors
from detectors.summaries.categories import number_text
from detectors.summaries.packing import pack, unpack

VECTOR_ROWS = 1_000
"""Rows of a sample whose vectors are kept: 1.5 MB a column of 384 numbers."""


class Cells(NamedTuple):
    """A sampled column of m rows, which need not be all of one type.

    Attributes
    ----------
    values : float64[m]
        NaN where the cell is missing, or text.
    texts : object[m] of str, or None
        None where the cell is missing, or a number; None in all when no cell is text.
    """

    values: Floats
    texts: NDArray[np.object_] | None

    @classmethod
    def of(cls, column: Column, rows: NDArray[np.intp]) -> Cells:
        """The cells of `column` at `rows`."""
        if isinstance(column, Numbers):
            return cls(column.values[rows], None)
        names = np.array([*column.names, None, None], object)  # NULL and INVALID index the two None
        return cls(np.full(len(rows), np.nan), names[column.codes[rows]])

    @classmethod
    def missing(cls, rows: int) -> Cells:
        """Cells that hold nothing."""
        return cls(np.full(rows, np.nan), None)

    def join(self, other: Cells) -> Cells:
        """These cells followed by `other`."""
        values = np.concatenate((self.values, other.values))
        if self.texts is None and other.texts is None:
            return Cells(values, None)
        return Cells(
            values, np.concatenate([_no_texts(c) if c.texts is None else c.texts for c in (self, other)])
        )

    def take(self, rows: NDArray[np.intp] | slice) -> Cells:
        """The cells at `rows`; the others leave no trace, not even in the type."""
        texts = None if self.texts is None else self.texts[rows]
        if texts is not None and all(text is None for text in texts):
            texts = None
        return Cells(self.values[rows], texts)

    def column(self) -> Column:
        """Numbers if no cell is text, else categories, numbers among them by their text."""
        if self.texts is None:
            nulls = np.isnan(self.values)
            return Numbers(self.values, nulls if nulls.any() else None)
        texts = self.texts.copy()
        for i in np.flatnonzero(~np.isnan(self.values)):
            texts[i] = number_text(float(self.values[i]))
        return _coded(texts)


def _coded(texts: NDArray[np.object_]) -> Categories:
    names = sorted({text for text in texts if text is not None})
    code: dict[str | None, int] = {None: NULL, **{name: i for i, name in enumerate(names)}}
    return Categories(np.fromiter(map(code.__getitem__, texts), np.int32, len(texts)), tuple(names))


def _no_texts(cells: Cells) -> NDArray[np.object_]:
    return np.full(len(cells.values), None, object)


@dataclass(slots=True, eq=False)
class Sample:
    """The rows whose keys hash lowest, at most `size`; each key once (rows of one key are taken to be equal).

    Attributes
    ----------
    keys : uint64[m]
        Sorted ascending; uniform hashes of the rows' identities.
    columns : mapping
        Name -> cells of m rows; every column that a batch had, rows kept or not.
    seen : int
        Rows offered.
    vectors : mapping
        Name -> vectors of the first `VECTOR_ROWS` of the m rows; only where a batch had some.
    """

    size: int
    keys: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    columns: dict[str, Cells] = field(default_factory=dict)
    seen: int = 0
    vectors: dict[str, Vectors] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.keys)

    def update(self, keys: NDArray[np.uint64], columns: Mapping[str, TableColumn]) -> None:
        """Offer rows: `keys` uint64[n], and columns of n rows each."""
        self.seen += len(keys)
        if self.size == 0:
            return
        rows = np.flatnonzero(keys < self.keys[-1]) if len(self.keys) == self.size else np.arange(len(keys))
        rows = rows[np.unique(keys[rows], return_index=True)[1][: self.size]]
        if len(rows) or not columns.keys() <= self.columns.keys() | self.vectors.keys():
            first = rows[:VECTOR_ROWS]
            self._add(
                keys[rows],
                {name: Cells.of(c, rows) for name, c in columns.items() if not isinstance(c, Vectors)},
                {name: c.take(first) for name, c in columns.items() if isinstance(c, Vectors)},
            )

    def merge(self, other: Self) -> None:
        """Keep the lowest keys of both; raises `ValueError` when the sizes differ."""
        if other.size != self.size:
            raise ValueError("samples of different sizes cannot be merged")
        self.seen += other.seen
        self._add(other.keys, other.columns, other.vectors)

    def _add(
        self, keys: NDArray[np.uint64], columns: Mapping[str, Cells], vectors: Mapping[str, Vectors]
    ) -> None:
        joined, first = np.unique(np.concatenate((self.keys, keys)), return_index=True)
        first = first[: self.size]
        old, new = Cells.missing(len(self.keys)), Cells.missing(len(keys))
        self.columns = {
            name: self.columns.get(name, old).join(columns.get(name, new)).take(first)
            for name in sorted({*self.columns, *columns})
        }
        self._add_vectors(len(keys), vectors, first[:VECTOR_ROWS])
        self.keys = joined[: self.size]

    def _add_vectors(self, new: int, vectors: Mapping[str, Vectors], rows: NDArray[np.intp]) -> None:
        """Join vectors with those of `new` rows, before `keys` are, and keep them at `rows`.

        Of both only the first rows have their vectors, which are all that can be among the first of both.
        """
        old = len(self.keys)
        self.vectors = {
            name: _padded(self.vectors.get(name), old).join(_padded(vectors.get(name), new)).take(rows)
            for name in sorted({*self.vectors, *vectors})
        }

    def shorten(self, size: int) -> None:
        """Keep at most `size` rows from now on."""
        self.size = size
        self.keys = self.keys[:size]
        self.columns = {name: cells.take(slice(size)) for name, cells in self.columns.items()}
        self.vectors = {name: vectors.take(slice(size)) for name, vectors in self.vectors.items()}

    def drop(self, names: Iterable[str]) -> None:
        """Forget columns."""
        for name in names:
            self.columns.pop(name, None)
            self.vectors.pop(name, None)

    def column(self, name: str) -> Column:
        """A column as detectors and references take it."""
        return self.columns[name].column()

    def to_bytes(self) -> bytes:
        """Compact bytes."""
        fields: dict[str, Any] = {"size": self.size, "seen": self.seen, "keys": self.keys}
        names: dict[str, list[str] | None] = {}
        for i, (name, cells) in enumerate(self.columns.items()):
            names[name], fields[f"values {i}"] = None, cells.values
            if cells.texts is not None:
                texts = _coded(cells.texts)
                names[name], fields[f"codes {i}"] = list(texts.names), texts.codes
        for i, vectors in enumerate(self.vectors.values()):
            fields[f"vectors {i}"], fields[f"lengths {i}"] = vectors.values, vectors.lengths
        return pack({**fields, "names": names, "vectors": list(self.vectors)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Sample:
        """The sample that gave `data`."""
        fields = unpack(data)
        size, keys = fields.count("size"), fields.array("keys", np.uint64, -1)
        if len(keys) > size or not (keys[1:] > keys[:-1]).all():
            raise ValueError("field 'keys' does not increase, or is too long")
        columns = {}
        for i, (name, names) in enumerate(fields.mapping("names").items()):
            values, texts = fields.array(f"values {i}", np.float64, len(keys)), None
            if names is not None:
                codes = fields.array(f"codes {i}", np.int32, len(keys))
                known = isinstance(names, list) and all(isinstance(text, str) for text in names)
                if not known or not ((codes >= NULL) & (codes < len(names))).all():
                    msg = f"field 'codes {i}' does not index names"
                    raise ValueError(msg)
                texts = np.array([*names, None], object)[codes]
            columns[name] = Cells(values, texts)
        vectors = {}
        for i, name in enumerate(fields["vectors"]):
            lengths = fields.array(f"lengths {i}", np.int32, min(len(keys), VECTOR_ROWS))
            if (lengths < INVALID).any() or (lengths == 0).any():
                msg = f"field 'lengths {i}' holds no lengths"
                raise ValueError(msg)
            total = int(np.maximum(lengths, 0).sum(dtype=np.int64))
            vectors[name] = Vectors(fields.array(f"vectors {i}", np.float32, total), lengths)
        return cls(size, keys, columns, fields.count("seen"), vectors)


def _padded(vectors: Vectors | None, rows: int) -> Vectors:
    """Vectors of the first rows as a column of `rows`, missing in the others."""
    have = 0 if vectors is None else len(vectors)
    missing = Vectors.missing(rows - have)
    return missing if vectors is None else vectors.join(missing)
