"""Kafka messages -> halves: requests and responses of KServe's inference logger and of Seldon Core 2."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from detectors.base import Ints
from observer.codecs import times
from observer.codecs.inference.protobuf import unframed
from observer.codecs.inference.tensors import Unreadable
from observer.model import Messages

Side = Literal["request", "response"]
_TYPES: dict[bytes, Side] = {
    b"org.kubeflow.serving.inference.request": "request",
    b"org.kubeflow.serving.inference.response": "response",
}
_ARMS = {b"default": "champion", b"canary": "challenger"}
_TOPIC = re.compile(r"(.+\.(?:pipeline|model)\.([^.]+))\.(inputs|outputs)")
_SIDES: dict[str, Side] = {"inputs": "request", "outputs": "response"}
_ERROR, _REQUEST_ID = "seldon-pipeline-errors", "x-request-id"


Headers = tuple[tuple[str, bytes | None], ...]


class Half(NamedTuple):
    """A request or a response."""

    key: bytes
    """What request and response have in common."""
    side: Side
    time: int | str
    """Milliseconds, or RFC 3339."""
    model: str
    id: str
    arm: str
    payload: bytes
    headers: Headers = ()
    """With which the payload could be read again."""
    error: str = ""
    """Why there is no response in it."""


Reader = Callable[[Messages], list[Half | str]]
"""Gives the half that each message is, or what is wrong with it."""


class _CloudEvent(msgspec.Struct, gc=False):
    id: str = ""
    type: str = ""
    time: str = ""
    inferenceservicename: str = ""
    namespace: str = ""
    component: str = ""
    endpoint: str = ""
    data: msgspec.Raw = msgspec.Raw()
    data_base64: str | None = None


_structured = msgspec.json.Decoder(_CloudEvent).decode
_text = msgspec.json.Decoder(str).decode
_ATTRIBUTES = ("type", "time", "namespace", "inferenceservicename", "component", "endpoint", "id")
_HEADERS = tuple(f"ce_{name}" for name in _ATTRIBUTES)


def kserve(messages: Messages) -> list[Half | str]:
    """CloudEvents of KServe's inference logger, in binary or structured content mode.

    Files have no headers, so events in them are structured.
    """
    envelopes = messages.envelopes
    headers = envelopes.headers if envelopes is not None else [None] * len(messages)
    brokers = envelopes.times.tolist() if envelopes is not None else [-1] * len(messages)
    found: list[Half | str] = []
    for payload, some, stamp in zip(messages.values, headers, brokers, strict=True):
        try:
            found.append(_cloud_event(payload, tuple(some or ()), stamp))
        except (msgspec.MsgspecError, UnicodeDecodeError, binascii.Error, Unreadable) as error:
            found.append(f"not an event of KServe's inference logger: {error}"[:300])
    return found


def _cloud_event(payload: bytes, headers: Headers, stamp: int) -> Half:
    known = dict(headers)
    if "ce_type" not in known:
        event = _structured(payload)
        known = {f"ce_{name}": getattr(event, name).encode() for name in _ATTRIBUTES}
        payload, headers = _data(event), tuple(known.items())
    given = [known.get(name) or b"" for name in _HEADERS]
    kind, time, _, service, _, endpoint, one = given
    if not service or not one:
        raise Unreadable(f"attribute `{'inferenceservicename' if one else 'id'}` is missing")
    side = _TYPES.get(kind)
    if side is None:
        accepted = ", ".join(name.decode() for name in _TYPES)
        raise Unreadable(f"type {kind.decode()!r:.100}; accepted: {accepted}")
    return Half(
        b"\0".join(given[2:]),
        side,
        time.decode() or stamp,
        service.decode(),
        one.decode(),
        _ARMS.get(endpoint, ""),
        payload,
        headers,
    )


def _data(event: _CloudEvent) -> bytes:
    if event.data_base64 is not None:
        return base64.b64decode(event.data_base64, validate=True)
    raw = bytes(event.data)
    return _text(raw).encode() if raw.startswith(b'"') else raw  # JSON sent as a text


def seldon(messages: Messages) -> list[Half | str]:
    """Messages of the topics `….inputs` and `….outputs` of pipelines or models of Seldon Core 2."""
    envelopes = messages.envelopes
    if envelopes is None:
        raise TypeError("messages of Seldon need their envelopes")
    places = [_TOPIC.fullmatch(partition.source) for partition in messages.partitions]
    each: Any = zip(
        messages.values,
        messages.partition.tolist(),
        envelopes.keys,
        envelopes.headers,
        envelopes.times.tolist(),
        strict=True,
    )
    return [
        _message(payload, places[at], key, tuple(some or ()), stamp) for payload, at, key, some, stamp in each
    ]


def _message(
    payload: bytes,
    place: re.Match[str] | None,
    key: bytes | None,
    headers: Headers,
    stamp: int,
) -> Half | str:
    if place is None:
        return "the topic is no `<prefix>.<namespace>.pipeline.<name>` followed by `.inputs` or `.outputs`"
    whole, name, side = place.groups()
    known = dict(headers)
    request = known.get(_REQUEST_ID) or b""
    key = key or request
    if not key:
        return f"neither a key nor the header `{_REQUEST_ID}`, so its other half cannot be known"
    # The key of newer releases begins with the pipeline's name.
    one = (request or key.removeprefix(f"{name}.".encode())).decode(errors="replace")
    error = ""
    if _ERROR in known:
        where = (known[_ERROR] or b"").decode(errors="replace")
        error = f"{where}: {payload[:200].decode(errors='replace')}"
    else:
        try:
            payload = unframed(payload)
        except (IndexError, Unreadable):
            return "a schema registry's header that ends early"
    return Half(f"{whole}\0".encode() + key, _SIDES[side], stamp, name, one, "", payload, headers, error)


READERS: Mapping[str, Reader] = {"kserve": kserve, "seldon": seldon}


def times_of(halves: list[Half]) -> Ints:
    """When each was logged, milliseconds; `times.INVALID_TIME` where that cannot be read."""
    return times.parse([half.time for half in halves]) if halves else np.zeros(0, np.int64)
