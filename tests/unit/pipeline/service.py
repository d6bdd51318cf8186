"""A whole service over sources in memory, run to a chosen point, and its state read back."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from detectors.base import Categories, Column, Numbers
from detectors.summaries.outcomes import Outcomes
from detectors.summaries.table import TableSummary
from observer.app import Service
from observer.codecs.keys import hash_ids
from observer.config import Config
from observer.engines.local import Pace
from observer.labels import Unmatched
from observer.metrics import Metric
from observer.model import Messages, Origin, Partition, QualityReport, Rejected, Stream, WindowReport
from observer.pipeline.cohorts import CohortKey
from observer.references import Overrides, Reference, build

HOUR = 3_600_000
START = 1_700_000_000_000 // HOUR * HOUR
Logs = Mapping[int, Sequence[bytes]]


class Crash(Exception):
    """The end of a process in the middle of its work."""


@dataclass
class Ticking:
    """A clock that goes on a little whenever somebody looks."""

    time: float = START / 1000 + 10 * 86_400
    step: float = 0.01

    def now(self) -> float:
        self.time += self.step
        return self.time


class MemorySource:
    """Partitions of payloads, polled in an order that a seed decides.

    Parameters
    ----------
    size : int
        Most messages a poll gives.
    pauses : float
        Share of the polls that give nothing though there is something: the other stream runs ahead.
    ends : bool
        Whether the source says that it has ended, as a file does.
    """

    def __init__(
        self, stream: Stream, logs: Logs, *, seed: int = 0, size: int = 50, pauses: float = 0.0, ends=False
    ) -> None:
        self._logs = logs
        self._random = random.Random(seed)
        self._size = size
        self._pauses = pauses
        self._ends = ends
        self.partitions = tuple(Partition(stream, "memory", number) for number in sorted(logs))
        self.next: dict[Partition, int] = {}
        self.committed: dict[Partition, int] = {}

    @property
    def drained(self) -> bool:
        return all(self.next.get(p, 0) >= len(self._logs[p.number]) for p in self.partitions)

    def open(self, positions: Mapping[Partition, int]) -> None:
        self.next = {p: positions.get(p, 0) for p in self.partitions}

    def poll(self, limit: int, timeout: float) -> Messages:
        del timeout  # memory never keeps anyone waiting
        values, indexes, origins = [], [], []
        size = 0 if self._random.random() < self._pauses else min(self._size, limit)
        for _ in range(size):
            ready = [i for i, p in enumerate(self.partitions) if self.next[p] < len(self._logs[p.number])]
            if not ready:
                break
            index = self._random.choice(ready)
            partition = self.partitions[index]
            offset = self.next[partition]
            values.append(self._logs[partition.number][offset])
            indexes.append(index)
            origins.append(Origin("memory", partition.number, offset))
            self.next[partition] = offset + 1
        done = [i for i, p in enumerate(self.partitions) if self.next[p] >= len(self._logs[p.number])]
        return Messages(
            values,
            np.array(indexes, np.int32),
            self.partitions,
            {self.partitions[i]: self.next[self.partitions[i]] for i in set(indexes)},
            origins.__getitem__,
            frozenset(done),
            finished=self._ends and self.drained,
        )

    def commit(self, positions: Mapping[Partition, int]) -> None:
        self.committed.update(positions)

    def lag(self) -> Mapping[Partition, int]:
        return {p: len(self._logs[p.number]) - self.next.get(p, 0) for p in self.partitions}

    def close(self) -> None:
        pass


@dataclass
class Letters:
    """Dead letters that stay in memory; `flushed` ones survive."""

    taken: list[Rejected] = field(default_factory=list)
    flushed: int = 0
    error: Exception | None = None
    most: int = 1 << 60

    @property
    def full(self) -> bool:
        return len(self.taken) - self.flushed > self.most

    def reject(self, rejected: Sequence[Rejected]) -> None:
        self.taken += rejected

    def flush(self) -> None:
        if self.error is not None:
            raise self.error
        self.flushed = len(self.taken)

    def close(self) -> None:
        pass


@dataclass
class Recorder:
    """Every report, in order."""

    windows: list[WindowReport] = field(default_factory=list)
    qualities: list[QualityReport] = field(default_factory=list)

    def window(self, report: WindowReport) -> None:
        self.windows.append(report)

    def quality(self, report: QualityReport) -> None:
        self.qualities.append(report)


def config(folder: Path, **fields: Any) -> Config:
    """A configuration whose partitions are never idle unless `fields` says so; its sources are not used."""
    unused = {"type": "files", "path": "unused"}
    fields.setdefault("idle_after", "36500d")
    labels = fields.pop("labels", None)
    return Config.model_validate(
        {
            "predictions": {**unused, **fields.pop("predictions", {})},
            "labels": None if labels is None else {**unused, **labels},
            "state": {"path": folder / "state"},
            **fields,
        }
    )


@dataclass
class Kept:
    """What a state holds."""

    windows: dict[tuple[str, str, str, int], TableSummary]
    """By model, version, segment and start; all rows, late ones too."""
    references: dict[tuple[str, str, str, int], str]
    cohorts: dict[tuple[str, CohortKey], tuple[int, Outcomes]]
    pending: Unmatched | None
    open: set[tuple[str, str, str, int]]


def read(service: Service) -> Kept:
    """The state as the pipeline's own readers give it."""
    windows, references, cohorts, still_open = {}, {}, {}, set()
    for name, monitor in service.pipeline.monitors.items():
        for window in (*monitor.inputs.open.values(), *monitor.inputs.closed()):
            key = (name, window.key.version, window.key.segment, window.key.start)
            assert key not in windows, f"{key} is both open and closed"
            windows[key] = window.whole()
            references[key] = window.reference
        for key in monitor.inputs.open:
            still_open.add((name, key.version, key.segment, key.start))
        if monitor.cohorts is not None:
            for cohort_key in monitor.cohorts.known:
                cohort = monitor.cohorts.get(cohort_key)
                cohorts[name, cohort_key] = (cohort.predictions, cohort.outcomes)
    pending = service.join.pending() if service.join is not None else None
    return Kept(windows, references, cohorts, pending, still_open)


@dataclass
class Ran:
    """A run that is over."""

    kept: Kept
    reports: Recorder
    letters: dict[str, Letters]
    counts: dict[str, dict[tuple[str, ...], float]]
    """Counters of the last process, by metric."""
    sources: dict[str, MemorySource]

    def count(self, metric: Metric) -> dict[tuple[str, ...], float]:
        return self.counts.get(metric.name, {})


def run(
    settings: Config,
    predictions: Logs,
    labels: Logs | None = None,
    *,
    seed: int = 0,
    size: int = 50,
    pauses: float = 0.0,
    ends: bool = False,
    crashes: Sequence[int] = (),
    clock: Ticking | None = None,
    turns: int = 0,
    checkpoint_every: float = 0.2,
    publish_every: float = 1e9,
    during: Callable[[Service], object] | None = None,
) -> Ran:
    """Run a service until its sources are read, crashing after as many turns as `crashes` says each time.

    After a crash a new service goes on over the same state. `turns` more follow once all is read.
    """
    clock = clock or Ticking()
    reports = Recorder()
    letters = {"predictions": Letters(), "labels": Letters()}
    for attempt, crash in enumerate((*crashes, None)):
        logs = {"predictions": predictions} | ({} if labels is None else {"labels": labels})
        sources = {
            stream: MemorySource(
                stream, log, seed=seed + 31 * attempt + i, size=size, pauses=pauses, ends=ends
            )
            for i, (stream, log) in enumerate(logs.items())
        }
        left = [crash, turns]

        def stopping(sources=sources, left=left) -> bool:
            if left[0] is not None:
                left[0] -= 1
                if left[0] < 0:
                    raise Crash
            if all(source.drained for source in sources.values()) and left[0] is None:
                left[1] -= 1
                return left[1] < 0 and not ends
            return False

        with Service(
            settings,
            clock,
            sources=sources,
            dead_letters=letters,
            reports=[reports],
            pace=Pace(checkpoint_every=checkpoint_every, publish_every=publish_every),
            serve=False,
        ) as service:
            try:
                service.run(stopping)
            except Crash:
                continue
            if during is not None:
                during(service)
            kept = read(service)
            counts = {m.name: dict(series) for m, series in service.counters.read().series.items()}
    return Ran(kept, reports, letters, counts, sources)


def reopen(settings: Config, clock: Ticking | None = None) -> Kept:
    """The state, read by a new service that reads no events."""
    streams: list[Stream] = ["predictions"] if settings.labels is None else ["predictions", "labels"]
    with Service(
        settings,
        clock or Ticking(),
        sources={stream: MemorySource(stream, {}) for stream in streams},
        dead_letters={stream: Letters() for stream in streams},
        serve=False,
    ) as service:
        return read(service)


def event(number: object, time: int, **fields: Any) -> dict[str, Any]:
    """A prediction."""
    return {"id": str(number), "model": "m", "time": time, "prediction": "1", "version": "1", **fields}


def label(number: object, time: int, value: object = "1", **fields: Any) -> dict[str, Any]:
    """A label."""
    return {"id": str(number), "model": "m", "time": time, "label": value, **fields}


def payloads(events: Sequence[Mapping[str, Any] | bytes]) -> list[bytes]:
    """Events as JSON; bytes stay as they are."""
    return [one if isinstance(one, bytes) else json.dumps(one).encode() for one in events]


def reference(columns: Mapping[str, Sequence[float] | Sequence[str]], **overrides: Any) -> Reference:
    """A reference of a binary model, positive `1`, with these rows."""
    built: dict[str, Column] = {}
    for name, cells in columns.items():
        if isinstance(cells[0], str):
            names = tuple(dict.fromkeys(map(str, cells)))
            built[name] = Categories(np.array([names.index(str(c)) for c in cells], np.int32), names)
        else:
            built[name] = Numbers(np.array(cells, np.float64))
    rows = len(next(iter(built.values())))
    wishes = {"task": "binary", "classes": ("0", "1"), "positive": "1", **overrides}
    keys = hash_ids([str(i) for i in range(rows)], "reference")[:, 0]
    return build(keys, built, Overrides(**wishes), "made for a test")
