"""The Kafka source, dead letters and the client at a broker that asks who is there: SASL, TLS, rights."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from observer.client import KafkaTransport, PredictionLogger
from observer.errors import Permanent, Retryable
from observer.model import Origin, Rejected
from observer.sources.kafka import KafkaDeadLetters, KafkaSource, KafkaSpec, describe
from tests.integration.test_kafka_source import (
    caught_up,
    flush,
    numbered,
    poll_until,
    produce,
    read_dead,
    total,
)
from tests.services.kafka import KafkaBroker
from tests.services.process import free_port

pytestmark = [
    pytest.mark.services,
    # kafka-python reads its protocol with a function that Python 3.11 has deprecated
    pytest.mark.filterwarnings("ignore:.* is deprecated. Use files:DeprecationWarning"),
]
KEY_PASSWORD, PASSWORD = "key-secret", "dora-secret"


class Guarded(NamedTuple):
    """A broker with access rules, the addresses where it asks for something, and files for TLS."""

    broker: KafkaBroker
    sasl: str
    tls: str
    mutual: str
    """SASL over TLS, for those with a certificate."""
    folder: Path

    @property
    def authority(self) -> str:
        return str(self.folder / "broker.pem")


def certificate(folder: Path, name: str, *key: str) -> Path:
    """A self-signed certificate; its key and then itself, in one file."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-days", "2", "-subj", f"/CN={name}", *key]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    own, signed, both = (folder / f"{name}{end}" for end in (".key", ".pem", "-both.pem"))
    subprocess.run([*command, "-keyout", own, "-out", signed], check=True, capture_output=True)
    both.write_text(own.read_text() + signed.read_text())
    return both


@pytest.fixture(scope="module")
def guarded(tmp_path_factory) -> Iterator[Guarded]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    broker = KafkaBroker()
    if not broker.can_restart:
        pytest.skip("a broker of our own settings is needed")
    folder = tmp_path_factory.mktemp("tls")
    both = certificate(folder, "broker", "-nodes")
    certificate(folder, "client", "-passout", f"pass:{KEY_PASSWORD}")
    sasl, tls, mutual = (f"127.0.0.1:{free_port()}" for _ in range(3))
    public = f"PLAINTEXT://{broker.bootstrap},SASL://{sasl},TLS://{tls},MUTUAL://{mutual}"
    kinds = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL,MUTUAL:SASL_SSL"
    login = "org.apache.kafka.common.security"
    users = 'user_ann="ann-secret" user_bob="bob-secret"'
    broker._properties = {
        "listeners": f"{public},CONTROLLER://127.0.0.1:{broker._controller_port}",
        "advertised.listeners": public,
        "listener.security.protocol.map": kinds,
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl.plain.sasl.jaas.config": f"{login}.plain.PlainLoginModule required {users};",
        "listener.name.mutual.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.mutual.scram-sha-512.sasl.jaas.config": f"{login}.scram.ScramLoginModule required;",
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.mutual.ssl.truststore.type": "PEM",
        "listener.name.mutual.ssl.truststore.location": str(folder / "client.pem"),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(both),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS;User:dora",
        "auto.create.topics.enable": "false",
    }
    with broker:
        yield Guarded(broker, sasl, tls, mutual, folder)


def sasl_spec(brokers: str, topic: str, user: str, password: str) -> KafkaSpec:
    security = {"protocol": "sasl_plaintext", "mechanism": "PLAIN", "username": user, "password": password}
    return KafkaSpec(brokers=brokers, topic=topic, security=security)


def allow(broker: KafkaBroker, topic: str, user: str, *operations: AclOperation) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    kind, pattern = ResourceType.TOPIC, ResourcePatternType.LITERAL
    rules = [
        AclBinding(kind, topic, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
        for operation in operations
    ]
    for future in admin.create_acls(rules).values():
        future.result(timeout=30)
    time.sleep(0.5)  # rules reach the broker through its log


def test_sasl_reads_what_is_allowed_and_names_what_is_not(guarded, topic_name):
    broker, sasl = guarded.broker, guarded.sasl
    topic = broker.create_topic(topic_name())
    broker.create_topic(f"{topic}.dead")
    produce(broker, topic, numbered(3))
    source = KafkaSource(sasl_spec(sasl, topic, "ann", "ann-secret"), "predictions")
    with pytest.raises(Permanent, match=f"{topic} .*; grant ann READ and DESCRIBE on the topic"):
        source.open({})
    allow(broker, topic, "ann", AclOperation.DESCRIBE)
    source.open({})
    with pytest.raises(Permanent, match="grant ann READ and DESCRIBE on the topic"):
        poll_until(source, total(3))
    source.close()

    allow(broker, topic, "ann", AclOperation.READ)
    allow(broker, f"{topic}.dead", "ann", AclOperation.DESCRIBE)
    spec = sasl_spec(sasl, topic, "ann", "ann-secret")
    found = describe(spec, "predictions")
    assert found.samples == ((Origin(topic, 0, 2), b"2"),)
    assert found.dead_letters is not None
    assert found.dead_letters.writable is False
    letters = KafkaDeadLetters(spec, timeout=5)
    letters.reject([Rejected(Origin(topic, 0, 1), b"x", "invalid", "")])
    with pytest.raises(Permanent, match=rf"{topic}\.dead .*grant ann WRITE and DESCRIBE on the topic"):
        letters.flush()
    with pytest.raises(Permanent):
        letters.close()
    allow(broker, f"{topic}.dead", "ann", AclOperation.WRITE)
    letters = KafkaDeadLetters(spec)
    letters.reject([Rejected(Origin(topic, 0, 1), b"x", "invalid", "")])
    letters.close()
    assert [payload for payload, _ in read_dead(broker, f"{topic}.dead", 1)] == [b"x"]
    again = describe(spec, "predictions").dead_letters
    assert again is not None
    assert again.writable is True


def test_a_topic_for_dead_letters_that_is_missing_is_told_at_once(guarded, topic_name, caplog):
    """Whatever is rejected waits, in any number; nothing blocks for long, and nothing is lost."""
    kafka = guarded.broker  # creates no topic by itself
    topic = topic_name()
    letters = KafkaDeadLetters(KafkaSpec(brokers=kafka.bootstrap, topic=topic))
    letters.flush()  # as at the start: nothing is lost yet, but it is said
    assert (
        f"Kafka topic {topic}.dead at {kafka.bootstrap}, for rejected events, does not exist" in caplog.text
    )
    number = 12_000  # more than the client's own buffer holds
    began = time.monotonic()
    for first in range(0, number, 1_000):
        assert not letters.full or first >= 10_000
        letters.reject(
            [Rejected(Origin(topic, 0, i), b"%d" % i, "invalid", "") for i in range(first, first + 1_000)]
        )
        with pytest.raises(Retryable, match="does not exist; create it"):
            letters.flush()
    assert letters.full
    assert time.monotonic() - began < 60, "12 attempts, each of which took half a minute and more"
    assert caplog.text.count("does not exist") == 1
    kafka.create_topic(f"{topic}.dead")
    flush(letters)
    assert not letters.full
    letters.close()
    found = {payload for payload, _ in read_dead(kafka, f"{topic}.dead", number)}
    assert found == {b"%d" % i for i in range(number)}


def test_a_wrong_password_is_permanent_and_never_logged(guarded, topic_name, caplog):
    topic = guarded.broker.create_topic(topic_name())
    source = KafkaSource(sasl_spec(guarded.sasl, topic, "ann", "wrong-hunter2"), "predictions")
    with pytest.raises(Permanent, match=r"check security\.mechanism, username and password") as error:
        source.open({})
    assert "hunter2" not in caplog.text + str(error.value)


def test_tls_reads_with_the_right_authority_only(guarded, topic_name):
    broker, tls = guarded.broker, guarded.tls
    topic = broker.create_topic(topic_name())
    produce(broker, topic, numbered(3))
    spec = KafkaSpec(brokers=tls, topic=topic, security={"protocol": "ssl", "ca": guarded.authority})
    source = KafkaSource(spec, "predictions")
    source.open({})
    seen, _, _ = poll_until(source, caught_up)
    assert [value for _, value in seen[0]] == numbered(3)
    source.close()
    stranger = KafkaSource(KafkaSpec(brokers=tls, topic=topic, security={"protocol": "ssl"}), "predictions")
    with pytest.raises(Permanent, match=r"check security\.protocol, ca, cert and key"):
        stranger.open({})


def told_by(guarded: Guarded, library: str, topic: str, password: str) -> PredictionLogger:
    """A client that authenticates itself twice."""
    ca, pem, key = guarded.authority, str(guarded.folder / "client.pem"), str(guarded.folder / "client.key")
    settings = {
        "confluent-kafka": {
            "security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "dora",
            "sasl.password": password, "ssl.ca.location": ca, "ssl.key.location": key,
            "ssl.certificate.location": pem, "ssl.key.password": KEY_PASSWORD,
        },
        "kafka-python": {
            "security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": "dora", "sasl_plain_password": password, "ssl_cafile": ca,
            "ssl_keyfile": key, "ssl_certfile": pem, "ssl_password": KEY_PASSWORD,
        },
    }[library]  # fmt: skip
    transport = KafkaTransport(guarded.mutual, library, settings)
    own = {"topic": topic, "format": "json", "linger": 0.05, "close_timeout": 0.1}
    return PredictionLogger("m", transport=transport, **own)


@pytest.mark.slow
def test_scram_over_tls_with_a_certificate_of_ones_own(guarded, topic_name):
    """Both libraries of the client write, the service reads and writes; nobody with less than all."""
    topic = guarded.broker.create_topic(topic_name())
    guarded.broker.create_topic(f"{topic}.dead")
    scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    user = UserScramCredentialUpsertion("dora", scram, PASSWORD.encode())
    admin = AdminClient({"bootstrap.servers": guarded.broker.bootstrap})
    admin.alter_user_scram_credentials([user])["dora"].result(timeout=30)

    ids = []
    for library in ("confluent-kafka", "kafka-python"):
        with told_by(guarded, library, topic, PASSWORD) as logger:
            ids.append(logger.log({"x": 1}, 1))
            assert logger.flush(60), logger.stats()
        with told_by(guarded, library, topic, "wrong-hunter2") as logger:
            logger.log({"x": 1}, 1)
            end = time.monotonic() + 30
            while "uthentication" not in logger.stats().last_error:
                assert time.monotonic() < end, logger.stats()
                time.sleep(0.02)
            assert "hunter2" not in logger.stats().last_error
        assert logger.stats().dropped == {"shutdown": 1}
        assert "uthentication" in logger.stats().last_error

    security = {
        "protocol": "sasl_ssl", "mechanism": "SCRAM-SHA-512", "username": "dora", "password": PASSWORD,
        "ca": guarded.authority, "cert": str(guarded.folder / "client.pem"),
        "key": str(guarded.folder / "client.key"), "key_password": KEY_PASSWORD,
    }  # fmt: skip
    spec = KafkaSpec(brokers=guarded.mutual, topic=topic, security=security)
    source = KafkaSource(spec, "predictions")
    source.open({})
    seen, _, _ = poll_until(source, total(2))
    source.close()
    assert [json.loads(value)["id"] for _, value in seen[0]] == ids
    letters = KafkaDeadLetters(spec)
    letters.reject([Rejected(Origin(topic, 0, 1), b"x", "invalid", "")])
    letters.close()
    assert [payload for payload, _ in read_dead(guarded.broker, f"{topic}.dead", 1)] == [b"x"]

    for less, said in (
        ({"password": "wrong-hunter2"}, r"check security\.mechanism, username and password"),
        ({"cert": None, "key": None, "key_password": None}, r"check security\.protocol, ca, cert and key"),
    ):
        poor = KafkaSpec(brokers=guarded.mutual, topic=topic, security=security | less)
        with pytest.raises(Permanent, match=said):
            KafkaSource(poor, "labels").open({})
