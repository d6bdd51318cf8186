"""Uniform samples of tables that are read part by part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from detectors.base import Vectors
from observer.codecs.columns import concatenate_vectors

MOST_ROWS = 1_000_000
"""Of more rows those with the smallest hashed ids are used: a uniform sample, the same at every run."""
MOST_VECTORS = 10_000
"""Rows whose embeddings are used, chosen likewise: 15 MB a column of 384 numbers."""
Part = TypeVar("Part")


class Sampled(Generic[Part]):
    """Parts of a table, cut down to the rows with the smallest keys once they are too many."""

    def __init__(self, most: int, take: Callable[[Part, NDArray[np.intp]], Part]) -> None:
        self.parts: list[tuple[NDArray[np.uint64], Part]] = []
        self.total = 0
        self._most = most
        self._take = take
        self._held = 0

    def add(self, keys: NDArray[np.uint64], part: Part) -> None:
        """Take a part in, a row a key."""
        self.total += len(keys)
        self._held += len(keys)
        self.parts.append((keys, part))
        if self._held > 2 * self._most:
            self.cut()

    def cut(self) -> None:
        """Let go of all rows that are too many."""
        if self._held <= self._most:
            return
        every = np.concatenate([keys for keys, _ in self.parts])
        limit = np.partition(every, self._most - 1)[self._most - 1]
        kept = [(keys, part, np.flatnonzero(keys <= limit)) for keys, part in self.parts]
        self.parts = [(keys[rows], self._take(part, rows)) for keys, part, rows in kept if len(rows)]
        self._held = sum(len(keys) for keys, _ in self.parts)


class SampledVectors(Sampled[Mapping[str, Vectors]]):
    """Embeddings of the rows with the smallest keys."""

    def __init__(self, most: int) -> None:
        super().__init__(most, lambda part, rows: {name: part[name].take(rows) for name in part})

    def columns(self) -> dict[str, Vectors]:
        """The columns, rows in order of their keys."""
        self.cut()
        order = np.argsort(np.concatenate([keys for keys, _ in self.parts]), kind="stable")
        names = sorted({name for _, part in self.parts for name in part})
        return {
            name: concatenate_vectors([(part.get(name), len(keys)) for keys, part in self.parts]).take(order)
            for name in names
        }
