"""Resident memory of the service with ten models, after one and after ten million events from Kafka."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import decode
from benchmarks.consume import fill_topic
from benchmarks.pipeline import build_reference, memory

MODELS = 10
ROWS = 1_000
SPACING = 36  # milliseconds between events of all models: 100,000 an hour


def messages(count: int) -> Iterator[bytes]:
    """Arrow messages of the models in turn, event time going on."""
    import pyarrow as pa

    base = [pa.ipc.open_stream(m).read_all() for m in decode.arrow_messages(50 * ROWS, ROWS)]
    for number in range(count // ROWS):
        table = base[number % len(base)]
        first = number * ROWS
        indexes = np.arange(first, first + ROWS)
        ids = pa.array([f"prediction-{i:09d}" for i in indexes])
        model = pa.DictionaryArray.from_arrays(
            pa.array(np.zeros(ROWS, np.int8)), [f"model-{number % MODELS}"]
        )
        for name, column in (
            ("id", ids),
            ("model", model),
            ("time", pa.array(decode.START + indexes * SPACING)),
        ):
            table = table.set_column(table.schema.get_field_index(name), name, column)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        yield sink.getvalue().to_pybytes()


def child(bootstrap: str, topic: str, count: int) -> None:
    """Run the service to the end of the topic; print anonymous resident memory on the way."""
    from observer.app import Service
    from observer.clock import SystemClock
    from observer.config import parse
    from observer.metrics import catalog

    with tempfile.TemporaryDirectory() as folder:
        build_reference(Path(folder) / "reference")
        names = ", ".join(f"model-{i}" for i in range(MODELS))
        text = (
            f"predictions: {{type: kafka, brokers: '{bootstrap}', topic: {topic}}}\n"
            f"models: [{names}]\n"
            f"defaults: {{reference: {folder}/reference}}\n"
            f"state: {{path: {folder}/state}}\n"
            "http: {port: 0}\n"
        )
        seen: dict[int, float] = {}
        with Service(parse(text, "benchmark", {}), SystemClock()) as service:

            def done() -> bool:
                counted = service.counters.read().series.get(catalog.EVENTS, {})
                events = int(sum(value for value in counted.values() if isinstance(value, float)))
                for mark in (count // 10, count):
                    if events >= mark and mark not in seen:
                        seen[mark] = memory()
                return events >= count

            service.run(done)
        print(json.dumps({"megabytes": {str(events): used for events, used in seen.items()}}))


def run(bootstrap: str, count: int = 10_000_000) -> dict[str, float]:
    """Megabytes after a tenth of the events and after all of them."""
    topic = f"bench-memory-{int(time.time())}"
    fill_topic(bootstrap, topic, messages(count), 1)
    command = [sys.executable, "-m", "benchmarks.memory", bootstrap, topic, str(count)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(printed.strip().splitlines()[-1])["megabytes"]
    return found


if __name__ == "__main__":
    child(sys.argv[1], sys.argv[2], int(sys.argv[3]))
