"""The summary of a whole table of columns: what a window of events leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from detectors.base import (
    INVALID,
    NULL,
    Bools,
    Categories,
    Column,
    Floats,
    Ints,
    Numbers,
    TableColumn,
    Vectors,
)
from detectors.summaries.categories import CategoryCounts, Vocabularies, as_categories
from detectors.summaries.counts import Counts
from detectors.summaries.embeddings import NO_EMBEDDINGS, Embeddings, EmbeddingSums, EncodedVectors
from detectors.summaries.histogram import Binning, Histogram
from detectors.summaries.packing import pack, unpack
from detectors.summaries.predicted import ClassTable, EncodedPredictions, Predicted
from detectors.summaries.sample import Sample
from detectors.summaries.scores import NormalScores, ScoreTable


@dataclass(slots=True, eq=False)
class Encoded:
    """A batch of n rows under a table's bins and vocabularies; encoded once, summarised per group."""

    values: Floats
    """float64[F, n]; NaN where there is no number."""
    codes: Ints
    """int64[F, n], as `Binning.encode` gives them."""
    categories: list[Categories]
    category_codes: list[Ints]
    embeddings: list[EncodedVectors]
    predictions: EncodedPredictions | None
    keys: NDArray[np.uint64]
    columns: Mapping[str, TableColumn]
    """The columns as they came."""

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: NDArray[np.intp]) -> Encoded:
        """The batch at `rows`."""
        return Encoded(
            self.values.take(rows, axis=1),  # unlike an index, this keeps each column in one piece
            self.codes.take(rows, axis=1),
            [column.take(rows) for column in self.categories],
            [codes[rows] for codes in self.category_codes],
            [vectors.take(rows) for vectors in self.embeddings],
            None if self.predictions is None else self.predictions.take(rows),
            self.keys[rows],
            {name: column.take(rows) for name, column in self.columns.items()},
        )


@dataclass(frozen=True, slots=True)
class Table:
    """Which columns are summarised and how; frozen, from a reference (or empty while one is learnt).

    Attributes
    ----------
    sample_size : int
        Rows kept of a window.
    sample_columns : frozenset of str, or None
        Columns whose values a sample may hold; None for every column of the batch, known or not.
    embeddings : Embeddings
        How columns of vectors are summarised; empty for none.
    predictions : ClassTable or None
        How a classifier's predictions are counted, for estimates of its quality; None for no classifier.
    """

    binning: Binning
    vocabularies: Vocabularies
    scores: ScoreTable
    sample_size: int
    sample_columns: frozenset[str] | None
    embeddings: Embeddings = NO_EMBEDDINGS
    predictions: ClassTable | None = None

    @classmethod
    def unknown(cls, sample_size: int) -> Table:
        """A table about which nothing is known: only rows are counted and sampled."""
        binning = Binning((), (), np.empty(0))
        return cls(binning, Vocabularies((), (), ()), ScoreTable.of(binning.zero()), sample_size, None)

    def encode(self, keys: NDArray[np.uint64], columns: Mapping[str, TableColumn]) -> Encoded:
        """Bring a batch under this table's bins and vocabularies.

        `keys` is uint64[n], uniform hashes of the rows' identities. A column that the batch lacks is
        all null; a cell of the wrong type, or a vector of another length, is invalid; columns the table lacks
        are left out.
        """
        n = len(keys)
        names = self.binning.names
        values = np.empty((len(names), n))
        special: list[tuple[int, Bools, int]] = []
        for i, name in enumerate(names):
            numbers = _numbers(columns.get(name), n)
            values[i] = numbers.values
            if numbers.nulls is not None:
                special.append((i, numbers.nulls, self.binning.bins + 2))
            if numbers.invalid is not None:
                special.append((i, numbers.invalid, self.binning.bins + 6))
        codes = self.binning.encode(values)
        for i, where, code in special:
            codes[i, where] = i * self.binning.width + code
        absent = Categories(np.full(n, NULL, np.int32), ())
        categories = [as_categories(_scalar(columns.get(name, absent))) for name in self.vocabularies.names]
        return Encoded(
            values,
            codes,
            categories,
            [self.vocabularies.encode(i, column) for i, column in enumerate(categories)],
            [
                self.embeddings.encode(i, _vectors(columns.get(name), n))
                for i, name in enumerate(self.embeddings.names)
            ],
            None
            if self.predictions is None
            else self.predictions.read_columns(
                {name: c for name, c in columns.items() if not isinstance(c, Vectors)}, n
            ),
            keys,
            columns,
        )

    def zero(self) -> TableSummary:
        """The empty summary."""
        return TableSummary(
            self,
            Counts(),
            self.binning.zero(),
            self.vocabularies.zero(),
            self.scores.zero(),
            self.embeddings.zero(),
            Sample(self.sample_size),
            None if self.predictions is None else self.predictions.zero(),
        )


def _numbers(column: TableColumn | None, n: int) -> Numbers:
    if column is None:
        return Numbers(np.full(n, np.nan), nulls=np.ones(n, np.bool_))
    if isinstance(column, Numbers):
        return column
    if isinstance(column, Vectors):
        column = _wrong(column)
    return Numbers(np.full(n, np.nan), nulls=column.codes == NULL, invalid=column.codes != NULL)


def _scalar(column: TableColumn) -> Column:
    return _wrong(column) if isinstance(column, Vectors) else column


def _wrong(vectors: Vectors) -> Categories:
    """Vectors where a value was wanted."""
    return Categories(np.where(vectors.lengths == NULL, NULL, INVALID).astype(np.int32), ())


def _vectors(column: TableColumn | None, n: int) -> Vectors:
    """Vectors; values where a vector was wanted are invalid."""
    if isinstance(column, Vectors):
        return column
    out = Vectors.missing(n)
    if isinstance(column, Numbers):
        out.lengths[~np.isnan(column.values)] = INVALID
    elif column is not None:
        out.lengths[column.codes != NULL] = INVALID
    return out


@dataclass(slots=True, eq=False, weakref_slot=True)
class TableSummary:
    """Everything kept of a window's events."""

    table: Table
    counts: Counts
    numbers: Histogram
    categories: CategoryCounts
    scores: NormalScores
    embeddings: EmbeddingSums
    sample: Sample
    predicted: Predicted | None = None

    @property
    def n(self) -> int:
        """Rows."""
        return self.counts.n

    def update(self, batch: Encoded) -> None:
        """Add the rows of a batch that this summary's table encoded."""
        n = len(batch)
        self.counts.n += n
        self.numbers.update(batch.codes, batch.values)
        self.scores.update(batch.codes, self.table.scores)
        self.categories.count(n)
        for i, (codes, column) in enumerate(zip(batch.category_codes, batch.categories, strict=True)):
            self.categories.update(i, codes, column)
        for i, vectors in enumerate(batch.embeddings):
            self.embeddings.update(i, vectors)
        if self.predicted is not None and batch.predictions is not None:
            self.predicted.update(batch.predictions)
        allowed = self.table.sample_columns
        self.sample.update(
            batch.keys,
            {name: column for name, column in batch.columns.items() if allowed is None or name in allowed},
        )

    def merge(self, other: Self) -> None:
        """Add `other`; raises `ValueError` when it is over another table."""
        self.numbers.merge(other.numbers)
        self.counts.merge(other.counts)
        self.categories.merge(other.categories)
        self.scores.merge(other.scores)
        self.embeddings.merge(other.embeddings)
        self.sample.merge(other.sample)
        if self.predicted is not None and other.predicted is not None:
            self.predicted.merge(other.predicted)  # type: ignore[arg-type]  # of one table, so of one kind

    def to_bytes(self) -> bytes:
        """Compact bytes; the table itself is the reference's and not repeated."""
        parts = {
            "counts": self.counts.to_bytes(),
            "numbers": self.numbers.to_bytes(),
            "categories": self.categories.to_bytes(),
            "scores": self.scores.to_bytes(),
            "sample": self.sample.to_bytes(),
        }
        if self.embeddings.names:
            parts["embeddings"] = self.embeddings.to_bytes()
        if self.predicted is not None:
            parts["predicted"] = self.predicted.to_bytes()
        return pack(parts)

    @classmethod
    def from_bytes(cls, data: bytes, table: Table) -> TableSummary:
        """The summary that gave `data`; `table` must be the one it was built over."""
        fields = unpack(data)
        scores = NormalScores.from_bytes(fields.packed("scores"))
        if scores.sum.shape != table.scores.zero().sum.shape:
            raise ValueError("normal scores were taken over another table")
        return cls(
            table,
            Counts.from_bytes(fields.packed("counts")),
            Histogram.from_bytes(fields.packed("numbers"), table.binning),
            CategoryCounts.from_bytes(fields.packed("categories"), table.vocabularies),
            scores,
            EmbeddingSums.from_bytes(fields.packed("embeddings"), table.embeddings)
            if table.embeddings.names
            else table.embeddings.zero(),
            Sample.from_bytes(fields.packed("sample")),
            None if table.predictions is None else table.predictions.read(fields.packed("predicted")),
        )
