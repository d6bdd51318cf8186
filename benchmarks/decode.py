"""How fast bytes become columns, per core, beside the bare work on the same messages."""

from __future__ import annotations

import json
import random
import time
from operator import attrgetter

import msgspec
import numpy as np
import pyarrow as pa

from observer.codecs import ArrowSpec, AutoSpec, JsonSpec, codec
from observer.codecs.arrow import encode_predictions
from observer.codecs.columns import Interner
from observer.codecs.events import fast_event
from observer.codecs.keys import hash_ids
from observer.model import Messages, Origin, Partition, Schema

NUMBERS = [f"amount_{index:02d}" for index in range(20)]
CATEGORIES = [f"kind_{index}" for index in range(3)]
SCHEMA = Schema(dict.fromkeys(NUMBERS, "number") | dict.fromkeys(CATEGORIES, "category"))
START = 1_790_000_000_000
NOW = START / 1000 + 86_400
EVENTS = 20_000
POLL = 5_000


def json_events(n: int) -> list[bytes]:
    """About 600 bytes each: 20 numeric and 3 categorical features, a prediction and a score."""
    rng = random.Random(1)
    values = []
    for index in range(n):
        features = {name: round(rng.gauss(0, 1), 6) for name in NUMBERS}
        features |= {name: f"value_{rng.randrange(10)}" for name in CATEGORIES}
        event = {
            "id": f"prediction-{index:09d}", "model": "fraud", "version": "v1", "time": START + index,
            "features": features, "prediction": rng.randrange(2), "scores": round(rng.random(), 6),
        }  # fmt: skip
        values.append(json.dumps(event, separators=(",", ":")).encode())
    return values


def arrow_messages(n: int, rows: int) -> list[bytes]:
    """The same events, `rows` a message."""
    rng = np.random.default_rng(1)
    names = pa.array([f"value_{value}" for value in range(10)])
    values = []
    for first in range(0, n, rows):
        features = {name: rng.normal(size=rows) for name in NUMBERS}
        features |= {
            name: pa.DictionaryArray.from_arrays(pa.array(rng.integers(0, 10, rows).astype(np.int8)), names)
            for name in CATEGORIES
        }
        values.append(
            encode_predictions(
                {
                    "id": [f"prediction-{index:09d}" for index in range(first, first + rows)],
                    "model": "fraud", "version": "v1", "time": START + np.arange(first, first + rows),
                    "features": features, "prediction": rng.integers(0, 2, rows).astype(float),
                    "scores": rng.random(rows),
                }
            )
        )  # fmt: skip
    return values


def bare_json(values: list[bytes]) -> None:
    """The least that decoding to columns can be: structs in chunks, `np.fromiter` over attribute getters."""
    decode = msgspec.json.Decoder(fast_event("fraud", SCHEMA)).decode
    numbers = [attrgetter(f"f{index}") for index in range(len(NUMBERS))]
    categories = [(attrgetter(f"f{len(NUMBERS) + index}"), Interner()) for index in range(len(CATEGORIES))]
    for start in range(0, len(values), 500):
        events = list(map(decode, values[start : start + 500]))
        n = len(events)
        features = list(map(attrgetter("features"), events))
        for get in numbers:
            np.fromiter(map(get, features), np.float64, n)
        for get, codes in categories:
            np.fromiter(map(codes.__getitem__, map(get, features)), np.int32, n)
        np.fromiter(map(attrgetter("time"), events), np.int64, n)
        np.fromiter(map(attrgetter("prediction"), events), np.float64, n)
        np.fromiter(map(attrgetter("scores"), events), np.float64, n)
        list(map(attrgetter("id"), events))


def bare_arrow(values: list[bytes]) -> None:
    """Read, join, and look at every column; nothing is validated, hashed or encoded."""
    batches = [batch for value in values for batch in pa.ipc.open_stream(value)]
    for column in pa.Table.from_batches(batches).combine_chunks().to_batches()[0].columns:
        if pa.types.is_dictionary(column.type):
            column.indices.to_numpy()
        elif not pa.types.is_string(column.type):
            column.to_numpy()


def polls(values: list[bytes], size: int) -> list[Messages]:
    """The messages, `size` a poll."""
    partitions = (Partition("predictions", "bench", 0),)
    return [
        Messages(
            part := values[start : start + size], np.zeros(len(part), np.int32), partitions, {},
            lambda index: Origin("bench", 0, index),
        )
        for start in range(0, len(values), size)
    ]  # fmt: skip


def decoding(spec, values: list[bytes], size: int, rows: int):
    """What a measurement runs: the codec over polls of the values; checks that nothing is lost."""
    made, batches = codec(spec, {"fraud": SCHEMA}), polls(values, size)

    def work() -> None:
        found = sum(len(made.predictions(batch, NOW).predictions[0]) for batch in batches)
        if found != rows:
            raise RuntimeError(f"{found} of {rows} events decoded")

    return work


def run(repeats: int = 7) -> list[dict]:
    """Events per CPU-second of each way, the best of `repeats` interleaved rounds."""
    events = json_events(EVENTS)
    hundreds, thousands = arrow_messages(EVENTS, 100), arrow_messages(10 * EVENTS, 1000)
    ids = [f"prediction-{index:09d}" for index in range(EVENTS)]
    learning = codec(JsonSpec(), {"fraud": Schema({})})
    learning_polls = polls(events, POLL)
    ways = {
        "json: bare msgspec and np.fromiter": (lambda: bare_json(events), EVENTS),
        "json: JsonCodec": (decoding(JsonSpec(), events, POLL, EVENTS), EVENTS),
        "json: AutoCodec": (decoding(AutoSpec(), events, POLL, EVENTS), EVENTS),
        "json: JsonCodec, features being learnt": (
            lambda: [learning.predictions(poll, NOW) for poll in learning_polls],
            EVENTS,
        ),
        "arrow, 100 rows: bare read": (lambda: bare_arrow(hundreds), EVENTS),
        "arrow, 100 rows: ArrowCodec": (decoding(ArrowSpec(), hundreds, 50, EVENTS), EVENTS),
        "arrow, 1,000 rows: bare read": (lambda: bare_arrow(thousands), 10 * EVENTS),
        "arrow, 1,000 rows: ArrowCodec": (decoding(ArrowSpec(), thousands, 20, 10 * EVENTS), 10 * EVENTS),
        "hash_ids of a list": (lambda: hash_ids(ids, "fraud"), EVENTS),
    }
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats):
        for name, (work, _) in ways.items():
            start = time.process_time()
            work()
            best[name] = min(best[name], time.process_time() - start)
    return [
        {"name": name, "events": n, "events_per_core_second": round(n / best[name])}
        for name, (_, n) in ways.items()
    ]


if __name__ == "__main__":
    for result in run():
        print(f"{result['name']:45} {result['events_per_core_second']:12,} events/s per core")
