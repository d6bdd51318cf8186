"""The loop of one process: poll, process, close windows, checkpoint.

Crash-only: an error that is not worth another try ends the process without a checkpoint, and the next one
goes on from the last. Nothing is told to the outside that a restart would have to take back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from observer.engines.orders import Orders
from observer.errors import Retryable
from observer.metrics import Counters, catalog
from observer.model import Decoded, Messages, Stream
from observer.pipeline.pipeline import Pipeline
from observer.ports import Clock, Source

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How the loop spends its time; seconds."""

    batch: int = 20_000
    """Messages a poll may give,"""
    batch_bytes: int = 8 << 20
    """and about how many bytes: more would leave the processor's caches."""
    learning_batch: int = 1_000
    learning_bytes: int = 128 << 10
    """The same while something is being learnt: windows have to close between polls, lest all that one poll
    holds be learnt from, and events are decoded with everything they hold."""
    first: int = 16
    """Messages of the first poll, before their size is known: a batch may hold weeks of a small model."""
    wait: float = 0.05
    """How long a poll gathers."""
    checkpoint_every: float = 10.0
    publish_every: float = 2.0
    act_every: float = 1.0
    """Between turns of what acts, beside the loop."""
    retry_after: float = 1.0
    """Before decoding is tried again when a schema registry is away."""


class LocalEngine:
    """Runs a pipeline over its sources until told to stop, or until all sources have ended.

    Parameters
    ----------
    publish : callable
        Makes the results so far visible; called after windows closed and every `Pace.publish_every`.
    turned : callable
        Called once a turn; tells the outside that the loop is alive.
    orders : Orders, optional
        What people decide meanwhile.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        sources: Mapping[Stream, Source],
        clock: Clock,
        counters: Counters,
        publish: Callable[[], None],
        turned: Callable[[], None],
        pace: Pace | None = None,
        orders: Orders | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._sources = sources
        self._clock = clock
        self._counters = counters
        self._publish = publish
        self._turned = turned
        self._pace = pace or Pace()
        self._orders = orders or Orders()
        self._sizes: dict[Stream, int] = {}
        self.last_checkpoint: float | None = None

    def run(self, stopping: Callable[[], bool]) -> None:
        """Turn until `stopping()` says so or the sources end; then checkpoint and return."""
        started = published = self._clock.now()
        for source in self._sources.values():
            source.open(self._pipeline.positions)
        self.last_checkpoint = None
        checkpointed = started
        self._flush("dead letters cannot be written yet")
        while not stopping():
            held_up = self._pipeline.held_up
            if held_up:  # nothing is read, so nothing is late or idle for it; the rest goes on
                time.sleep(self._pace.retry_after)
            else:
                self._poll(stopping)
            now = self._clock.now()
            closed = 0 if held_up else self._pipeline.advance(now)
            if closed or _due(published, now, self._pace.publish_every):
                self._pipeline.report_quality(now)
                self._publish()
                published = self._clock.now()
                if closed:
                    self._counters.observe(catalog.WINDOW_EXPORT_DELAY, (), max(published - now, 0.0))
            if _due(checkpointed, now, self._pace.checkpoint_every):
                checkpointed = now
                self.checkpoint()
            self._orders.carry_out(self.checkpoint)
            self._turned()
            if all(watermarks.finished for watermarks in self._pipeline.watermarks.values()):
                break
        self._pipeline.advance(self._clock.now())
        self._pipeline.report_quality(self._clock.now())
        self._publish()
        self.checkpoint()

    def _poll(self, stopping: Callable[[], bool]) -> None:
        """One poll of every stream; only an idle turn waits for the second stream."""
        busy = False
        pace, learning = self._pace, self._pipeline.learning
        most = pace.learning_batch if learning else pace.batch
        most_bytes = pace.learning_bytes if learning else pace.batch_bytes
        for stream, source in self._sources.items():
            if self._pipeline.watermarks[stream].finished:
                continue
            size = self._sizes.get(stream)
            limit = min(max(most_bytes // size, 1) if size else pace.first, most)
            messages = source.poll(limit, 0.0 if busy else pace.wait)
            busy = busy or len(messages) > 0
            if len(messages):
                self._sizes[stream] = sum(map(len, messages.values)) // len(messages) + 1
            decoded = self._decode(stream, messages, stopping)
            if decoded is not None:
                self._pipeline.take(stream, messages, decoded, self._clock.now())

    def _decode(self, stream: Stream, messages: Messages, stopping: Callable[[], bool]) -> Decoded | None:
        """Decode, for as long as that needs something that is away; None when told to stop meanwhile."""
        told = False
        while True:
            try:
                return self._pipeline.decode(stream, messages, self._clock.now())
            except Retryable as error:
                if not told:
                    log.warning("%s cannot be decoded yet: %s", stream, error)
                    told = True
            self._turned()
            if stopping():
                return None
            time.sleep(self._pace.retry_after)

    def checkpoint(self) -> bool:
        """Save everything; False when it has to be tried again later."""
        started = self._clock.now()
        if not self._flush(f"checkpoint {self._pipeline.checkpoint_number + 1} put off"):
            return False
        self._pipeline.checkpoint()
        ended = self._clock.now()
        self._counters.observe(catalog.CHECKPOINT_DURATION, (), max(ended - started, 0.0))
        self.last_checkpoint = ended
        for stream, source in self._sources.items():
            source.commit({p: at for p, at in self._pipeline.positions.items() if p.stream == stream})
        return True

    def _flush(self, told: str) -> bool:
        """Make the dead letters so far durable; False, and a line in the log, where that fails for now."""
        try:
            self._pipeline.flush()
        except Retryable as error:
            log.warning("%s: %s", told, error)
            return False
        return True


def _due(last: float, now: float, every: float) -> bool:
    """Whether `every` seconds have passed; of a clock that was set back nobody can say, so that they have."""
    return not 0.0 <= now - last < every
