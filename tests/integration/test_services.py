"""The real servers do what the tests that build on them take for granted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.services.kafka import KafkaBroker
from tests.services.process import ServiceError, accepts
from tests.services.prometheus import Prometheus


def produce(broker: KafkaBroker, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all"})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(30) == 0


def consume(broker: KafkaBroker, topic: str, count: int, partitions: int = 1) -> list[bytes]:
    consumer = Consumer(
        {"bootstrap.servers": broker.bootstrap, "group.id": topic, "enable.auto.commit": False}
    )
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
        messages = consumer.consume(count, timeout=30)
        assert [message.error() for message in messages if message.error()] == []
        return [message.value() for message in messages]
    finally:
        consumer.close()


def test_kafka_gives_back_what_it_was_given(kafka, topic_name):
    topic = kafka.create_topic(topic_name(), partitions=3)
    sent = [b"%d" % number for number in range(100)]
    produce(kafka, topic, sent)
    assert sorted(consume(kafka, topic, 100, partitions=3)) == sorted(sent)


def test_a_killed_broker_comes_back_with_its_data(kafka, topic_name):
    if not kafka.can_restart:
        pytest.skip("the broker was given by its address and is not ours to kill")
    topic = kafka.create_topic(topic_name())
    produce(kafka, topic, [b"before"])
    kafka.kill()
    assert not accepts(int(kafka.bootstrap.rpartition(":")[2]))
    kafka.start()
    produce(kafka, topic, [b"after"])
    assert consume(kafka, topic, 2) == [b"before", b"after"]


class Counting(BaseHTTPRequestHandler):
    """Answers a scrape with one counter that grows with each."""

    scrapes = 0

    def do_GET(self):
        type(self).scrapes += 1
        body = f'# TYPE scrapes_total counter\nscrapes_total{{who="test"}} {self.scrapes}\n'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def counting() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Counting) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_prometheus_scrapes_and_answers(prometheus_factory, counting):
    prometheus = prometheus_factory(counting)
    [sample] = prometheus.wait_for("scrapes_total", lambda found: found and found[0].value >= 2)
    assert sample.labels["who"] == "test"
    assert sample.labels["job"] == "observer"
    assert [one.value for one in prometheus.query(f'up{{instance="{counting}"}}')] == [1]
    [series] = prometheus.query_range("scrapes_total", sample.time - 5, sample.time)
    values = [value for _, value in series.points]
    assert values == sorted(values)
    assert values[-1] >= 2
    assert [target["health"] for target in prometheus.targets()] == ["up"]


def test_a_wrong_query_says_what_is_wrong(prometheus_factory, counting):
    with pytest.raises(ServiceError, match="parse error"):
        prometheus_factory(counting).query("sum(")


def test_an_expectation_not_met_shows_the_last_answer(prometheus_factory, counting):
    with pytest.raises(TimeoutError, match=r"vector\(1\).*value=1"):
        prometheus_factory(counting).wait_for("vector(1)", lambda found: found[0].value == 2, timeout=0)


def test_without_prometheus_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServiceError, match="Debian: prometheus"):
        Prometheus([]).start()


def test_without_java_and_docker_the_message_says_what_to_install(monkeypatch):
    monkeypatch.delenv("OBSERVER_TEST_KAFKA", raising=False)
    monkeypatch.setenv("PATH", "")
    with (
        pytest.raises(ServiceError, match=r"Java 17 .* Maven .* Docker .* OBSERVER_TEST_KAFKA"),
        KafkaBroker(),
    ):
        pass


def test_a_given_broker_is_never_killed(monkeypatch):
    monkeypatch.setenv("OBSERVER_TEST_KAFKA", "127.0.0.1:1")
    broker = KafkaBroker()
    assert broker.bootstrap == "127.0.0.1:1"
    with pytest.raises(ServiceError, match="OBSERVER_TEST_KAFKA"):
        broker.restart()
    with pytest.raises(ServiceError, match="no Kafka broker answers"):
        broker.start()
