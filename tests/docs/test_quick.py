"""What pages tell to begin with: a configuration, and the commands until the service runs with it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import pytest
import yaml
from confluent_kafka import Producer

from observer.codecs.inference import encode
from tests.docs.pages import Block, blocks
from tests.services.kafka import KafkaBroker
from tests.services.observer import Observer
from tests.unit.cli.conftest import Ran, observer

__all__ = ["observer"]
pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(300)]
Sent = Sequence[tuple[str, bytes, list[tuple[str, bytes]]]]
"""Topic, value and headers."""


def configured(page: Sequence[Block]) -> dict:
    """The first configuration of a page."""
    found: dict = yaml.safe_load(next(one.text for one in page if one.language == "yaml" and not one.action))
    return found


def run(
    page: Sequence[Block], config: dict, broker: KafkaBroker, sent: Sent, observer: Callable[..., Ran]
) -> str:
    """Do what the page says after the messages were sent; the service's metrics once all are read."""
    topics = [config[stream]["topic"] for stream in ("predictions", "labels")]
    for topic in topics:
        broker.create_topic(topic)
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for topic, value, headers in sent:
        producer.produce(topic, value, headers=headers)
    assert producer.flush(30) == 0
    for stream in ("predictions", "labels"):
        config[stream]["brokers"] = broker.bootstrap
    service = Observer(Path.cwd(), config)
    (block,) = (one for one in page if one.action == "in")
    *before, last = (shlex.split(line, comments=True) for line in block.text.splitlines())
    for words in before:
        assert words[0] == "observer"
        ran = observer(*words[1:])
        assert ran.code == 0, f"{block.place}: {shlex.join(words)}\n{ran.out}{ran.err}"
    assert last == ["observer", "run", "-c", service.path.name], f"{block.place}: ends otherwise"
    service.start()
    address = service.wait_serving()
    text = ""

    def is_read() -> bool:
        nonlocal text
        text = httpx.get(f"http://{address}/metrics", timeout=20).text
        read = re.findall(r"^observer_source_messages_total\{.*\} (\S+)", text, re.MULTILINE)
        return sum(map(float, read)) == len(sent)

    try:
        service.process.wait_until(is_read, 60)
    finally:
        assert service.end() == 0
    return text


def test_the_readme(kafka, topic_name, observer):
    page = blocks("README.md")
    config = configured(page)
    for stream in ("predictions", "labels"):
        config[stream]["topic"] = topic_name(stream)
    (shown,) = (one.text for one in page if one.language == "json")
    events = [json.loads(one) for one in re.split(r"\n(?=\{)", shown)]
    sent = [
        (config["predictions" if "prediction" in one else "labels"]["topic"], json.dumps(one).encode(), [])
        for one in events
    ]
    metrics = run(page, config, kafka, sent, observer)
    assert re.search(r'^observer_labels_total\{.*outcome="matched".*\} 1\.0$', metrics, re.MULTILINE), metrics


def test_payloads_of_kserve(kafka, topic_name, tmp_path, observer):
    page = blocks("docs/ingestion.md")
    config = configured(page)
    for stream in ("predictions", "labels"):
        config[stream]["topic"] = topic_name(stream)
    sent: list[tuple[str, bytes, list[tuple[str, bytes]]]] = []
    for number in range(200):
        given = {"input-0": ("FP64", [[number % 60, 30.0 + number]]), "plan": ("BYTES", ["ab"[number % 2]])}
        answer = {"probabilities": ("FP64", [[1 - number / 200, number / 200]])}
        for side, tensors in (("request", given), ("response", answer)):
            body = encode.v2_json(tensors, response=side == "response")
            stamp = f"2026-01-05T12:{number // 60:02}:{number % 60:02}Z"
            value, headers = encode.cloud_event(side, f"r{number}", "churn", body, time=stamp)
            sent.append((config["predictions"]["topic"], value, headers))
    metrics = run(page, config, kafka, sent, observer)
    assert {"churn"} == set(yaml.safe_load((tmp_path / "mapping.yaml").read_text())["models"])
    read = re.findall(r'^observer_events_total\{.*model="churn".*\} (\S+)', metrics, re.MULTILINE)
    assert sum(map(float, read)) == 200, metrics
