"""What every Kafka client here shares: librdkafka settings, its log, and its errors in our words."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException
from pydantic import SecretStr

from observer.errors import ConfigError, ObserverError, Permanent, Retryable
from observer.sources.kafka.spec import KafkaSpec

log = logging.getLogger("observer.sources.kafka")

# librdkafka's names of its errors; those with an underscore arise in the client, the others on a broker.
_AUTHENTICATION = {
    "_AUTHENTICATION",
    "SASL_AUTHENTICATION_FAILED",
    "UNSUPPORTED_SASL_MECHANISM",
    "ILLEGAL_SASL_STATE",
}
ACCESS_DENIED = {"TOPIC_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED"}
_REFUSED = re.compile("alert .*(certificate|unknown ca)", re.IGNORECASE)
"""A broker's word on our certificate, which librdkafka takes for a lost connection."""
_SECRET = re.compile("password|secret|pem|oauthbearer")
UNKNOWN = {"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION"}

Settings = dict[str, Any]
Client = TypeVar("Client")


def connect(kind: Callable[..., Client], spec: KafkaSpec, trouble: Trouble, own: Settings) -> Client:
    """A client of `kind` for the Spec's brokers; it connects in the background.

    Raises
    ------
    ConfigError
        librdkafka refuses a setting, or cannot read a certificate.
    """
    security = spec.security
    named = {
        "sasl.mechanism": security.mechanism,
        "sasl.username": security.username,
        "sasl.password": security.password,
        "ssl.ca.location": security.ca,
        "ssl.certificate.location": security.cert,
        "ssl.key.location": security.key,
        "ssl.key.password": security.key_password,
    }
    settings = {
        "bootstrap.servers": spec.brokers,
        "client.id": "observer",
        "security.protocol": security.protocol,
        "reconnect.backoff.max.ms": 2000,  # a restarted broker is found again soon
        "socket.keepalive.enable": True,
        "error_cb": trouble.hear,
        **{key: value for key, value in named.items() if value is not None},
        **own,
        **spec.options,
    }
    plain = {
        key: value.get_secret_value() if isinstance(value, SecretStr) else value
        for key, value in settings.items()
    }
    try:
        return kind(plain, logger=trouble)
    except KafkaException as error:
        problem = f"kafka topic {spec.topic}: security or options: {error.args[0].str()}"
        raise ConfigError([problem]) from error


def explain(spec: KafkaSpec, topic: str, error: KafkaError, access: str) -> ObserverError:
    """The error in our words, with what to check; `access` names the rights that the client needs."""
    said = f"Kafka topic {topic} at {spec.brokers}: {error.str()}"
    name = error.name()
    if name in _AUTHENTICATION:
        return Permanent(f"{said}; check security.mechanism, username and password")
    if name == "_SSL" or _REFUSED.search(error.str()):
        return Permanent(f"{said}; check security.protocol, ca, cert and key")
    if name in ACCESS_DENIED:
        user = spec.security.username or "this client"
        return Permanent(f"{said}; grant {user} {access} on the topic")
    if error.fatal():
        return Permanent(said)
    if name in UNKNOWN:
        return Retryable(f"{said}; create the topic or correct its name")
    return Retryable(f"{said}; check that the brokers run and that this machine reaches every one of them")


class Trouble:
    """Hears librdkafka's errors and log lines, and keeps what matters of them.

    Attributes
    ----------
    failure : Permanent or None
        An error that no waiting will mend.
    last : str
        The latest error of a connection, for a message to a person.
    down : bool
        No broker answers; librdkafka keeps trying.
    """

    def __init__(self, spec: KafkaSpec, access: str) -> None:
        self.failure: Permanent | None = None
        self.last = ""
        self.down = False
        self._spec = spec
        self._access = access
        known: list[object] = [spec.security.password, spec.security.key_password]
        known += [value for key, value in spec.options.items() if _SECRET.search(key)]
        self._secrets = [value.get_secret_value() for value in known if isinstance(value, SecretStr)]

    def hear(self, error: KafkaError) -> None:
        """Take an error, as `error_cb`."""
        if error.name() == "_ALL_BROKERS_DOWN":
            if not self.down:
                log.warning(
                    "no Kafka broker of %s answers; trying on: %s",
                    self._spec.brokers,
                    self.last or error.str(),
                )
            self.down = True
            return
        self.last = error.str()
        found = explain(self._spec, self._spec.topic, error, self._access)
        if isinstance(found, Permanent):
            self.failure = found

    def over(self) -> None:
        """A broker has answered."""
        if self.down:
            log.warning("a Kafka broker of %s answers again", self._spec.brokers)
        self.down = False

    def log(self, level: int, _format: str, facility: str, client: str, text: str) -> None:
        """Take a log line, as `logger`; lost connections are told by `hear`, so here they are details."""
        if facility in {"FAIL", "ERROR", "CONFWARN"}:
            level = logging.DEBUG
        for secret in filter(None, self._secrets):
            text = text.replace(secret, "***")
        log.log(level, "%s %s: %s", client, facility, text)
