from __future__ import annotations

import pytest
from pydantic import ValidationError

from observer.sources.kafka import KafkaSpec

SASL = {"protocol": "sasl_ssl", "mechanism": "PLAIN", "username": "u", "password": "hunter2"}


def spec(**fields) -> KafkaSpec:
    return KafkaSpec(**{"brokers": "a:9092", "topic": "predictions", **fields})


def test_defaults_are_those_documented():
    found = spec(brokers="a:9092, [::1]:9093")
    assert found.brokers == "a:9092,[::1]:9093"
    assert (found.type, found.group, found.start) == ("kafka", "observer", "earliest")
    assert found.security.protocol == "plaintext"
    assert found.dead_letters == "predictions.dead"


def test_dead_letters_can_be_named_or_switched_off():
    assert spec(dead_letters="elsewhere").dead_letters == "elsewhere"
    assert spec(dead_letters=None).dead_letters is None


def test_secrets_are_never_shown():
    found = spec(security=SASL | {"key_password": "hush"}, options={"sasl.oauthbearer.client.secret": "psst"})
    for shown in (repr(found), str(found), found.model_dump_json()):
        assert not any(secret in shown for secret in ("hunter2", "hush", "psst"))
    with pytest.raises(ValidationError) as error:
        spec(security=SASL | {"protocol": "plaintext"})
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"brokers": "a"}, "'a' is not host:port"),
        ({"brokers": "a:1,,b:2"}, "'' is not host:port"),
        ({"topic": "a/b"}, "pattern"),
        ({"dead_letters": "predictions"}, "must differ from topic"),
        ({"start": "newest"}, "'earliest' or 'latest'"),
        ({"colour": "red"}, "Extra inputs"),
        ({"security": {"username": "u"}}, "username: only with protocol sasl_plaintext or sasl_ssl"),
        ({"security": {"protocol": "sasl_ssl"}}, "mechanism: required with protocol sasl_ssl"),
        ({"security": {"protocol": "sasl_ssl", "mechanism": "PLAIN"}}, "username and password: required"),
        ({"security": {"ca": "ca.pem"}}, "ca: only with protocol ssl or sasl_ssl"),
        ({"security": {"protocol": "ssl", "cert": "c.pem"}}, "cert and key: give both or neither"),
    ],
)
def test_what_is_wrong_is_said(fields, said):
    with pytest.raises(ValidationError, match=said):
        spec(**fields)


@pytest.mark.parametrize(
    "key",
    [
        "enable.auto.commit",
        "auto.offset.reset",
        "group.id",
        "enable.partition.eof",
        "bootstrap.servers",
        "sasl.password",
        "ssl.ca.location",
        "enable.idempotence",
        "acks",
        "message.timeout.ms",
        "error_cb",
        "logger",
    ],
)
def test_options_that_would_break_a_guarantee_are_refused_by_name(key):
    with pytest.raises(ValidationError, match=f"cannot be set here: {key}: "):
        spec(options={key: "x"})


def test_every_refused_option_is_named():
    with pytest.raises(ValidationError, match=r"group\.id.*acks"):
        spec(options={"group.id": "x", "fetch.min.bytes": 1, "acks": 1})


def test_other_options_keep_their_types():
    options = spec(options={"fetch.min.bytes": 5, "socket.nagle.disable": True, "debug": "all"}).options
    assert options["fetch.min.bytes"] == 5
    assert options["socket.nagle.disable"] is True
    assert options["debug"].get_secret_value() == "all"
