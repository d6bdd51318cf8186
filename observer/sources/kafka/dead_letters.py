"""Writes events that cannot be used to a topic of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from observer.errors import ConfigError, Permanent, Retryable
from observer.model import Rejected
from observer.sources.kafka.client import UNKNOWN, Settings, Trouble, connect, explain, log
from observer.sources.kafka.spec import KafkaSpec

ACCESS = "WRITE and DESCRIBE"
"""The rights on the topic that writing takes."""

MAX_BYTES = 1_000_000
"""Longer payloads are cut: brokers refuse messages over 1 MiB unless told otherwise."""
Answer = TypeVar("Answer")
_DETAIL_CHARACTERS = 1_000
_SECONDS = 6.0
_LOOK = 1.0
_CREATION = 0.5
"""Seconds that brokers may take which create topics themselves."""
_ROUNDS = 3
_MOST_WAITING = 1_000
"""Letters beside those in the client's own buffer."""

_SETTINGS: Settings = {
    "enable.idempotence": True,
    "acks": "all",
    "message.timeout.ms": 0,  # never dropped; `flush` says when it takes too long
    "message.max.bytes": 2 * MAX_BYTES,
    "linger.ms": 50,
    "compression.type": "lz4",
    "queue.buffering.max.messages": 10_000,
    "queue.buffering.max.kbytes": 64 * 1024,
}


@dataclass(frozen=True, slots=True)
class _Letter:
    payload: bytes
    headers: list[tuple[str, str | bytes | None]]
    size: int
    """Bytes of the payload before any cut."""

    def cut(self, size: int) -> _Letter:
        return replace(self, payload=self.payload[:size])


class KafkaDeadLetters:
    """Produces each rejected payload to the Spec's dead-letter topic, with the reason in its headers.

    Headers, all text: `observer-reason`, `observer-detail`, `observer-origin` (`topic[partition]@offset`),
    `observer-model` (may be empty) and, on a payload that was cut, `observer-truncated` with its full
    size in bytes; before them those that a `Rejected` brings. After a crash a letter may be written twice,
    never lost.

    Parameters
    ----------
    spec : KafkaSpec
        Whose `dead_letters` names the topic.
    timeout : float
        Seconds that `flush` may wait for the brokers: the service's loop stands still meanwhile.

    Raises
    ------
    ConfigError
        The Spec names no topic, or librdkafka refuses a setting.
    """

    def __init__(self, spec: KafkaSpec, timeout: float = _SECONDS) -> None:
        if spec.dead_letters is None:
            raise ConfigError([f"kafka topic {spec.topic}: dead_letters: null, so nothing can be written"])
        self._spec = spec
        self._topic = spec.dead_letters
        self._timeout = timeout
        self._trouble = Trouble(spec, ACCESS)
        self._refused: list[tuple[_Letter, KafkaError]] = []
        self._held: list[_Letter] = []
        """For which the client has no room."""
        self._exists = False
        self._told = False
        self._producer = connect(Producer, spec, self._trouble, _SETTINGS)

    @property
    def full(self) -> bool:
        """Whether so many wait that nothing more should be read until `flush` succeeds."""
        return len(self._held) + len(self._refused) > _MOST_WAITING

    def reject(self, rejected: Sequence[Rejected]) -> None:
        """Take them; they wait, however long the brokers take none."""
        for one in rejected:
            headers = {
                "observer-reason": one.reason,
                "observer-detail": one.detail[:_DETAIL_CHARACTERS],
                "observer-origin": str(one.origin),
                "observer-model": one.model,
            }
            # Text from a broken payload may hold halves of surrogate pairs.
            texts = [(name, value.encode(errors="replace")) for name, value in headers.items()]
            self._send(_Letter(one.payload, [*one.headers, *texts], len(one.payload)).cut(MAX_BYTES))
        self._call(lambda: self._producer.poll(0))

    def flush(self) -> None:
        """Return once the brokers have every letter.

        Raises
        ------
        Retryable
            That takes too long, or there is no such topic; the letters stay, for a later flush.
        Permanent
            The topic cannot be written to; the client is of no use any more.
        """
        if self._trouble.failure:
            raise self._trouble.failure
        missing = not self._exists and self._look()
        if missing and (self._held or self._refused or len(self._producer)):
            raise missing
        # Letters that were refused get one more chance now, and those too large for the topic another.
        for _ in range(_ROUNDS):
            again, self._held, self._refused = [*self._held, *(one for one, _ in self._refused)], [], []
            for letter in again:
                self._send(letter)
            waiting = self._call(lambda: self._producer.flush(self._timeout / _ROUNDS))
            if not self._refused and (waiting or not self._held):
                break
        if self._trouble.failure:
            raise self._trouble.failure
        if self._refused:
            self._exists = False  # perhaps not any more
            raise explain(self._spec, self._topic, self._refused[0][1], ACCESS)
        waiting += len(self._held)
        if waiting:
            self._exists = False
            raise Retryable(
                f"{waiting} dead letters not written to Kafka topic {self._topic} at {self._spec.brokers}"
                f" within {self._timeout:g} s: {self._trouble.last or 'no answer'}; check that the topic"
                " exists and the brokers run"
            )

    def _look(self) -> Retryable | None:
        """What is wrong where the brokers say that there is no such topic; it is logged once."""
        for pause in (0.0, 0.0 if self._told else _CREATION):  # asking may have created it
            time.sleep(pause)
            try:
                found = self._call(lambda: self._producer.list_topics(self._topic, _LOOK))
            except Retryable:
                return None  # nobody answers, which is told otherwise
            error = found.topics[self._topic].error
            self._exists = error is None
            if error is None or error.name() not in UNKNOWN:
                self._told = False
                return None
        missing = Retryable(
            f"Kafka topic {self._topic} at {self._spec.brokers}, for rejected events, does not exist;"
            " create it, or set dead_letters"
        )
        if not self._told:
            log.warning("%s; nothing is saved while rejected events wait for it", missing)
        self._told = True
        return missing

    def close(self) -> None:
        """Flush, then let the letters go that no broker took."""
        try:
            self.flush()
        finally:
            self._producer.purge()
            with suppress(KafkaException, SystemError):
                self._producer.flush(1)

    def _send(self, letter: _Letter) -> None:
        headers = letter.headers
        if len(letter.payload) < letter.size:
            headers = [*headers, ("observer-truncated", str(letter.size))]
        told: dict[str, Any] = {"headers": headers, "on_delivery": partial(self._delivered, letter)}
        try:
            self._call(lambda: self._producer.produce(self._topic, letter.payload, **told))
        except (BufferError, Retryable):
            self._held.append(letter)

    def _call(self, call: Callable[[], Answer]) -> Answer:
        """Call the client; an error after which it can do nothing more is raised in our words."""
        try:
            return call()
        except (KafkaException, SystemError) as error:
            # The client raises a fatal error from inside whatever runs; another callback may trip over it.
            cause = error if isinstance(error, KafkaException) else error.__cause__
            if not isinstance(cause, KafkaException):
                raise
            found = explain(self._spec, self._topic, cause.args[0], ACCESS)
            if isinstance(found, Permanent):
                self._trouble.failure = found  # what was in the buffer is gone
            raise found from error

    def _delivered(self, letter: _Letter, error: KafkaError | None, _message: Message) -> None:
        if error is None or error.name() == "_PURGE_QUEUE":
            return
        if error.name() == "MSG_SIZE_TOO_LARGE":
            letter = letter.cut(len(letter.payload) // 10)
        self._refused.append((letter, error))
