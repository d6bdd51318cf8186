"""A part of a topic, read once: from bounds to bounds, both fixed before the first message is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from observer.errors import ConfigError
from observer.model import Messages, Partition, Stream
from observer.sources.kafka.source import KafkaSource
from observer.sources.kafka.spec import KafkaSpec

Bound = int | Mapping[int, int] | None
"""A time in milliseconds (the first message that Kafka dates so or later); offsets by partition; or nothing.

A partition of which nothing is said is read from its beginning, or to its present end."""

ACCEPTED = "2026-11-23T10:00:00Z, milliseconds since the epoch, or offsets by partition as in 0:1500,1:1432"
_OFFSETS = re.compile(r"\d+:\d+(,\d+:\d+)*")


def bound(text: str) -> Bound:
    """A bound as people write it; raises `ValueError`."""
    text = text.replace(" ", "")
    if _OFFSETS.fullmatch(text):
        pairs = [piece.split(":") for piece in text.split(",")]
        offsets = {int(number): int(offset) for number, offset in pairs}
        if len(offsets) < len(pairs):
            raise ValueError("a partition is given twice")
        return offsets
    if text.isdigit():
        return int(text)
    time = datetime.fromisoformat(text)
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


class KafkaRange:
    """A range of a topic as a source that ends; the same range is the same messages as long as they exist.

    Attributes
    ----------
    ranges : mapping
        Partition -> first offset that is read, and the first that is not; known once it is open.
    """

    def __init__(self, spec: KafkaSpec, stream: Stream, start: Bound = None, end: Bound = None) -> None:
        self._spec = spec
        self._stream: Stream = stream
        self._bounds = (start, end)
        self._source = KafkaSource(spec, stream)
        self._left: set[Partition] = set()
        self.ranges: dict[Partition, tuple[int, int]] = {}

    def open(self, positions: Mapping[Partition, int]) -> None:
        """Settle the range and start reading at `positions`, or where it begins.

        Raises
        ------
        ConfigError
            A bound names a partition or an offset that is not there; and as `KafkaSource`.
        """
        if not self.ranges:
            self._settle()
        begin = {partition: positions.get(partition, first) for partition, (first, _) in self.ranges.items()}
        self._left = {partition for partition, (_, end) in self.ranges.items() if begin[partition] < end}
        self._source = KafkaSource(self._spec, self._stream)
        self._source.open(begin)

    def poll(self, limit: int, timeout: float) -> Messages:
        """As `KafkaSource`; what comes after the range is left out."""
        messages = self._source.poll(limit, timeout)
        numbers = {partition: number for number, partition in enumerate(messages.partitions)}
        beyond = [
            partition
            for partition, position in messages.positions.items()
            if position > self.ranges.get(partition, (0, 0))[1]
        ]
        self._left -= {
            partition
            for partition, position in messages.positions.items()
            if position >= self.ranges.get(partition, (0, 0))[1]
        }
        kept = np.arange(len(messages))
        if beyond:
            ends = np.zeros(len(messages.partitions), np.int64)
            for partition, (_, end) in self.ranges.items():
                ends[numbers[partition]] = end
            suspect = np.isin(messages.partition, [numbers[partition] for partition in beyond])
            outside = [
                at
                for at in np.flatnonzero(suspect)
                if messages.origin(int(at)).offset >= ends[messages.partition[at]]
            ]
            kept = np.delete(kept, outside)
        return replace(
            messages,
            values=[messages.values[at] for at in kept],
            partition=messages.partition[kept],
            positions={
                partition: min(position, self.ranges[partition][1])
                for partition, position in messages.positions.items()
                if partition in self.ranges
            },
            origin=lambda message: messages.origin(int(kept[message])),
            caught_up=frozenset(n for p, n in numbers.items() if p not in self._left),
            finished=not self._left,
        )

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Nothing hangs on it: a range is read by whoever asks."""

    def lag(self) -> Mapping[Partition, int]:
        """Not told."""
        return {}

    def close(self) -> None:
        """Stop reading."""
        self._source.close()

    def _settle(self) -> None:
        source = KafkaSource(self._spec, self._stream)
        source.open({})
        try:
            held = source.bounds()
            problems: list[str] = []
            starts = self._offsets(source, held, self._bounds[0], "from", problems)
            ends = self._offsets(source, held, self._bounds[1], "to", problems)
        finally:
            source.close()
        problems += [
            f"partition {partition.number}: the range from {starts[partition]:,} ends at {ends[partition]:,}"
            for partition in held
            if not problems and starts[partition] > ends[partition]
        ]
        if problems:
            raise ConfigError([f"Kafka topic {self._spec.topic}: {problem}" for problem in problems])
        self.ranges = {partition: (starts[partition], ends[partition]) for partition in held}

    def _offsets(
        self,
        source: KafkaSource,
        held: Mapping[Partition, tuple[int, int]],
        wish: Bound,
        which: str,
        problems: list[str],
    ) -> dict[Partition, int]:
        side = 0 if which == "from" else 1
        own = {partition: span[side] for partition, span in held.items()}
        if wish is None:
            return own
        if isinstance(wish, int):
            return {
                partition: offset if offset >= 0 else held[partition][1]
                for partition, offset in source.at(wish).items()
            }
        by_number = {partition.number: partition for partition in held}
        for number, offset in wish.items():
            if number not in by_number:
                problems.append(f"{which} {number}:{offset}: no partition {number}; there are {len(held)}")
                continue
            first, end = held[by_number[number]]
            if not first <= offset <= end:
                problems.append(f"{which} {number}:{offset}: partition {number} holds {first:,} to {end:,}")
            own[by_number[number]] = offset
        return own
