"""The Kafka source and dead letters against a real broker."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    NewPartitions,
)

from observer.errors import Permanent, Retryable
from observer.model import Messages, Origin, Partition, Rejected
from observer.sources.kafka import KafkaDeadLetters, KafkaSource, KafkaSpec, describe
from tests.services.kafka import KafkaBroker
from tests.services.process import free_port

QUICK = {"statistics.interval.ms": 1000, "topic.metadata.refresh.interval.ms": 500}
Seen = dict[int, list[tuple[int, bytes]]]


def produce(broker: KafkaBroker, topic: str, values: list[bytes | None], partition: int = 0) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 2})
    for value in values:
        producer.produce(topic, value, partition=partition)
    assert producer.flush(30) == 0


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % i for i in range(start, start + count)]


def source_of(broker: KafkaBroker, topic: str, **fields) -> KafkaSource:
    return KafkaSource(KafkaSpec(brokers=broker.bootstrap, topic=topic, **fields), "predictions")


def place(topic: str, number: int = 0) -> Partition:
    return Partition("predictions", topic, number)


def keep(seen: Seen, messages: Messages) -> None:
    for i, value in enumerate(messages.values):
        origin = messages.origin(i)
        seen[origin.partition].append((origin.offset, value))


def poll_until(
    source: KafkaSource, done: Callable[[Seen, Messages], bool], seconds: float = 60
) -> tuple[Seen, dict[Partition, int], Messages]:
    """Poll until `done`; returns what came, the positions told, and the last poll."""
    seen: Seen = defaultdict(list)
    positions: dict[Partition, int] = {}
    end = time.monotonic() + seconds
    while True:
        messages = source.poll(500, 0.2)
        keep(seen, messages)
        positions.update(messages.positions)
        if done(seen, messages):
            return seen, positions, messages
        assert time.monotonic() < end, f"still waiting; seen { ({k: len(v) for k, v in seen.items()}) }"


def total(count: int) -> Callable[[Seen, Messages], bool]:
    return lambda seen, _: sum(map(len, seen.values())) >= count


def caught_up(_seen: Seen, messages: Messages) -> bool:
    return len(messages.caught_up) == len(messages.partitions)


def test_every_partition_is_read_and_resumed_exactly(kafka, topic_name):
    topic = kafka.create_topic(topic_name(), 3)
    for number in range(3):
        produce(kafka, topic, numbered(1000, 10_000 * number), number)
    source = source_of(kafka, topic)
    source.open({})
    seen, positions = defaultdict(list), {}
    for _ in range(4):  # stop in the middle
        messages = source.poll(300, 10)
        keep(seen, messages)
        positions.update(messages.positions)
    source.close()
    assert 0 < sum(map(len, seen.values())) < 3000
    for number in range(3):
        assert positions[place(topic, number)] == len(seen[number])

    source = source_of(kafka, topic)
    source.open(positions)
    rest, positions, messages = poll_until(source, caught_up)
    for number in range(3):
        expected = list(enumerate(numbered(1000, 10_000 * number)))
        assert seen[number] + rest[number] == expected
        assert positions[place(topic, number)] == 1000
    assert messages.partitions == tuple(place(topic, number) for number in range(3))
    assert source.lag() == {place(topic, number): 0 for number in range(3)}
    assert source.gaps == {}
    source.close()


def test_caught_up_holds_until_a_message_comes(kafka, topic_name):
    topic = kafka.create_topic(topic_name(), 2)
    produce(kafka, topic, [b"a", None, b""], 0)
    source = source_of(kafka, topic)
    source.open({})
    seen, positions, _ = poll_until(source, caught_up)
    assert seen[0] == [(0, b"a"), (1, b""), (2, b"")]
    assert positions == {place(topic, 0): 3, place(topic, 1): 0}
    messages = source.poll(10, 0.3)
    assert (len(messages), messages.positions, messages.caught_up) == (0, {}, {0, 1})
    produce(kafka, topic, numbered(500), 1)
    behind = source.poll(20, 10)
    assert behind.caught_up == {0}
    assert behind.positions == {place(topic, 1): 20}
    assert source.lag() == {place(topic, 0): 0, place(topic, 1): 480}
    seen, _, _ = poll_until(source, caught_up)
    assert len(seen[1]) == 480
    source.close()


def test_latest_is_decided_at_the_start(kafka, topic_name):
    topic = kafka.create_topic(topic_name())
    produce(kafka, topic, numbered(10))
    source = source_of(kafka, topic, start="latest")
    source.open({})
    positions = source.poll(10, 0.1).positions
    source.close()
    assert positions == {place(topic): 10}
    produce(kafka, topic, numbered(5, 10))  # comes while nobody reads
    source = source_of(kafka, topic, start="latest")
    source.open(positions)
    seen, _, _ = poll_until(source, caught_up)
    assert [value for _, value in seen[0]] == numbered(5, 10)
    source.close()


def test_new_partitions_are_found_and_read_from_their_beginning(kafka, topic_name):
    topic = kafka.create_topic(topic_name(), 1)
    produce(kafka, topic, numbered(10))
    source = source_of(kafka, topic, start="latest", options=QUICK)
    source.open({})
    poll_until(source, caught_up)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result(timeout=30)
    time.sleep(1)  # until a producer can see them
    produce(kafka, topic, numbered(7), 2)
    seen, positions, messages = poll_until(source, total(7))
    assert [value for _, value in seen[2]] == numbered(7)
    assert messages.partitions == tuple(place(topic, number) for number in range(3))
    assert positions[place(topic, 2)] == 7
    assert source.gaps == {}
    source.close()


def test_a_truncated_log_is_read_on_and_the_gap_counted(kafka, topic_name, caplog):
    topic = kafka.create_topic(topic_name(), 2)
    for number in range(2):
        produce(kafka, topic, numbered(100), number)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for future in admin.delete_records([TopicPartition(topic, 1, 60)]).values():
        future.result(timeout=30)
    source = source_of(kafka, topic)
    source.open({place(topic, 0): 50, place(topic, 1): 25})
    seen, positions, _ = poll_until(source, caught_up)
    assert [offset for offset, _ in seen[0]] == list(range(50, 100))
    assert [offset for offset, _ in seen[1]] == list(range(60, 100))
    assert source.gaps == {place(topic, 1): 35}
    assert positions == {place(topic, 0): 100, place(topic, 1): 100}
    assert f"Kafka {topic}[1]@25: the log holds 60 to 100" in caplog.text
    assert "35 messages were deleted unread" in caplog.text
    source.close()


def test_a_position_beyond_the_end_is_told_and_read_from_the_start(kafka, topic_name, caplog):
    topic = kafka.create_topic(topic_name())
    produce(kafka, topic, numbered(5))
    source = source_of(kafka, topic)
    source.open({place(topic): 1000})
    seen, _, _ = poll_until(source, caught_up)
    assert [offset for offset, _ in seen[0]] == list(range(5))
    assert source.gaps == {place(topic): 1}
    assert "was it created anew?" in caplog.text
    source.close()


def test_a_topic_deleted_while_it_is_read_is_a_permanent_error(kafka, topic_name):
    topic = kafka.create_topic(topic_name(), 2)
    source = source_of(kafka, topic, options=QUICK)
    source.open({})
    poll_until(source, caught_up)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.delete_topics([topic])[topic].result(timeout=30)
    with pytest.raises(Permanent, match=f"Kafka topic {topic} .* was deleted"):
        poll_until(source, lambda *_: False)
    source.close()


def test_nothing_is_lost_when_the_broker_is_killed_in_the_middle(kafka, topic_name, caplog):
    if not kafka.can_restart:
        pytest.skip("the broker is not ours to kill")
    topic = kafka.create_topic(topic_name(), 2)
    for number in range(2):
        produce(kafka, topic, [b"%09d" % i + b"x" * 600 for i in range(60_000)], number)
    source = source_of(kafka, topic)
    source.open({})
    seen, positions, _ = poll_until(source, total(5_000))
    kafka.kill()
    # What the client holds already still comes; then it waits and says so.
    more, told, _ = poll_until(source, lambda *_: "no Kafka broker" in caplog.text)
    positions |= told
    kafka.start()
    rest, told, _ = poll_until(source, lambda s, m: caught_up(s, m) and total(1)(s, m))
    positions |= told
    for number in range(2):
        offsets = [offset for part in (seen, more, rest) for offset, _ in part[number]]
        assert offsets == list(range(60_000))
        assert positions[place(topic, number)] == 60_000
    assert caplog.text.count("no Kafka broker") == 1
    # Messages that come without a pause may have waited in the client; the next look at the topic tells.
    poll_until(source, lambda *_: "answers again" in caplog.text)
    assert source.gaps == {}
    source.close()


def test_committed_positions_are_seen_by_lag_tools(kafka, topic_name):
    topic = kafka.create_topic(topic_name(), 2)
    source = source_of(kafka, topic, group=f"{topic}-group")
    source.open({})
    elsewhere = Partition("labels", "other", 0)
    source.commit({place(topic, 0): 42, place(topic, 1): 7, elsewhere: 3})
    source.poll(1, 0.5)
    source.close()
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(f"{topic}-group")])
    found = asked[f"{topic}-group"].result(timeout=30).topic_partitions
    assert {(one.topic, one.partition): one.offset for one in found} == {(topic, 0): 42, (topic, 1): 7}


def test_an_unknown_topic_is_named(kafka, topic_name):
    name = topic_name("absent")
    source = source_of(kafka, name)
    with pytest.raises(Retryable, match=f"Kafka topic {name} at {kafka.bootstrap}: .*create the topic"):
        source.open({})
    source.close()


def test_an_unreachable_broker_is_named(monkeypatch):
    monkeypatch.setattr("observer.sources.kafka.source._ATTEMPTS", 1)
    port = free_port()
    source = KafkaSource(KafkaSpec(brokers=f"127.0.0.1:{port}", topic="t"), "labels")
    with pytest.raises(
        Retryable, match=rf"no Kafka broker of 127\.0\.0\.1:{port} answers .*\(topic t\): .*refused"
    ):
        source.open({})


def read_dead(broker: KafkaBroker, topic: str, count: int) -> list[tuple[bytes | None, dict[str, str]]]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "dead", "log_level": 2})
    consumer.assign([TopicPartition(topic, 0, 0)])
    messages = consumer.consume(count + 1, 5)
    consumer.close()
    return [(one.value(), {name: value.decode() for name, value in one.headers()}) for one in messages]


def test_dead_letters_carry_their_reason(kafka, topic_name):
    topic = topic_name()
    kafka.create_topic(f"{topic}.dead")
    letters = KafkaDeadLetters(KafkaSpec(brokers=kafka.bootstrap, topic=topic))
    letters.reject(
        [
            Rejected(Origin(topic, 3, 17), b"\xff{", "undecodable", "not JSON: é\ud800", ""),
            Rejected(Origin(topic, 0, 18), b"y" * 3_000_000, "too_large", "3 MB" + "z" * 5000, "fraud"),
        ]
    )
    letters.flush()
    letters.close()
    first, second = read_dead(kafka, f"{topic}.dead", 2)
    assert first == (
        b"\xff{",
        {
            "observer-reason": "undecodable",
            "observer-detail": "not JSON: é?",
            "observer-origin": f"{topic}[3]@17",
            "observer-model": "",
        },
    )
    assert second[0] == b"y" * 1_000_000
    assert second[1]["observer-truncated"] == "3000000"
    assert second[1]["observer-model"] == "fraud"
    assert len(second[1]["observer-detail"]) == 1000


def test_dead_letters_are_cut_to_what_the_topic_takes(kafka, topic_name):
    topic = topic_name()
    kafka.create_topic(f"{topic}.dead", **{"max.message.bytes": "20000"})
    spec = KafkaSpec(brokers=kafka.bootstrap, topic=topic, options={"compression.type": "none"})
    letters = KafkaDeadLetters(spec)
    letters.reject([Rejected(Origin(topic, 0, 1), b"y" * 150_000, "invalid", "")])
    letters.flush()
    letters.close()
    ((payload, headers),) = read_dead(kafka, f"{topic}.dead", 1)
    assert payload == b"y" * 15_000
    assert headers["observer-truncated"] == "150000"


def flush(letters: KafkaDeadLetters) -> None:
    for _ in range(60):
        with suppress(Retryable):
            return letters.flush()
    pytest.fail("dead letters are never written")


def test_dead_letters_survive_a_broker_restart(kafka, topic_name):
    if not kafka.can_restart:
        pytest.skip("the broker is not ours to kill")
    topic = topic_name()
    kafka.create_topic(f"{topic}.dead")
    letters = KafkaDeadLetters(KafkaSpec(brokers=kafka.bootstrap, topic=topic), timeout=1)
    letters.reject([Rejected(Origin(topic, 0, 0), b"0", "invalid", "")])
    flush(letters)
    kafka.kill()
    letters.reject([Rejected(Origin(topic, 0, 1), b"1", "invalid", "")])
    with pytest.raises(Retryable, match="1 dead letters not written"):
        letters.flush()
    kafka.start()
    flush(letters)
    letters.close()
    assert [payload for payload, _ in read_dead(kafka, f"{topic}.dead", 2)] == [b"0", b"1"]


def test_a_topic_is_described(kafka, topic_name):
    topic = kafka.create_topic(topic_name(), 2)
    produce(kafka, topic, numbered(9), 1)
    spec = KafkaSpec(brokers=kafka.bootstrap, topic=topic)
    found = describe(spec, "predictions", sample=2)
    assert found.offsets == {place(topic, 0): (0, 0), place(topic, 1): (0, 9)}
    assert found.readable
    assert found.samples == ((Origin(topic, 1, 7), b"7"), (Origin(topic, 1, 8), b"8"))
    assert found.dead_letters is not None
    assert found.dead_letters.writable is None
    assert "does not exist" in found.dead_letters.detail
    kafka.create_topic(f"{topic}.dead")
    again = describe(spec, "predictions").dead_letters
    assert again is not None
    assert again.writable is True
    assert describe(spec.model_copy(update={"dead_letters": None}), "predictions").dead_letters is None


def test_an_empty_topic_is_readable(kafka, topic_name):
    topic = kafka.create_topic(topic_name(), 2)
    found = describe(KafkaSpec(brokers=kafka.bootstrap, topic=topic), "labels")
    assert found.readable
    assert found.samples == ()
