"""What reading through `KafkaSource` costs beside librdkafka's bare `consume` loop, on the same topic."""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
import uuid
from collections.abc import Callable, Iterable
from statistics import median

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from observer.sources.kafka import KafkaSource, KafkaSpec

MESSAGES = 1_000_000
BYTES = 600
PARTITIONS = 4
LIMIT = 2_000
ROUNDS = 3


def fill_topic(
    bootstrap: str, topic: str, payloads: Iterable[bytes], partitions: int = 1, compression: str = "none"
) -> int:
    """Create the topic, write the payloads round-robin over its partitions; returns how many there were."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(timeout=30)
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 50,
            "batch.size": 1_000_000,
            "compression.type": compression,
            "queue.buffering.max.messages": 200_000,
            "queue.buffering.max.kbytes": 512 * 1024,
            "enable.idempotence": True,  # exactly as many as asked for, in order
        }
    )
    failed: list[KafkaError] = []

    def delivered(error, _message) -> None:
        if error is not None:
            failed.append(error)

    count = 0
    for count, payload in enumerate(payloads, 1):
        partition = (count - 1) % partitions
        while True:
            try:
                producer.produce(topic, payload, partition=partition, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        if not count % 1000:
            producer.poll(0)
    if producer.flush(120) or failed:
        raise RuntimeError(f"topic {topic} could not be filled: {failed[:1] or 'no answer'}")
    return count


def run(bootstrap: str) -> list[dict]:
    """One row per way of reading: messages/s, messages per CPU-second, and the ratio to the bare loop."""
    topic = f"bench-consume-{uuid.uuid4().hex[:8]}"
    fill_topic(bootstrap, topic, (os.urandom(BYTES // 2).hex().encode() for _ in range(MESSAGES)), PARTITIONS)
    ways = {"bare consume()": _bare, "KafkaSource.poll()": _source}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(ROUNDS):  # in turn, so that a slow minute of the machine falls on both
        for name, way in ways.items():
            taken[name].append(_measure(way, bootstrap, topic))
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.delete_topics([topic])[topic].result(timeout=30)
    rows = []
    for name, pairs in taken.items():
        wall, cpu = (median(pair[i] for pair in pairs) for i in (0, 1))
        rows.append({"way": name, "messages_per_s": MESSAGES / wall, "messages_per_cpu_s": MESSAGES / cpu})
    for row in rows:
        row["ratio_per_s"] = row["messages_per_s"] / rows[0]["messages_per_s"]
        row["ratio_per_cpu_s"] = row["messages_per_cpu_s"] / rows[0]["messages_per_cpu_s"]
    return rows


def _measure(way: Callable[[str, str], int], bootstrap: str, topic: str) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), _cpu()
    count = way(bootstrap, topic)
    wall, cpu = time.perf_counter() - wall, _cpu() - cpu
    if count != MESSAGES:
        raise RuntimeError(f"{count} messages read, {MESSAGES} written")
    return wall, cpu


def _cpu() -> float:
    """CPU seconds of this process, librdkafka's threads included."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _bare(bootstrap: str, topic: str) -> int:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 2,
        }
    )
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
    count = 0
    while count < MESSAGES:
        count += len(consumer.consume(min(LIMIT, MESSAGES - count), 1.0))
    consumer.close()
    return count


def _source(bootstrap: str, topic: str) -> int:
    source = KafkaSource(KafkaSpec(brokers=bootstrap, topic=topic, group="bench"), "predictions")
    source.open({})
    count = 0
    while count < MESSAGES:
        count += len(source.poll(min(LIMIT, MESSAGES - count), 1.0))
    source.close()
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bootstrap", help="host:port of a Kafka broker")
    for row in run(parser.parse_args().bootstrap):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
