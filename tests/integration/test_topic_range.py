"""References from a range of a real topic: exactly the messages between two bounds."""

from __future__ import annotations

import json

import pytest
from confluent_kafka import Producer

from observer.codecs import AutoSpec
from observer.errors import ConfigError
from observer.sources.kafka import KafkaSpec, bound
from observer.sources.log import of_topic
from observer.training import read_log
from tests.services.kafka import KafkaBroker

FIRST = 1_700_000_000_000


@pytest.fixture(scope="module")
def spec(kafka: KafkaBroker) -> KafkaSpec:
    """Three partitions, of which the last is empty; message i is dated FIRST + i seconds."""
    topic = "predictions-range"
    kafka.create_topic(topic, 3)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 2})
    for i in range(400):
        event = {"id": f"e{i}", "model": "m", "time": FIRST, "prediction": 1, "features": {"i": i}}
        producer.produce(topic, json.dumps(event).encode(), partition=i % 2, timestamp=FIRST + i * 1000)
    assert producer.flush(30) == 0
    return KafkaSpec(brokers=kafka.bootstrap, topic=topic, start="latest")


def numbers(spec: KafkaSpec, start: str | None, end: str | None) -> list[int]:
    bounds = [None if text is None else bound(text) for text in (start, end)]
    rows = read_log(of_topic(spec, AutoSpec(), "predictions", *bounds), "m")
    return sorted(map(int, rows.columns["i"].values.tolist()))  # type: ignore[union-attr]


def test_exactly_what_lies_between_the_bounds_is_read(spec: KafkaSpec) -> None:
    assert numbers(spec, None, None) == list(range(400))
    at = [str(FIRST + 100 * 1000), "2023-11-14T22:16:40Z"]  # 200 s after the first
    assert numbers(spec, at[0], at[1]) == list(range(100, 200))
    assert numbers(spec, "0:10,1:20", "0:12,1:21") == [20, 22, 41]
    assert numbers(spec, "0:190", "1:0") == list(range(380, 400, 2))


def test_a_log_is_the_same_at_every_reading(spec: KafkaSpec, kafka: KafkaBroker) -> None:
    log = of_topic(spec, AutoSpec(), "predictions", bound("0:150"), None)
    first = read_log(log, "m")
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 2})
    late = {"id": "late", "model": "other", "time": FIRST, "prediction": 1}
    producer.produce(spec.topic, json.dumps(late).encode(), partition=2)
    assert producer.flush(30) == 0
    assert read_log(log, "m").keys.tolist() == first.keys.tolist()
    with pytest.raises(ConfigError, match="no events of model 'other'; it has: m"):
        read_log(log, "other")


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("7:0", None, "from 7:0: no partition 7; there are 3"),
        ("0:201", None, "from 0:201: partition 0 holds 0 to 200"),
        ("0:20", "0:10", "partition 0: the range from 20 ends at 10"),
    ],
)
def test_bounds_that_are_not_there_are_refused(
    spec: KafkaSpec, start: str, end: str | None, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        numbers(spec, start, end)


@pytest.mark.parametrize("text", ["yesterday", "0:1,0:2", "0:", ""])
def test_what_is_no_bound_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        bound(text)


def test_bounds_as_people_write_them() -> None:
    assert bound("0:1, 12:30") == {0: 1, 12: 30}
    assert bound("1700000000000") == bound("2023-11-14T22:13:20Z") == bound("2023-11-14T22:13:20") == FIRST
