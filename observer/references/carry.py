"""Columns that samples do not hold, carried over when a reference is made of sampled rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from detectors.summaries.categories import CategoryCounts, Vocabularies
from detectors.summaries.embeddings import Embeddings, EmbeddingSums
from detectors.summaries.histogram import Binning, Histogram
from detectors.summaries.scores import WIDEST, NormalScores, ScoreTable
from detectors.summaries.table import TableSummary
from observer.references.profile import Reference

_KEPT = "kept as counted, in the bins of the reference before: samples do not hold it"
_TOO_WIDE = f"left out: samples do not hold it, and there are more than {WIDEST} numeric columns"


def carried(made: Reference, before: Reference, seen: TableSummary) -> Reference:
    """`made` of sampled rows, with the other columns of `before` as windows counted them.

    Those columns (redacted ones, embeddings) keep their bins, names and sketches. How they go together with
    others cannot be known without rows: they are left out of what is said of all columns at once.

    Parameters
    ----------
    made, before : Reference
    seen : TableSummary
        The windows, merged, under the table of `before`.
    """
    summary = made.summary
    here = {*summary.numbers.names, *summary.categories.names, *summary.embeddings.names}
    numbers, categories, embeddings = (
        [i for i, name in enumerate(part.names) if name not in here]
        for part in (seen.numbers, seen.categories, seen.embeddings)
    )
    notes = {}
    if numbers and len(numbers) + len(summary.numbers.names) > WIDEST:  # a projection mixes all of them
        notes = {seen.numbers.names[i]: _TOO_WIDE for i in numbers}
        numbers = []
    parts = _Parts(
        _numbers(summary.numbers, seen.numbers, numbers),
        _categories(summary.categories, seen.categories, categories),
        _embeddings(summary.embeddings, seen.embeddings, embeddings),
    )
    kept = [
        *(seen.numbers.names[i] for i in numbers),
        *(seen.categories.names[i] for i in categories),
        *(seen.embeddings.names[i] for i in embeddings),
    ]
    if not kept:
        return replace(made, notes={**made.notes, **notes})
    types = {name: kind for name, kind in before.schema.features.items() if name in kept}
    return replace(
        made,
        schema=replace(made.schema, features={**made.schema.features, **types}),
        summary=parts.into(summary),
        notes={**made.notes, **notes, **dict.fromkeys(kept, _KEPT)},
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    numbers: Histogram
    categories: CategoryCounts
    embeddings: EmbeddingSums

    def into(self, summary: TableSummary) -> TableSummary:
        """The summary with these in place of its own; scores of columns that it lacked are 0."""
        table = replace(
            summary.table,
            binning=self.numbers.binning,
            vocabularies=self.categories.vocabularies,
            scores=ScoreTable.of(self.numbers),
            embeddings=self.embeddings.embeddings,
        )
        own, size = summary.scores, len(self.numbers.names)
        scores = own
        if len(own.sum) < size <= WIDEST:
            more = size - len(own.sum)
            scores = NormalScores(own.n, np.pad(own.sum, (0, more)), np.pad(own.products, (0, more)))
        out = replace(summary, table=table, numbers=self.numbers, categories=self.categories)
        out.scores, out.embeddings = scores, self.embeddings
        return out


def _numbers(own: Histogram, other: Histogram, which: list[int]) -> Histogram:
    one, two = own.binning, other.binning
    binning = Binning(
        (*one.names, *(two.names[i] for i in which)),
        (*one.columns, *(two.columns[i] for i in which)),
        np.concatenate((one.center, two.center[which])),
        one.bins,
    )
    joined: Mapping[str, np.ndarray] = {
        name: np.concatenate((getattr(own, name), getattr(other, name)[which]))
        for name in ("counts", "sums", "squares", "minimum", "maximum")
    }
    return Histogram(binning, own.n, **joined)


def _categories(own: CategoryCounts, other: CategoryCounts, which: list[int]) -> CategoryCounts:
    one, two = own.vocabularies, other.vocabularies
    vocabularies = Vocabularies(
        (*one.names, *(two.names[i] for i in which)),
        (*one.columns, *(two.columns[i] for i in which)),
        (*one.rare, *(two.rare[i] for i in which)),
        one.top,
    )
    unseen = (*own.unseen_names, *(other.unseen_names[i] for i in which))
    return CategoryCounts(vocabularies, own.n, np.concatenate((own.counts, other.counts[which])), unseen)


def _embeddings(own: EmbeddingSums, other: EmbeddingSums, which: list[int]) -> EmbeddingSums:
    sketches = (*own.embeddings.sketches, *(other.embeddings.sketches[i] for i in which))
    return EmbeddingSums(
        Embeddings(sketches),
        np.concatenate((own.counts, other.counts[which])),
        np.concatenate((own.sums, other.sums[which])),
    )
