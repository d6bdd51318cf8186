"""Predictions and labels of two models in Kafka, a configuration that reads them, and what must come out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from observer.app import Service
from observer.clock import SystemClock
from observer.config import load
from observer.model import Partition
from tests.services.kafka import KafkaBroker
from tests.unit.pipeline import events
from tests.unit.pipeline.oracle import Rules, expect
from tests.unit.pipeline.service import START, Kept, Letters, MemorySource, read, reference
from tests.unit.pipeline.test_exact import REFERENCE, fold_values, same

SECOND, HOUR = 1000, 3_600_000
STREAMS = ("predictions", "labels")
PARTITIONS = 3
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


class Streams:
    """Topics of their own, still empty, and what is to be written to them.

    Parameters
    ----------
    folder : Path
        Gets the models' reference.
    count : int
        Predictions; labels come beside them.

    Attributes
    ----------
    config : dict
        For the service; the state is where it is put.
    wanted : Expected
        What one clean pass over the log makes of it.
    """

    def __init__(
        self, kafka: KafkaBroker, topic_name: Callable[..., str], folder: Path, seed: int, count: int
    ) -> None:
        predictions, labels = events.make(
            seed, count, start=START, step=STEP, partitions=PARTITIONS, models=["a", "b"], horizon=HORIZON,
            disorder=3 * SECOND, very_late=200 * SECOND, delay=60 * SECOND,
        )  # fmt: skip
        self.wanted = fold_values(expect(RULES, predictions, labels, HORIZON))
        self._kafka = kafka
        self._topics = {s: kafka.create_topic(topic_name(s), PARTITIONS) for s in STREAMS}
        for topic in self._topics.values():
            kafka.create_topic(f"{topic}.dead", 1)
        self._logs = dict(zip(self._topics.values(), (predictions, labels), strict=True))
        self._group = topic_name("group")
        profile = folder / "reference"
        reference(REFERENCE).save(profile)
        own = {"reference": str(profile), "segments": [{"tag": "country", "values": ["DE", "FR"]}]}
        source = {"type": "kafka", "brokers": kafka.bootstrap, "group": self._group, "encoding": "json"}
        self.config: dict[str, Any] = {
            **{stream: {**source, "topic": topic} for stream, topic in self._topics.items()},
            "models": {name: {**own, **model} for name, model in MODELS.items()},
            "learn_unknown": False,
            "idle_after": "1h",  # while it catches up after an outage no partition may count as idle
        }
        self.config["labels"]["horizon"] = f"{HORIZON // HOUR}h"

    @property
    def ends(self) -> dict[tuple[str, int], int]:
        """Where each partition ends once everything is written."""
        return {(topic, n): len(log) for topic, logs in self._logs.items() for n, log in logs.items()}

    def merged(self) -> list[tuple[str, int, bytes]]:
        """Topic, partition and payload, so that all partitions of both topics come forward together."""
        columns = [
            [(at / len(log), topic, partition, payload) for at, payload in enumerate(log)]
            for topic, logs in self._logs.items()
            for partition, log in logs.items()
        ]
        ordered = sorted(itertools.chain.from_iterable(columns), key=lambda item: item[0])
        return [(topic, partition, payload) for _, topic, partition, payload in ordered]

    def producer(self) -> Producer:
        """One that leaves neither gaps nor repetitions where a broker is killed."""
        return Producer(
            {
                "bootstrap.servers": self._kafka.bootstrap,
                "enable.idempotence": True,
                "linger.ms": 5,
                "reconnect.backoff.max.ms": 1000,
                "log_level": 0,
            }
        )

    def positions(self) -> dict[tuple[str, int], int]:
        """What the group has committed."""
        admin = AdminClient({"bootstrap.servers": self._kafka.bootstrap, "log_level": 0})
        places = [TopicPartition(*place) for place in self.ends]
        asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(self._group, places)])
        try:
            found = asked[self._group].result(timeout=10).topic_partitions
        except KafkaException:
            return {}
        return {(one.topic, one.partition): one.offset for one in found}

    def is_read(self) -> bool:
        """Whether all there will be is read and saved."""
        return self.positions() == self.ends

    def equals_a_clean_pass(self, path: Path) -> tuple[Kept, int]:
        """What the state of a configuration holds, and the number of its last checkpoint."""
        sources = {stream: MemorySource(stream, {}) for stream in STREAMS}
        letters = {stream: Letters() for stream in STREAMS}
        with Service(
            load(path), SystemClock(), sources=sources, dead_letters=letters, serve=False
        ) as service:
            kept = read(service)
            held = service.pipeline.positions
            checkpoints = service.pipeline.checkpoint_number
        streams = {topic: stream for stream, topic in self._topics.items()}
        assert held == {Partition(streams[t], t, n): end for (t, n), end in self.ends.items()}
        same(kept, self.wanted)
        return kept, checkpoints

    def repeated_letters(self) -> int:
        """How often a dead letter is there again; `AssertionError` unless each that must be there is."""
        repeated = 0
        for stream, topic in self._topics.items():
            origins = self._origins(f"{topic}.dead")
            assert set(origins) == {f"{topic}[{n}]@{offset}" for n, offset in self.wanted.bad[stream]}
            repeated += len(origins) - len(set(origins))
        return repeated

    def _origins(self, topic: str) -> list[str]:
        settings: Mapping[str, Any] = {"bootstrap.servers": self._kafka.bootstrap, "group.id": "reader"}
        consumer = Consumer({**settings, "log_level": 0})
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
