"""KServe's events and Seldon's topics in a real Kafka, a service killed between the halves: exact windows."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from observer.app import Service
from observer.clock import SystemClock
from observer.codecs.inference import encode
from observer.config import load
from tests.services.kafka import KafkaBroker
from tests.services.observer import Observer
from tests.unit.pipeline.service import Letters, MemorySource, read

pytestmark = pytest.mark.services
MINUTE = 60_000
WINDOW, WINDOWS = 10 * MINUTE, 3
N = 900
"""Requests; every tenth has several rows, and of the first half every twentieth is never answered."""
MAPPING = """
models:
  fraud:
    features:
      amount: x[0]
      age: x[1]
      country: country
    prediction: {threshold: 0.5, of: p}
    scores: p
"""
Rows = list[tuple[str, int, float, str, float]]
"""Id, time, amount, country, score."""


def rows(number: int, start: int) -> Rows:
    at = start + number * WINDOW * WINDOWS // N
    count = 3 if number % 10 == 9 else 1
    return [
        (
            f"r{number}-{row}" if count > 1 else f"r{number}", at, number + row / 4, ["DE", "FR"][row % 2],
            ((number + row) % 8) / 8,
        )
        for row in range(count)
    ]  # fmt: skip


def is_lone(number: int) -> bool:
    return number < N // 2 and number % 20 == 3


@dataclass
class Platform:
    """Where halves go, and how they look there."""

    topic: str
    topics: list[str]
    encoding: str
    sent: list[tuple[str, int, bytes, list, bytes | None, int]] = field(default_factory=list)


class Kserve(Platform):
    """One topic of three partitions, whose halves a sink spreads as it likes."""

    def half(self, number: int, side: str, given: Rows) -> tuple:
        at = given[0][1] + 40 * (side == "response")
        stamp = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
        mode = ("binary", "structured")[number % 2]
        body = encode.v2_json(tensors(side, given), response=side == "response", binary=number % 3 == 0)
        value, headers = encode.cloud_event(side, f"r{number}", "fraud", body, time=stamp, mode=mode)
        return self.topic, (number + 2 * (side == "response")) % 3, value, headers, None, at


class Seldon(Platform):
    """Two topics, inputs and outputs, of two partitions each."""

    def half(self, number: int, side: str, given: Rows) -> tuple:
        topic = self.topics[side == "response"]
        make = encode.v2_protobuf if number % 4 else encode.v2_json
        body = make(tensors(side, given), response=side == "response", id=f"r{number}", model_name="fraud_1")
        if number % 4 == 1:
            body = b"\x00\x00\x00\x00\x07\x00" + body  # a schema registry's header
        headers = encode.seldon_headers("fraud", f"r{number}")
        at = given[0][1] + 40 * (side == "response")
        return topic, number % 2, body, headers, f"fraud.r{number}".encode(), at


def tensors(side: str, given: Rows) -> dict:
    if side == "response":
        return {"p": ("FP32", [[score] for *_, score in given])}
    return {
        "x": ("FP64", [[amount, 30.0] for _, _, amount, _, _ in given]),
        "country": ("BYTES", [country for _, _, _, country, _ in given]),
    }


def platform(kind: str, broker: KafkaBroker, name: Callable[..., str]) -> Platform:
    if kind == "kserve":
        topic = broker.create_topic(name("kserve"), 3)
        return Kserve(topic, [topic], kind)
    base = f"seldon.{name('ns')}.pipeline.fraud"
    return Seldon(base, [broker.create_topic(f"{base}.{side}", 2) for side in ("inputs", "outputs")], kind)


def metric(address: str, name: str) -> float:
    """Sum of a metric's series; of one that is not there, -1."""
    text = httpx.get(f"http://{address}/metrics", timeout=10).text
    found = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
    return sum(map(float, found)) if found else -1.0


def wait_until(observer: Observer, wanted: Mapping[str, float]) -> None:
    """Wait until the metrics have these values."""
    address = observer.wait_serving(200)
    observer.process.wait_until(
        lambda: all(metric(address, name) == value for name, value in wanted.items()), timeout=120
    )


def letters(broker: KafkaBroker, topic: str, count: int) -> list[dict[str, str]]:
    """Headers of the dead letters."""
    consumer = Consumer(
        {"bootstrap.servers": broker.bootstrap, "group.id": "letters", "auto.offset.reset": "earliest"}
    )
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        found, until = [], time.monotonic() + 30
        while len(found) < count and time.monotonic() < until:
            found += consumer.consume(count, 1.0)
        return [{key: value.decode() for key, value in one.headers()} for one in found]
    finally:
        consumer.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["kserve", "seldon"])
def test_windows_are_exact(kind, kafka, topic_name, tmp_path: Path):
    start = (int(time.time() * 1000) - 120 * MINUTE) // WINDOW * WINDOW
    here = platform(kind, kafka, topic_name)
    labels, dead = kafka.create_topic(topic_name("labels")), kafka.create_topic(topic_name("dead"))
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    observer = Observer(
        tmp_path,
        {
            "predictions": {
                "type": "kafka", "brokers": kafka.bootstrap, "topic": here.topic, "dead_letters": dead,
                "encoding": {"type": kind, "mapping": "mapping.yaml", "wait": 60},
            },
            "labels": {"type": "kafka", "brokers": kafka.bootstrap, "topic": labels, "horizon": "1h"},
            "models": {
                "fraud": {"task": "binary", "positive": "1", "min_labels": 1, "window": {"size": "10m"}}
            },
            "checkpoint_every": 0.3,
            "idle_after": "1h",
        },
    )  # fmt: skip
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 2, "linger.ms": 20})

    def send(halves):
        for number, side in halves:
            topic, partition, value, headers, key, at = here.half(number, side, rows(number, start))
            producer.produce(topic, value, key, partition, headers=headers, timestamp=at)
            producer.poll(0)
        assert producer.flush(60) == 0

    joined = [row for number in range(N) if not is_lone(number) for row in rows(number, start)]
    # Each response comes ten requests after its own; the service is killed while the last ten wait.
    order = [
        half
        for number in range(N + 10)
        for half in ((number, "request"), (number - 10, "response"))
        if 0 <= half[0] < N and not (half[1] == "response" and is_lone(half[0]))
    ]
    cut = order.index((N // WINDOWS, "request"))
    send(order[:cut])
    observer.start()
    wait_until(observer, {"observer_source_lag_messages": 0})
    address, name = observer.address, "observer_checkpoint_number"
    observer.process.wait_until(lambda: metric(address, "observer_halves_waiting") >= 10, timeout=120)
    saved = metric(address, name)
    observer.process.wait_until(lambda: metric(address, name) > saved + 1, timeout=120)
    observer.kill()

    send(order[cut:])
    for number, (one, at, *_) in enumerate(joined):
        event = {"id": one, "model": "fraud", "time": at + 5000, "label": str(number % 2)}
        producer.produce(labels, json.dumps(event).encode())
    assert producer.flush(60) == 0
    observer.start()
    wait_until(
        observer,
        {
            "observer_halves_waiting": 0,
            "observer_joins_pending": 0,
            "observer_source_lag_messages": 0,
        },
    )
    assert observer.end() == 0

    config = load(observer.path)
    streams = ("predictions", "labels")
    with Service(
        config,
        SystemClock(),
        sources={stream: MemorySource(stream, {}) for stream in streams},
        dead_letters={stream: Letters() for stream in streams},
        serve=False,
    ) as service:
        kept = read(service)
    of_windows = {
        window: [row for row in joined if row[1] // WINDOW * WINDOW == window]
        for window in range(start, start + WINDOWS * WINDOW, WINDOW)
    }
    overall = {key[3]: summary for key, summary in kept.windows.items() if not key[2]}
    assert {window: summary.n for window, summary in overall.items()} == {
        window: len(found) for window, found in of_windows.items()
    }
    cohorts = {
        key.start: (predictions, outcomes.confusion.rows[:, :2].tolist())
        for (_, key), (predictions, outcomes) in kept.cohorts.items()
        if not (key.segment or key.arm)
    }
    confusion = {}
    for window, found in of_windows.items():
        counts = [[0, 0], [0, 0]]
        for row in found:
            label = joined.index(row) % 2
            counts[label][row[4] >= 0.5] += 1
        confusion[window] = (len(found), counts)
    assert cohorts == confusion
    assert (kept.pending.predictions, kept.pending.labels) == (0, 0)

    lone = {f"r{number}" for number in range(N) if is_lone(number)}
    told = letters(kafka, dead, len(lone))
    assert {one["observer-reason"] for one in told} == {"unmatched"}
    name = "ce_id" if kind == "kserve" else "x-request-id"
    assert sorted(one[name] for one in told) == sorted(lone)
