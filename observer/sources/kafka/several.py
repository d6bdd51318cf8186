"""Reads several topics as one stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np

from observer.model import Envelopes, Messages, Origin, Partition
from observer.sources.kafka.source import KafkaSource


class SeveralTopics:
    """Topics in turn, an equal share of every poll each, so that none runs far ahead of the others."""

    def __init__(self, sources: Sequence[KafkaSource]) -> None:
        self._sources = sources

    def open(self, positions: Mapping[Partition, int]) -> None:
        """Start reading all of them; raises as `KafkaSource.open` does."""
        for source in self._sources:
            source.open(positions)

    def poll(self, limit: int, timeout: float) -> Messages:
        """Up to `limit` messages; raises as `KafkaSource.poll` does."""
        n = len(self._sources)
        return _together([source.poll(max(limit // n, 1), timeout / n) for source in self._sources])

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Send the positions to the group."""
        for source in self._sources:
            source.commit(positions)

    def lag(self) -> Mapping[Partition, int]:
        """Messages not yet read, of every topic."""
        return {partition: n for source in self._sources for partition, n in source.lag().items()}

    def close(self) -> None:
        """Stop reading."""
        for source in self._sources:
            source.close()


def _together(polls: Sequence[Messages]) -> Messages:
    firsts = list(accumulate((len(one.partitions) for one in polls), initial=0))
    starts = list(accumulate(map(len, polls), initial=0))
    shifted = [one.partition + np.int32(first) for one, first in zip(polls, firsts, strict=False)]

    def origin(message: int) -> Origin:
        which = int(np.searchsorted(starts, message, "right")) - 1
        return polls[which].origin(message - starts[which])

    envelopes = [one.envelopes for one in polls if one.envelopes is not None]
    return Messages(
        values=[value for one in polls for value in one.values],
        partition=np.concatenate(shifted).astype(np.int32),
        partitions=tuple(partition for one in polls for partition in one.partitions),
        positions={partition: at for one in polls for partition, at in one.positions.items()},
        origin=origin,
        caught_up=frozenset(
            at + first for one, first in zip(polls, firsts, strict=False) for at in one.caught_up
        ),
        lost={partition: n for one in polls for partition, n in one.lost.items()},
        envelopes=Envelopes(
            [headers for one in envelopes for headers in one.headers],
            [key for one in envelopes for key in one.keys],
            np.concatenate([one.times for one in envelopes]),
        )
        if envelopes
        else None,
    )
