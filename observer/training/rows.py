"""Rows for a reference, and what the columns they come from are."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.base import Categories, Column, Floats, Ints, Vectors


@dataclass(frozen=True, slots=True)
class Roles:
    """What the columns of a plain table are; the rest are features."""

    prediction: str | None = None
    score: str | None = None
    id: str | None = None
    drop: tuple[str, ...] = ()
    label: str | None = None

    def named(self) -> dict[str, str]:
        """Option -> column, as given."""
        given = {
            "--prediction": self.prediction,
            "--score": self.score,
            "--label": self.label,
            "--id": self.id,
        }
        given |= {f"--drop {name}": name for name in self.drop}
        return {option: name for option, name in given.items() if name is not None}


@dataclass(slots=True)
class Rows:
    """Rows of one model, ready for `observer.references.build`.

    Attributes
    ----------
    notes : dict
        Column of the file -> why it was left out.
    total : int
        Rows that the file holds of the model.
    rejected, first_problem
        Events that could not be used, and what was wrong with the first.
    """

    keys: NDArray[np.uint64]
    columns: dict[str, Column]
    tags: dict[str, Categories] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    total: int = 0
    rejected: int = 0
    first_problem: str = ""
    vectors: dict[str, Vectors] = field(default_factory=dict)
    """Embeddings of at most `MOST_VECTORS` rows, in order of their keys."""
    timed: bool = False
    """They are events, which have times."""
    order: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """Their times, milliseconds; of a plain table their places."""
    label: Column | None = None
    weight: Floats | None = None
    """Of the labels; None where each is 1."""

    def sort(self) -> None:
        """Bring the rows into the order of their keys: sums then do not depend on that in the file."""
        at = np.argsort(self.keys, kind="stable")
        self.keys, self.order = self.keys[at], self.order[at]
        self.columns = {name: column.take(at) for name, column in self.columns.items()}
        self.tags = {name: column.take(at) for name, column in self.tags.items()}
        self.label = None if self.label is None else self.label.take(at)
