"""A producer of confluent-kafka."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from observer.client.transports import Done, TooLarge

_SETTINGS = {
    "enable.idempotence": True,
    "message.timeout.ms": 0,  # for ever: the client's own buffer is what overflows
    "linger.ms": 5,
    "reconnect.backoff.max.ms": 2_000,
    "log_level": 2,  # the client itself tells, once a minute, that nothing arrives
}


class ConfluentConnection:
    """librdkafka; its callbacks are called from `poll` and `close`."""

    def __init__(self, brokers: str, settings: Mapping[str, Any]) -> None:
        self._errors: deque[KafkaError] = deque(maxlen=10)
        own = {"bootstrap.servers": brokers, "error_cb": self._errors.append}
        self._producer = Producer({**own, **_SETTINGS, **settings})

    def send(self, topic: str, value: bytes, done: Done) -> bool:
        """Queue a message; False while librdkafka's queue is full."""

        def delivered(error: KafkaError | None, _message: object) -> None:
            done(None if error is None else _error(error))

        try:
            self._producer.produce(topic, value, on_delivery=delivered)
        except BufferError:
            return False
        except KafkaException as error:
            raise _error(error.args[0]) from error
        return True

    def poll(self) -> str | None:
        """Serve delivery reports; the latest error that says why, not only that, no broker answers."""
        self._producer.poll(0)
        said = [error.str() for error in self._errors if error.code() != KafkaError._ALL_BROKERS_DOWN]  # noqa: SLF001
        self._errors.clear()
        return said[-1] if said else None

    def close(self) -> None:
        """Forget what is under way and end."""
        self._producer.purge()
        self._producer.flush(0)


def _error(error: KafkaError) -> Exception:
    too_large = error.code() == KafkaError.MSG_SIZE_TOO_LARGE
    return TooLarge(str(error)) if too_large else KafkaException(error)
