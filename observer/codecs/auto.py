"""Tells the encoding of each message by its first byte."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from observer.codecs.base import Codec, Poll
from observer.model import Stream

_first_byte = itemgetter(slice(0, 1))


class AutoCodec(Codec):
    """Dispatches: 0xFF or `A` (`ARROW1`) is Arrow IPC, 0x00 Avro with the wire header, all else JSON.

    None of these bytes can begin another encoding's message, so one topic may hold all of them.
    """

    def __init__(self, json: Codec, arrow: Codec, avro: Codec) -> None:
        self._json = json
        self._by_first = {b"\xff": arrow, b"A": arrow, b"\x00": avro}

    def read(self, poll: Poll, stream: Stream, indexes: Sequence[int]) -> None:
        """Add the messages at `indexes` to the poll."""
        firsts = list(map(_first_byte, poll.payloads(indexes)))
        codecs = {first: self._by_first.get(first, self._json) for first in set(firsts)}
        if len(set(codecs.values())) == 1:
            codecs[firsts[0]].read(poll, stream, indexes)
            return
        for codec in dict.fromkeys(codecs.values()):
            theirs = [at for at, first in zip(indexes, firsts, strict=True) if codecs[first] is codec]
            codec.read(poll, stream, theirs)
