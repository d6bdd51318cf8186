"""What every detector and summary keeps to: columns in, verdicts out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple, Protocol, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

NULL = -1
"""Code of a missing value in `Categories.codes`."""
INVALID = -2
"""Code of a value of the wrong type in `Categories.codes`."""


TupleT = TypeVar("TupleT", bound=tuple[Any, ...])


class DetectorError(Exception):
    """A detector cannot do what it was asked; the message says why and what is accepted."""


@dataclass(slots=True)
class Numbers:
    """A numeric column of n rows.

    Attributes
    ----------
    values : float64[n]
        NaN where the value is null, invalid, or NaN itself.
    nulls : bool[n] or None
        Where the value is absent or null; None when nowhere.
    invalid : bool[n] or None
        Where the value had a wrong type (a string, say); None when nowhere.
    """

    values: Floats
    nulls: Bools | None = None
    invalid: Bools | None = None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: NDArray[np.intp] | slice) -> Numbers:
        """The column at `rows`, an index array or a slice."""
        return Numbers(
            self.values[rows],
            None if self.nulls is None else self.nulls[rows],
            None if self.invalid is None else self.invalid[rows],
        )


@dataclass(slots=True)
class Categories:
    """A dictionary-encoded column of n rows.

    Attributes
    ----------
    codes : int32[n]
        Index into `names`; `NULL` (-1) where missing, `INVALID` (-2) where of a wrong type.
    names : tuple of str
        The distinct values, each once; may hold names that no row uses.
    """

    codes: NDArray[np.int32]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: NDArray[np.intp] | slice) -> Categories:
        """The column at `rows`, an index array or a slice; `names` are shared."""
        return Categories(self.codes[rows], self.names)


Column: TypeAlias = Numbers | Categories


@dataclass(slots=True)
class Vectors:
    """A column of n vectors, such as embeddings, which need not all be of one length.

    Attributes
    ----------
    values : float32[sum of the lengths]
        The vectors one after another; finite.
    lengths : int32[n]
        Numbers in each row's vector; `NULL` (-1) where it is missing, `INVALID` (-2) where it is no
        vector of finite numbers. Never 0.
    """

    values: NDArray[np.float32]
    lengths: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.lengths)

    @classmethod
    def missing(cls, rows: int) -> Vectors:
        """A column of `rows` missing vectors."""
        return cls(np.empty(0, np.float32), np.full(rows, NULL, np.int32))

    def take(self, rows: NDArray[np.intp] | slice) -> Vectors:
        """The column at `rows`, an index array or a slice."""
        taken = self.lengths[rows]
        lengths, wanted = np.maximum(self.lengths, 0), np.maximum(taken, 0)
        starts = (np.cumsum(lengths, dtype=np.int64) - lengths)[rows]
        width = int(lengths.max(initial=0))
        if width and len(self.values) == width * np.count_nonzero(lengths):  # all are of one length
            return Vectors(self.values.reshape(-1, width)[starts[taken > 0] // width].ravel(), taken)
        begin = np.cumsum(wanted, dtype=np.int64) - wanted
        places = np.repeat(starts - begin, wanted) + np.arange(int(wanted.sum()))
        return Vectors(self.values[places], taken)

    def join(self, other: Vectors) -> Vectors:
        """These rows followed by those of `other`."""
        return Vectors(
            np.concatenate((self.values, other.values)), np.concatenate((self.lengths, other.lengths))
        )

    def of_length(self, length: int) -> NDArray[np.float32]:
        """The vectors of this length, in order: float32[rows that have it, length]."""
        if (self.lengths[self.lengths > 0] == length).all():
            return self.values.reshape(-1, length)
        return self.take(np.flatnonzero(self.lengths == length)).values.reshape(-1, length)


TableColumn: TypeAlias = Column | Vectors
"""A column of a table: a value a row, or a vector a row."""


class Status(StrEnum):
    """What a detector says of a window."""

    STABLE = "stable"
    DRIFT = "drift"
    INSUFFICIENT = "insufficient"
    FAILED = "failed"


class Verdict(NamedTuple):
    """A detector's answer for one column (or for the table, when it judges all columns at once).

    A tuple, because hundreds are made a window, and these are made fastest.

    Attributes
    ----------
    status : Status
        `drift` only when both the evidence and the effect pass their thresholds.
    statistic : float
        The test statistic, in the detector's own unit.
    effect : float
        Effect size in the detector's stated unit, 0 when nothing changed; comparable over time.
    p_value, e_value : float or None
        Evidence against "unchanged"; None when the detector gives none of that kind.
    threshold : float
        What the p-value (or, lacking one, the effect) was held against.
    n_reference, n_window : int
        Rows that entered the comparison on each side.
    reason : str
        Why, in a few words fit for a person; never empty for `insufficient` and `failed`.
    """

    status: Status
    statistic: float
    effect: float
    p_value: float | None
    threshold: float
    n_reference: int
    n_window: int
    e_value: float | None = None
    reason: str = ""


def named_tuples(of: type[TupleT], *fields: Iterable[Any]) -> list[TupleT]:
    """Named tuples from a column of each of their fields, in order: the fastest way to many verdicts."""
    return list(map(partial(tuple.__new__, of), zip(*fields, strict=True)))


class Summary(Protocol):
    """A mergeable summary. The empty one is zero; merging is associative and commutative."""

    def merge(self, other: Self) -> None:
        """Add `other` into this summary; raises `ValueError` when their shapes differ."""

    def to_bytes(self) -> bytes:
        """Compact bytes, readable by `from_bytes` of the same shape."""
