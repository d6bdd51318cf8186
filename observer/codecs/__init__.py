"""Bytes <-> columnar batches: JSON, Arrow IPC and Avro events, requests and responses of model servers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from observer.codecs.arrow import ArrowCodec
from observer.codecs.auto import AutoCodec
from observer.codecs.avro import AvroCodec, SchemaRegistry
from observer.codecs.base import Codec, Limits
from observer.codecs.inference import READERS, InferenceCodec, Pairing
from observer.codecs.inference.mapping import load
from observer.codecs.json import JsonCodec
from observer.model import Schema, Stream
from observer.ports import Checkpoints

__all__ = [
    "ArrowSpec",
    "AutoSpec",
    "AvroSpec",
    "Codec",
    "CodecSpec",
    "InferenceSpec",
    "JsonSpec",
    "KserveEventsSpec",
    "Limits",
    "Pairing",
    "RegistrySpec",
    "SeldonTopicsSpec",
    "codec",
    "pairing",
]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RegistrySpec(_Spec):
    """A Confluent-compatible schema registry."""

    url: str = Field(pattern="^https?://")
    """Its address."""
    user: str = ""
    """With `password`, for HTTP basic authentication; none without it."""
    password: SecretStr = SecretStr("")
    """Of `user`."""
    timeout: float = Field(default=10.0, gt=0)
    """Seconds for one request."""


class JsonSpec(_Spec):
    """JSON, one event a message."""

    type: Literal["json"] = "json"


class ArrowSpec(_Spec):
    """Arrow IPC, many events a message."""

    type: Literal["arrow"] = "arrow"
    default_model: str | None = None
    """The model of messages without a `model` column."""


class AvroSpec(_Spec):
    """Avro, one event a message; either a registry or schema files."""

    type: Literal["avro"] = "avro"
    registry: RegistrySpec | None = None
    predictions_schema: Path | None = None
    """File with the schema of predictions, whose messages then have no wire header."""
    labels_schema: Path | None = None
    """The same for labels."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        files = self.predictions_schema is not None or self.labels_schema is not None
        if files == (self.registry is not None):
            raise ValueError("accepted: either `registry`, or `predictions_schema` and `labels_schema`")
        return self


class AutoSpec(_Spec):
    """Each message tells its encoding by its first byte: JSON, Arrow, or Avro with the wire header."""

    type: Literal["auto"] = "auto"
    default_model: str | None = None
    """The model of Arrow messages without a `model` column."""
    registry: RegistrySpec | None = None
    """For Avro messages; without it they are rejected."""


class InferenceSpec(_Spec):
    """Requests and responses, which become events in pairs."""

    mapping: Path
    """File that says which tensors are features, prediction and scores; `observer map infer` proposes one."""
    wait: float = Field(default=300.0, gt=0, le=86_400)
    """Seconds of event time that a request waits for its response, or the reverse."""
    pending_bytes: int = Field(default=256 << 20, gt=0)
    """Memory for those that wait; beyond it the oldest are rejected."""


class KserveEventsSpec(InferenceSpec):
    """CloudEvents of KServe's inference logger."""

    type: Literal["kserve"] = "kserve"


class SeldonTopicsSpec(InferenceSpec):
    """Pipelines or models of Seldon Core 2: a topic is named without `.inputs` and `.outputs`."""

    type: Literal["seldon"] = "seldon"


CodecSpec = Annotated[
    JsonSpec | ArrowSpec | AvroSpec | AutoSpec | KserveEventsSpec | SeldonTopicsSpec,
    Field(discriminator="type"),
]


def codec(
    spec: JsonSpec | ArrowSpec | AvroSpec | AutoSpec | InferenceSpec,
    schemas: Mapping[str, Schema],
    limits: Limits | None = None,
    *,
    learn_unknown: bool = False,
) -> Codec:
    """Build the codec of a spec.

    Parameters
    ----------
    spec : spec
        Which encoding.
    schemas : mapping
        Model name -> what its events hold; a schema without features means that they are being learnt.
        When one changes, build another codec.
    limits : Limits or None
        None for the defaults.
    learn_unknown : bool
        Whether events of models not in `schemas` are used, up to `Limits.max_models` of them.

    Raises
    ------
    OSError
        A schema file cannot be read.
    Permanent
        A schema file holds no Avro schema.
    ConfigError
        A mapping is wrong.
    """
    if isinstance(spec, InferenceSpec):
        return InferenceCodec(schemas, load(spec.mapping), limits, learn_unknown=learn_unknown)
    if isinstance(spec, JsonSpec):
        return JsonCodec(schemas, limits, learn_unknown=learn_unknown)
    if isinstance(spec, ArrowSpec):
        return ArrowCodec(schemas, limits, learn_unknown=learn_unknown, default_model=spec.default_model)
    registry = None if spec.registry is None else _registry(spec.registry)
    if isinstance(spec, AvroSpec):
        files: dict[Stream, Path | None] = {
            "predictions": spec.predictions_schema,
            "labels": spec.labels_schema,
        }
        texts = {stream: path.read_text("utf-8") for stream, path in files.items() if path is not None}
        return AvroCodec(schemas, limits, learn_unknown=learn_unknown, fetch=registry, texts=texts)
    return AutoCodec(
        JsonCodec(schemas, limits, learn_unknown=learn_unknown),
        ArrowCodec(schemas, limits, learn_unknown=learn_unknown, default_model=spec.default_model),
        AvroCodec(schemas, limits, learn_unknown=learn_unknown, fetch=registry),
    )


def pairing(spec: CodecSpec, limits: Limits, state: Checkpoints | None = None) -> Pairing | None:
    """What pairs a stream's messages before the codec reads them; None for codecs whose messages are whole.

    Parameters
    ----------
    state : Checkpoints or None
        Keeps over a restart what waits for its other half; None to forget it.
    """
    if not isinstance(spec, KserveEventsSpec | SeldonTopicsSpec):
        return None
    return Pairing(
        READERS[spec.type],
        state,
        wait=spec.wait,
        pending_bytes=spec.pending_bytes,
        max_bytes=limits.max_message_bytes,
        max_ahead=limits.max_ahead,
    )


def _registry(spec: RegistrySpec) -> SchemaRegistry:
    auth = (spec.user, spec.password.get_secret_value()) if spec.user else None
    return SchemaRegistry(spec.url, auth, spec.timeout)
