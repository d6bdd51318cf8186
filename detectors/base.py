"""What every detector and summary keeps to: columns in, verdicts out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

NULL = -1
"""Code of a missing value in `Categories.codes`."""
INVALID = -2
"""Code of a value of the wrong type in `Categories.codes`."""


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


class Status(StrEnum):
    """What a detector says of a window."""

    STABLE = "stable"
    DRIFT = "drift"
    INSUFFICIENT = "insufficient"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A detector's answer for one column (or for the table, when it judges all columns at once).

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


class Summary(Protocol):
    """A mergeable summary. The empty one is zero; merging is associative and commutative."""

    def merge(self, other: Self) -> None:
        """Add `other` into this summary; raises `ValueError` when their shapes differ."""

    def to_bytes(self) -> bytes:
        """Compact bytes, readable by `from_bytes` of the same shape."""


S_contra = TypeVar("S_contra", contravariant=True)


class Detector(Protocol[S_contra]):
    """Compares two summaries: one verdict per column they hold, or one in all if multivariate."""

    @property
    def name(self) -> str:
        """The catalog's name, such as `ks`."""

    def compare(self, reference: S_contra, window: S_contra) -> list[Verdict]:
        """Judge `window` against `reference`; never mutates either and never raises on odd data."""


class OnlineDetector(Protocol):
    """Sees values in order; its state can be saved and restored exactly."""

    def update(self, values: Floats) -> Verdict:
        """Advance over `values` in order and say where it stands."""

    def snapshot(self) -> bytes:
        """The whole state."""

    def restore(self, state: bytes) -> None:
        """Replace the state by one that `snapshot` gave."""
