"""Kafka, by confluent-kafka or kafka-python, whichever is installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Literal

from observer.client.transports import Connection

Library = Literal["confluent-kafka", "kafka-python"]
_MODULES: dict[Library, str] = {"confluent-kafka": "confluent_kafka", "kafka-python": "kafka"}


class KafkaTransport:
    """Sends to Kafka; retried sends are not written twice (the producers are idempotent).

    Parameters
    ----------
    brokers : str
        `host:port` addresses, separated by commas.
    library : "confluent-kafka", "kafka-python" or None
        None takes confluent-kafka where it is installed, else kafka-python.
    settings : mapping
        More settings, named as that library names them: `security.protocol` or `security_protocol`.

    Raises
    ------
    ImportError
        The library is not installed.
    ValueError
        The library is none of the two.
    """

    binary = True

    def __init__(
        self,
        brokers: str,
        library: Library | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if library is not None and library not in _MODULES:
            raise ValueError(f"library: {library!r}; accepted: {', '.join(map(repr, _MODULES))}")
        installed = [one for one, module in _MODULES.items() if find_spec(module) is not None]
        if not installed or (library is not None and library not in installed):
            raise ImportError(
                "no library for Kafka is installed; install ml-observer[client] (kafka-python, pure Python),"
                " or confluent-kafka"
                if library is None
                else f"{library} is not installed; installed: {', '.join(installed) or 'none'}"
            )
        self.library: Library = library or installed[0]
        self._brokers = brokers
        self._settings = dict(settings or {})

    def open(self) -> Connection:
        """Make a producer; kafka-python asks the brokers for their version first."""
        if self.library == "confluent-kafka":
            from observer.client.confluent import ConfluentConnection  # noqa: PLC0415 - optional

            return ConfluentConnection(self._brokers, self._settings)
        from observer.client.kafka_python import KafkaPythonConnection  # noqa: PLC0415 - optional

        return KafkaPythonConnection(self._brokers, self._settings)
