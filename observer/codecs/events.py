"""Decoded events -> columns: the part of every codec whose input is one event at a time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, compress
from operator import attrgetter, eq, is_
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.base import Bools, Categories, Column, Floats, Ints, Numbers
from observer.codecs import columns, times
from observer.codecs.base import ROW_BITS, Context, Poll
from observer.codecs.keys import hash_ids
from observer.model import Labels, Predictions, Schema, Stream

Id = Annotated[str, msgspec.Meta(min_length=1)] | int
Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
Arm = Literal["champion", "challenger"]
Scalar = str | int | float | bool | None


class Event(msgspec.Struct, gc=False):
    """A prediction of which any cell may have a wrong type; `features` and the like are checked later."""

    id: Id
    model: str
    time: int | float | str
    prediction: str | int | float | bool
    version: str | int | float | None = None
    features: dict[str, Any] | None = None
    scores: Any = None
    arm: Arm | None = None
    arm_probability: Probability | None = None
    tags: Any = None
    latency_ms: Any = None


class LabelEvent(msgspec.Struct, gc=False):
    """A label."""

    id: Id
    model: str
    time: int | float | str
    label: str | int | float | bool
    weight: Annotated[float, msgspec.Meta(ge=0)] | None = None


class Named(msgspec.Struct, gc=False):
    """The model that an otherwise invalid event names, if it does."""

    model: Any = None


ACCEPTED = {
    "id": "a non-empty string or an integer",
    "model": "a string",
    "time": times.ACCEPTED,
    "prediction": "a string, number or boolean",
    "label": "a string, number or boolean",
    "version": "a string, a number or null",
    "features": "an object or null",
    "arm": '"champion", "challenger" or null',
    "arm_probability": "a number from 0 to 1, or null",
    "weight": "a number of at least 0, or null",
}
"""What each field may hold, for people."""


def explain(error: msgspec.ValidationError) -> str:
    """What is wrong with an event, naming the field, what it is, and what is accepted."""
    text = str(error)
    missing = re.fullmatch(r"Object missing required field `(\w+)`", text)
    if missing:
        return f"`{missing[1]}` is missing; accepted: {ACCEPTED[missing[1]]}"
    at = re.fullmatch(r"(.*) - at `\$\.(\w+)`", text)
    if at and at[2] in ACCEPTED:
        got = re.search(r"got `(\w+)`", at[1])
        problem = f"is of type {got[1]}" if got else f"is refused ({at[1]})"
        return f"`{at[2]}` {problem}; accepted: {ACCEPTED[at[2]]}"
    if text.startswith("Expected `object`"):
        return f"{text}; accepted: one event, a JSON object, a message"
    return text


def fast_event(model: str, schema: Schema) -> type[msgspec.Struct]:
    """Struct of a model's events, tagged by its name, that takes well-typed events only, and those fast."""
    if not schema.features:
        features: Any = dict[str, Any] | None
        default: Any = None
    else:
        cells = {"number": float | None, "category": Scalar, "boolean": bool | None}
        names = {f"f{index}": name for index, name in enumerate(schema.features)}
        features = msgspec.defstruct(
            "Features",
            [(field, cells[schema.features[name]], None) for field, name in names.items()],
            rename=names,
            gc=False,
        )
        default = msgspec.field(default_factory=features)
    return msgspec.defstruct(
        "FastEvent",
        [
            ("id", Id),
            ("time", int | float | str),
            ("prediction", str | int | float | bool),
            ("version", str | int | float | None, None),
            ("features", features, default),
            ("scores", float | dict[str, float | None] | None, None),
            ("arm", Arm | None, None),
            ("arm_probability", Probability | None, None),
            ("tags", dict[str, Scalar] | None, None),
            ("latency_ms", float | None, None),
        ],
        tag_field="model",
        tag=model,
        gc=False,
    )


Features = Callable[[list[Any]], dict[str, Column]]
"""Makes columns of what the events' `features` hold."""


def struct_features(schema: Schema) -> Features:
    """Reader of the feature structs that `fast_event` made."""
    fields = {name: f"f{index}" for index, name in enumerate(schema.features)}
    numbers = [name for name, kind in schema.features.items() if kind == "number"]
    all_numbers = attrgetter(*[fields[name] for name in numbers]) if numbers else None
    others = {name: attrgetter(fields[name]) for name in fields if schema.features[name] != "number"}

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
                columns_of[name] = columns.categories(map(get, features), n, columns.Interner())
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


def grouped(
    items: list[Any], keys: list[Any], indexes: Sequence[int]
) -> Iterator[tuple[Any, list[Any], Ints]]:
    """Items by equal key, in order: the key, its items, their message indexes."""
    messages = np.fromiter(indexes, np.int64, len(indexes))
    distinct = dict.fromkeys(keys)
    if len(distinct) == 1:
        yield keys[0], items, messages
        return
    for key in distinct:
        which = np.fromiter(map(partial(eq, key), keys), np.bool_, len(keys))
        yield key, list(compress(items, which)), messages[which]


def add(context: Context, poll: Poll, stream: Stream, events: list[Any], indexes: Sequence[int]) -> None:
    """Add events (`Event` or `LabelEvent`) of any models to the poll, one from each message of `indexes`."""
    for model, some, messages in grouped(events, list(map(attrgetter("model"), events)), indexes):
        if not context.knows(model):
            for message in messages.tolist():
                poll.reject(message, "unknown_model", context.refusal(model))
        elif stream == "predictions":
            features = mapping_features(context, model, poll)
            poll.add(predictions(context, poll, model, some, messages, features))
        else:
            poll.add(labels(context, poll, model, some, messages))


def predictions(
    context: Context, poll: Poll, model: str, events: Sequence[Any], messages: Ints, features: Features
) -> Predictions:
    """Batch of one model's events (`Event` or `fast_event`), one from each of `messages`."""
    events, messages, time = _timely(context, poll, model, events, messages)
    n = len(events)
    latency = columns.checked_numbers(list(map(attrgetter("latency_ms"), events)))
    poll.spoiled += columns.spoiled(latency)
    return Predictions(
        model,
        _keys(model, events),
        time,
        messages << ROW_BITS,
        messages,
        poll.messages.partition[messages],
        version=columns.categories(map(attrgetter("version"), events), n, columns.Interner()),
        arm=columns.categories(map(attrgetter("arm"), events), n, columns.Interner()),
        arm_probability=_floats(events, "arm_probability"),
        latency_ms=latency.values,
        features=features(list(map(attrgetter("features"), events))),
        prediction=columns.class_column(list(map(attrgetter("prediction"), events))),
        scores=_scores(context, poll, model, list(map(attrgetter("scores"), events))),
        tags=_tags(context, poll, model, list(map(attrgetter("tags"), events))),
    )


def labels(context: Context, poll: Poll, model: str, events: Sequence[LabelEvent], messages: Ints) -> Labels:
    """Batch of one model's labels, one from each of `messages`."""
    events, messages, time = _timely(context, poll, model, events, messages)
    weight = _floats(events, "weight")
    return Labels(
        model,
        _keys(model, events),
        time,
        messages << ROW_BITS,
        messages,
        poll.messages.partition[messages],
        label=columns.class_column(list(map(attrgetter("label"), events))),
        weight=np.where(np.isnan(weight), 1.0, weight),
    )


def _timely(
    context: Context, poll: Poll, model: str, events: Sequence[Any], messages: Ints
) -> tuple[Sequence[Any], Ints, Ints]:
    """The events whose time is valid and not too far ahead, their messages, their times."""
    values = list(map(attrgetter("time"), events))
    time = times.parse(values)
    latest = (poll.now + context.limits.max_ahead) * 1000
    bad = (time == times.INVALID_TIME) | (time > latest)
    if not bad.any():
        return events, messages, time
    for at in np.flatnonzero(bad).tolist():
        reason, detail = refused_time(values[at], int(time[at]), poll.now, context.limits.max_ahead)
        poll.reject(int(messages[at]), reason, detail, model=model)
    good = ~bad
    return list(compress(events, good)), messages[good], time[good]


def refused_time(value: object, time: int, now: float, max_ahead: float) -> tuple[str, str]:
    """Reason and detail for a time that cannot be used."""
    shown = repr(value)[:60]
    if time == times.INVALID_TIME:
        return "time_invalid", f"`time` is {shown}; accepted: {times.ACCEPTED}"
    ahead = f"{time / 1000 - now:.0f} s ahead; accepted: up to {max_ahead:.0f} s"
    return "time_in_future", f"`time` is {shown}, {ahead}"


def _keys(model: str, events: Sequence[Any]) -> NDArray[np.uint64]:
    ids = list(map(attrgetter("id"), events))
    if set(map(type, ids)) - {str}:
        ids = list(map(str, ids))
    return hash_ids(ids, model)


def _floats(events: Sequence[Any], name: str) -> Floats:
    """A column of floats, NaN for None."""
    return np.fromiter(map(attrgetter(name), events), np.float64, len(events))


def _scores(context: Context, poll: Poll, model: str, values: list[Any]) -> dict[str, Numbers]:
    kinds = set(map(type, values))
    if kinds == {type(None)}:
        return {}
    if dict not in kinds:
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
    kinds = set(map(type, values))
    if kinds == {type(None)}:
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
