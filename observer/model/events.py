"""Columnar batches of events as codecs give them, and the schema they are read with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.base import Bools, Categories, Column, Floats, Ints, Numbers, Vectors

FeatureType = Literal["number", "category", "boolean"]

Task = Literal["binary", "multiclass", "regression"]

Stream = Literal["predictions", "labels"]

REASONS = (
    "undecodable",  # not JSON, Arrow or Avro at all
    "invalid",  # decoded, but a required field is missing or of a wrong type
    "unknown_model",  # the configuration does not name the model and does not learn new ones
    "time_invalid",  # no time that can be read, or one outside 1970..2200
    "time_in_future",  # further ahead of the clock than `max_ahead`
    "too_large",  # more bytes, rows or columns than the limits allow
    "unmatched",  # a request without its response, or the reverse, in the time that a half waits
    "failed",  # a request that was answered with an error
    "overflow",  # a request or response for which there was no room while it waited for the other
)
"""Every reason for which an event can be rejected: metric label, dead-letter header and log alike."""

ARMS = ("", "champion", "challenger", "shadow")
"""By code; empty where an event names none. A shadow answered a copy of a request: nobody was given it."""


class Partition(NamedTuple):
    """One ordered part of a stream: a Kafka partition, or a file."""

    stream: Stream
    source: str
    """Topic or file name."""
    number: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a payload came from, for dead letters and messages to people."""

    source: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.source}[{self.partition}]@{self.offset}"


@dataclass(frozen=True, slots=True)
class Envelopes:
    """What a broker keeps beside the payloads of messages.

    Attributes
    ----------
    headers : sequence
        Names and values of each message; None without any.
    times : int64[n]
        The broker's timestamps, milliseconds; negative where there is none.
    """

    headers: Sequence[Sequence[tuple[str, bytes | None]] | None]
    keys: Sequence[bytes | None]
    times: Ints


@dataclass(slots=True)
class Messages:
    """What one poll of a source gave: raw payloads, in order within each partition.

    Attributes
    ----------
    values : list of bytes
        One payload a message; a tombstone (null payload) is `b""`.
    partition : int32[len(values)]
        Index into `partitions`.
    partitions : tuple of Partition
        All partitions of the source, those without a message in this poll too.
    positions : mapping
        Next offset to read, for the partitions this poll advanced.
    origin : callable
        Message index -> where it came from; called for rejected messages only.
    caught_up : frozenset of int
        Indexes of partitions that were read to their end (so that a silent one can count as idle).
    """

    values: list[bytes]
    partition: NDArray[np.int32]
    partitions: tuple[Partition, ...]
    positions: Mapping[Partition, int]
    origin: Callable[[int], Origin]
    caught_up: frozenset[int] = frozenset()
    finished: bool = False
    """The source has ended: a file was read to its end (a Kafka topic never does)."""
    lost: Mapping[Partition, int] = field(default_factory=dict)
    """Messages newly found to have been deleted unread; at least so many."""
    envelopes: Envelopes | None = None
    """Of the messages, where the source was asked for them."""

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A payload, or one row of it, that could not be used."""

    origin: Origin
    payload: bytes
    reason: str
    detail: str
    model: str = ""
    headers: tuple[tuple[str, bytes | None], ...] = ()
    """Those that the payload came with, where they are needed to read it again."""


@dataclass(slots=True)
class Predictions:
    """Prediction events of one model, columnar, in arrival order; n rows.

    Attributes
    ----------
    keys : uint64[n, 2]
        128-bit hash of the event id (`observer.codecs.keys.hash_ids`).
    time : int64[n]
        Event time, milliseconds since the epoch.
    row, message, partition : int64[n], int64[n], int32[n]
        Arrival order over all models of the poll; message index; index into `Messages.partitions`.
    version, arm : Categories
        `arm` is NULL where the event names none.
    arm_probability, latency_ms : float64[n]
        NaN where absent.
    errors : bool[n] or None
        Where the model failed, and something else was answered in its stead; None for nowhere.
    scores : mapping
        `{"": p}` for a binary score, else one column a class.
    """

    model: str
    keys: NDArray[np.uint64]
    time: Ints
    row: Ints
    message: Ints
    partition: NDArray[np.int32]
    version: Categories
    arm: Categories
    arm_probability: Floats
    latency_ms: Floats
    features: dict[str, Column]
    prediction: Column
    scores: dict[str, Numbers]
    tags: dict[str, Categories]
    embeddings: dict[str, Vectors] = field(default_factory=dict)
    errors: Bools | None = None

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: NDArray[np.intp]) -> Predictions:
        """The events at `rows`."""
        return Predictions(
            self.model,
            self.keys[rows],
            self.time[rows],
            self.row[rows],
            self.message[rows],
            self.partition[rows],
            self.version.take(rows),
            self.arm.take(rows),
            self.arm_probability[rows],
            self.latency_ms[rows],
            {name: column.take(rows) for name, column in self.features.items()},
            self.prediction.take(rows),
            {name: column.take(rows) for name, column in self.scores.items()},
            {name: column.take(rows) for name, column in self.tags.items()},
            {name: column.take(rows) for name, column in self.embeddings.items()},
            None if self.errors is None else self.errors[rows],
        )


@dataclass(slots=True)
class Labels:
    """Label events of one model, columnar, in arrival order; fields as in `Predictions`."""

    model: str
    keys: NDArray[np.uint64]
    time: Ints
    row: Ints
    message: Ints
    partition: NDArray[np.int32]
    label: Column
    weight: Floats
    """1 where the event names none."""

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: NDArray[np.intp]) -> Labels:
        """The events at `rows`."""
        return Labels(
            self.model,
            self.keys[rows],
            self.time[rows],
            self.row[rows],
            self.message[rows],
            self.partition[rows],
            self.label.take(rows),
            self.weight[rows],
        )


@dataclass(slots=True)
class Decoded:
    """One poll, decoded: a batch per model, and what could not be used."""

    predictions: list[Predictions] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    spoiled_cells: int = 0
    """Feature values of a wrong type, whose events were used without them."""
    dropped_cells: int = 0
    """Feature, tag and score values under names beyond the limits, whose events were used without them."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a model's events hold; from its reference, or from the configuration.

    Attributes
    ----------
    features : mapping
        Name -> type. A feature not named here is ignored by the fast decoder.
    task : str or None
        None while not known.
    classes : tuple of str
        Class names, canonical (`class_name`); empty for regression or while not known.
    positive : str or None
        The positive class of a binary task.
    """

    features: Mapping[str, FeatureType]
    task: Task | None = None
    classes: tuple[str, ...] = ()
    positive: str | None = None
