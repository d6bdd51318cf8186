"""Labels for a reference from a real topic: from its beginning to its present end."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from confluent_kafka import Producer

from detectors.base import Numbers
from observer.codecs import AutoSpec
from observer.errors import ConfigError
from observer.sources.kafka import KafkaSpec
from observer.sources.log import of_topic
from observer.training import labels_of
from tests.services.kafka import KafkaBroker


def test_labels_of_every_partition_are_read_once(
    kafka: KafkaBroker, topic_name: Callable[[str], str]
) -> None:
    topic = topic_name("labels")
    kafka.create_topic(topic, 3)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 2})
    for i in range(300):
        label = {"id": f"e{i}", "model": "m" if i % 3 else "n", "time": 1_700_000_000_000 + i, "label": i}
        producer.produce(topic, json.dumps(label).encode(), partition=i % 2)  # the third stays empty
    assert producer.flush(30) == 0
    spec = KafkaSpec(brokers=kafka.bootstrap, topic=topic, start="latest")
    found = labels_of(of_topic(spec, AutoSpec(), "labels"), "m")
    assert isinstance(found.label, Numbers)
    assert sorted(found.label.values.astype(int).tolist()) == [i for i in range(300) if i % 3]
    assert (np.diff(found.keys.astype(object)) > 0).all()
    with pytest.raises(ConfigError, match=f"Kafka topic {topic}: no labels of model 'x'"):
        labels_of(of_topic(spec, AutoSpec(), "labels"), "x")
