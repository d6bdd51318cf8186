"""The history of one service: what it is given, what it answers, and how it is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path

from observer.errors import ObserverError
from observer.model import ObjectiveStanding, ReferenceState
from observer.stores.history.database import Database
from observer.stores.history.reader import HistoryReader
from observer.stores.history.spec import HistorySpec
from observer.stores.history.writer import HistoryWriter

log = logging.getLogger(__name__)

_STEP = 300_000
"""Milliseconds between two standings of an objective that are kept."""


class Keeper:
    """Owns database, writer and reader.

    A database that cannot be had now stops nothing: the writer tries again, and `problem` tells. `objectives`
    are those of a model that the reader shows; all without.
    """

    def __init__(
        self,
        spec: HistorySpec,
        folder: Path,
        now: Callable[[], float],
        objectives: Callable[[str], Container[tuple[str, ...]]] | None = None,
    ) -> None:
        self.database = Database(spec.address(folder))
        try:
            self.database.prepare()
        except ObserverError as error:
            log.warning("history: %s", error)
        self.reports = HistoryWriter(self.database, spec, now)
        self.reader = HistoryReader(self.database, objectives)
        self._known: dict[tuple[str, ...], object] = {}

    def know(
        self, references: Iterable[ReferenceState], standings: Iterable[ObjectiveStanding], at: int | None
    ) -> None:
        """Keep what changed of references, and of where objectives stand at event time `at`, milliseconds."""
        for reference in references:
            if self._news((reference.model, reference.version), reference):
                self.reports.reference(reference)
        if at is None:
            return
        for one in standings:
            if self._news((one.model, one.name, one.version, one.arm, one.segment), one):
                self.reports.objective(one, at - at % _STEP)

    def _news(self, key: tuple[str, ...], noun: object) -> bool:
        news = self._known.get(key) != noun
        self._known[key] = noun
        return news

    def problems(self) -> Iterator[str]:
        """What is wrong with the history now; the service works without."""
        if self.reports.problem:
            yield f"history cannot be kept: {self.reports.problem}"

    def close(self) -> None:
        """Write what waits, if the database takes it, and free everything."""
        self.reports.close()
        self.database.close()
