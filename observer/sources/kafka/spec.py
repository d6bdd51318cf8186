"""What may be said of a Kafka topic in the configuration."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI"]
TopicName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]

_BROKER = re.compile(r"[^\s:,]+:\d{1,5}|\[[0-9a-fA-F:.]+\]:\d{1,5}")
_SETTING = re.compile(r"[a-z]+(\.[a-z0-9]+)+|debug|log_level|retries")
_OURS = {
    "allow.auto.create.topics": "the service never creates the topics it reads",
    "auto.offset.reset": "positions come from the saved state; use `start`",
    "bootstrap.servers": "use `brokers`",
    "enable.auto.commit": "positions are saved with the state",
    "auto.commit.enable": "positions are saved with the state",
    "enable.auto.offset.store": "positions are saved with the state",
    "enable.idempotence": "dead letters are written once",
    "enable.partition.eof": "it tells an idle partition from a slow one",
    "group.id": "use `group`",
    "group.instance.id": "partitions are assigned, not shared out by the group",
    "group.protocol": "partitions are assigned, not shared out by the group",
    "metadata.broker.list": "use `brokers`",
    "acks": "dead letters are durable before positions advance",
    "request.required.acks": "dead letters are durable before positions advance",
    "delivery.timeout.ms": "dead letters are tried until they are durable",
    "message.timeout.ms": "dead letters are tried until they are durable",
    "plugin.library.paths": "no foreign code is loaded",
    "sasl.mechanism": "use `security.mechanism`",
    "sasl.mechanisms": "use `security.mechanism`",
    "sasl.password": "use `security.password`",
    "sasl.username": "use `security.username`",
    "security.protocol": "use `security.protocol` of this file",
    "ssl.ca.location": "use `security.ca`",
    "ssl.certificate.location": "use `security.cert`",
    "ssl.key.location": "use `security.key`",
    "ssl.key.password": "use `security.key_password`",
    "transactional.id": "dead letters need no transaction",
}
"""librdkafka settings that `options` must not touch, and why."""


class KafkaSecurity(BaseModel):
    """How to speak to the brokers.

    Attributes
    ----------
    protocol : str
        `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`.
    mechanism, username, password
        For the `sasl_` protocols.
    ca, cert, key : str, optional
        PEM files: who signed the brokers' certificates (the system's list if not given), and our own.
    key_password : secret, optional
        Of an encrypted `key`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    mechanism: Mechanism | None = None
    username: str | None = None
    password: SecretStr | None = None
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    key_password: SecretStr | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        sasl = self.protocol.startswith("sasl")
        given = [name for name in ("mechanism", "username", "password") if getattr(self, name) is not None]
        if not sasl and given:
            raise ValueError(
                f"{', '.join(given)}: only with protocol sasl_plaintext or sasl_ssl, not {self.protocol}"
            )
        if sasl and self.mechanism is None:
            raise ValueError(f"mechanism: required with protocol {self.protocol}")
        passwords = self.mechanism in {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}
        if passwords and not (self.username and self.password):
            raise ValueError(f"username and password: required with mechanism {self.mechanism}")
        files = [name for name in ("ca", "cert", "key", "key_password") if getattr(self, name) is not None]
        if files and not self.protocol.endswith("ssl"):
            raise ValueError(f"{', '.join(files)}: only with protocol ssl or sasl_ssl, not {self.protocol}")
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key: give both or neither")
        return self


class KafkaSpec(BaseModel):
    """One topic that carries one stream of events, or several.

    Attributes
    ----------
    brokers : str
        `host:port`, several with commas.
    topic : str
        Its name.
    more_topics : list of str
        Further topics of the same stream.
    group : str
        Consumer group to which positions are committed, for lag tools only; nothing is resumed from it.
    start : str
        Where partitions without a saved position begin: `earliest` or `latest`.
    options : mapping
        Further librdkafka settings; those on which the service's guarantees rest are refused. Texts among
        them may be secrets, so they are never shown.
    dead_letters : str or None
        Topic for events that cannot be used; `<topic>.dead` if not given, none if null.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    type: Literal["kafka"] = "kafka"
    brokers: str
    topic: TopicName
    more_topics: tuple[TopicName, ...] = ()
    group: str = Field(default="observer", min_length=1)
    security: KafkaSecurity = KafkaSecurity()
    start: Literal["earliest", "latest"] = "earliest"
    options: dict[str, bool | int | float | SecretStr] = {}
    dead_letters: TopicName | None = Field(default=None, description="`<topic>.dead` if not given")

    @model_validator(mode="before")
    @classmethod
    def _name_dead_letters(cls, data: object) -> object:
        if isinstance(data, dict) and "dead_letters" not in data and isinstance(data.get("topic"), str):
            return {**data, "dead_letters": f"{data['topic']}.dead"}
        return data

    @field_validator("brokers")
    @classmethod
    def _addresses(cls, brokers: str) -> str:
        addresses = [address.strip() for address in brokers.split(",")]
        for address in addresses:
            if not _BROKER.fullmatch(address):
                raise ValueError(f"{address!r} is not host:port (several are separated by commas)")
        return ",".join(addresses)

    @field_validator("options")
    @classmethod
    def _guard(
        cls, options: dict[str, bool | int | float | SecretStr]
    ) -> dict[str, bool | int | float | SecretStr]:
        refused = [f"{key}: {_OURS[key]}" for key in options if key in _OURS]
        refused += [f"{key}: not a setting of librdkafka" for key in options if not _SETTING.fullmatch(key)]
        if refused:
            raise ValueError("cannot be set here: " + "; ".join(refused))
        return options

    @model_validator(mode="after")
    def _no_loop(self) -> Self:
        if self.dead_letters in self.topics:
            raise ValueError("dead_letters: must differ from topic, or rejected events would come back")
        if len(set(self.topics)) < len(self.topics):
            raise ValueError("more_topics: names a topic twice")
        return self

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic of the stream."""
        return (self.topic, *self.more_topics)

    def each(self, suffixes: tuple[str, ...] = ("",)) -> tuple[KafkaSpec, ...]:
        """Specs of one topic each: every topic with every suffix; dead letters are the first one's."""
        names = [f"{topic}{suffix}" for topic in self.topics for suffix in suffixes]
        letters = [self.dead_letters, *[None] * (len(names) - 1)]
        return tuple(
            self.model_copy(update={"topic": name, "more_topics": (), "dead_letters": letter})
            for name, letter in zip(names, letters, strict=True)
        )
