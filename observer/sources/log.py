"""Events that were written before: files, or a range of a topic, which can be read more than once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from observer.codecs import AutoSpec, CodecSpec, Limits, codec
from observer.model import Decoded, Schema, Stream
from observer.ports import Source
from observer.sources.files import FileSource, FilesSpec
from observer.sources.kafka import KafkaRange, KafkaSpec
from observer.sources.kafka.range import Bound

_BLOCK = 100_000
"""Messages of a poll."""
_WAIT = 1.0
"""Seconds a poll of a topic may take."""


@dataclass(frozen=True, slots=True)
class EventLog:
    """Where events of one stream are.

    Attributes
    ----------
    name : str
        What people call it.
    source : callable
        A new source that ends, not opened yet.
    """

    name: str
    stream: Stream
    source: Callable[[], Source]
    encoding: CodecSpec = field(default_factory=AutoSpec)

    def read(self, model: str, now: float) -> Iterator[Decoded]:
        """All its events, of other models too; those of `model` are taken whatever they hold."""
        limits = Limits(max_ahead=1e12)  # what was written before may be dated as one pleases
        decoder = codec(self.encoding, {model: Schema({})}, limits, learn_unknown=True)
        source, finished = self.source(), False
        try:
            source.open({})
            while not finished:
                messages = source.poll(_BLOCK, _WAIT)
                finished = messages.finished
                decode = decoder.predictions if self.stream == "predictions" else decoder.labels
                yield decode(messages, now)
        finally:
            source.close()


def of_files(pattern: str, stream: Stream, name: str = "") -> EventLog:
    """Events of a file, or of those that a glob finds."""
    return EventLog(name or pattern, stream, lambda: FileSource(FilesSpec(path=pattern), stream))


def of_topic(
    spec: KafkaSpec, encoding: CodecSpec, stream: Stream, start: Bound = None, end: Bound = None
) -> EventLog:
    """Events of a topic, or of a range of it, which is settled once and the same at every reading."""
    whole = KafkaRange(spec, stream, start, end)
    return EventLog(f"Kafka topic {spec.topic}", stream, lambda: whole, encoding)
