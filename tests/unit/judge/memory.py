"""A state in memory that can crash, and windows of a small table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import numpy as np

from detectors.base import Categories, Numbers
from detectors.conformance import summarise, table_of
from detectors.evidence.alarm import Budget
from detectors.evidence.season import DAY
from detectors.summaries.outcomes import BinaryOutcomes, RegressionOutcomes
from detectors.summaries.table import TableSummary
from observer.judge import Attention, JudgeSpec, ModelJudge

MONDAY = 4 * DAY


class MemoryState:
    """Tables of values, and what of them the last commit had."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[bytes, bytes]] = {}
        self.durable: dict[str, dict[bytes, bytes]] = {}

    def get(self, table: str, key: bytes) -> bytes | None:
        return self.tables.get(table, {}).get(key)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self.tables.setdefault(table, {})[key] = value

    def delete(self, table: str, key: bytes) -> None:
        self.tables.get(table, {}).pop(key, None)

    def scan(self, table: str, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        found = self.tables.get(table, {})
        yield from [(key, found[key]) for key in sorted(found) if key.startswith(prefix)]

    def commit(self) -> None:
        self.durable = {name: dict(values) for name, values in self.tables.items()}

    def crash(self) -> None:
        """Lose what was not committed."""
        self.tables = {name: dict(values) for name, values in self.durable.items()}


def columns(rng: np.random.Generator, rows: int, shift: float = 0.0, missing: float = 0.02) -> dict:
    """Two numeric columns, of which `x` shifts by so many standard deviations, and one of names."""
    x = rng.standard_normal(rows) + shift
    nulls = rng.random(rows) < missing
    return {
        "x": Numbers(np.where(nulls, np.nan, x), nulls),
        "y": Numbers(rng.standard_normal(rows)),
        "plan": Categories(rng.choice(3, rows, p=[0.6, 0.3, 0.1]).astype(np.int32), tuple("abc")),
    }


@cache
def reference(seed: int = 0) -> TableSummary:
    rows = columns(np.random.default_rng(seed), 4000)
    return summarise(table_of(rows), rows)


@cache
def window(
    day: int, shift: float = 0.0, missing: float = 0.02, rows: int = 300, segment: str = ""
) -> TableSummary:
    """The window of a day."""
    rng = np.random.default_rng([day, *segment.encode()])
    return summarise(reference().table, columns(rng, rows, shift, missing))


def start(day: int) -> int:
    return MONDAY + day * DAY


def judge(
    state: MemoryState,
    attention: Mapping[str, Attention] | None = None,
    has_labels: bool = False,
    budget: Budget | None = None,
    model: str = "m",
    size: int = DAY,
    **spec,
) -> ModelJudge:
    return ModelJudge(model, JudgeSpec(**spec), budget or Budget(), size, attention or {}, state, has_labels)


def binary(day: int, chance: float = 0.1, rows: int = 1000) -> BinaryOutcomes:
    """Labelled predictions of a day, wrong with this chance."""
    rng = np.random.default_rng([7, day])
    actual = rng.integers(0, 2, rows)
    outcomes = BinaryOutcomes(np.array([0.5]))
    outcomes.update(actual, np.where(rng.random(rows) < chance, 1 - actual, actual))
    return outcomes


def regression(day: int, size: float = 1.0, rows: int = 1000) -> RegressionOutcomes:
    """Labelled predictions of a day, with errors of this size."""
    rng = np.random.default_rng([8, day])
    actual = rng.standard_normal(rows)
    outcomes = RegressionOutcomes()
    outcomes.update(actual, actual + size * rng.standard_normal(rows))
    return outcomes
