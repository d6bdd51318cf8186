"""What all codecs share: limits, the gathering of one poll, and the protocol."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from observer.codecs import columns
from observer.model import Decoded, Labels, Messages, Predictions, Rejected, Schema, Stream

ROW_BITS = 32
"""`row` = message index << ROW_BITS | row within the message: arrival order, whoever decoded it."""


class Limits(BaseModel):
    """What one message and one model may cost; beyond it events or columns are refused and counted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_message_bytes: int = Field(default=1 << 20, gt=0)
    """Bytes of a JSON or Avro event."""
    max_batch_bytes: int = Field(default=64 << 20, gt=0)
    """Bytes of an Arrow message, as sent and once expanded; it may hold as many cells at most."""
    max_batch_rows: int = Field(default=1_000_000, gt=0, lt=1 << ROW_BITS)
    """Rows of an Arrow message."""
    max_features: int = Field(default=2000, gt=0)
    """Distinct features of a model while it is learnt."""
    max_tags: int = Field(default=50, ge=0)
    """Distinct tag names of a model."""
    max_classes: int = Field(default=1000, gt=0)
    """Distinct classes in the scores of a model."""
    max_embeddings: int = Field(default=4, ge=0)
    """Distinct embedding names of a model."""
    max_embedding_length: int = Field(default=4096, gt=0)
    """Numbers in one embedding."""
    max_models: int = Field(default=100, gt=0)
    """Unknown models to learn."""
    max_ahead: float = Field(default=3600.0, ge=0)
    """Seconds that an event time may lie ahead of the clock."""


Batch = TypeVar("Batch", Predictions, Labels)
Part = TypeVar("Part")


class Names:
    """The first `limit` distinct names over the life of a codec; those that come together in sorted order."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._admitted: set[str] = set()

    def admit(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that are, or now become, admitted; sorted."""
        found = set(names)
        if not found <= self._admitted:
            room = self._limit - len(self._admitted)
            self._admitted.update(sorted(found - self._admitted)[:room])
        return sorted(found & self._admitted)


class Context:
    """What a codec knows of models: their schemas, and the names it met in their events."""

    def __init__(self, schemas: Mapping[str, Schema], limits: Limits, *, learn_unknown: bool) -> None:
        self.schemas = dict(schemas)
        self.limits = limits
        self.learn_unknown = learn_unknown
        self._room = limits.max_models
        self._names: dict[tuple[str, str], Names] = {}

    def knows(self, model: str) -> bool:
        """Whether events of the model are used; an unknown model is learnt if that is allowed."""
        if model in self.schemas:
            return True
        if not self.learn_unknown or not self._room:
            return False
        self._room -= 1
        self.schemas[model] = Schema({})
        return True

    def model_of(self, event: object) -> str:
        """The known model that an otherwise invalid event names, or nothing."""
        model = event.get("model") if isinstance(event, dict) else None
        return model if isinstance(model, str) and model in self.schemas else ""

    def refusal(self, model: str) -> str:
        """Why `knows` said no, for a person."""
        if self.learn_unknown:
            return (
                f"model {_excerpt(model)}: as many unknown models as `max_models` allows are learnt already"
            )
        known = ", ".join(sorted(self.schemas)[:20]) or "none"
        return f"model {_excerpt(model)} is not configured; configured: {known}"

    def names(self, model: str, kind: str) -> Names:
        """The names of a kind (`features`, `tags`, `classes`, `embeddings`) that the model may have."""
        key = model, kind
        if key not in self._names:
            self._names[key] = Names(getattr(self.limits, f"max_{kind}"))
        return self._names[key]


class Poll:
    """Gathers what the messages of one poll hold; any number of codecs may add to it."""

    def __init__(self, messages: Messages, now: float) -> None:
        self.messages = messages
        self.now = now
        self.spoiled = 0
        self.dropped = 0
        self._rejected: list[tuple[int, Rejected]] = []
        self._predictions: dict[str, list[Predictions]] = {}
        self._labels: dict[str, list[Labels]] = {}

    def payloads(self, indexes: Sequence[int]) -> list[bytes]:
        """The messages at `indexes`."""
        if isinstance(indexes, range):
            return self.messages.values[indexes.start : indexes.stop]
        return [self.messages.values[index] for index in indexes]

    def reject(
        self, message: int, reason: str, detail: str, *, model: str = "", payload: bytes | None = None
    ) -> None:
        """Refuse a message, or the row of it that `payload` shows."""
        value = self.messages.values[message] if payload is None else payload
        rejected = Rejected(self.messages.origin(message), value, reason, detail, model)
        self._rejected.append((message, rejected))

    def add(self, batch: Predictions | Labels) -> None:
        """Keep a batch of one model; its rows must be in arrival order."""
        if not len(batch):
            return
        if isinstance(batch, Predictions):
            self._predictions.setdefault(batch.model, []).append(batch)
        else:
            self._labels.setdefault(batch.model, []).append(batch)

    def absorb(self, other: Poll) -> None:
        """Add what another gathering of the same messages holds."""
        self.spoiled += other.spoiled
        self.dropped += other.dropped
        self._rejected += other._rejected
        for predictions in chain.from_iterable(other._predictions.values()):
            self.add(predictions)
        for labels in chain.from_iterable(other._labels.values()):
            self.add(labels)

    def decoded(self) -> Decoded:
        """Everything gathered, a batch per model."""
        return Decoded(
            [_merge(batches, _merge_predictions) for batches in self._predictions.values()],
            [_merge(batches, _merge_labels) for batches in self._labels.values()],
            [rejected for _, rejected in sorted(self._rejected, key=lambda pair: pair[0])],
            self.spoiled,
            self.dropped,
        )


class Codec(ABC):
    """Bytes -> columnar batches. Never raises on bad bytes: what cannot be used is in `Decoded.rejected`."""

    def predictions(self, messages: Messages, now: float) -> Decoded:
        """Decode a poll of the predictions stream; `now` in seconds since the epoch."""
        return self._decode("predictions", messages, now)

    def labels(self, messages: Messages, now: float) -> Decoded:
        """Decode a poll of the labels stream; `now` in seconds since the epoch."""
        return self._decode("labels", messages, now)

    @abstractmethod
    def read(self, poll: Poll, stream: Stream, indexes: Sequence[int]) -> None:
        """Add the messages at `indexes` (ascending) to the poll."""

    def _decode(self, stream: Stream, messages: Messages, now: float) -> Decoded:
        poll = Poll(messages, now)
        if len(messages):
            self.read(poll, stream, range(len(messages)))
        return poll.decoded()


def within(poll: Poll, indexes: Sequence[int], limit: int) -> Sequence[int]:
    """Reject messages of no bytes or more than `limit`; the indexes of the others."""
    sizes = np.fromiter(map(len, poll.payloads(indexes)), np.int64, len(indexes))
    bad = (sizes == 0) | (sizes > limit)
    if not bad.any():
        return indexes
    for at in np.flatnonzero(bad).tolist():
        if sizes[at]:
            detail = f"the message has {sizes[at]} bytes; accepted: up to {limit}"
            poll.reject(indexes[at], "too_large", detail)
        else:
            poll.reject(indexes[at], "undecodable", "the message is empty")
    return [indexes[at] for at in np.flatnonzero(~bad).tolist()]


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:80] + "…")


def _merge(batches: list[Batch], join: Callable[[list[Batch]], Batch]) -> Batch:
    batch = batches[0] if len(batches) == 1 else join(batches)
    if (np.diff(batch.row) < 0).any():
        return batch.take(np.argsort(batch.row, kind="stable"))
    return batch


def _merge_labels(batches: list[Labels]) -> Labels:
    label = columns.concatenate([(batch.label, len(batch)) for batch in batches])
    weight = np.concatenate([batch.weight for batch in batches])
    return Labels(batches[0].model, *_merge_shared(batches), label, weight)


def _merge_predictions(batches: list[Predictions]) -> Predictions:
    sizes = [len(batch) for batch in batches]

    def of(parts: Iterable[Part]) -> list[tuple[Part, int]]:
        return list(zip(parts, sizes, strict=True))

    def names(each: Iterable[Iterable[str]]) -> list[str]:
        return list(dict.fromkeys(name for mapping in each for name in mapping))

    features = names(batch.features for batch in batches)
    scores = names(batch.scores for batch in batches)
    tags = names(batch.tags for batch in batches)
    embeddings = names(batch.embeddings for batch in batches)
    return Predictions(
        batches[0].model,
        *_merge_shared(batches),
        version=columns.concatenate_categories(of(batch.version for batch in batches)),
        arm=columns.concatenate_categories(of(batch.arm for batch in batches)),
        arm_probability=np.concatenate([batch.arm_probability for batch in batches]),
        latency_ms=np.concatenate([batch.latency_ms for batch in batches]),
        features={
            name: columns.concatenate(of(batch.features.get(name) for batch in batches)) for name in features
        },
        prediction=columns.concatenate(of(batch.prediction for batch in batches)),
        scores={
            name: columns.concatenate_numbers(of(batch.scores.get(name) for batch in batches))
            for name in scores
        },
        tags={
            name: columns.concatenate_categories(of(batch.tags.get(name) for batch in batches))
            for name in tags
        },
        embeddings={
            name: columns.concatenate_vectors(of(batch.embeddings.get(name) for batch in batches))
            for name in embeddings
        },
        errors=columns.concatenate_flags([(batch.errors, len(batch)) for batch in batches]),
    )


def _merge_shared(
    batches: Sequence[Predictions] | Sequence[Labels],
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    return (
        np.concatenate([batch.keys for batch in batches]),
        np.concatenate([batch.time for batch in batches]),
        np.concatenate([batch.row for batch in batches]),
        np.concatenate([batch.message for batch in batches]),
        np.concatenate([batch.partition for batch in batches]),
    )
