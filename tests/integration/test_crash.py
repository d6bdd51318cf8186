"""Killed at any moment, with the broker or without: the state equals one clean pass over the log, exactly."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Iterator, Mapping

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from observer.app import Service
from observer.clock import SystemClock
from observer.config import load
from observer.model import Partition
from tests.services.kafka import KafkaBroker
from tests.services.observer import Observer
from tests.unit.pipeline import events
from tests.unit.pipeline.oracle import Rules, expect
from tests.unit.pipeline.service import START, Letters, MemorySource, read, reference
from tests.unit.pipeline.test_exact import REFERENCE, fold_values, same

SECOND, HOUR = 1000, 3_600_000
SEED = 20_261_123
KILLS = 32
BROKER_KILLS = (9, 21)
"""Kills of the service that the broker shares."""
PREDICTIONS = 9_000
STEP = 800
HORIZON = HOUR
MODELS = {
    "a": {"window": {"size": "3m", "lateness": "5s", "late": "fold"}},
    "b": {"window": {"size": "2m", "lateness": "3s", "late": "count"}},
}
RULES = {
    "a": Rules(180 * SECOND, 5 * SECOND, "fold", {"x": int, "c": str}, {"country": ("DE", "FR")}),
    "b": Rules(120 * SECOND, 3 * SECOND, "count", {"x": int, "c": str}, {"country": ("DE", "FR")}),
}
Logs = Mapping[int, list[bytes]]


def merged(logs: Mapping[str, Logs]) -> list[tuple[str, int, bytes]]:
    """Topic, partition and payload, so that all partitions of both topics come forward together."""
    columns = [
        [(at / len(log), topic, partition, payload) for at, payload in enumerate(log)]
        for topic, topic_logs in logs.items()
        for partition, log in topic_logs.items()
    ]
    events = sorted(itertools.chain.from_iterable(columns), key=lambda item: item[0])
    return [(topic, partition, payload) for _, topic, partition, payload in events]


class Feed(threading.Thread):
    """Writes both logs in the order of their events, a little at a time, and waits while it is told to."""

    def __init__(self, broker: KafkaBroker, logs: Mapping[str, Logs], seconds: float) -> None:
        super().__init__(daemon=True)
        self._producer = Producer(
            {
                "bootstrap.servers": broker.bootstrap,
                "enable.idempotence": True,  # a broker that is killed leaves neither gaps nor repetitions
                "linger.ms": 5,
                "reconnect.backoff.max.ms": 1000,
                "log_level": 0,
            }
        )
        self._events = merged(logs)
        self._seconds = seconds
        self.error: Exception | None = None

    def run(self) -> None:
        pause = self._seconds / (len(self._events) / 50)
        try:
            for i, (topic, partition, payload) in enumerate(self._events):
                self._producer.produce(topic, payload, partition=partition)
                if i % 50 == 49:
                    self._producer.poll(0)
                    time.sleep(pause)
            if self._producer.flush(60):
                raise AssertionError("the broker did not take every event")
        except Exception as error:
            self.error = error


def positions(broker: KafkaBroker, topics: Mapping[str, int]) -> dict[tuple[str, int], int]:
    """What the group has committed."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    places = [TopicPartition(topic, number) for topic, count in topics.items() for number in range(count)]
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions("crash", places)])
    try:
        found = asked["crash"].result(timeout=10).topic_partitions
    except KafkaException:
        return {}
    return {(one.topic, one.partition): one.offset for one in found}


def drain(broker: KafkaBroker, topic: str) -> list[str]:
    """The origins of all dead letters."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "reader", "log_level": 0})
    origins: list[str] = []
    consumer.assign([TopicPartition(topic, 0, 0)])
    _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=20)
    while len(origins) < end:
        for message in consumer.consume(500, 1.0):
            assert message.error() is None
            headers = dict(message.headers())
            assert headers["observer-reason"]
            origins.append(headers["observer-origin"].decode())
    consumer.close()
    return origins


def moments(seed: int) -> Iterator[tuple[bool, float]]:
    """When to kill: whether only after the first checkpoint, and how many seconds later."""
    r = random.Random(seed)
    while True:
        ready = r.random() < 0.75
        yield ready, r.uniform(0.0, 0.8 if ready else 1.6)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_count_survives_kills_of_the_service_and_of_the_broker(kafka, topic_name, tmp_path):
    if not kafka.can_restart:
        pytest.skip("the broker given by the environment cannot be killed")
    started = time.monotonic()
    predictions, labels = events.make(
        SEED, PREDICTIONS, start=START, step=STEP, partitions=3, models=["a", "b"], horizon=HORIZON,
        disorder=3 * SECOND, very_late=200 * SECOND, delay=60 * SECOND,
    )  # fmt: skip
    wanted = fold_values(expect(RULES, predictions, labels, HORIZON))
    topics = {
        kafka.create_topic(topic_name("predictions"), 3): 3,
        kafka.create_topic(topic_name("labels"), 3): 3,
    }
    logs = dict(zip(topics, (predictions, labels), strict=True))
    for topic in topics:
        kafka.create_topic(f"{topic}.dead", 1)
    profile = tmp_path / "reference"
    reference(REFERENCE).save(profile)
    own = {"reference": str(profile), "segments": [{"tag": "country", "values": ["DE", "FR"]}]}
    source = {"type": "kafka", "brokers": kafka.bootstrap, "group": "crash", "encoding": "json"}
    first, second = topics
    observer = Observer(
        tmp_path,
        {
            "predictions": {**source, "topic": first},
            "labels": {**source, "topic": second, "horizon": "1h"},
            "models": {name: {**own, **model} for name, model in MODELS.items()},
            "learn_unknown": False,
            "checkpoint_every": "200ms",
            "idle_after": "1h",  # while it catches up after an outage no partition may count as idle
        },
    )
    feed = Feed(kafka, logs, seconds=60)
    feed.start()

    when = moments(SEED)
    in_start = kills = 0
    while kills < KILLS:
        observer.start()
        ready, seconds = next(when)
        if ready:
            observer.wait_ready()
        time.sleep(seconds)
        if kills in BROKER_KILLS:
            kafka.kill()
            time.sleep(0.5)
        in_start += not observer.address
        observer.kill()
        kills += 1
        if kills - 1 in BROKER_KILLS:
            kafka.start()
    feed.join(120)
    assert feed.error is None

    observer.start()
    observer.wait_serving()
    ends = {(topic, number): len(log) for topic, log_ in logs.items() for number, log in log_.items()}
    observer.process.wait_until(lambda: positions(kafka, topics) == ends, 120)
    assert observer.end() == 0

    config = load(observer.path)
    letters = {"predictions": Letters(), "labels": Letters()}
    sources = {stream: MemorySource(stream, {}) for stream in letters}
    with Service(config, SystemClock(), sources=sources, dead_letters=letters, serve=False) as service:
        kept = read(service)
        saved = service.pipeline.positions
        checkpoints = service.pipeline.checkpoint_number
    streams = dict(zip(topics, ("predictions", "labels"), strict=True))
    assert saved == {Partition(streams[topic], topic, n): end for (topic, n), end in ends.items()}
    same(kept, wanted)
    repeated = 0
    for topic, stream in streams.items():
        origins = drain(kafka, f"{topic}.dead")
        assert set(origins) == {f"{topic}[{partition}]@{offset}" for partition, offset in wanted.bad[stream]}
        repeated += len(origins) - len(set(origins))

    read_ = sum(ends.values())
    summary = {
        "kills": kills,
        "kills_before_serving": in_start,
        "broker_kills": len(BROKER_KILLS),
        "checkpoints": checkpoints,
        "events": read_,
        "windows": len(kept.windows),
        "cohorts": len(kept.cohorts),
        "dead_letters": sum(map(len, wanted.bad.values())),
        "dead_letters_repeated": repeated,
        "outcomes": {" ".join(key): n for key, n in sorted(wanted.outcomes.items())},
        "pending": kept.pending,
        "seconds": round(time.monotonic() - started, 1),
    }
    print("\n" + json.dumps(summary))
    assert checkpoints > KILLS  # it came forward between the kills
    assert kills - in_start >= 20
    assert min(wanted.outcomes[model, "duplicate"] for model in RULES) > 0
    assert wanted.outcomes["a", "late_folded"] > 0
    assert wanted.outcomes["b", "late_counted"] > 0
