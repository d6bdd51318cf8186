"""Counts of categorical columns against the reference's vocabulary."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from detectors.base import INVALID, NULL, Categories, Column, Ints
from detectors.summaries.packing import pack, unpack

TOP = 64
KNOWN = 10_000
UNSEEN_NAMES = 16


def number_text(value: float) -> str:
    """A number as the name of a category: `3` for 3.0, else the shortest exact text."""
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def as_categories(column: Column) -> Categories:
    """Any column as categories; numbers go by `number_text`, one conversion per distinct number."""
    if isinstance(column, Categories):
        return column
    missing = np.isnan(column.values)
    distinct, inverse = np.unique(column.values[~missing], return_inverse=True)
    codes = np.full(len(column), NULL, np.int32)
    codes[~missing] = inverse
    if column.invalid is not None:
        codes[column.invalid] = INVALID
    return Categories(codes, tuple(number_text(float(value)) for value in distinct))


def _rank(name: str) -> tuple[int, str]:
    """A place in an order that has nothing to do with what names mean."""
    return zlib.crc32(name.encode(errors="surrogatepass")), name


@dataclass(slots=True)
class UnseenNames:
    """Counts of a few names that the reference lacks: those whose hash is lowest.

    Which names stay does not depend on order, and a name that is kept was kept from its first
    occurrence on, so its count is exact and two samples merge exactly.
    """

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, counts: Mapping[str, int]) -> None:
        """Add occurrences of names."""
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        if len(self.counts) > UNSEEN_NAMES:
            kept = sorted(self.counts, key=_rank)[:UNSEEN_NAMES]
            self.counts = {name: self.counts[name] for name in kept}


@dataclass(frozen=True, slots=True)
class Vocabularies:
    """What categories the reference knows, per column; built once.

    Codes: 0..top-1 the most frequent names (fewer may be in use), then `top` other known names,
    top + 1 unseen, top + 2 null, top + 3 invalid.
    """

    names: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    """The counted names of each column, most frequent first, at most `top`."""
    rare: tuple[frozenset[str], ...]
    """Names of each column that are known but counted together."""
    top: int = TOP
    _codes: tuple[dict[str, int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        codes = []
        for counted, rare in zip(self.columns, self.rare, strict=True):
            known = dict.fromkeys(rare, self.top)
            known.update({name: code for code, name in enumerate(counted)})
            codes.append(known)
        object.__setattr__(self, "_codes", tuple(codes))

    @property
    def width(self) -> int:
        """Codes a column can have."""
        return self.top + 4

    def encode(self, column: int, values: Categories) -> NDArray[np.int64]:
        """Codes of a column's values: int64[n]; costs one look-up per distinct name."""
        known, unseen = self._codes[column], self.top + 1
        # Two places more, so that NULL (-1) and INVALID (-2) index them from the end.
        table = np.array([*(known.get(name, unseen) for name in values.names), self.top + 3, self.top + 2])
        return table.take(values.codes)

    def zero(self) -> CategoryCounts:
        """The empty counts over these vocabularies."""
        size = len(self.names)
        return CategoryCounts(
            self, 0, np.zeros((size, self.width), np.int64), tuple(UnseenNames() for _ in range(size))
        )


@dataclass(slots=True, eq=False, weakref_slot=True)
class CategoryCounts:
    """What a window's categorical columns hold: C columns over one `Vocabularies`.

    Attributes
    ----------
    n : int
        Rows.
    counts : int64[C, top + 4]
        The counted names, then other known names, unseen names, null, invalid type.
    unseen_names : tuple
        Per column, some of the unseen names with exact counts.
    """

    vocabularies: Vocabularies
    n: int
    counts: Ints
    unseen_names: tuple[UnseenNames, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Column names."""
        return self.vocabularies.names

    @property
    def vocabulary(self) -> tuple[tuple[str, ...], ...]:
        """The counted names of each column."""
        return self.vocabularies.columns

    @property
    def unseen(self) -> tuple[dict[str, int], ...]:
        """Per column, some of the names that the reference lacks, with their counts."""
        return tuple(sample.counts for sample in self.unseen_names)

    def update(self, column: int, codes: NDArray[np.int64], values: Categories) -> None:
        """Add rows of one column: `codes` int64[n] as encoded from `values`. Rows count in `count`."""
        counts = np.bincount(codes, minlength=self.vocabularies.width)
        self.counts[column] += counts
        unseen = self.vocabularies.top + 1
        if counts[unseen]:
            seen = np.bincount(values.codes[codes == unseen], minlength=len(values.names))
            present = np.flatnonzero(seen)
            lowest = sorted(present, key=lambda i: _rank(values.names[i]))[:UNSEEN_NAMES]
            self.unseen_names[column].add({values.names[i]: int(seen[i]) for i in lowest})

    def count(self, rows: int) -> None:
        """Add to the number of rows; once per batch."""
        self.n += rows

    def merge(self, other: Self) -> None:
        """Add `other`; raises `ValueError` when it has other columns or vocabularies."""
        if other.vocabularies is not self.vocabularies and other.vocabularies != self.vocabularies:
            raise ValueError("category counts over different columns or vocabularies cannot be merged")
        self.n += other.n
        self.counts += other.counts
        for mine, theirs in zip(self.unseen_names, other.unseen_names, strict=True):
            mine.add(theirs.counts)

    def to_bytes(self) -> bytes:
        """Compact bytes; the vocabularies are the reference's and not repeated."""
        unseen = [dict(sorted(counts.items())) for counts in self.unseen]
        return pack({"n": self.n, "counts": self.counts, "unseen": unseen})

    @classmethod
    def from_bytes(cls, data: bytes, vocabularies: Vocabularies) -> CategoryCounts:
        """The counts that gave `data`; `vocabularies` must be the ones they were built over."""
        fields, size = unpack(data), len(vocabularies.names)
        counts = fields.array("counts", np.int64, size, vocabularies.width)
        unseen = fields["unseen"]
        if not isinstance(unseen, list) or len(unseen) != size or not all(map(_are_counts, unseen)):
            raise ValueError("field 'unseen' does not count names by column")
        return cls(vocabularies, fields.count("n"), counts, tuple(map(UnseenNames, unseen)))


def _are_counts(value: object) -> bool:
    return isinstance(value, dict) and all(type(count) is int and count > 0 for count in value.values())


def vocabulary(values: Categories, top: int = TOP) -> tuple[tuple[str, ...], frozenset[str]]:
    """The `top` most frequent names (ties by name) and the other names, at most `KNOWN` in all."""
    used = values.codes[values.codes > NULL]
    counts = np.bincount(used, minlength=len(values.names))
    order = sorted(np.flatnonzero(counts), key=lambda i: (-counts[i], values.names[i]))
    names = [values.names[i] for i in order[:KNOWN]]
    return tuple(names[:top]), frozenset(names[top:])
