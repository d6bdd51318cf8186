"""Killed at any moment, with the broker or without: the state equals one clean pass over the log, exactly."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator

import pytest

from tests.integration.streams import RULES, Streams
from tests.services.observer import Observer

SEED = 20_261_123
KILLS = 32
BROKER_KILLS = (9, 21)
"""Kills of the service that the broker shares."""
PREDICTIONS = 9_000


class Feed(threading.Thread):
    """Writes both logs in the order of their events, a little at a time."""

    def __init__(self, streams: Streams, seconds: float) -> None:
        super().__init__(daemon=True)
        self._producer = streams.producer()
        self._events = streams.merged()
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
    streams = Streams(kafka, topic_name, tmp_path, SEED, PREDICTIONS)
    observer = Observer(tmp_path, {**streams.config, "checkpoint_every": "200ms"})
    feed = Feed(streams, seconds=60)
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
    observer.process.wait_until(streams.is_read, 120)
    assert observer.end() == 0

    kept, checkpoints = streams.equals_a_clean_pass(observer.path)
    wanted = streams.wanted
    summary = {
        "kills": kills,
        "kills_before_serving": in_start,
        "broker_kills": len(BROKER_KILLS),
        "checkpoints": checkpoints,
        "events": sum(streams.ends.values()),
        "windows": len(kept.windows),
        "cohorts": len(kept.cohorts),
        "dead_letters": sum(map(len, wanted.bad.values())),
        "dead_letters_repeated": streams.repeated_letters(),
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
