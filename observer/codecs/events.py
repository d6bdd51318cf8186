"""One event as it is decoded: its fields, their types, and words for what is wrong with them."""

from __future__ import annotations

import re
from math import nan
from typing import Annotated, Any, Literal

import msgspec

from observer.codecs import times
from observer.model import Schema

Id = Annotated[str, msgspec.Meta(min_length=1)] | int
Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
Arm = Literal["champion", "challenger", "shadow"]
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
    embeddings: Any = None
    error: bool | None = None


class LabelEvent(msgspec.Struct, gc=False):
    """A label."""

    id: Id
    model: str
    time: int | float | str
    label: str | int | float | bool
    weight: Annotated[float, msgspec.Meta(ge=0)] | None = None


def refused_time(value: object, time: int, now: float, max_ahead: float) -> tuple[str, str]:
    """Reason and detail for a time that cannot be used."""
    shown = repr(value)[:60]
    if time == times.INVALID_TIME:
        return "time_invalid", f"`time` is {shown}; accepted: {times.ACCEPTED}"
    ahead = f"{time / 1000 - now:.0f} s ahead; accepted: up to {max_ahead:.0f} s"
    return "time_in_future", f"`time` is {shown}, {ahead}"


ACCEPTED = {
    "id": "a non-empty string or an integer",
    "model": "a string",
    "time": times.ACCEPTED,
    "prediction": "a string, number or boolean",
    "label": "a string, number or boolean",
    "version": "a string, a number or null",
    "features": "an object or null",
    "arm": '"champion", "challenger", "shadow" or null',
    "arm_probability": "a number from 0 to 1, or null",
    "error": "true, false or null",
    "weight": "a number of at least 0, or null",
}
"""What each field may hold, for people."""


def explain(error: Exception) -> str:
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


def has_struct(schema: Schema) -> bool:
    """Whether the features can be a struct: they are known, and no name needs an escape in JSON."""
    return bool(schema.features) and not re.search(r'["\\\x00-\x1f]', "".join(schema.features))


def fast_event(model: str, schema: Schema) -> type[msgspec.Struct]:
    """Struct of a model's events, tagged by its name, that takes well-typed events only, and those fast."""
    if not has_struct(schema):
        features: Any = dict[str, Any] | None
        default: Any = None
    else:
        cells = {"number": float | None, "category": Scalar, "boolean": bool | None}
        names = {f"f{index}": name for index, name in enumerate(schema.features)}
        kinds = {field: schema.features[name] for field, name in names.items()}
        features = msgspec.defstruct(
            "Features",
            [(field, cells[kind], nan if kind == "number" else None) for field, kind in kinds.items()],
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
            ("embeddings", dict[str, list[float] | None] | None, None),
            ("error", bool | None, None),
        ],
        tag_field="model",
        tag=model,
        gc=False,
    )
