"""Every summary of the summaries room through the laws of summaries."""

import numpy as np
import pytest

from detectors.base import Categories, Numbers, Vectors
from detectors.conformance import check_summary, summarise, table_of
from detectors.summaries.categories import CategoryCounts
from detectors.summaries.counts import Counts
from detectors.summaries.embeddings import EmbeddingSums
from detectors.summaries.histogram import Histogram
from detectors.summaries.sample import Sample
from detectors.summaries.scores import NormalScores
from detectors.summaries.table import TableSummary

SIZES = (500, 0, 1, 137, 900)


def _columns(rng, n):
    x = rng.standard_normal(n)
    return {
        "x": Numbers(np.where(rng.random(n) < 0.1, np.nan, x)),
        "y": Numbers(np.where(rng.random(n) < 0.05, -np.inf, np.exp(x)), nulls=None),
        "c": Categories(rng.integers(-2, 90, n).astype(np.int32), tuple(f"v{i}" for i in range(90))),
        "e": Vectors(rng.standard_normal(n * 5).astype(np.float32), np.full(n, 5, np.int32)),
    }


def _batches():
    rng = np.random.default_rng(1)
    table = table_of(_columns(rng, 1000), sample_size=100)
    batches = []
    start = 0
    for n in SIZES:
        columns = _columns(rng, n)
        keys = np.random.default_rng(start + 7).integers(0, 2**63, n, dtype=np.uint64)
        batches.append(table.encode(keys, columns))
        start += n
    return table, batches


def test_table():
    table, batches = _batches()
    check_summary(table.zero, TableSummary.update, batches, lambda data: TableSummary.from_bytes(data, table))


def test_parts_of_a_table():
    table, batches = _batches()

    def numbers(histogram, batch):
        histogram.update(batch.codes, batch.values)

    def categories(counts, batch):
        counts.count(len(batch))
        for i, (codes, column) in enumerate(zip(batch.category_codes, batch.categories, strict=True)):
            counts.update(i, codes, column)

    check_summary(
        table.binning.zero, numbers, batches, lambda data: Histogram.from_bytes(data, table.binning)
    )
    check_summary(
        table.vocabularies.zero,
        categories,
        batches,
        lambda data: CategoryCounts.from_bytes(data, table.vocabularies),
    )
    check_summary(
        table.scores.zero,
        lambda scores, batch: scores.update(batch.codes, table.scores),
        batches,
        NormalScores.from_bytes,
    )
    check_summary(
        table.embeddings.zero,
        lambda sums, batch: sums.update(0, batch.embeddings[0]),
        batches,
        lambda data: EmbeddingSums.from_bytes(data, table.embeddings),
    )
    check_summary(
        lambda: Sample(100),
        lambda sample, batch: sample.update(batch.keys, batch.columns),
        batches,
        Sample.from_bytes,
    )


def test_counts():
    def update(counts, rows):
        counts.n += rows
        counts.duplicates += rows // 10

    check_summary(Counts, update, SIZES, Counts.from_bytes)


class Forgetful(Counts):
    def merge(self, other):
        self.n = other.n


class Inexact(Counts):
    @classmethod
    def from_bytes(cls, data):
        return cls(1 + Counts.from_bytes(data).n)


@pytest.mark.parametrize("broken", [Forgetful, Inexact])
def test_the_laws_catch(broken):
    def update(counts, rows):
        counts.n += rows

    with pytest.raises(AssertionError):
        check_summary(broken, update, SIZES, broken.from_bytes)


def test_a_summary_can_be_empty():
    table = table_of({})
    assert summarise(table, {}).n == 0
