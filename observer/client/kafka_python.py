"""A producer of kafka-python."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
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


_REACH_SECONDS = 3.0
_PROXIES = frozenset({"proxy_url", "socks5_proxy"})


class _Reasons(logging.Handler):
    """Why a connection was lost; the library raises only that none was made.

    Of several reasons the first, but one of authentication or TLS before a mere end of the connection.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._reason = ""

    def emit(self, record: logging.LogRecord) -> None:
        _, lost, why = record.getMessage().partition("Connection lost: ")
        if lost and (not self._reason or "Authentication" in why or "SSL" in why):
            self._reason = f"{lost}{why}"

    def take(self) -> str:
        """The reason, once."""
        reason, self._reason = self._reason, ""
        return reason


_reasons = _Reasons()


def _listen() -> None:
    """Take the library's log, which tells of each failed attempt; the client itself tells, once a minute."""
    logger = logging.getLogger("kafka")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.ERROR)
        logger.propagate = False
    if _reasons not in logger.handlers:
        logger.addHandler(_reasons)


def _reach(addresses: Sequence[str]) -> None:
    """Raise `ConnectionError` where no broker answers: failed attempts of the library leave sockets open."""
    problem = ""
    for address in addresses:
        host, _, port = address.strip().rpartition(":") if ":" in address else (address.strip(), "", "9092")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _REACH_SECONDS).close()
        except OSError as error:
            problem = f"{address}: {error}"
        else:
            return
    raise ConnectionError(problem)


class KafkaPythonConnection:
    """kafka-python; it calls back from its own thread."""

    def __init__(self, brokers: str, settings: Mapping[str, Any]) -> None:
        _listen()
        given = settings.get("bootstrap_servers", brokers)
        addresses = [one.strip() for one in given.split(",")] if isinstance(given, str) else given
        wanted = {**_SETTINGS, **settings, "bootstrap_servers": addresses}
        if not _PROXIES & settings.keys():
            _reach(addresses)
        _reasons.take()  # of an earlier one
        made: list[Any] = []

        def client(**given: Any) -> Any:
            made.append(KafkaProducer.DEFAULT_CONFIG["kafka_client"](**given))
            return made[0]

        try:
            self._producer = KafkaProducer(**{"kafka_client": client, **wanted})
        except Exception as error:
            for one in made:  # the library leaves it open
                with suppress(Exception):
                    one.close()
            raise ConnectionError(_reasons.take() or str(error)) from error
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

    def poll(self) -> str | None:
        """Why a connection was lost meanwhile; its thread serves what comes in."""
        return _reasons.take() or None

    def close(self) -> None:
        """Forget what is under way and end."""
        try:
            self._producer.close(0)
        except KafkaTimeoutError:
            # Its thread would go on, and send later what has been counted as dropped.
            self._producer._sender.force_close()  # noqa: SLF001
