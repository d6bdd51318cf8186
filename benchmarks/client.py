"""What logging costs the thread of the model, beside bare `json.dumps` and a producer's `send`.

Every way runs in a process of its own, against a real broker, in pieces between which the model rests, so
that the sender keeps up as it does in service. Microseconds a row: CPU time of the calling thread, the wall
clock of its calls, which holds what waiting for the interpreter's lock adds, and CPU time of the process.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from statistics import median, quantiles
from typing import Any

NUMBERS = [f"amount_{index:02d}" for index in range(20)]
CATEGORIES = [f"kind_{index}" for index in range(3)]
ROWS = 1_000  # of a frame
SINGLES = 10_000
FRAMES = 30
REST = 0.01  # seconds, after 20 single calls or a frame

LIBRARIES = ("confluent-kafka", "kafka-python")
WAYS = {
    "bare json + {library}, single": ("bare", "json", False),
    "client, {library}, single, Arrow": ("client", "arrow", False),
    "client, {library}, single, JSON": ("client", "json", False),
    "bare json + {library}, frames of 1,000": ("bare", "json", True),
    "client, {library}, frames of 1,000, Arrow": ("client", "arrow", True),
    "client, {library}, frames of 1,000, JSON": ("client", "json", True),
}


def features(rng: random.Random) -> dict[str, Any]:
    """20 numbers and 3 categories."""
    one: dict[str, Any] = {name: rng.gauss(0, 1) for name in NUMBERS}
    return one | {name: f"value_{rng.randrange(10)}" for name in CATEGORIES}


def frame() -> dict[str, Any]:
    """1,000 rows of the same, as a model server holds them."""
    import numpy as np

    rng = np.random.default_rng(1)
    columns: dict[str, Any] = {name: rng.normal(size=ROWS) for name in NUMBERS}
    return columns | {name: [f"value_{n}" for n in rng.integers(0, 10, ROWS)] for name in CATEGORIES}


def timed(act: Callable[[], object], calls: int, rows: int, rest_every: int) -> dict[str, float]:
    """CPU and wall microseconds a row of `calls` calls."""
    taken: list[float] = []
    cpu = 0.0
    for number in range(calls):
        if not number % rest_every:
            time.sleep(REST)
        start_cpu, start = time.thread_time(), time.perf_counter()
        act()
        taken.append(time.perf_counter() - start)
        cpu += time.thread_time() - start_cpu
    scale = 1e6 / rows
    return {
        "cpu_us": cpu / calls * scale,
        "median_us": median(taken) * scale,
        "p99_us": quantiles(taken, n=100)[-1] * scale,
    }


def bare_send(
    library: str, bootstrap: str, topic: str
) -> tuple[Callable[[bytes], object], Callable[[], object]]:
    """A producer's way to send one message, and to end."""
    if library == "kafka-python":
        from kafka import KafkaProducer

        producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=5, batch_size=256 * 1024)
        return lambda value: producer.send(topic, value), lambda: producer.close(30)
    from confluent_kafka import Producer

    other = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})

    def send(value: bytes) -> None:
        other.produce(topic, value)
        other.poll(0)

    return send, lambda: other.flush(30)


def one(way: str, library: str, form: str, frames: bool, bootstrap: str) -> dict[str, float]:
    """Measure one way; runs in a process of its own."""
    topic = f"bench-client-{uuid.uuid4().hex[:8]}"
    rng = random.Random(1)
    rows = [features(rng) for _ in range(ROWS)]
    columns = frame()
    predictions = [float(number % 2) for number in range(ROWS)]
    at = 0
    if way == "client":
        from observer.client import KafkaTransport, PredictionLogger

        logger = PredictionLogger(
            "fraud", version="1", transport=KafkaTransport(bootstrap, library), format=form, topic=topic
        )

        def log_one() -> None:
            nonlocal at
            at += 1
            logger.log(rows[at % ROWS], 1, 0.25)

        def log_many() -> None:
            logger.log_frame(columns, predictions, predictions)

    else:
        send, end = bare_send(library, bootstrap, topic)

        def event(one: dict[str, Any]) -> bytes:
            nonlocal at
            at += 1
            fields = {
                "id": f"prediction-{at:x}",
                "model": "fraud",
                "version": "1",
                "prediction": 1,
                "scores": 0.25,
            }
            return json.dumps({**fields, "time": int(time.time() * 1000), "features": one}).encode()

        def log_one() -> None:
            send(event(rows[at % ROWS]))

        def log_many() -> None:
            names = list(columns)
            lists = [list(map(float, columns[name])) for name in NUMBERS] + [
                columns[name] for name in CATEGORIES
            ]
            for values in zip(*lists, strict=True):
                send(event(dict(zip(names, values, strict=True))))

    act, calls, size, rest = (log_many, FRAMES, ROWS, 1) if frames else (log_one, SINGLES, 1, 20)
    for _ in range(10):
        act()
    if way == "client":
        logger.flush(60)  # connected by now; the library's import is not what is measured
    start = time.process_time()
    found = timed(act, calls, size, rest)
    if way == "client":
        logger.close(60)
        stats = logger.stats()
        if stats.delivered != stats.logged:
            raise RuntimeError(f"not all were delivered: {stats}")
    else:
        end()
    # All threads, the sender's and the library's too.
    return found | {"process_us": (time.process_time() - start) * 1e6 / (calls * size)}


def run(bootstrap: str) -> list[dict[str, Any]]:
    """A row per way."""
    found = []
    for name, (way, form, frames) in WAYS.items():
        for library in LIBRARIES:
            arguments = [bootstrap, "--way", way, "--library", library, "--form", form] + [
                "--frames"
            ] * frames
            command = [sys.executable, "-m", "benchmarks.client", *arguments]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
            found.append({"name": name.format(library=library)} | json.loads(done.stdout.splitlines()[-1]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bootstrap", help="host:port of a Kafka broker")
    parser.add_argument("--way", choices=["bare", "client"])
    parser.add_argument("--library", choices=LIBRARIES)
    parser.add_argument("--form", choices=["json", "arrow"])
    parser.add_argument("--frames", action="store_true")
    asked = parser.parse_args()
    if asked.way:
        print(json.dumps(one(asked.way, asked.library, asked.form, asked.frames, asked.bootstrap)))
        return
    for row in run(asked.bootstrap):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
