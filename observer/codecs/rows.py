"""Decoded events -> batches: the part of every codec whose input is one event at a time."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, compress, starmap
from operator import attrgetter, is_
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from detectors.base import Bools, Categories, Column, Ints, Numbers, Vectors
from observer.codecs import columns, times
from observer.codecs.base import ROW_BITS, Context, Poll
from observer.codecs.columns import AnyColumn
from observer.codecs.events import refused_time
from observer.codecs.keys import hash_ids
from observer.model import Labels, Predictions, Schema, Stream

Features = Callable[[list[Any]], dict[str, Column]]
"""Makes columns of what the events' `features` hold."""


@dataclass(slots=True)
class _Gathered:
    """Events of one model in parts: the columns that some of its events made."""

    sizes: list[int] = field(default_factory=list)
    messages: list[Ints] = field(default_factory=list)
    ids: list[pa.Array] = field(default_factory=list)
    times: list[Ints] = field(default_factory=list)
    fields: list[dict[str, Column | None]] = field(default_factory=list)
    features: list[dict[str, Column]] = field(default_factory=list)
    scores: list[dict[str, Numbers]] = field(default_factory=list)
    tags: list[dict[str, Categories]] = field(default_factory=list)
    embeddings: list[dict[str, Vectors]] = field(default_factory=list)
    errors: list[Bools | None] = field(default_factory=list)
    versions: columns.Interner = field(default_factory=columns.Interner)


class Rows:
    """Takes the events of one poll, some at a time, and makes columns of them at once.

    No object of an event outlives its part, so that the memory of one part serves the next: keeping them,
    or only their values, until the end of the poll is measurably slower.
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
        events, messages, time = self._timely(model, events, messages)
        gathered = self._models.setdefault(model, _Gathered())
        gathered.sizes.append(len(events))
        gathered.messages.append(messages)
        gathered.times.append(time)
        ids = _values(events, "id")
        if set(map(type, ids)) != {str}:
            ids = list(map(str, ids))
        gathered.ids.append(pa.array(ids, pa.large_string()))
        if self._stream == "labels":
            weight = _present(_values(events, "weight"), columns.checked_numbers)
            gathered.fields.append(
                {"label": columns.class_column(_values(events, "label")), "weight": weight}
            )
            return
        latency = _present(_values(events, "latency_ms"), columns.checked_numbers)
        self._poll.spoiled += columns.spoiled(latency)
        gathered.fields.append(
            {
                "prediction": columns.class_column(_values(events, "prediction")),
                "version": columns.categories(_values(events, "version"), len(events), gathered.versions),
                "arm": _present(_values(events, "arm"), columns.checked_categories),
                "arm_probability": _present(_values(events, "arm_probability"), columns.checked_numbers),
                "latency_ms": latency,
            }
        )
        errors = _values(events, "error")
        gathered.errors.append(None if columns.absent(errors) else np.fromiter(map(bool, errors), np.bool_))
        gathered.features.append(self._reader(model, structs=structs)(_values(events, "features")))
        gathered.scores.append(_scores(self._context, self._poll, model, _values(events, "scores")))
        gathered.tags.append(_tags(self._context, self._poll, model, _values(events, "tags")))
        gathered.embeddings.append(
            _embeddings(self._context, self._poll, model, _values(events, "embeddings"))
        )

    def finish(self) -> None:
        """Add a batch per model to the poll."""
        for model, gathered in self._models.items():
            if self._stream == "predictions":
                self._poll.add(self._predictions(model, gathered))
            else:
                self._poll.add(self._labels(model, gathered))

    def _predictions(self, model: str, gathered: _Gathered) -> Predictions:
        return Predictions(
            model,
            *self._shared(model, gathered),
            version=columns.concatenate_categories(_parts(gathered, gathered.fields, "version")),
            arm=columns.concatenate_categories(_parts(gathered, gathered.fields, "arm")),
            arm_probability=columns.concatenate_numbers(
                _parts(gathered, gathered.fields, "arm_probability")
            ).values,
            latency_ms=columns.concatenate_numbers(_parts(gathered, gathered.fields, "latency_ms")).values,
            features={
                name: columns.concatenate(_parts(gathered, gathered.features, name))
                for name in _names(gathered.features)
            },
            prediction=columns.concatenate(_parts(gathered, gathered.fields, "prediction")),
            scores={
                name: columns.concatenate_numbers(_parts(gathered, gathered.scores, name))
                for name in _names(gathered.scores)
            },
            tags={
                name: columns.concatenate_categories(_parts(gathered, gathered.tags, name))
                for name in _names(gathered.tags)
            },
            embeddings={
                name: columns.concatenate_vectors(_parts(gathered, gathered.embeddings, name))
                for name in _names(gathered.embeddings)
            },
            errors=columns.concatenate_flags(list(zip(gathered.errors, gathered.sizes, strict=True))),
        )

    def _labels(self, model: str, gathered: _Gathered) -> Labels:
        weight = columns.concatenate_numbers(_parts(gathered, gathered.fields, "weight")).values
        return Labels(
            model,
            *self._shared(model, gathered),
            label=columns.concatenate(_parts(gathered, gathered.fields, "label")),
            weight=np.where(np.isnan(weight), 1.0, weight),
        )

    def _shared(
        self, model: str, gathered: _Gathered
    ) -> tuple[NDArray[np.uint64], Ints, Ints, Ints, NDArray[np.int32]]:
        message = np.concatenate(gathered.messages)
        return (
            hash_ids(pa.chunked_array(gathered.ids, pa.large_string()), model),
            np.concatenate(gathered.times),
            message << ROW_BITS,
            message,
            self._poll.messages.partition[message],
        )

    def _timely(self, model: str, events: list[Any], messages: Ints) -> tuple[list[Any], Ints, Ints]:
        """The events whose time is valid and not too far ahead, their messages, their times."""
        values = _values(events, "time")
        time = times.parse(values)
        ahead = self._context.limits.max_ahead
        bad = (time == times.INVALID_TIME) | (time > (self._poll.now + ahead) * 1000)
        if not bad.any():
            return events, messages, time
        for at in np.flatnonzero(bad).tolist():
            reason, detail = refused_time(values[at], int(time[at]), self._poll.now, ahead)
            self._poll.reject(int(messages[at]), reason, detail, model=model)
        good = ~bad
        return list(compress(events, good.tolist())), messages[good], time[good]

    def _reader(self, model: str, *, structs: bool) -> Features:
        """What makes columns of the model's features; one for the whole poll, so that codes agree."""
        read = self._readers.get((model, structs))
        if read is None:
            if structs:
                read = struct_features(self._context.schemas[model])
            else:
                read = mapping_features(self._context, model, self._poll)
            self._readers[model, structs] = read
        return read


def _values(events: list[Any], name: str) -> list[Any]:
    return list(map(attrgetter(name), events))


def _present(values: list[Any], make: Callable[[list[Any]], AnyColumn]) -> AnyColumn | None:
    """The column of the values; None, which costs nothing, if all of them are."""
    return None if columns.absent(values) else make(values)


def _names(parts: Iterable[Mapping[str, object]]) -> dict[str, None]:
    return dict.fromkeys(chain.from_iterable(parts))


def _parts(gathered: _Gathered, parts: Sequence[Mapping[str, Any]], name: str) -> list[tuple[Any, int]]:
    return [(part.get(name), size) for part, size in zip(parts, gathered.sizes, strict=True)]


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
    pack = struct.Struct(f"={len(numbers)}d").pack
    others = {name: attrgetter(fields[name]) for name in fields if schema.features[name] != "number"}
    interners = {name: columns.Interner() for name in others}

    def read(features: list[Any]) -> dict[str, Column]:
        n, found = len(features), {}
        if all_numbers:

            def tuples() -> Iterator[tuple[float | None, ...]]:
                cells: Any = map(all_numbers, features)
                return cells if len(numbers) > 1 else zip(cells, strict=True)

            try:
                flat = np.frombuffer(b"".join(starmap(pack, tuples())), np.float64)
            except struct.error:  # a null among them; slower, but it becomes NaN
                flat = np.fromiter(chain.from_iterable(tuples()), np.float64, n * len(numbers))
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


def _embeddings(context: Context, poll: Poll, model: str, values: list[Any]) -> dict[str, Vectors]:
    if columns.absent(values):
        return {}
    named, mappings = _mappings(values)
    poll.spoiled += sum(value is not None for value in compress(values, ~named))
    found: dict[str, Vectors] = {}
    for name in _admitted(context, model, "embeddings", mappings, poll):
        found[name] = columns.vectors(_cells(mappings, name), context.limits.max_embedding_length)
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
