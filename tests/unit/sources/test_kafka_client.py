from __future__ import annotations

import logging
import threading

import pytest
from confluent_kafka import Consumer, KafkaError

from observer.errors import ConfigError, Permanent, Retryable
from observer.model import Origin, Rejected
from observer.sources.kafka import KafkaDeadLetters, KafkaSource, KafkaSpec
from observer.sources.kafka.client import Trouble, connect, explain

SPEC = KafkaSpec(
    brokers="127.0.0.1:1",
    topic="t",
    security={"protocol": "sasl_plaintext", "mechanism": "PLAIN", "username": "ann", "password": "hunter2"},
)
PLAIN = KafkaSpec(brokers="127.0.0.1:1", topic="t", options={"client.rack": "r1"})


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (KafkaError._AUTHENTICATION, Permanent, "check security.mechanism, username and password"),
        (KafkaError._SSL, Permanent, "check security.protocol, ca, cert and key"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, Permanent, "grant ann READ on the topic"),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, Retryable, "create the topic or correct its name"),
        (KafkaError._TRANSPORT, Retryable, "check that the brokers run"),
    ],
)
def test_errors_say_where_and_what_to_check(code, kind, said):
    error = explain(SPEC, "t", KafkaError(code), "READ")
    assert type(error) is kind
    assert str(error).startswith("Kafka topic t at 127.0.0.1:1: ")
    assert str(error).endswith(said) or said in str(error)


@pytest.mark.parametrize("alert", ["ssl/tls alert bad certificate", "tlsv1 alert unknown ca"])
def test_a_certificate_that_a_broker_refuses_is_permanent(alert):
    error = KafkaError(KafkaError._TRANSPORT, f"Receive failed: SSL routines::{alert}: SSL alert number 42")
    assert str(explain(SPEC, "t", error, "READ")).endswith("check security.protocol, ca, cert and key")


def test_lost_brokers_are_logged_once_until_one_answers(caplog):
    trouble = Trouble(PLAIN, "READ")
    for _ in range(3):
        trouble.hear(KafkaError(KafkaError._TRANSPORT, "refused"))
        trouble.hear(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert trouble.down
    trouble.over()
    trouble.over()
    assert [record.getMessage() for record in caplog.records] == [
        "no Kafka broker of 127.0.0.1:1 answers; trying on: refused",
        "a Kafka broker of 127.0.0.1:1 answers again",
    ]
    assert trouble.failure is None


def test_an_error_that_waiting_cannot_mend_is_kept():
    trouble = Trouble(SPEC, "READ")
    trouble.hear(KafkaError(KafkaError._AUTHENTICATION, "bad password"))
    assert "bad password" in str(trouble.failure)


def test_the_log_hides_secrets_and_demotes_connection_errors(caplog):
    caplog.set_level(logging.INFO, "observer")
    trouble = Trouble(SPEC, "READ")
    trouble.log(logging.ERROR, "%s [%s] %s", "FAIL", "rdkafka#1", "refused")
    trouble.log(logging.WARNING, "%s [%s] %s", "SASL", "rdkafka#1", "user ann password hunter2")
    assert [record.getMessage() for record in caplog.records] == ["rdkafka#1 SASL: user ann password ***"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"options": {"no.such.setting": 1}}, 'No such configuration property: "no.such.setting"'),
        ({"security": {"protocol": "ssl", "ca": "/no/such/ca.pem"}}, "ssl.ca.location failed"),
    ],
)
def test_settings_that_the_client_refuses_are_configuration_errors(spec, said):
    wrong = KafkaSpec(brokers="127.0.0.1:1", topic="t", **spec)
    with pytest.raises(ConfigError, match=f"kafka topic t: security or options: .*{said}"):
        connect(Consumer, wrong, Trouble(wrong, "READ"), {"group.id": "g"})


def test_no_topic_for_dead_letters_is_a_configuration_error():
    with pytest.raises(ConfigError, match="dead_letters: null"):
        KafkaDeadLetters(KafkaSpec(brokers="127.0.0.1:1", topic="t", dead_letters=None))


def test_dead_letters_without_a_broker_stay_and_say_so():
    letters = KafkaDeadLetters(PLAIN, timeout=0.3)
    letters.reject([Rejected(Origin("t", 0, 1), b"x", "invalid", "why")])
    for _ in range(2):
        with pytest.raises(
            Retryable, match=r"1 dead letters not written to Kafka topic t\.dead .*within 0\.3 s"
        ):
            letters.flush()
    with pytest.raises(Retryable):
        letters.close()


def test_an_unopened_source_has_no_lag_and_closes():
    source = KafkaSource(PLAIN, "labels")
    assert source.lag() == {}
    source.close()


def test_closing_waits_no_longer_than_brokers_may_take(monkeypatch, caplog):
    """Without a broker librdkafka's close may never return."""
    reached, free = threading.Event(), threading.Event()

    class Stuck:
        def close(self) -> None:
            reached.set()
            free.wait(30)

    monkeypatch.setattr("observer.sources.kafka.source.CLOSE_SECONDS", 0.01)
    source = KafkaSource(PLAIN, "labels")
    source._consumer = Stuck()
    source.close()
    assert reached.wait(30)
    assert not free.is_set()
    assert "left without a farewell" in caplog.text
    free.set()
    source.close()  # nothing is open any more
