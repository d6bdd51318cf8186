"""What `observer check` tells of a topic."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from observer.model import Messages, Origin, Partition, Stream
from observer.sources.kafka import dead_letters
from observer.sources.kafka.client import ACCESS_DENIED, UNKNOWN, Trouble, connect, explain
from observer.sources.kafka.source import KafkaSource
from observer.sources.kafka.spec import KafkaSpec

_ROUNDS = 20
_ROUND_SECONDS = 0.5
_ADMIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class DeadLetterReport:
    """Whether rejected events can be written, as far as can be told without writing one.

    Attributes
    ----------
    writable : bool or None
        None when only a first dead letter will tell.
    detail : str
        What was asked, and what the broker said.
    """

    topic: str
    writable: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class TopicReport:
    """One topic as it was found.

    Attributes
    ----------
    offsets : mapping
        First and next offset of each partition.
    readable : bool
        Every partition was read to its end, or a message was read.
    samples : tuple of (Origin, bytes)
        Raw payloads, from the ends of partitions.
    dead_letters : DeadLetterReport or None
        None when the Spec names no topic for them.
    """

    brokers: str
    topic: str
    offsets: dict[Partition, tuple[int, int]]
    readable: bool
    samples: tuple[tuple[Origin, bytes], ...]
    dead_letters: DeadLetterReport | None


def describe(spec: KafkaSpec, stream: Stream, sample: int = 1) -> TopicReport:
    """Reach the brokers, look at the topic and read up to `sample` messages; writes nothing.

    Takes about 40 seconds at most; raises as `KafkaSource.open` does.
    """
    source = KafkaSource(spec, stream)
    try:
        source.open({})
        offsets = source.bounds()
    finally:
        source.close()
    source = KafkaSource(spec, stream)
    samples: list[tuple[Origin, bytes]] = []
    readable = False
    try:
        source.open({place: max(first, end - sample) for place, (first, end) in offsets.items()})
        for _ in range(_ROUNDS):
            messages = source.poll(len(offsets) * (sample + 1), _ROUND_SECONDS)
            samples += [(messages.origin(i), value) for i, value in enumerate(messages.values)]
            readable = bool(samples) or len(messages.caught_up) == len(offsets)
            if len(samples) >= sample or len(messages.caught_up) == len(offsets):
                break
    finally:
        source.close()
    return TopicReport(
        brokers=spec.brokers,
        topic=spec.topic,
        offsets=offsets,
        readable=readable,
        samples=tuple(samples[:sample]),
        dead_letters=_dead_letters(spec, spec.dead_letters) if spec.dead_letters else None,
    )


def newest(specs: Sequence[KafkaSpec], stream: Stream, count: int) -> list[Messages]:
    """The newest messages of some topics, up to `count` of each partition, with their envelopes.

    A poll may hold a little more, or what came meanwhile; raises as `KafkaSource.open` does.
    """
    polls: list[Messages] = []
    for spec in specs:
        source = KafkaSource(spec, stream)
        try:
            source.open({})
            offsets = source.bounds()
        finally:
            source.close()
        source = KafkaSource(spec, stream, envelopes=True)
        try:
            source.open({place: max(first, end - count) for place, (first, end) in offsets.items()})
            for _ in range(_ROUNDS):
                messages = source.poll(len(offsets) * (count + 1), _ROUND_SECONDS)
                polls += [messages] if len(messages) else []
                if len(messages.caught_up) == len(offsets):
                    break
        finally:
            source.close()
    return polls


def _dead_letters(spec: KafkaSpec, topic: str) -> DeadLetterReport:
    admin = connect(AdminClient, spec, Trouble(spec, dead_letters.ACCESS), {})
    asked = admin.describe_topics(
        TopicCollection([topic]), include_authorized_operations=True, request_timeout=_ADMIN_SECONDS
    )
    writable, detail = None, "the broker gave no answer in time"
    try:
        allowed = asked[topic].result(timeout=_ADMIN_SECONDS).authorized_operations
    except TooLate:
        pass
    except KafkaException as problem:
        error = problem.args[0]
        if error.name() in UNKNOWN:
            detail = "does not exist, or may not be seen; create it, unless the brokers do so themselves"
        else:
            detail = str(explain(spec, topic, error, dead_letters.ACCESS))
            writable = False if error.name() in ACCESS_DENIED else None
    else:
        if not allowed:
            detail = "exists; the broker does not tell what is allowed"
        elif {operation.name for operation in allowed} & {"WRITE", "ALL"}:
            writable, detail = True, "exists and may be written to, says the broker; nothing was written"
        else:
            writable, detail = False, f"exists, but may not be written to: grant {dead_letters.ACCESS}"
    return DeadLetterReport(topic, writable, detail)
