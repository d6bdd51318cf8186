"""The event contract in three languages: JSON Schema, Arrow, Avro; `observer schema` prints it."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from observer.model import Stream

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SCALAR = ["string", "number", "boolean", "null"]

_ID = {
    "type": ["string", "integer"],
    "minLength": 1,
    "description": "Identifies the prediction within its model; the label carries the same. An integer is "
    "read as its decimal text.",
}
_MODEL = {"type": "string", "description": "Name of the model."}
_TIME = {
    "type": ["string", "number"],
    "format": "date-time",
    "minimum": 0,
    "exclusiveMaximum": 7_258_118_400_000,
    "description": "When it happened: RFC 3339 with an offset, or milliseconds since the epoch; "
    "1970 to 2200.",
}
_OUTCOME = ["string", "number", "boolean"]


def event_schema(stream: Stream) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the stream's events; members it does not name are ignored."""
    return _PREDICTION if stream == "predictions" else _LABEL


_PREDICTION: dict[str, Any] = {
    "$schema": _DIALECT,
    "title": "Prediction event",
    "description": "One prediction of a model.",
    "type": "object",
    "required": ["id", "model", "time", "prediction"],
    "properties": {
        "id": _ID,
        "model": _MODEL,
        "version": {
            "type": ["string", "number", "null"],
            "description": "Version of the model; a number is read as its text.",
        },
        "time": _TIME,
        "features": {
            "type": ["object", "null"],
            "additionalProperties": {"type": _SCALAR},
            "description": "What the model saw, by name. A value of a wrong type is counted and left out; "
            "the rest of the event is used.",
        },
        "prediction": {"type": _OUTCOME, "description": "The predicted class, or the predicted number."},
        "scores": {
            "type": ["number", "object", "null"],
            "additionalProperties": {"type": ["number", "null"]},
            "description": "Probability of the positive class, or of each class by name.",
        },
        "arm": {
            "enum": ["champion", "challenger", "shadow", None],
            "description": "Which arm answered; shadow: a copy of a request, whose answer nobody was given.",
        },
        "arm_probability": {
            "type": ["number", "null"],
            "minimum": 0,
            "maximum": 1,
            "description": "Probability with which the challenger was to be chosen for this request.",
        },
        "tags": {
            "type": ["object", "null"],
            "additionalProperties": {"type": _SCALAR},
            "description": "What the model did not see, such as a region; for segments.",
        },
        "latency_ms": {"type": ["number", "null"], "description": "How long the model took, milliseconds."},
        "error": {
            "type": ["boolean", "null"],
            "description": "Whether the model failed, and `prediction` is what was answered in its stead.",
        },
        "embeddings": {
            "type": ["object", "null"],
            "additionalProperties": {"type": ["array", "null"], "items": {"type": "number"}, "minItems": 1},
            "description": "Vectors that stand for what the model saw, such as a text or a picture, by name; "
            "of one length in all events. One that is not as it should be is counted and left out.",
        },
    },
    "examples": [
        {
            "id": "8f14e45f-ceea-467f-9575-6b2b2b2b2b2b",
            "model": "fraud",
            "version": "2026-01-31",
            "time": "2026-01-31T12:00:00.250Z",
            "features": {"amount": 12.5, "country": "DE", "returning": True, "age": None},
            "prediction": "genuine",
            "scores": 0.03,
            "tags": {"channel": "web"},
            "latency_ms": 4.2,
        },
        {
            "id": 4711,
            "model": "species",
            "time": 1769860800250,
            "prediction": "setosa",
            "scores": {"setosa": 0.9, "versicolor": 0.08, "virginica": 0.02},
            "arm": "challenger",
            "arm_probability": 0.1,
        },
        {
            "id": "a",
            "model": "price",
            "time": 1769860800250,
            "prediction": 349.5,
            "embeddings": {"description": [0.12, -0.4, 0.03]},
        },
    ],
}

_LABEL: dict[str, Any] = {
    "$schema": _DIALECT,
    "title": "Label event",
    "description": "What turned out to be true of a prediction. A later label of the same id replaces it.",
    "type": "object",
    "required": ["id", "model", "time", "label"],
    "properties": {
        "id": _ID,
        "model": _MODEL,
        "time": _TIME | {"description": f"When the label became known: {_TIME['description']}"},
        "label": {"type": _OUTCOME, "description": "The true class, or the true number."},
        "weight": {
            "type": ["number", "null"],
            "minimum": 0,
            "description": "Weight of the label; 1 where absent.",
        },
    },
    "examples": [
        {
            "id": "8f14e45f-ceea-467f-9575-6b2b2b2b2b2b",
            "model": "fraud",
            "time": 1769947200000,
            "label": "fraud",
        },
        {"id": "a", "model": "price", "time": "2026-02-01T00:00:00+01:00", "label": 352, "weight": 0.5},
    ],
}


def arrow_schema(stream: Stream) -> pa.Schema:
    """Arrow schema of the stream's messages, with features, a score, a tag and an embedding as examples.

    Other types are accepted too: dictionaries, large strings, any timestamp unit, any number.
    """
    shared = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("model", pa.dictionary(pa.int8(), pa.string()), nullable=False),
        pa.field("time", pa.int64(), nullable=False),
    ]
    if stream == "labels":
        return pa.schema([*shared, pa.field("label", pa.string()), pa.field("weight", pa.float64())])
    return pa.schema(
        [
            *shared,
            pa.field("version", pa.dictionary(pa.int8(), pa.string())),
            pa.field("features.amount", pa.float64()),
            pa.field("features.country", pa.dictionary(pa.int32(), pa.string())),
            pa.field("features.returning", pa.bool_()),
            pa.field("prediction", pa.string(), nullable=False),
            pa.field("scores", pa.float64()),
            pa.field("arm", pa.dictionary(pa.int8(), pa.string())),
            pa.field("arm_probability", pa.float64()),
            pa.field("tags.channel", pa.dictionary(pa.int32(), pa.string())),
            pa.field("latency_ms", pa.float64()),
            pa.field("error", pa.bool_()),
            pa.field("embeddings.text", pa.list_(pa.float32(), 384)),
        ]
    )


def avro_schema(stream: Stream) -> str:
    """Text of an Avro schema of the stream's events; one of fewer branches or more fields will do as well."""
    scalar = ["null", "string", "double", "long", "boolean"]
    outcome = ["string", "double", "long", "boolean"]

    def optional(name: str, *kinds: Any) -> dict[str, Any]:  # an Avro type is any JSON
        return {"name": name, "type": ["null", *kinds], "default": None}

    shared: list[dict[str, Any]] = [
        {"name": "id", "type": "string"},
        {"name": "model", "type": "string"},
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ]
    if stream == "labels":
        fields = [*shared, {"name": "label", "type": outcome}, optional("weight", "double")]
    else:
        arm = {"type": "enum", "name": "Arm", "symbols": ["champion", "challenger", "shadow"]}
        fields = [
            *shared,
            optional("version", "string"),
            {"name": "features", "type": {"type": "map", "values": scalar}, "default": {}},
            {"name": "prediction", "type": outcome},
            optional("scores", "double", {"type": "map", "values": "double"}),
            optional("arm", arm),
            optional("arm_probability", "double"),
            optional("tags", {"type": "map", "values": scalar}),
            optional("latency_ms", "double"),
            optional("error", "boolean"),
            optional("embeddings", {"type": "map", "values": {"type": "array", "items": "float"}}),
        ]
    name = "Prediction" if stream == "predictions" else "Label"
    return json.dumps({"type": "record", "name": name, "fields": fields}, indent=2)
