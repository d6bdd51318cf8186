"""Decoded events -> batches: the part of every codec whose input is one event at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, compress
from operator import attrgetter, is_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.base import Bools, Categories, Column, Ints, Numbers
from observer.codecs import columns, times
from observer.codecs.base import ROW_BITS, Batch, Context, Poll
from observer.codecs.events import refused_time
from observer.codecs.keys import hash_ids
from observer.model import Labels, Predictions, Schema, Stream

Features = Callable[[list[Any]], dict[str, Column]]
"""Makes columns of what the events' `features` hold."""

_FIELDS: dict[Stream, tuple[str, ...]] = {
    "predictions": (
        "id", "time", "prediction", "version", "scores", "arm", "arm_probability", "tags", "latency_ms"
    ),
    "labels": ("id", "time", "label", "weight"),
}  # fmt: skip


@dataclass(slots=True)
class _Gathered:
    """Events of one model: a list per field, and the features in columns already."""

    fields: dict[str, list[Any]]
    messages: list[Ints] = field(default_factory=list)
    features: list[tuple[dict[str, Column], int]] = field(default_factory=list)


class Rows:
    """Takes the events of one poll, some at a time, so that their objects need not live until its end.

    Only values stay, in lists; what works on whole columns runs once, when all are there.
    """

    def __init__(self, context: Context, poll: Poll, stream: Stream) -> None:
        self._context = context
        self._poll = poll
        self._stream = stream
        self._models: dict[str, _Gathered] = {}
        self._readers: dict[tuple[str, bool], Features] = {}

    def extend(self, events: list[Any], indexes: Sequence[int]) -> None:
        """Take events (`Event` or `LabelEvent`) of any models, one from each message of `indexes`."""
        for model, some, messages in grouped(events, attrgetter("model"), indexes):
            if self._context.knows(model):
                self.extend_model(model, some, messages)
            else:
                for message in messages.tolist():
                    self._poll.reject(message, "unknown_model", self._context.refusal(model))

    def extend_model(self, model: str, events: list[Any], messages: Ints, *, structs: bool = False) -> None:
        """Take events of one model; `structs` says that they and their features come from `fast_event`."""
        gathered = self._models.get(model)
        if gathered is None:
            gathered = _Gathered({name: [] for name in _FIELDS[self._stream]})
            self._models[model] = gathered
        for name, values in gathered.fields.items():
            values.extend(map(attrgetter(name), events))
        gathered.messages.append(messages)
        if self._stream == "predictions":
            read = self._readers.get((model, structs))
            if read is None:
                read = (
                    struct_features(self._context.schemas[model])
                    if structs
                    else mapping_features(self._context, model, self._poll)
                )
                self._readers[model, structs] = read
            gathered.features.append((read(list(map(attrgetter("features"), events))), len(events)))

    def finish(self) -> None:
        """Add a batch per model to the poll."""
        for model, gathered in self._models.items():
            if self._stream == "predictions":
                self._poll.add(self._timely(self._predictions(model, gathered), gathered))
            else:
                self._poll.add(self._timely(self._labels(model, gathered), gathered))

    def _predictions(self, model: str, gathered: _Gathered) -> Predictions:
        fields = gathered.fields
        n = len(fields["id"])
        latency = columns.checked_numbers(fields["latency_ms"])
        self._poll.spoiled += columns.spoiled(latency)
        parts = gathered.features
        names = dict.fromkeys(chain.from_iterable(features for features, _ in parts))
        return Predictions(
            model,
            *self._shared(model, gathered),
            version=columns.categories(fields["version"], n, columns.Interner()),
            arm=columns.categories(fields["arm"], n, columns.Interner()),
            arm_probability=columns.checked_numbers(fields["arm_probability"]).values,
            latency_ms=latency.values,
            features={
                name: columns.concatenate([(features.get(name), size) for features, size in parts])
                for name in names
            },
            prediction=columns.class_column(fields["prediction"]),
            scores=_scores(self._context, self._poll, model, fields["scores"]),
            tags=_tags(self._context, self._poll, model, fields["tags"]),
        )

    def _labels(self, model: str, gathered: _Gathered) -> Labels:
        weight = columns.checked_numbers(gathered.fields["weight"]).values
        return Labels(
            model,
            *self._shared(model, gathered),
            label=columns.class_column(gathered.fields["label"]),
            weight=np.where(np.isnan(weight), 1.0, weight),
        )

    def _shared(
        self, model: str, gathered: _Gathered
    ) -> tuple[NDArray[np.uint64], Ints, Ints, Ints, NDArray[np.int32]]:
        ids = gathered.fields["id"]
        if set(map(type, ids)) != {str}:
            ids = list(map(str, ids))
        message = np.concatenate(gathered.messages)
        return (
            hash_ids(ids, model),
            times.parse(gathered.fields["time"]),
            message << ROW_BITS,
            message,
            self._poll.messages.partition[message],
        )

    def _timely(self, batch: Batch, gathered: _Gathered) -> Batch:
        """The events whose time is valid and not too far ahead; the others are rejected."""
        ahead = self._context.limits.max_ahead
        bad = (batch.time == times.INVALID_TIME) | (batch.time > (self._poll.now + ahead) * 1000)
        if not bad.any():
            return batch
        for at in np.flatnonzero(bad).tolist():
            value = gathered.fields["time"][at]
            reason, detail = refused_time(value, int(batch.time[at]), self._poll.now, ahead)
            self._poll.reject(int(batch.message[at]), reason, detail, model=batch.model)
        return batch.take(np.flatnonzero(~bad))


def grouped(
    items: list[Any], key: Callable[[Any], Any], indexes: Sequence[int]
) -> Iterator[tuple[Any, list[Any], Ints]]:
    """Items by equal key, in order: the key, its items, their message indexes."""
    if isinstance(indexes, range):
        messages = np.arange(indexes.start, indexes.stop)
    else:
        messages = np.array(indexes, np.int64)
    distinct = dict.fromkeys(map(key, items))
    if len(distinct) == 1:
        yield next(iter(distinct)), items, messages
        return
    numbers = {each: number for number, each in enumerate(distinct)}
    codes = np.fromiter(map(numbers.__getitem__, map(key, items)), np.int64, len(items))
    for each, number in numbers.items():
        which = codes == number
        yield each, list(compress(items, which.tolist())), messages[which]


def struct_features(schema: Schema) -> Features:
    """Reader of the feature structs that `fast_event` made, for one poll."""
    fields = {name: f"f{index}" for index, name in enumerate(schema.features)}
    numbers = [name for name, kind in schema.features.items() if kind == "number"]
    all_numbers = attrgetter(*[fields[name] for name in numbers]) if numbers else None
    others = {name: attrgetter(fields[name]) for name in fields if schema.features[name] != "number"}
    interners = {name: columns.Interner() for name in others}

    def read(features: list[Any]) -> dict[str, Column]:
        n, found = len(features), {}
        if all_numbers:
            cells: Any = map(all_numbers, features)
            flat = np.fromiter(
                chain.from_iterable(cells) if len(numbers) > 1 else cells, np.float64, n * len(numbers)
            )
            values = np.ascontiguousarray(flat.reshape(n, len(numbers)).T)
            nulls: Any = np.isnan(values)  # JSON has no NaN, so each was null or absent
            some = nulls.any(axis=1).tolist()
            for index, name in enumerate(numbers):
                found[name] = Numbers(values[index], nulls[index] if some[index] else None)
        columns_of: dict[str, Column] = dict(found)
        for name, get in others.items():
            if schema.features[name] == "boolean":
                codes = map(columns.BOOLEAN_CODES.__getitem__, map(get, features))
                columns_of[name] = Categories(np.fromiter(codes, np.int32, n), columns.BOOLEAN_NAMES)
            else:
                columns_of[name] = columns.categories(map(get, features), n, interners[name])
        return {name: columns_of[name] for name in schema.features}

    return read


def mapping_features(context: Context, model: str, poll: Poll) -> Features:
    """Reader of features that are mappings: of the schema's types, or of whatever they hold."""
    schema = context.schemas[model]

    def read(features: list[Any]) -> dict[str, Column]:
        mappings = [mapping or {} for mapping in features]
        found: dict[str, Column] = {}
        for name in schema.features or _admitted(context, model, "features", mappings, poll):
            values = _cells(mappings, name)
            kind = schema.features.get(name)
            if kind == "number":
                column: Column = columns.checked_numbers(values)
            elif kind == "category":
                column = columns.checked_categories(values)
            elif kind == "boolean":
                column = columns.checked_categories(values, frozenset({bool}))
            else:
                column = columns.inferred(values)
            poll.spoiled += columns.spoiled(column)
            found[name] = column
        return found

    return read


def _scores(context: Context, poll: Poll, model: str, values: list[Any]) -> dict[str, Numbers]:
    if columns.absent(values):
        return {}
    if dict not in set(map(type, values)):
        column = columns.checked_numbers(values)
        poll.spoiled += columns.spoiled(column)
        return {"": column}
    by_class, mappings = _mappings(values)
    found: dict[str, Numbers] = {}
    if not by_class.all():
        binary = columns.checked_numbers([None if type(value) is dict else value for value in values])
        poll.spoiled += columns.spoiled(binary)
        if binary.nulls is None or not binary.nulls.all():
            found[""] = binary
    for name in _admitted(context, model, "classes", mappings, poll):
        found[name] = columns.checked_numbers(_cells(mappings, name))
        poll.spoiled += columns.spoiled(found[name])
    return found


def _tags(context: Context, poll: Poll, model: str, values: list[Any]) -> dict[str, Categories]:
    if columns.absent(values):
        return {}
    named, mappings = _mappings(values)
    poll.spoiled += sum(value is not None for value in compress(values, ~named))
    found: dict[str, Categories] = {}
    for name in _admitted(context, model, "tags", mappings, poll):
        found[name] = columns.checked_categories(_cells(mappings, name))
        poll.spoiled += columns.spoiled(found[name])
    return found


def _mappings(values: list[Any]) -> tuple[Bools, list[dict[str, Any]]]:
    """Which values are mappings; the values, empty where they are not."""
    which = np.fromiter(map(partial(is_, dict), map(type, values)), np.bool_, len(values))
    return which, [value if type(value) is dict else {} for value in values]


def _admitted(
    context: Context, model: str, kind: str, mappings: list[dict[str, Any]], poll: Poll
) -> list[str]:
    """Names that the model may have, of those that the mappings hold; counts the cells under others."""
    found = Counter(chain.from_iterable(mappings))
    admitted = context.names(model, kind).admit(found)
    if len(admitted) < len(found):
        poll.dropped += found.total() - sum(found[name] for name in admitted)
    return admitted


def _cells(mappings: list[dict[str, Any]], name: str) -> list[Any]:
    return [mapping.get(name) for mapping in mappings]
