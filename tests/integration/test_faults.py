"""What a user meets when something else is broken."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Producer

from tests.services.kafka import KafkaBroker
from tests.services.observer import Observer
from tests.services.process import free_port
from tests.unit.pipeline.service import START, event


def settings(bootstrap: str, topic: str, **fields) -> dict:
    return {
        "predictions": {"type": "kafka", "brokers": bootstrap, "topic": topic, "group": "faults"},
        "checkpoint_every": "300ms",
        **fields,
    }


def produce(broker: KafkaBroker, topic: str, numbers: range, bad: int = 0) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 2})
    for i in numbers:
        producer.produce(topic, json.dumps(event(i, START + i)).encode(), partition=0)
    for _ in range(bad):
        producer.produce(topic, b"bad", partition=0)
    assert producer.flush(30) == 0


def counted(observer: Observer, outcome: str) -> float:
    """The value of `observer_events_total` for an outcome."""
    text = httpx.get(f"http://{observer.address}/metrics", timeout=10).text
    lines = [line for line in text.splitlines() if line.startswith("observer_events_total{")]
    return sum(float(line.split()[-1]) for line in lines if f'outcome="{outcome}"' in line)


def test_no_broker_at_the_start(tmp_path: Path):
    """The process ends with the reason; whoever runs it starts it again."""
    address = f"127.0.0.1:{free_port()}"
    observer = Observer(tmp_path, settings(address, "events"))
    observer.start()
    assert observer.wait(90) == 1
    (line,) = [line for line in observer.said.splitlines() if line.startswith("error: ")]
    assert address in line
    assert "no Kafka broker" in line
    assert "Traceback" not in observer.said


def test_a_topic_that_is_not_there(kafka, topic_name, tmp_path):
    topic = topic_name("absent")
    observer = Observer(tmp_path, settings(kafka.bootstrap, topic))
    observer.start()
    assert observer.wait(90) == 1
    (line,) = [line for line in observer.said.splitlines() if line.startswith("error: ")]
    assert topic in line
    assert "create the topic" in line


def test_a_second_service_over_the_same_state_is_refused(kafka, topic_name, tmp_path):
    topic = kafka.create_topic(topic_name("events"))
    first = Observer(tmp_path, settings(kafka.bootstrap, topic))
    first.start()
    first.wait_ready()
    (tmp_path / "second").mkdir()
    state = {"path": str(tmp_path / "state")}
    second = Observer(tmp_path / "second", settings(kafka.bootstrap, topic, state=state))
    try:
        second.start()
        assert second.wait() == 1
        assert f"in use by process {first.process.pid}" in second.said
        assert first.end() == 0
    finally:
        first.kill()
        second.kill()


@pytest.mark.slow
def test_a_broker_that_goes_and_comes_back(kafka, topic_name, tmp_path):
    """The service stays up, says so once, and reads on; what it had to write is written then."""
    if not kafka.can_restart:
        pytest.skip("the broker given by the environment cannot be killed")
    topic = kafka.create_topic(topic_name("events"))
    kafka.create_topic(f"{topic}.dead")
    produce(kafka, topic, range(100))
    observer = Observer(tmp_path, settings(kafka.bootstrap, topic))
    observer.start()
    try:
        observer.wait_ready()
        observer.process.wait_until(lambda: counted(observer, "accepted") == 100, 30)
        kafka.kill()
        time.sleep(4)
        assert observer.process.code is None
        assert httpx.get(f"http://{observer.address}/healthz", timeout=10).status_code == httpx.codes.OK
        kafka.start()
        produce(kafka, topic, range(100, 200), bad=1)
        observer.process.wait_until(lambda: counted(observer, "accepted") == 200, 60)
        observer.process.wait_until(lambda: counted(observer, "rejected") == 1, 30)
        assert observer.end() == 0
    finally:
        observer.kill()
    assert observer.said.count("no Kafka broker of") >= 1
    assert "answers again" in observer.said
    assert "Traceback" not in observer.said
