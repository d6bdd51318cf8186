"""The rows that a summary keeps, as an Arrow stream for a worker."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from detectors.base import NULL, Categories, Column
from detectors.summaries.categories import as_categories
from detectors.summaries.remember import per_reference
from detectors.summaries.table import Table, TableSummary


class Rows(NamedTuple):
    """A reference's rows."""

    body: bytes
    digest: str
    """Of `body`: what a worker knows the reference by."""


@per_reference
def reference_rows(reference: TableSummary) -> Rows:
    """The reference's sampled rows."""
    body = rows(reference, reference.table)
    return Rows(body, hashlib.blake2b(body, digest_size=16).hexdigest())


def rows(summary: TableSummary, table: Table) -> bytes:
    """An Arrow stream of the sampled rows, by the hash of their keys: the columns that `table` knows.

    Numbers are float64, categories dictionaries of text; what is missing or of a wrong type is null.
    """
    sample = summary.sample
    absent = Categories(np.full(len(sample), NULL, np.int32), ())
    arrays: dict[str, pa.Array] = {}
    for name in table.binning.names:
        values = sample.columns[name].values if name in sample.columns else np.full(len(sample), np.nan)
        arrays[name] = pa.array(values, from_pandas=True)
    for name in table.vocabularies.names:
        arrays[name] = _dictionary(sample.column(name) if name in sample.columns else absent)
    return stream(arrays)


def stream(columns: Mapping[str, Any]) -> bytes:
    """Columns, as Arrow's or numpy's arrays, as an Arrow stream."""
    batch = pa.RecordBatch.from_arrays([*map(pa.array, columns.values())], names=[*columns])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    body: bytes = sink.getvalue().to_pybytes()
    return body


def _dictionary(column: Column) -> pa.Array:
    categories = as_categories(column)
    # A name may hold halves of surrogate pairs, which Arrow's text cannot.
    names = [name.encode(errors="replace").decode() for name in categories.names]
    codes = pa.array(categories.codes, mask=categories.codes < 0)
    return pa.DictionaryArray.from_arrays(codes, pa.array(names, pa.string()))
