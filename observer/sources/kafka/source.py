"""Reads one topic: every partition of it, from positions that the caller keeps."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from itertools import compress
from operator import not_
from typing import cast

import numpy as np
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from observer.errors import Permanent, Retryable
from observer.model import Envelopes, Messages, Origin, Partition, Stream
from observer.sources.kafka.client import UNKNOWN, Settings, Trouble, connect, explain, log
from observer.sources.kafka.spec import KafkaSpec

ACCESS = "READ and DESCRIBE"
"""The rights on the topic that reading takes."""

_ATTEMPTS = 5
_SECONDS = 3.0
"""How often, and how long each time, a broker is asked before it counts as unreachable."""

CLOSE_SECONDS = 10.0
"""How long `close` waits: longer than a commit does for a group coordinator."""

_SETTINGS: Settings = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "error",  # a lost position is told, never mended in silence
    "fetch.queue.backoff.ms": 2,  # the default rests a second whenever the queue is full
    "queued.max.messages.kbytes": 32 * 1024,
    "fetch.max.bytes": 16 * 1024 * 1024,
    "max.partition.fetch.bytes": 4 * 1024 * 1024,
    "topic.metadata.refresh.interval.ms": 30_000,
    "session.timeout.ms": 6_000,  # how long a commit, and so `close`, waits for a group coordinator
    "statistics.interval.ms": 30_000,  # only a clock: when to look for new partitions
}
_LOST = {"_AUTO_OFFSET_RESET", "_LOG_TRUNCATION", "OFFSET_OUT_OF_RANGE"}


class KafkaSource:
    """One topic as a stream; partitions are assigned, so nobody can take one away.

    Positions come from the caller, and are committed to the group for lag tools only. A saved position
    that the broker no longer has is counted in `gaps`, and reading goes on from the earliest message.

    Parameters
    ----------
    envelopes : bool
        Whether headers, keys and timestamps are given with the messages; they cost a little.

    Attributes
    ----------
    gaps : dict of Partition to int
        Messages that were gone before they could be read, at least; 1 where their number cannot be
        known, because the topic was created anew.
    """

    def __init__(self, spec: KafkaSpec, stream: Stream, *, envelopes: bool = False) -> None:
        self._envelopes = envelopes
        self.gaps: dict[Partition, int] = {}
        self._told: dict[Partition, int] = {}
        self._spec = spec
        self._stream: Stream = stream
        self._trouble = Trouble(spec, ACCESS)
        self._consumer: Consumer | None = None
        self._partitions: tuple[Partition, ...] = ()
        self._next = np.zeros(0, np.int64)
        """Next offset to read, by partition number."""
        self._moved: set[int] = set()
        """Partitions whose position changed without a message, to be told with the next poll."""
        self._caught_up: set[int] = set()
        self._lost: set[int] = set()
        self._silent = False
        self._due = False
        self._gone = False
        self._commit_error = ""

    def open(self, positions: Mapping[Partition, int]) -> None:
        """Start reading every partition, those without a position where the Spec says.

        Raises
        ------
        ConfigError
            A setting is wrong.
        Permanent
            Access is refused.
        Retryable
            No broker answers, or the topic does not exist.
        """
        own = {
            **_SETTINGS,
            "group.id": self._spec.group,
            "stats_cb": self._tick,
            "on_commit": self._committed,
        }
        self._consumer = connect(Consumer, self._spec, self._trouble, own)
        try:
            count = self._ask_partitions()
            start = OFFSET_BEGINNING if self._spec.start == "earliest" else OFFSET_END
            self._adopt(count, positions, start)
        except BaseException:
            self.close()
            raise
        for partition in positions:
            known = (partition.stream, partition.source) != (self._stream, self._spec.topic)
            if not known and partition not in self._partitions:
                log.warning("Kafka topic %s has no partition %d any more", *partition[1:])

    def poll(self, limit: int, timeout: float) -> Messages:
        """Up to `limit` messages, gathered for at most `timeout` seconds.

        Raises
        ------
        Permanent
            Access is refused, or the topic was deleted.
        Retryable
            The client failed; open the source again.
        """
        consumer = self._open()
        if self._lost:
            self._mend()
        if self._due:
            self._look()
        try:
            records = consumer.consume(limit, timeout)
        except KafkaException as error:
            raise explain(self._spec, self._spec.topic, error.args[0], ACCESS) from error
        ends: dict[int, int] = {}
        if any(map(Message.error, records)):
            errors = list(map(Message.error, records))
            ends = self._sift(compress(records, errors))
            records = list(compress(records, map(not_, errors)))
        if self._trouble.failure:
            raise self._trouble.failure
        silent = not (records or ends)
        if self._silent and not silent:  # else it may have waited in the queue since before
            self._trouble.over()
        self._silent = silent

        # One pass in C per field; a loop in Python over messages would cost more than fetching them.
        partition = np.fromiter(map(Message.partition, records), np.int32, len(records))
        values = cast("list[bytes]", list(map(Message.value, records)))
        if not all(values):
            values = [value or b"" for value in values]  # a tombstone's value is None
        last = np.zeros(len(self._partitions), np.intp)
        last[partition] = np.arange(len(records))  # of a repeated index numpy keeps the last
        moved, self._moved = self._moved, set()
        for number in np.flatnonzero(np.bincount(partition)).tolist():
            self._next[number] = (records[last[number]].offset() or 0) + 1
            moved.add(number)
        self._caught_up -= moved
        for number, end in ends.items():
            if end >= self._next[number]:  # no message came after the end was reached
                self._next[number] = end  # markers of transactions take offsets too
                self._caught_up.add(number)
                moved.add(number)
        lost = {place: gap - self._told.get(place, 0) for place, gap in self.gaps.items()}
        self._told = dict(self.gaps)
        topic = self._spec.topic

        def origin(message: int) -> Origin:
            return Origin(topic, int(partition[message]), records[message].offset() or 0)

        return Messages(
            values=values,
            partition=partition,
            partitions=self._partitions,
            positions={self._partitions[number]: int(self._next[number]) for number in sorted(moved)},
            origin=origin,
            caught_up=frozenset(self._caught_up),
            lost={place: gap for place, gap in lost.items() if gap},
            envelopes=_envelopes(records) if self._envelopes else None,
        )

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Send the positions to the group without waiting; a failure is only logged."""
        offsets = [
            TopicPartition(partition.source, partition.number, position)
            for partition, position in positions.items()
            if partition.stream == self._stream and partition.source == self._spec.topic
        ]
        if offsets:
            try:
                self._open().commit(offsets=offsets, asynchronous=True)
            except KafkaException as error:
                self._committed(error.args[0], offsets)

    def lag(self) -> Mapping[Partition, int]:
        """Messages between our position and the end that the last fetch told, where one has."""
        lag: dict[Partition, int] = {}
        if self._consumer is None:
            return lag
        for partition, position in zip(self._partitions, self._next.tolist(), strict=True):
            place = TopicPartition(partition.source, partition.number)
            _, end = self._consumer.get_watermark_offsets(place, cached=True)
            if end >= 0:
                lag[partition] = max(0, end - position)
        return lag

    def bounds(self) -> dict[Partition, tuple[int, int]]:
        """First and next offset of every partition, as the brokers answer now."""
        numbers = [partition.number for partition in self._partitions]
        firsts, ends = self._resolve(numbers, OFFSET_BEGINNING), self._resolve(numbers, OFFSET_END)
        return {
            self._partitions[first.partition]: (first.offset, end.offset)
            for first, end in zip(firsts, ends, strict=True)
        }

    def at(self, time: int) -> dict[Partition, int]:
        """Offset of the first message that brokers date `time` (milliseconds) or later; -1 if none is."""
        numbers = [partition.number for partition in self._partitions]
        found = self._resolve(numbers, time)
        return {self._partitions[place.partition]: place.offset for place in found}

    def close(self) -> None:
        """Stop reading; commits on their way are given a moment to arrive.

        Without brokers librdkafka may wait for ever: then it is left behind, and ends with the process.
        """
        if self._consumer is not None:
            closing = threading.Thread(target=self._consumer.close, name="kafka close", daemon=True)
            closing.start()
            closing.join(CLOSE_SECONDS)
            if closing.is_alive():
                log.warning("Kafka topic %s: left without a farewell", self._spec.topic)
            self._consumer = None

    def _open(self) -> Consumer:
        if self._consumer is None:
            raise RuntimeError("the source is not open")
        return self._consumer

    def _ask_partitions(self) -> int:
        """How many partitions the topic has; raises when it cannot be read."""
        consumer, topic = self._open(), self._spec.topic
        for _ in range(_ATTEMPTS):
            try:
                found = consumer.list_topics(topic, timeout=_SECONDS).topics[topic]
                break
            except KafkaException:
                consumer.poll(0)  # lets the client tell why
                if self._trouble.failure:
                    raise self._trouble.failure from None
        else:
            raise Retryable(
                f"no Kafka broker of {self._spec.brokers} answers within {_ATTEMPTS * _SECONDS:.0f} s"
                f" (topic {topic}): {self._trouble.last or 'no connection'}; check brokers, security.protocol"
                " and that this machine reaches the addresses which the brokers advertise"
            )
        if found.error is not None:
            raise explain(self._spec, topic, found.error, ACCESS)
        return len(found.partitions)

    def _adopt(self, count: int, positions: Mapping[Partition, int], start: int) -> None:
        """Read the partitions up to `count` that are not read yet, too."""
        topic = self._spec.topic
        old = len(self._partitions)
        partitions = tuple(Partition(self._stream, topic, number) for number in range(count))
        offsets = np.array([positions.get(partition, -1) for partition in partitions[old:]], np.int64)
        unsaved = [old + int(i) for i in np.flatnonzero(offsets < 0)]
        # A start is resolved to an offset at once: "latest" must not slip while nothing has been read.
        for place in self._resolve(unsaved, start):
            offsets[place.partition - old] = place.offset
        self._partitions = partitions
        self._next = np.concatenate([self._next, offsets])
        self._moved.update(unsaved)
        self._assign(range(old, count))

    def _resolve(self, numbers: list[int], start: int) -> list[TopicPartition]:
        """Where the partitions begin or end now, or the first offset of a time."""
        if not numbers:
            return []
        places = [TopicPartition(self._spec.topic, number, start) for number in numbers]
        try:
            # ListOffsets answers the "times" -2 and -1 with the first and the next offset.
            found = self._open().offsets_for_times(places, timeout=_ATTEMPTS * _SECONDS)
        except KafkaException as error:
            raise explain(self._spec, self._spec.topic, error.args[0], ACCESS) from error
        for place in found:
            if place.error is not None:
                raise explain(self._spec, self._spec.topic, place.error, ACCESS)
        return found

    def _assign(self, numbers: Iterable[int]) -> None:
        topic = self._spec.topic
        self._open().incremental_assign(
            [TopicPartition(topic, number, int(self._next[number])) for number in numbers]
        )

    def _sift(self, records: Iterable[Message]) -> dict[int, int]:
        """What records that are not messages say; returns the ends that were reached, by partition."""
        ends = {}
        for record in records:
            error, number = record.error(), record.partition()
            if error is None or number is None:
                continue
            if error.name() == "_PARTITION_EOF":
                ends[number] = record.offset() or 0
            elif error.name() in _LOST:
                self._lost.add(number)
            else:
                self._trouble.hear(error)
        return ends

    def _mend(self) -> None:
        """Read on in partitions whose position the broker no longer has, and count what is missing."""
        try:
            bounds = self.bounds()
        except Retryable:
            return  # with the next poll
        for number in self._lost:
            partition, position = self._partitions[number], int(self._next[number])
            first, end = bounds[partition]
            if first <= position <= end:
                continue  # a passing state of the broker
            gap = max(first - position, 1)
            self.gaps[partition] = self.gaps.get(partition, 0) + gap
            self._next[number] = first
            self._moved.add(number)
            why = f"{gap} messages were deleted unread" if position < first else "was it created anew?"
            place = Origin(self._spec.topic, number, position)
            log.error(
                "Kafka %s: the log holds %d to %d; reading on from its start; %s", place, first, end, why
            )
        # A partition in this state refuses a seek.
        self._open().incremental_unassign([TopicPartition(self._spec.topic, number) for number in self._lost])
        self._assign(self._lost)
        self._lost = set()

    def _tick(self, _statistics: str) -> None:
        self._due = True

    def _look(self) -> None:
        """See whether the topic has grown, or gone."""
        self._due = False
        topic = self._spec.topic
        try:
            found = self._open().list_topics(topic, timeout=_SECONDS).topics[topic]
        except KafkaException:
            return
        self._trouble.over()
        count, known = len(found.partitions), len(self._partitions)
        if found.error is None and count > known:
            log.info("Kafka topic %s has grown from %d to %d partitions", topic, known, count)
            self._adopt(count, {}, OFFSET_BEGINNING)
        gone = count < known if found.error is None else found.error.name() in UNKNOWN
        # Asked twice: a broker that has just started may not know its topics yet.
        if gone and self._gone:
            raise Permanent(
                f"Kafka topic {topic} at {self._spec.brokers} was deleted while it was read, or created anew"
                f" with fewer partitions ({known} before, {count} now); start again to read the new one"
            )
        self._gone = gone

    def _committed(self, error: KafkaError | None, _offsets: list[TopicPartition]) -> None:
        text = "" if error is None else error.str()
        if text and text != self._commit_error:
            log.warning("positions cannot be committed to group %s: %s", self._spec.group, text)
        self._commit_error = text


def _envelopes(records: list[Message]) -> Envelopes:
    stamps = (stamp for _, stamp in map(Message.timestamp, records))
    return Envelopes(
        cast("list[list[tuple[str, bytes | None]] | None]", list(map(Message.headers, records))),
        cast("list[bytes | None]", list(map(Message.key, records))),
        np.fromiter(stamps, np.int64, len(records)),
    )
