"""How time buckets are named in the store."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from observer.labels.records import LABEL_DTYPE, record_dtype

Kind: TypeAlias = Literal["prediction", "label", "id"]
KINDS = frozenset(get_args(Kind))
"""What the names of the join's own spaces begin with."""


class Space(NamedTuple):
    """A time bucket, kept as one space of the store."""

    kind: Kind
    shape: str
    """Which record type it holds; spaces of different shapes never meet."""
    span: int
    number: int

    @property
    def name(self) -> str:
        """What the store calls it."""
        return f"{self.kind}/{self.shape}/{self.span}/{self.number}"

    @property
    def start(self) -> int:
        """First millisecond of the bucket."""
        return self.span * self.number

    @property
    def end(self) -> int:
        """First millisecond after the bucket."""
        return self.start + self.span

    @classmethod
    def parse(cls, name: str) -> Space:
        """The space of that name."""
        kind, shape, span, number = name.split("/")
        return cls(kind, shape, int(span), int(number))  # type: ignore[arg-type]  # written by `name`


def shape_of(dtype: np.dtype[Any]) -> str:
    """Tells record types apart by their numbers of scores and dimensions."""
    return f"{dtype['scores'].shape[0]}x{dtype['segments'].shape[0]}"


def width_of(space: Space) -> int:
    """Bytes of a record of the space."""
    if space.kind == "label":
        return LABEL_DTYPE.itemsize
    n_scores, n_dims = map(int, space.shape.split("x"))
    return record_dtype(n_scores, n_dims).itemsize
