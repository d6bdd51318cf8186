"""Learning a reference from the first windows of live traffic."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

import numpy as np

from detectors.base import Ints
from detectors.summaries.categories import CategoryCounts
from detectors.summaries.histogram import Histogram
from detectors.summaries.packing import pack, unpack
from detectors.summaries.sample import Sample
from detectors.summaries.table import Table, TableSummary
from observer.pipeline.inputs import LEARNING_ROWS, Window
from observer.pipeline.spec import LearnSpec
from observer.references import Overrides, Reference, learn

log = logging.getLogger(__name__)


def summarised_again(window: Window, table: Table, hidden: frozenset[str]) -> TableSummary:
    """A stored window under another table, from its sampled rows.

    Of columns that privacy keeps out of samples (`hidden`) nothing is counted, since they are not missing;
    unless both tables have the same bins for them.
    """
    sample, summary = window.summary.sample, table.zero()
    summary.update(table.encode(sample.keys, {name: sample.column(name) for name in sample.columns}))
    # A sample has no repeated rows; they are as frequent among it as among all.
    counts = window.summary.counts
    summary.counts.duplicates = round(counts.duplicates * len(sample) / counts.n)
    summary.embeddings = table.embeddings.zero()  # a closed window's sample holds no vectors
    unknown = hidden - sample.columns.keys()
    for name in unknown & {*table.binning.names}:
        summary.numbers.counts[table.binning.names.index(name)] = _counted(
            window.summary.numbers, table, name
        )
    for name in unknown & {*table.vocabularies.names}:
        at = table.vocabularies.names.index(name)
        summary.categories.counts[at] = _named(window.summary.categories, table, name)
    if unknown & {*summary.numbers.names}:
        summary.scores = table.scores.zero()
    return summary


def _counted(numbers: Histogram, table: Table, name: str) -> Ints | int:
    """Counts of a column under the table's bins; 0 where they are others."""
    if name not in numbers.names:
        return 0
    i, j = numbers.names.index(name), table.binning.names.index(name)
    same = np.array_equal(numbers.binning.columns[i], table.binning.columns[j])
    return numbers.counts[i] if same else 0


def _named(categories: CategoryCounts, table: Table, name: str) -> Ints | int:
    """Counts of a column under the table's names; 0 where they are others."""
    if name not in categories.names:
        return 0
    before, now = categories.vocabularies, table.vocabularies
    i, j = before.names.index(name), now.names.index(name)
    same = (before.columns[i], before.rare[i]) == (now.columns[j], now.rare[j])
    return categories.counts[i] if same else 0


@dataclass(slots=True)
class Learner:
    """Collects samples of a version's first windows until they make a reference."""

    windows: int = 0
    duplicates: int = 0
    sample: Sample = field(default_factory=lambda: Sample(LEARNING_ROWS))

    def add(self, window: Window) -> None:
        """Take a closed window in."""
        self.windows += 1
        self.duplicates += window.summary.counts.duplicates
        size = min(self.sample.size, window.summary.sample.size)
        self.sample.shorten(size)
        window.summary.sample.shorten(size)
        self.sample.merge(window.summary.sample)

    def enough(self, spec: LearnSpec) -> bool:
        """Whether there is as much as was asked for, or as a wide table's sample can hold."""
        return self.windows >= spec.windows and len(self.sample) >= min(spec.rows, self.sample.size)

    def reference(self, model: str, overrides: Overrides) -> Reference:
        """The profile; what is declared of a column that no event has had is named and let be."""
        absent = sorted(set(overrides.types) - set(self.sample.columns))
        if absent:
            log.warning("model %s: no event has had the features %s", model, ", ".join(absent))
        types = {name: kind for name, kind in overrides.types.items() if name not in absent}
        made = learn(self.sample, replace(overrides, types=types), f"learnt from {self.windows} windows")
        counts = made.summary.counts
        counts.duplicates = round(self.duplicates * counts.n / max(self.sample.seen, 1))
        return replace(made)  # whose version is of that too

    def to_bytes(self) -> bytes:
        """Compact bytes."""
        return pack(
            {"windows": self.windows, "duplicates": self.duplicates, "sample": self.sample.to_bytes()}
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Learner:
        """The learner that gave `data`."""
        fields = unpack(data)
        return cls(fields["windows"], fields["duplicates"], Sample.from_bytes(fields["sample"]))
