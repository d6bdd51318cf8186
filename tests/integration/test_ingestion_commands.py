"""`observer map infer` and `observer check` against a real broker, as an engineer sets up a platform."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Producer

from observer.codecs.inference import encode
from observer.codecs.inference.mapping import load
from tests.services.kafka import KafkaBroker
from tests.unit.cli.conftest import Ran, observer

__all__ = ["observer"]
pytestmark = pytest.mark.services
Observer = Callable[..., Ran]
N = 30
CONFIG = """
predictions:
  type: kafka
  brokers: {brokers}
  topic: {topic}
  {more}
  encoding: {{type: {kind}, mapping: mapping.yaml}}
http: {{port: 0}}
"""


def tensors(number: int) -> tuple[dict, dict]:
    draw = np.random.default_rng(number)
    asked = {"x": ("FP64", [[float(number), 30.0]]), "country": ("BYTES", [["DE", "FR"][number % 2]])}
    return asked, {"label": ("INT64", [number % 2]), "p": ("FP32", [draw.random()])}


def fill_kserve(producer: Producer, topic: str) -> None:
    """Thirty pairs; of one more request there is no response yet."""
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
    for number in range(N + 1):
        for side, given in zip(("request", "response"), tensors(number), strict=True):
            if number < N or side == "request":
                body = encode.v2_json(given, response=side == "response", binary=number % 2 == 0)
                mode = ("binary", "structured")[number % 3 == 0]
                value, headers = encode.cloud_event(side, f"r{number}", "fraud", body, time=stamp, mode=mode)
                producer.produce(topic, value, headers=headers, partition=number % 2)
    assert producer.flush(30) == 0


def fill_seldon(producer: Producer, topic: str) -> None:
    """As many, requests and responses in topics of their own."""
    for number in range(N + 1):
        for side, given in zip(("inputs", "outputs"), tensors(number), strict=True):
            if number < N or side == "inputs":
                body = encode.v2_protobuf(given, response=side == "outputs", as_raw=number % 2 == 0)
                producer.produce(
                    f"{topic}.{side}",
                    body,
                    f"fraud.r{number}".encode(),
                    headers=encode.seldon_headers("fraud", f"r{number}"),
                    timestamp=int(time.time() * 1000),
                    partition=number % 2,
                )
    assert producer.flush(30) == 0


@pytest.fixture(params=["kserve", "seldon"])
def platform(
    request: pytest.FixtureRequest, kafka: KafkaBroker, topic_name: Callable[..., str], tmp_path: Path
) -> str:
    """A platform whose events are in Kafka, and a configuration for it without a mapping yet."""
    kind = request.param
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 2})
    dead = kafka.create_topic(topic_name("dead"))
    if kind == "kserve":
        topic = kafka.create_topic(topic_name("inference"), 2)
        fill_kserve(producer, topic)
    else:
        topic = f"seldon.{topic_name('ns')}.pipeline.fraud"
        for side in ("inputs", "outputs"):
            kafka.create_topic(f"{topic}.{side}", 2)
        fill_seldon(producer, topic)
    text = CONFIG.format(brokers=kafka.bootstrap, topic=topic, kind=kind, more=f"dead_letters: {dead}")
    (tmp_path / "observer.yaml").write_text(text)
    return kind


def lines(ran: Ran, subject: str) -> list[str]:
    return [f"{line['status']}: {line['detail']}" for line in ran.lines if line["subject"] == subject]


def test_from_topics_to_a_mapping_that_check_finds_right(
    observer: Observer, platform: str, tmp_path: Path
) -> None:
    ran = observer("map", "infer", "-c", "observer.yaml", "--features", "amount,age", "-o", "mapping.yaml")
    assert ran.code == 0, ran.err
    assert f"{2 * N + 1} messages: {N} pairs, 1 without their other half" in ran.err
    text = (tmp_path / "mapping.yaml").read_text()
    assert f"reads {N} of {N} samples, {N} predictions" in text
    (mapping,) = load(tmp_path / "mapping.yaml").values()
    assert {name: str(cell) for name, cell in mapping.features.items()} == {
        "amount": "x[0]", "age": "x[1]", "country": "country",
    }  # fmt: skip

    ran = observer("check", "-c", "observer.yaml", "--json")
    assert ran.code == 0, ran.out + ran.err
    found = lines(ran, "predictions events")
    assert any(line.startswith("ok: ") and "newest requests and responses make" in line for line in found)
    assert any("decoded of model fraud" in line for line in found), found
    assert any("messages (offsets" in line for line in lines(ran, "predictions"))
    assert all(line.startswith("ok") for line in lines(ran, "predictions.dead_letters"))

    # A mapping that names what is not there is told, with what is.
    (tmp_path / "mapping.yaml").write_text(text.replace("country: country", "country: land"))
    ran = observer("check", "-c", "observer.yaml", "--json")
    assert ran.code == 1
    assert any(
        line.startswith("failed") and "no input `land`; there are: country, x" in line
        for line in lines(ran, "predictions events")
    )


def test_a_number_of_messages_and_a_model_that_is_not_there(observer: Observer, platform: str) -> None:
    ran = observer("map", "infer", "-c", "observer.yaml", "-n", "4")
    assert ran.code == 0, ran.err
    assert "features:" in ran.out
    ran = observer("map", "infer", "-c", "observer.yaml", "--model", "nobody")
    assert ran.code == 1
    assert "no pair of request and response of nobody" in ran.err


def test_a_topic_or_a_broker_that_is_not_there(
    observer: Observer, kafka: KafkaBroker, tmp_path: Path
) -> None:
    text = CONFIG.format(brokers=kafka.bootstrap, topic="not-there", kind="kserve", more="dead_letters: dead")
    (tmp_path / "observer.yaml").write_text(text)
    ran = observer("map", "infer", "-c", "observer.yaml")
    assert ran.code == 1
    assert "not-there" in ran.err
    (tmp_path / "mapping.yaml").write_text("models: {m: {features: {a: a}, prediction: p}}")
    ran = observer("check", "-c", "observer.yaml", "--json")
    assert ran.code == 1
    assert any(line.startswith("failed") and "not-there" in line for line in lines(ran, "predictions"))
