"""The client against a real broker that is stopped, slow and restarted, and what the service makes of it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from confluent_kafka import Consumer, TopicPartition

from observer.client import KafkaTransport, PredictionLogger
from observer.codecs import AutoSpec, codec
from observer.codecs.keys import hash_ids
from tests.services.kafka import KafkaBroker
from tests.services.observer import Observer
from tests.services.process import free_port
from tests.services.proxy import Proxy
from tests.unit.client.fakes import balanced
from tests.unit.codecs.helpers import all_rows, messages

pytestmark = [
    pytest.mark.services,
    pytest.mark.slow,
    # kafka-python reads its protocol with a function that Python 3.11 has deprecated
    pytest.mark.filterwarnings("ignore:.* is deprecated. Use files:DeprecationWarning"),
]
LIBRARIES = ("confluent-kafka", "kafka-python")
PARTITIONS = 2
CALLS, FRAME = 300, 50  # of each phase: single calls, and rows of the frame that ends it


class SlowKafka(KafkaBroker):
    """A broker that clients reach through a proxy only."""

    def __init__(self, proxy: Proxy, port: int) -> None:
        super().__init__({"advertised.listeners": f"PLAINTEXT://127.0.0.1:{proxy.port}"})
        if self.can_restart:
            self._port = port
            self.bootstrap = f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def slow() -> Iterator[tuple[KafkaBroker, Proxy]]:
    port = free_port()
    with Proxy(port) as proxy, SlowKafka(proxy, port) as broker:
        if not broker.can_restart:
            pytest.skip("the broker given by the environment cannot be killed")
        yield broker, proxy


def consumed(bootstrap: str, topic: str, partitions: int = PARTITIONS) -> list[bytes]:
    """Every message of the topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "log_level": 0})
    places = [TopicPartition(topic, number, 0) for number in range(partitions)]
    left = sum(consumer.get_watermark_offsets(place, timeout=20)[1] for place in places)
    consumer.assign(places)
    values: list[bytes] = []
    while len(values) < left:
        found = consumer.consume(left - len(values), 20)
        assert found, f"{len(values)} of {left} messages of {topic}"
        values += [message.value() for message in found]
    consumer.close()
    return values


def model(amount: float) -> tuple[str, float]:
    """What is to be disturbed by nothing: an answer and a score."""
    score = (amount * 7919 % 1000) / 1000
    return ("yes" if score > 0.5 else "no"), score


class Service:
    """A model server that logs what its model says, and how long each call of the logger took."""

    def __init__(self, logger: PredictionLogger) -> None:
        self.logger = logger
        self.random = random.Random(1)
        self.logged: dict[str, tuple[float, str, float]] = {}
        self.taken: list[float] = []

    def serve(self) -> None:
        for _ in range(CALLS):
            amount = round(self.random.uniform(0, 1000), 3)
            answer, score = model(amount)
            start = time.perf_counter()
            one = self.logger.log({"amount": amount, "country": "DE"}, answer, score)
            self.taken.append(time.perf_counter() - start)
            self.logged[one] = (amount, answer, score)
            time.sleep(0.001)
        amounts = np.round(np.linspace(0, 999, FRAME) + len(self.logged), 3)
        answers, scores = zip(*map(model, amounts.tolist()), strict=True)
        start = time.perf_counter()
        ids = self.logger.log_frame({"amount": amounts, "country": ["FR"] * FRAME}, answers, scores)
        self.taken.append(time.perf_counter() - start)
        rows = zip(amounts.tolist(), answers, scores, strict=True)
        self.logged.update(zip(ids, rows, strict=True))


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_broker_that_is_slow_stopped_and_restarted(slow, topic_name, tmp_path, library):
    """Nothing is lost, nothing counts twice, and the model does not notice."""
    broker, proxy = slow
    topic, labels = (
        broker.create_topic(topic_name(), PARTITIONS),
        broker.create_topic(topic_name(), PARTITIONS),
    )
    transport = KafkaTransport(broker.bootstrap, library)
    logger = PredictionLogger(
        "fraud",
        version="7",
        transport=transport,
        topic=topic,
        labels_topic=labels,
        linger=0.1,
        batch_rows=100,
    )
    service = Service(logger)
    service.serve()
    proxy.delay = 0.3
    service.serve()
    broker.kill()
    service.serve()
    proxy.delay = 0.0
    broker.start()
    service.serve()
    broker.restart()
    service.serve()
    for one in service.logged:
        logger.label(one, "yes")
    assert logger.flush(90), logger.stats()
    stats = logger.stats()
    logger.close()
    assert stats.logged == stats.delivered == 2 * len(service.logged) == 2 * 5 * (CALLS + FRAME)
    assert not stats.dropped
    assert all(model(amount) == (answer, score) for amount, answer, score in service.logged.values())
    service.taken.sort()
    # The outages lasted for seconds; no call may have waited for one.
    assert service.taken[len(service.taken) // 2] < 0.002
    assert service.taken[int(len(service.taken) * 0.99)] < 0.2

    decoded = codec(AutoSpec(), {}, learn_unknown=True).predictions(
        messages(consumed(broker.bootstrap, topic)), time.time() + 60
    )
    assert not decoded.rejected
    rows = {row["key"]: row for row in all_rows(decoded)}
    keys = [key.tobytes() for key in hash_ids(list(service.logged), "fraud")]
    assert rows.keys() == set(keys)
    for key, (amount, answer, score) in zip(keys, service.logged.values(), strict=True):
        row = rows[key]
        found = (row["features.amount"], row["prediction"], row["scores."])
        assert found == (amount, answer, score)
    matches(broker, topic, labels, tmp_path, len(service.logged))


def matches(broker: KafkaBroker, topic: str, labels: str, folder: Path, expected: int) -> None:
    """Have the service consume both topics: every label meets its prediction, once."""
    source = {"type": "kafka", "brokers": broker.bootstrap, "group": topic}
    observer = Observer(
        folder,
        {
            "predictions": {**source, "topic": topic},
            "labels": {**source, "topic": labels, "horizon": "1h"},
            "models": {"fraud": {"task": "binary", "positive": "yes"}},
            "checkpoint_every": "500ms",
        },
    )
    observer.start()
    try:
        address = observer.wait_ready()

        def counted(name: str, **wanted: str) -> float:
            lines = httpx.get(f"http://{address}/metrics", timeout=10).text.splitlines()
            labels = [f'{key}="{value}"' for key, value in wanted.items()]
            found = [
                line for line in lines if line.startswith(name + "{") and all(one in line for one in labels)
            ]
            return sum(float(line.split()[-1]) for line in found)

        observer.process.wait_until(
            lambda: counted("observer_labels_total", outcome="matched") >= expected, 60
        )
        assert counted("observer_labels_total", outcome="matched") == expected
        assert (
            counted("observer_labels_total") - counted("observer_labels_total", outcome="waiting") == expected
        )
        assert counted("observer_events_total", outcome="rejected") == 0
        assert counted("observer_joins_pending", state="prediction") == 0
        assert observer.end() == 0
    finally:
        observer.kill()


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_does_not_fit_is_counted_exactly(slow, topic_name, library):
    """With a small buffer an outage costs events; the account says how many, and the topic agrees."""
    broker, _ = slow
    topic = broker.create_topic(topic_name(), PARTITIONS)
    transport = KafkaTransport(broker.bootstrap, library)
    logger = PredictionLogger(
        "m", transport=transport, topic=topic, format="json", buffer_bytes=200_000, linger=0.1
    )
    ids = [logger.log({"x": 1}, 1)]
    assert logger.flush(60)
    broker.kill()
    ids += [logger.log({"x": number}, 1) for number in range(5_000)]
    assert logger.stats().dropped["overflow"] > 3_000
    broker.start()
    assert logger.flush(90), logger.stats()
    ids.append(logger.log({"x": 2}, 1))
    assert logger.flush(60)
    stats = logger.stats()
    logger.close()
    assert balanced(stats)
    assert stats.pending == 0
    found = Counter(json.loads(value)["id"] for value in consumed(broker.bootstrap, topic))
    assert len(found) == stats.delivered
    assert found.keys() <= {*ids}
    assert {ids[0], *ids[-10:]} <= found.keys()
    assert stats.dropped == {"overflow": len(ids) - len(found)}


def run(code: str, *arguments: object, timeout: float = 120) -> str:
    """What a process of its own prints."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


START = """
    import os, sys, time
    from observer.client import KafkaTransport, PredictionLogger
    brokers, library, topic = sys.argv[1:4]
    transport = KafkaTransport(brokers, library)
"""


@pytest.mark.parametrize("library", LIBRARIES)
def test_forked_servers_and_their_ends(slow, topic_name, library):
    """A producer is alive when the server forks; each process sends its own and ends by itself in time."""
    broker, _ = slow
    topic = broker.create_topic(topic_name(), 1)
    code = (
        START
        + """
    logger = PredictionLogger("m", transport=transport, topic=topic, format="json", close_timeout=30)
    logger.log({"x": 0}, 0, id="parent")
    assert logger.flush(30), logger.stats()
    logger.log({"x": 0}, 0, id="parent, later")
    children = []
    for number in range(3):
        child = os.fork()
        if not child:
            logger.log({"x": 0}, 0, id=f"child {number}")
            sys.exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    """
    )
    run(code, broker.bootstrap, library, topic)
    found = Counter(json.loads(value)["id"] for value in consumed(broker.bootstrap, topic, 1))
    assert found == Counter(["parent", "parent, later", *(f"child {number}" for number in range(3))])


@pytest.mark.parametrize("library", LIBRARIES)
def test_spilled_events_outlive_their_process(slow, topic_name, tmp_path, library):
    """A process that cannot reach the broker leaves its events on disk; the next one sends them."""
    broker, _ = slow
    topic = broker.create_topic(topic_name(), 1)
    code = (
        START
        + """
    logger = PredictionLogger(
        "m", transport=transport, topic=topic, format="json", overflow="spill", spill=sys.argv[4],
        buffer_bytes=500_000, close_timeout=float(sys.argv[6]),
    )
    for number in range(200):
        logger.log({"x": number}, 1, id=f"{sys.argv[5]} {number}")
        time.sleep(0.002)
    logger.close()
    print(logger.stats())
    """
    )
    broker.kill()
    first = run(code, broker.bootstrap, library, topic, tmp_path, "first", 0.2)
    broker.start()
    second = run(code, broker.bootstrap, library, topic, tmp_path, "second", 60)
    found = Counter(json.loads(value)["id"] for value in consumed(broker.bootstrap, topic, 1))
    assert found == Counter(f"{one} {number}" for one in ("first", "second") for number in range(200)), (
        first,
        second,
    )
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
