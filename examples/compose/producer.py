"""Writes the events of `observer demo` to Kafka, in event time that runs faster.

producer.py BROKERS PREDICTIONS LABELS [HOURS_PER_SECOND]
"""

from __future__ import annotations

import sys
import time

from confluent_kafka import Producer

from observer.clock import SystemClock
from observer.sources.demo import DemoSource, EventClock, Script


def main(brokers: str, predictions: str, labels: str, hours_per_second: float = 1.0) -> None:
    """Write until it is stopped."""
    producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True, "linger.ms": 50})
    script = Script.default()
    clock = EventClock(SystemClock(), script.start / 1000, hours_per_second * 3600)
    sources = {
        predictions: DemoSource(script, "predictions", clock),
        labels: DemoSource(script, "labels", clock),
    }
    for source in sources.values():
        source.open({})
    while True:
        for topic, source in sources.items():
            # A model's messages stay in the order of their events: one key, one partition.
            messages = source.poll(1_000, 0.1)
            for partition, payload in zip(messages.partition, messages.values, strict=True):
                producer.produce(topic, payload, key=str(partition))
        producer.poll(0)
        time.sleep(0.05)


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(float, sys.argv[4:]))
