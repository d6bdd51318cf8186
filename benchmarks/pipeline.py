"""The whole way, per CPU-second of the process: from a real Kafka broker through decode, windows, summaries
and judging; beside consuming and decoding alone, in processes of their own, on the same topic."""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks import decode
from benchmarks.consume import fill_topic

EVENTS = 600_000
ARROW_ROWS = 1_000
SPACING = 18  # milliseconds between events: 200,000 in a window of an hour


def json_events(count: int, first: int = 0) -> list[bytes]:
    """`decode.json_events`, ids and times going on beyond the distinct ones."""
    base = decode.json_events(min(count, 50_000))
    out = []
    for index in range(first, first + count):
        event = base[index % len(base)]
        old = index % len(base)
        event = event.replace(b"prediction-%09d" % old, b"prediction-%09d" % index, 1)
        out.append(event.replace(b'"time":%d' % (decode.START + old), b'"time":%d' % when(index), 1))
    return out


def when(index: int) -> int:
    """Event time of the index-th event."""
    return decode.START + index * SPACING


def label_events(count: int) -> list[bytes]:
    """A label for every prediction, ten minutes later."""
    return [
        b'{"id":"prediction-%09d","model":"fraud","time":%d,"label":%d}' % (i, when(i) + 600_000, i % 3 == 0)
        for i in range(count)
    ]


def arrow_messages(count: int) -> list[bytes]:
    """The same shape of events, `ARROW_ROWS` a message."""
    import pyarrow as pa

    out = []
    for number, message in enumerate(decode.arrow_messages(count, ARROW_ROWS)):
        table = pa.ipc.open_stream(message).read_all()
        first = number * ARROW_ROWS
        times = pa.array(when(np.arange(first, first + ARROW_ROWS)))
        table = table.set_column(table.schema.get_field_index("time"), "time", times)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        out.append(sink.getvalue().to_pybytes())
    return out


def build_reference(path: Path) -> None:
    """A reference from the same distribution."""
    from observer.codecs import JsonSpec, codec
    from observer.pipeline.inputs import columns_of
    from observer.references import Overrides, build

    values = decode.json_events(20_000)
    made = codec(JsonSpec(), {}, learn_unknown=True)
    batch = made.predictions(decode.polls(values, len(values))[0], decode.NOW).predictions[0]
    columns = {name: column for name, column in columns_of(batch).items() if name != "@latency_ms"}
    build(batch.keys[:, 0], columns, Overrides(task="binary", positive="1"), "benchmark").save(path)


# The measured work: each returns events done, and runs in a process of its own.


def bare(bootstrap: str, topic: str, count: int) -> int:
    """Consume and decode to columns, nothing else."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bare",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 2,
            "queued.max.messages.kbytes": 32_768,
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    done = 0
    started = usage()
    while done < count:
        messages = consumer.consume(2_000, 1.0)
        decode.bare_json([message.value() for message in messages])
        done += len(messages)
    report(done, started)
    consumer.close()
    return done


def service(bootstrap: str, topic: str, count: int, *, labels: str = "") -> int:
    """`observer run`, until everything was read."""
    from observer.app import Service
    from observer.clock import SystemClock
    from observer.config import parse
    from observer.engines.local import Pace

    with tempfile.TemporaryDirectory() as folder:
        reference = Path(folder) / "reference"
        build_reference(reference)
        joined = (
            f"labels: {{type: kafka, brokers: {bootstrap!r}, topic: {labels}, horizon: 1h}}" if labels else ""
        )
        config = parse(
            f"""
            predictions: {{type: kafka, brokers: {bootstrap!r}, topic: {topic}}}
            {joined}
            models: {{fraud: {{reference: {reference}, window: {{size: 1h, lateness: 1m}}}}}}
            state: {{path: {folder}/state}}
            """.replace("\n            ", "\n"),
            "benchmark",
            {},
        )
        with Service(config, SystemClock(), serve=False, pace=Pace(checkpoint_every=10.0)) as running:
            began: list[float] = []

            def stopping() -> bool:
                if not began:
                    began.append(usage())
                done = sum(
                    at for place, at in running.pipeline.positions.items() if place.stream == "predictions"
                )
                seen = sum(at for place, at in running.pipeline.positions.items() if place.stream == "labels")
                return done >= count and (not labels or seen >= count)

            running.run(stopping)
            report(count, began[0])
    return count


def usage() -> float:
    """CPU seconds of this process, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def report(events: int, started: float) -> None:
    """Tell the parent."""
    print(json.dumps({"events": events, "cpu": usage() - started, "rss_mb": memory()}), flush=True)


def memory() -> float:
    """Anonymous resident memory, MB: what the process itself holds, mapped files left out."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return 0.0


CASES: dict[str, Callable[..., int]] = {"bare": bare, "service": service}


def child(case: str, bootstrap: str, topic: str, count: int, labels: str = "") -> dict:
    """Run a case in a process of its own; events per CPU-second."""
    command = [sys.executable, "-m", "benchmarks.pipeline", case, bootstrap, topic, str(count), labels]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = json.loads(printed.strip().splitlines()[-1])
    found["rate"] = found["events"] / found["cpu"]
    return found


def run(bootstrap: str, repeats: int = 3, events: int = EVENTS) -> list[dict]:
    """Medians over interleaved repeats."""
    stamp = int(time.time())
    json_topic, label_topic, arrow_topic = (f"bench-{kind}-{stamp}" for kind in ("json", "labels", "arrow"))
    fill_topic(bootstrap, json_topic, json_events(events), 1)
    fill_topic(bootstrap, label_topic, label_events(events), 1)
    arrow = arrow_messages(events * 5)
    fill_topic(bootstrap, arrow_topic, arrow, 1)
    rounds: dict[str, list[float]] = {}
    for _ in range(repeats):
        for name, found in (
            ("JSON, consume and decode alone", child("bare", bootstrap, json_topic, events)),
            ("JSON, whole service, no join", child("service", bootstrap, json_topic, events)),
            ("JSON with labels, pairs", child("service", bootstrap, json_topic, events, label_topic)),
        ):
            rounds.setdefault(name, []).append(found["rate"])
        found = child("service", bootstrap, arrow_topic, len(arrow))
        name = f"Arrow of {ARROW_ROWS} rows, whole service, rows"
        rounds.setdefault(name, []).append(found["rate"] * ARROW_ROWS)
    base = float(np.median(rounds["JSON, consume and decode alone"]))
    return [
        {"name": name, "per_cpu_second": float(np.median(rates)), "of_bare": float(np.median(rates)) / base}
        for name, rates in rounds.items()
    ]


def main() -> None:
    """Run one case (a child process), or everything against a broker started for it."""
    if len(sys.argv) > 1 and sys.argv[1] in CASES:
        parser = argparse.ArgumentParser()
        for name in ("case", "bootstrap", "topic"):
            parser.add_argument(name)
        parser.add_argument("count", type=int)
        parser.add_argument("labels", nargs="?", default="")
        given = parser.parse_args()
        extra = {"labels": given.labels} if given.labels else {}
        CASES[given.case](given.bootstrap, given.topic, given.count, **extra)
        return
    from tests.services.kafka import KafkaBroker

    with KafkaBroker() as broker:
        for row in run(broker.bootstrap):
            print(f"{row['name']:<45} {row['per_cpu_second']:>12,.0f}/s  {row['of_bare']:.2f} of bare")


if __name__ == "__main__":
    main()
