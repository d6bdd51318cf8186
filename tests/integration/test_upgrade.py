"""Upgraded again and again while events flow: no window lost or doubled, every count that of one clean pass.

The new process is started before the old one is told to end, over one state, as when a pod is replaced: it
waits for the state, and goes on where the old one stopped.
"""

from __future__ import annotations

import re
from functools import partial

import httpx
import pytest
from confluent_kafka import Producer

from observer.app import Service
from observer.clock import SystemClock
from observer.config import load
from observer.model import Partition
from tests.integration.test_crash import (
    HORIZON,
    HOUR,
    MODELS,
    RULES,
    SECOND,
    STEP,
    drain,
    merged,
    positions,
)
from tests.services.observer import Observer
from tests.unit.pipeline import events
from tests.unit.pipeline.oracle import expect
from tests.unit.pipeline.service import START, Letters, MemorySource, read, reference
from tests.unit.pipeline.test_exact import REFERENCE, fold_values, same

SEED = 20_270_115
PREDICTIONS = 4_000
UPGRADES = 3


def has_read(observer: Observer) -> bool:
    """Whether it has read messages since its start."""
    address = observer.address
    text = httpx.get(f"http://{address}/metrics", timeout=20).text if address else ""
    return bool(re.search(r"^observer_source_messages_total\{.*\} [1-9]", text, re.MULTILINE))


def waits(observer: Observer) -> bool:
    return "the state is in use by process" in observer.said


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_window_is_lost_or_doubled_by_upgrades(kafka, topic_name, tmp_path):
    predictions, labels = events.make(
        SEED, PREDICTIONS, start=START, step=STEP, partitions=3, models=["a", "b"], horizon=HORIZON,
        disorder=3 * SECOND, very_late=200 * SECOND, delay=60 * SECOND,
    )  # fmt: skip
    wanted = fold_values(expect(RULES, predictions, labels, HORIZON))
    topics = {kafka.create_topic(topic_name(stem), 3): 3 for stem in ("predictions", "labels")}
    logs = dict(zip(topics, (predictions, labels), strict=True))
    for topic in topics:
        kafka.create_topic(f"{topic}.dead", 1)
    profile = tmp_path / "reference"
    reference(REFERENCE).save(profile)
    own = {"reference": str(profile), "segments": [{"tag": "country", "values": ["DE", "FR"]}]}
    source = {"type": "kafka", "brokers": kafka.bootstrap, "group": "crash", "encoding": "json"}
    first, second = topics
    config = {
        "predictions": {**source, "topic": first},
        "labels": {**source, "topic": second, "horizon": f"{HORIZON // HOUR}h"},
        "models": {name: {**own, **model} for name, model in MODELS.items()},
        "learn_unknown": False,
        "state": {"path": str(tmp_path / "state")},
        "checkpoint_every": "1h",  # only what is saved at the end counts
        "idle_after": "1h",
    }
    pods = [Observer(tmp_path / name, config) for name in ("blue", "green")]
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "enable.idempotence": True, "log_level": 0})
    log = merged(logs)
    step = -(-len(log) // (2 * UPGRADES + 1))
    parts = iter([log[at : at + step] for at in range(0, len(log), step)])

    def write() -> None:
        """The next events, while the service runs."""
        for topic, partition, payload in next(parts):
            producer.produce(topic, payload, partition=partition)
            producer.poll(0)
        assert not producer.flush(60)

    old, new = pods
    old.start("--wait", "120")
    committed = 0
    for _ in range(UPGRADES):
        write()
        old.process.wait_until(partial(has_read, old), 120)
        new.start("--wait", "120")
        new.process.wait_until(partial(waits, new), 120)
        write()  # of which some are for the old one, the rest for the new one
        assert not new.address, "two at once"
        assert old.end() == 0
        before, committed = committed, sum(positions(kafka, topics).values())
        assert committed > before, "it came forward, and saved that at its end"
        old, new = new, old
    write()
    old.wait_serving()
    assert old.end() == 0
    assert next(parts, None) is None
    ends = {(topic, number): len(log) for topic, log_ in logs.items() for number, log in log_.items()}
    last = Observer(tmp_path / "last", {**config, "checkpoint_every": "200ms"})
    last.start()
    last.wait_serving()
    last.process.wait_until(lambda: positions(kafka, topics) == ends, 120)
    assert last.end() == 0

    letters = {"predictions": Letters(), "labels": Letters()}
    sources = {stream: MemorySource(stream, {}) for stream in letters}
    with Service(
        load(last.path), SystemClock(), sources=sources, dead_letters=letters, serve=False
    ) as service:
        kept = read(service)
        held = service.pipeline.positions
    streams = dict(zip(topics, ("predictions", "labels"), strict=True))
    assert held == {Partition(streams[topic], topic, n): end for (topic, n), end in ends.items()}
    same(kept, wanted)
    for topic, stream in streams.items():
        origins = drain(kafka, f"{topic}.dead")
        assert sorted(origins) == sorted(f"{topic}[{p}]@{at}" for p, at in wanted.bad[stream]), "each once"
