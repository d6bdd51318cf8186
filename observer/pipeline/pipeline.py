"""The stages of the data plane, in order: decode, join, window, close; and their checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from detectors.base import Ints
from observer.codecs import Codec
from observer.labels import LabelJoin
from observer.metrics import Counters, catalog
from observer.model import Labels, Messages, Partition, Predictions, Rejected, Schema, Stream
from observer.pipeline.monitor import MODELS, Monitor, Tally
from observer.pipeline.reporting import quality_report, window_report
from observer.ports import Checkpoints, DeadLetters, Judge, Reports
from observer.windows import END_OF_TIME, Watermarks

_META = "meta"
B = TypeVar("B", Predictions, Labels)


class Pipeline:
    """Consumes polls of both streams for all models; one thread.

    Parameters
    ----------
    monitor : callable
        Name -> a new monitor; for models that events name and the configuration does not.
    codecs : callable
        Stream and schemas by model -> a codec.
    judges : callable
        Model name -> its judge.
    join : LabelJoin or None
        Shared by all monitors.
    horizon : int
        Milliseconds within which labels join; 0 without labels.
    """

    def __init__(
        self,
        *,
        monitor: Callable[[str], Monitor],
        models: Sequence[str],
        codecs: Callable[[Stream, Mapping[str, Schema]], Codec],
        judges: Callable[[str], Judge],
        state: Checkpoints,
        join: LabelJoin | None,
        horizon: int,
        has_labels: bool,
        dead_letters: Mapping[Stream, DeadLetters],
        reports: Reports,
        counters: Counters,
        idle_after: float,
        now: float,
    ) -> None:
        self._new_monitor = monitor
        self._new_codec = codecs
        self._judges = judges
        self._state = state
        self._join = join
        self._horizon = horizon
        self._dead_letters = dead_letters
        self._reports = reports
        self._counters = counters
        self.watermarks = {stream: Watermarks(idle_after) for stream in _streams(has_labels=has_labels)}
        self.positions: dict[Partition, int] = {}
        self.checkpoint_number = 0
        saved = [key.decode() for key, _ in state.scan(MODELS)]
        self.monitors = {name: monitor(name) for name in dict.fromkeys((*models, *saved))}
        self._restore(now)
        self._codecs = {stream: self._codec(stream) for stream in self.watermarks}

    def _restore(self, now: float) -> None:
        value = self._state.get(_META, b"positions")
        if value is None:
            return
        saved = json.loads(value)
        self.checkpoint_number = saved["checkpoint"]
        reached: dict[Stream, dict[Partition, int]] = {"predictions": {}, "labels": {}}
        for stream, source, number, position, time in saved["partitions"]:
            partition = Partition(stream, source, number)
            if position is not None:
                self.positions[partition] = position
            if time is not None:
                reached[stream][partition] = time
        for stream, watermarks in self.watermarks.items():
            watermarks.restore(reached[stream], now)

    def _codec(self, stream: Stream) -> Codec:
        return self._new_codec(stream, {name: monitor.schema for name, monitor in self.monitors.items()})

    # Events

    def take(self, stream: Stream, messages: Messages, now: float) -> None:
        """Process one poll of a stream to the end."""
        watermarks = self.watermarks[stream]
        watermarks.open(messages.partitions, now)
        if len(messages):
            codec = self._codecs[stream]
            if stream == "predictions":
                decoded = codec.predictions(messages, now)
                self._predictions(decoded.predictions, messages, now)
            else:
                decoded = codec.labels(messages, now)
                self._labels(decoded.labels, messages, now)
            if decoded.spoiled_cells:
                self._counters.add(catalog.SPOILED_VALUES, (), decoded.spoiled_cells)
            if decoded.rejected:
                self._reject(stream, decoded.rejected)
            self._count_source(stream, messages)
        watermarks.note_caught_up(messages.partitions, messages.caught_up)
        watermarks.finished = messages.finished
        self.positions.update(messages.positions)

    def _count_source(self, stream: Stream, messages: Messages) -> None:
        self._counters.add(catalog.SOURCE_BYTES, (stream,), sum(map(len, messages.values)))
        counts = np.bincount(messages.partition, minlength=len(messages.partitions))
        for index in np.flatnonzero(counts):
            partition = messages.partitions[index]
            labels = (stream, partition.source, str(partition.number))
            self._counters.add(catalog.SOURCE_MESSAGES, labels, int(counts[index]))

    def _reject(self, stream: Stream, rejected: Sequence[Rejected]) -> None:
        for item in rejected:
            known = item.model if item.model in self.monitors else ""
            self._counters.add(catalog.EVENTS, (stream, known, "rejected"))
            self._counters.add(catalog.EVENTS_REJECTED, (stream, item.reason))
        self._dead_letters[stream].reject(rejected)

    def _predictions(self, batches: Sequence[Predictions], messages: Messages, now: float) -> None:
        for batch, before in self._advance("predictions", batches, messages, now):
            monitor = self._monitor(batch.model)
            tally = monitor.predictions(batch, before)
            for outcome, count in tally.outcomes.items():
                if count:
                    self._counters.add(catalog.EVENTS, ("predictions", batch.model, outcome), count)
            if tally.versions_dropped:
                self._counters.add(catalog.NAMES_DROPPED, (batch.model, "version"), tally.versions_dropped)
            self._count_labels(batch.model, tally)

    def _labels(self, batches: Sequence[Labels], messages: Messages, now: float) -> None:
        for batch, _ in self._advance("labels", batches, messages, now):
            tally = self._monitor(batch.model).labels(batch)
            self._counters.add(catalog.EVENTS, ("labels", batch.model, "accepted"), len(batch))
            self._count_labels(batch.model, tally)

    def _count_labels(self, model: str, tally: Tally) -> None:
        for outcome, count in tally.labels.items():
            if count:
                self._counters.add(catalog.LABELS_JOINED, (model, outcome), count)
        if len(tally.delays):
            self._counters.observe(catalog.LABEL_DELAY, (model,), tally.delays / 1000.0)

    def _monitor(self, name: str) -> Monitor:
        monitor = self.monitors.get(name)
        if monitor is None:
            monitor = self.monitors[name] = self._new_monitor(name)
        return monitor

    def _advance(
        self, stream: Stream, batches: Sequence[B], messages: Messages, now: float
    ) -> list[tuple[B, Ints]]:
        """Advance the watermarks in arrival order over all models; each batch with "before" times."""
        watermarks = self.watermarks[stream]
        if not batches:
            return []
        if len(batches) == 1:
            only = batches[0]
            return [(only, watermarks.advance(messages.partitions, only.partition, only.time, now))]
        order = np.argsort(np.concatenate([batch.row for batch in batches]), kind="stable")
        partition: NDArray[np.int32] = np.concatenate([batch.partition for batch in batches])[order]
        time = np.concatenate([batch.time for batch in batches])[order]
        before = np.empty(len(order), np.int64)
        before[order] = watermarks.advance(messages.partitions, partition, time, now)
        cuts = np.cumsum([len(batch) for batch in batches])[:-1]
        return list(zip(batches, np.split(before, cuts), strict=True))

    # Event time

    def advance(self, now: float) -> int:
        """Close the windows whose time has come and report; returns how many closed."""
        watermark = self.watermarks["predictions"].current(now)
        if watermark is None:
            return 0
        closed = 0
        before = {name: monitor.schema for name, monitor in self.monitors.items()}
        for monitor in self.monitors.values():
            for window in monitor.due(watermark):
                report = window_report(monitor, window, self._judges(monitor.name))
                monitor.close(window)
                self._counters.add(catalog.WINDOWS_CLOSED, (monitor.name, report.status))
                for finding in report.findings:
                    where = (monitor.name, window.key.version, finding.detector)
                    self._counters.add(catalog.FINDINGS, where)
                self._reports.window(report)
                closed += 1
            monitor.closed_until = max(monitor.closed_until, watermark)
            if closed and watermark != END_OF_TIME:
                monitor.forget(watermark)
        if before != {name: monitor.schema for name, monitor in self.monitors.items()}:
            self._codecs = {stream: self._codec(stream) for stream in self.watermarks}
        self._mature(watermark, now)
        return closed

    def _mature(self, watermark: int, now: float) -> None:
        """Report cohorts that became final, and let the join forget what cannot match any more."""
        if self._join is None:
            return
        labels = self.watermarks.get("labels")
        seen = labels.current(now) if labels is not None else watermark
        if seen is None:
            return
        complete = min(watermark, seen)
        for monitor in self.monitors.values():
            if monitor.cohorts is None or complete <= monitor.final_until:
                continue
            reach = self._horizon + monitor.spec.window.size
            final = [
                key for key in monitor.cohorts.known if monitor.final_until < key.start + reach <= complete
            ]
            for key in sorted(final, key=lambda key: (key.start, key)):
                self._reports.quality(quality_report(monitor, key, self._reached(complete), self._horizon))
            monitor.final_until = complete
        if complete != END_OF_TIME:
            unmatched = self._join.expire(complete)
            self._counters.add(catalog.JOINS_EXPIRED, ("prediction",), unmatched.predictions)
            self._counters.add(catalog.JOINS_EXPIRED, ("label",), unmatched.labels)

    def _reached(self, complete: int) -> int:
        """`complete`, or how far event time really came when the streams have ended."""
        if complete != END_OF_TIME:
            return complete
        return max((t for w in self.watermarks.values() for t in w.reached().values()), default=0)

    def report_quality(self, now: float) -> None:
        """Report every cohort that changed since the last call and is not final; for live views."""
        watermark = self.watermarks["predictions"].current(now)
        if watermark is None:
            return
        for monitor in self.monitors.values():
            if monitor.cohorts is None:
                continue
            reach = self._horizon + monitor.spec.window.size
            for key, revision in list(monitor.cohorts.known.items()):
                if revision > monitor.reported and key.start + reach > monitor.final_until:
                    report = quality_report(monitor, key, self._reached(watermark), self._horizon)
                    if report.labelled:
                        self._reports.quality(report)
            monitor.reported = monitor.cohorts.revision

    # Checkpoints

    def checkpoint(self) -> None:
        """Make everything so far durable in one transaction, dead letters first."""
        for letters in self._dead_letters.values():
            letters.flush()
        for monitor in self.monitors.values():
            monitor.save()
        reached = {p: t for w in self.watermarks.values() for p, t in w.reached().items()}
        partitions = [
            [*partition, self.positions.get(partition), reached.get(partition)]
            for partition in sorted({*self.positions, *reached})
        ]
        self.checkpoint_number += 1
        saved = {"checkpoint": self.checkpoint_number, "partitions": partitions}
        self._state.put(_META, b"positions", json.dumps(saved).encode())
        self._state.commit()


def _streams(*, has_labels: bool) -> tuple[Stream, ...]:
    return ("predictions", "labels") if has_labels else ("predictions",)
