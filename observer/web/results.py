"""A retraining's result as a CloudEvent over HTTP, binary or structured, as a broker's trigger delivers it.

Who cannot send a token signs: the extension `signature` is `sha256=` and the HMAC of `{id}.{version}` with
the secret of the target that was given the order. That survives a broker, which may write the data anew.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

TYPE: Final = "io.ml-observer.result"
MOST_BYTES: Final = 20_000
"""Of such an event."""


class ResultEvent(NamedTuple):
    """What an event says: the action, the version that it made; who says so, and with what signature."""

    action: str
    version: object
    source: str
    signature: str


def parsed(body: bytes) -> Any:
    """JSON; raises `ValueError`, also for what can be neither answered nor kept: lone surrogates, depth."""
    try:
        return msgspec.json.decode(body)
    except RecursionError as error:
        raise ValueError("too deep") from error


def result_event(headers: Mapping[str, str], body: bytes) -> ResultEvent:
    """Read it; raises `ValueError`, in words, when it is none."""
    try:
        if headers.get("content-type", "").startswith("application/cloudevents+json"):
            attributes: Mapping[str, Any] = parsed(body)
            data = (
                attributes["data"] if "data" in attributes else parsed(b64decode(attributes["data_base64"]))
            )
        else:
            attributes = {name[3:]: value for name, value in headers.items() if name.startswith("ce-")}
            data = parsed(body)
        kind, action, version = attributes["type"], data["id"], data["version"]
        if attributes["specversion"] != "1.0" or kind != TYPE or not isinstance(action, str):
            raise ValueError(kind)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f'accepted: a CloudEvent 1.0 of type {TYPE}, data {{"id": "<action>", "version": "8"}}'
        ) from error
    said = {name: str(attributes.get(name, ""))[:200] for name in ("source", "signature")}
    return ResultEvent(action, version, said["source"], said["signature"])
