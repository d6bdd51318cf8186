"""A producer of kafka-python."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaTimeoutError, MessageSizeTooLargeError

from observer.client.transports import Done, TooLarge

_SETTINGS = {
    "acks": "all",
    "enable_idempotence": True,
    "delivery_timeout_ms": 2**31 - 1,  # for ever: the client's own buffer is what overflows
    "linger_ms": 5,
    "batch_size": 256 * 1024,
    "max_block_ms": 250,
    "bootstrap_timeout_ms": 3_000,
    "reconnect_backoff_max_ms": 2_000,
    "metrics_enabled": False,
}


class KafkaPythonConnection:
    """kafka-python; it calls back from its own thread."""

    def __init__(self, brokers: str, settings: Mapping[str, Any]) -> None:
        # It logs each failed attempt to connect; the client itself tells, once a minute.
        logger = logging.getLogger("kafka")
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.CRITICAL)
        self._producer = KafkaProducer(bootstrap_servers=brokers.split(","), **{**_SETTINGS, **settings})
        # At the end of the process it would close itself before the logger has sent what waits.
        self._producer._unregister_cleanup()  # noqa: SLF001

    def send(self, topic: str, value: bytes, done: Done) -> bool:
        """Queue a message; False while the topic's partitions are not known."""
        try:
            future = self._producer.send(topic, value)
        except KafkaTimeoutError:
            return False
        except MessageSizeTooLargeError as error:
            raise TooLarge(str(error)) from error

        def failed(error: Exception) -> None:
            too_large = isinstance(error, MessageSizeTooLargeError)
            done(TooLarge(str(error)) if too_large else error)

        future.add_callback(lambda _: done(None))
        future.add_errback(failed)
        return True

    def poll(self) -> None:
        """Nothing to do: its thread serves what comes in."""

    def close(self) -> None:
        """Forget what is under way and end."""
        try:
            self._producer.close(0)
        except KafkaTimeoutError:
            # Its thread would go on, and send later what has been counted as dropped.
            self._producer._sender.force_close()  # noqa: SLF001
