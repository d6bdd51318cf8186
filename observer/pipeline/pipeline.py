"""The stages of the data plane, in order: decode, join, window, close; and their checkpoint."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from detectors.base import Ints
from detectors.summaries.packing import unpack
from observer.codecs import Codec, Pairing
from observer.labels import LabelJoin
from observer.metrics import Counters, catalog
from observer.model import (
    Decoded,
    Labels,
    Messages,
    Partition,
    Predictions,
    Rejected,
    Schema,
    Stream,
)
from observer.pipeline.closing import Closing
from observer.pipeline.monitor import MODELS, Monitor, Tally
from observer.ports import Checkpoints, DeadLetters, Judge, Reports
from observer.references import Reference
from observer.slo import Objectives
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
    pairing : Pairing or None
        Joins halves of predictions before the codec reads them.
    join : LabelJoin or None
        Shared by all monitors.
    horizon : int
        Milliseconds within which labels join; 0 without labels.
    slack : int
        Milliseconds that events and labels may be out of order without any harm to the join.
    """

    def __init__(
        self,
        *,
        monitor: Callable[[str], Monitor],
        models: Sequence[str],
        codecs: Callable[[Stream, Mapping[str, Schema]], Codec],
        judges: Callable[[str], Judge],
        state: Checkpoints,
        pairing: Pairing | None = None,
        join: LabelJoin | None,
        horizon: int,
        slack: int,
        has_labels: bool,
        dead_letters: Mapping[Stream, DeadLetters],
        reports: Reports,
        objectives: Objectives,
        counters: Counters,
        idle_after: float,
        now: float,
    ) -> None:
        self._new_monitor = monitor
        self._new_codec = codecs
        self._judges = judges
        self._state = state
        self._pairing = pairing
        self._dead_letters = dead_letters
        self._objectives = objectives
        self._counters = counters
        self.watermarks = {stream: Watermarks(idle_after) for stream in _streams(has_labels=has_labels)}
        self.positions: dict[Partition, int] = {}
        self.checkpoint_number = 0
        saved = [unpack(value)["name"] for _, value in state.scan(MODELS)]
        self.monitors = {name: monitor(name) for name in dict.fromkeys((*models, *saved))}
        self._restore(now)
        self._schemas: dict[str, Schema] = {}
        self._codecs: dict[Stream, Codec] = {}
        self._renew_codecs()
        self._closing = Closing(
            self.monitors,
            self.watermarks,
            judges=judges,
            join=join,
            horizon=horizon,
            slack=slack,
            reports=reports,
            counters=counters,
        )
        self._closing.report_again()

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

    def _renew_codecs(self) -> None:
        """Build the codecs anew if what they should expect has changed."""
        schemas = {name: monitor.schema for name, monitor in self.monitors.items()}
        if schemas != self._schemas or not self._codecs:
            self._schemas = schemas
            self._codecs = {stream: self._new_codec(stream, schemas) for stream in self.watermarks}

    @property
    def learning(self) -> bool:
        """Whether some model's events are looked at whole, because its features are not known yet."""
        return not self._schemas or not all(schema.features for schema in self._schemas.values())

    # Events

    def decode(self, stream: Stream, messages: Messages, now: float) -> Decoded:
        """Decode one poll; raises `Retryable`, having changed nothing, when a schema registry is away."""
        if not len(messages):
            return Decoded()
        if stream == "labels":
            return self._codecs[stream].labels(messages, now)
        return self._decode(messages, now)

    def take(self, stream: Stream, messages: Messages, decoded: Decoded, now: float) -> None:
        """Process one decoded poll of a stream to the end."""
        watermarks = self.watermarks[stream]
        watermarks.open(messages.partitions, now)
        if len(messages):
            if stream == "predictions":
                self._predictions(decoded.predictions, messages, now)
            else:
                self._labels(decoded.labels, messages, now)
            if decoded.spoiled_cells:
                self._counters.add(catalog.SPOILED_VALUES, (), decoded.spoiled_cells)
            if decoded.dropped_cells:
                self._counters.add(catalog.DROPPED_VALUES, (), decoded.dropped_cells)
            if decoded.rejected:
                self._reject(stream, decoded.rejected)
            self._count_source(stream, messages)
            if stream == "predictions" and self._pairing is not None:
                # After the events: none is late because its own response is in the same poll.
                watermarks.advance(messages.partitions, *self._pairing.progress, now)
        for partition, count in messages.lost.items():
            where = (stream, partition.source, str(partition.number))
            self._counters.add(catalog.SOURCE_LOST, where, count)
        watermarks.note_caught_up(messages.partitions, messages.caught_up)
        watermarks.finished = messages.finished
        if stream == "predictions" and self._pairing is not None:
            self._pairing.expire(watermarks.current(now))
            if refused := self._pairing.refused():
                self._reject(stream, refused)
        self.positions.update(messages.positions)

    def _decode(self, messages: Messages, now: float) -> Decoded:
        """Decode predictions; of a version that is met for the first time every feature is looked at."""
        before = self._schemas
        if self._pairing is not None:
            messages = self._pairing.take(messages, now)
        decoded = self._codecs["predictions"].predictions(messages, now)
        dropped = {
            batch.model: self._monitor(batch.model).meet(batch.version, batch.time)
            for batch in decoded.predictions
        }
        for model, count in dropped.items():
            if count:
                self._counters.add(catalog.NAMES_DROPPED, (model, "version"), count)
        self._renew_codecs()
        if any(schema.features and not self._schemas[name].features for name, schema in before.items()):
            return self._codecs["predictions"].predictions(messages, now)
        return decoded

    def _count_source(self, stream: Stream, messages: Messages) -> None:
        self._counters.add(catalog.SOURCE_BYTES, (stream,), sum(map(len, messages.values)))
        counts = np.bincount(messages.partition, minlength=len(messages.partitions))
        for index in np.flatnonzero(counts):
            partition = messages.partitions[index]
            labels = (stream, partition.source, str(partition.number))
            self._counters.add(catalog.SOURCE_MESSAGES, labels, int(counts[index]))

    def _reject(self, stream: Stream, rejected: Sequence[Rejected]) -> None:
        models = Counter(item.model if item.model in self.monitors else "" for item in rejected)
        for model, count in models.items():
            self._counters.add(catalog.EVENTS, (stream, model, "rejected"), count)
        for reason, count in Counter(item.reason for item in rejected).items():
            self._counters.add(catalog.EVENTS_REJECTED, (stream, reason), count)
        self._dead_letters[stream].reject(rejected)

    def _predictions(self, batches: Sequence[Predictions], messages: Messages, now: float) -> None:
        for batch, before in self._advance("predictions", batches, messages, now):
            monitor = self._monitor(batch.model)
            tally = monitor.predictions(batch, before)
            for outcome, count in tally.outcomes.items():
                if count:
                    self._counters.add(catalog.EVENTS, ("predictions", batch.model, outcome), count)
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
        closed = self._closing.advance(now)
        self._renew_codecs()
        return closed

    def event_time(self, now: float) -> int | None:
        """Up to when predictions were seen, milliseconds; None before the first, the last if they ended."""
        watermarks = self.watermarks["predictions"]
        watermark = watermarks.current(now)
        return max(watermarks.reached().values(), default=None) if watermark == END_OF_TIME else watermark

    def report_quality(self, now: float) -> None:
        """Report cohorts that changed or matured since the last call and are not final; for live views."""
        self._closing.report_quality(now)

    # What people decide

    def accept(self, model: str, version: str, since: int | None) -> Reference:
        """Make what a version's windows show its new reference; see `Closing.accept`."""
        reference = self._closing.accept(model, version, since)
        self._renew_codecs()
        return reference

    def close_incidents(self, model: str, version: str) -> int:
        """A person ends the incidents of a version; see `Closing.close_incidents`."""
        return self._closing.close_incidents(model, version)

    # Checkpoints

    @property
    def held_up(self) -> bool:
        """Whether nothing should be read before the dead letters so far could be written."""
        return any(letters.full for letters in self._dead_letters.values())

    def flush(self) -> None:
        """Make the dead letters so far durable; raises `Retryable` when that fails."""
        for letters in self._dead_letters.values():
            letters.flush()

    def checkpoint(self) -> None:
        """Make everything so far durable in one transaction; dead letters must be so already."""
        for monitor in self.monitors.values():
            monitor.save()
            self._judges(monitor.name).save()
        self._objectives.save()
        if self._pairing is not None:
            self._pairing.save()
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
