"""Avro, one event a message: by the schema that a Confluent registry holds, or by a schema file."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import fastavro
import msgspec

from observer.codecs import events
from observer.codecs.base import Codec, Context, Limits, Poll, within
from observer.codecs.rows import Rows
from observer.errors import Permanent, Retryable
from observer.model import Schema, Stream

Fetch = Callable[[int], str]
"""Schema id -> schema text; raises `Retryable` or `Permanent`."""

_HEADER = struct.Struct(">bI")  # the Confluent wire format: a zero byte, then the schema's id
_CHUNK = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SchemaRegistry:
    """Fetches schemas by id from a Confluent-compatible registry.

    Parameters
    ----------
    url : str
        Of the registry.
    auth : (user, password) or None
        For HTTP basic authentication.
    timeout : float
        Seconds for one request.
    """

    def __init__(self, url: str, auth: tuple[str, str] | None = None, timeout: float = 10.0) -> None:
        import httpx  # noqa: PLC0415 - a third of the service's start-up, and few have a registry

        self._url = url.rstrip("/")
        self._client = httpx.Client(auth=auth, timeout=timeout)
        self._unreachable = httpx.HTTPError

    def __call__(self, schema_id: int) -> str:
        """Text of the schema; `Retryable` if the registry cannot be reached, `Permanent` if it refuses."""
        url = f"{self._url}/schemas/ids/{schema_id}"
        try:
            response = self._client.get(url)
        except self._unreachable as error:
            raise Retryable(f"schema registry {url}: {error}") from error
        if response.status_code >= 500 or response.status_code == 429:
            raise Retryable(f"schema registry {url}: HTTP {response.status_code}")
        if response.status_code != 200:
            raise Permanent(f"schema registry {url}: HTTP {response.status_code} {response.text[:200]}")
        try:
            answer = response.json()
            kind, text = answer.get("schemaType", "AVRO"), answer["schema"]
        except (ValueError, KeyError, AttributeError) as error:
            raise Permanent(f"schema registry {url}: the answer holds no schema") from error
        if kind != "AVRO":
            raise Permanent(f"schema registry {url}: schema of type {kind}; accepted: AVRO")
        return str(text)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def parse_schema(text: str) -> Any:  # fastavro's parsed schemas are untyped
    """Parse the text of an Avro schema; raises `Permanent` saying what is wrong with it."""
    try:
        return fastavro.parse_schema(json.loads(text))
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        fastavro.schema.SchemaParseException,
        fastavro.schema.UnknownType,
    ) as error:
        raise Permanent(f"not an Avro schema: {error!r}"[:300]) from error


def _plain(record: Any) -> Any:  # whatever the schema says
    """The record with the logical types of `time` and `id` as JSON would have them."""
    if isinstance(record, dict):
        time = record.get("time")
        if isinstance(time, datetime):
            record["time"] = (time.replace(tzinfo=time.tzinfo or UTC) - _EPOCH) // timedelta(milliseconds=1)
        if isinstance(record.get("id"), UUID):
            record["id"] = str(record["id"])
    return record


class AvroCodec(Codec):
    """Decodes Avro events: with the wire header by `fetch`, without one by the schema given for the stream.

    Parameters
    ----------
    schemas, limits, learn_unknown
        As for `JsonCodec`.
    fetch : callable or None
        Gives schemas by id. A `Retryable` that it raises leaves `predictions` and `labels`: the poll can
        be decoded again; a `Permanent` rejects the message.
    texts : mapping
        Stream -> Avro schema text of messages without a header; with one, messages have no header.
    """

    def __init__(
        self,
        schemas: Mapping[str, Schema],
        limits: Limits | None = None,
        *,
        learn_unknown: bool = False,
        fetch: Fetch | None = None,
        texts: Mapping[Stream, str] | None = None,
    ) -> None:
        self._context = Context(schemas, limits or Limits(), learn_unknown=learn_unknown)
        self._fetch = fetch
        self._written = {stream: parse_schema(text) for stream, text in (texts or {}).items()}
        self._fetched: dict[int, Any] = {}

    def read(self, poll: Poll, stream: Stream, indexes: Sequence[int]) -> None:
        """Add the messages at `indexes` to the poll."""
        indexes = within(poll, indexes, self._context.limits.max_message_bytes)
        rows = Rows(self._context, poll, stream)
        for start in range(0, len(indexes), _CHUNK):
            self._read_chunk(poll, rows, stream, indexes[start : start + _CHUNK])
        rows.finish()

    def _read_chunk(self, poll: Poll, rows: Rows, stream: Stream, indexes: Sequence[int]) -> None:
        kind = events.Event if stream == "predictions" else events.LabelEvent
        decoded, good, refused = [], [], dict[int, str]()
        for index in indexes:
            payload = poll.messages.values[index]
            record = None
            try:
                record = self._record(payload, stream, refused)
                decoded.append(msgspec.convert(_plain(record), kind))
                good.append(index)
            except msgspec.ValidationError as error:
                poll.reject(index, "invalid", events.explain(error), model=self._context.model_of(record))
            except Retryable:
                raise
            except Exception as error:  # fastavro raises whatever bad bytes lead it to
                poll.reject(index, "undecodable", f"not Avro of its schema: {error}"[:300])
        rows.extend(decoded, good)

    def _record(self, payload: bytes, stream: Stream, refused: dict[int, str]) -> Any:
        """The record that the payload holds, of whatever type its schema says."""
        stream_of = io.BytesIO(payload)
        written = self._written.get(stream)
        if written is None:
            if len(payload) < _HEADER.size or payload[0] != 0:
                raise Permanent("no wire header (a zero byte and a schema id), and no schema is configured")
            written = self._by_id(_HEADER.unpack(stream_of.read(_HEADER.size))[1], refused)
        record = fastavro.schemaless_reader(stream_of, written, None)
        if stream_of.read(1):
            raise Permanent("bytes follow the record")
        return record

    def _by_id(self, schema_id: int, refused: dict[int, str]) -> Any:
        """Schema of the id, asked for once; one refused is not asked for again within a chunk."""
        if schema_id in refused:
            raise Permanent(refused[schema_id])
        if schema_id not in self._fetched:
            if self._fetch is None:
                raise Permanent("a wire header, but no schema registry is configured")
            try:
                self._fetched[schema_id] = parse_schema(self._fetch(schema_id))
            except Permanent as error:
                refused[schema_id] = str(error)
                raise
        return self._fetched[schema_id]
