"""Nouns of the model as bytes and back; what a newer service added is left out, or has its default."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any, TypeVar

import msgspec
import numpy as np

from observer.model import EvidenceReport

T = TypeVar("T")
MOST_STREAMS = 50
"""Of one evidence report: those raised, and the strongest."""


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be kept")


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_plain)
_DECODERS: dict[type, msgspec.msgpack.Decoder[Any]] = {}


def encode(noun: object) -> bytes:
    """Bytes of a dataclass; floats that are no numbers stay what they are."""
    try:
        packed = _ENCODER.encode(noun)
    except UnicodeEncodeError:  # a lone surrogate in some name
        packed = _ENCODER.encode(_texts(msgspec.to_builtins(noun, enc_hook=_plain)))
    return zlib.compress(packed, 1)


def fit(value: Any) -> Any:
    """A text that every database takes: PostgreSQL has no NUL, and nobody has lone surrogates."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return value


def _texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {_texts(name): _texts(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_texts(one) for one in value]
    return fit(value)


def decode(data: bytes, kind: type[T]) -> T:
    """The noun that gave `data`."""
    if kind not in _DECODERS:
        _DECODERS[kind] = msgspec.msgpack.Decoder(kind)
    found: T = _DECODERS[kind].decode(zlib.decompress(data))
    return found


def shortened(report: EvidenceReport) -> EvidenceReport:
    """The report with at most `MOST_STREAMS` streams."""
    ranked = sorted(report.streams, key=lambda one: (not one.tier, -one.evidence))
    return replace(report, streams=tuple(ranked[:MOST_STREAMS]))
