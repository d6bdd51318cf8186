"""Pairs of requests and responses of KServe and Seldon per CPU-second: paired, decoded, mapped to columns.

A request holds a matrix of 20 numbers and three texts, one row; a response a class and a probability. What is
measured is what a service does with a poll of 2,500 requests and their responses before the first summary.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from observer.codecs.inference import READERS, InferenceCodec, Pairing, encode
from observer.codecs.inference.mapping import parse
from observer.model import Envelopes, Messages, Origin, Partition, Schema

NUMBERS = [f"amount_{index:02d}" for index in range(20)]
CATEGORIES = [f"kind_{index}" for index in range(3)]
SCHEMA = Schema(dict.fromkeys(NUMBERS, "number") | dict.fromkeys(CATEGORIES, "category"))
MAPPING = "models:\n  fraud:\n    prediction: label\n    scores: p\n    features:\n" + "".join(
    [f"      {name}: x[{at}]\n" for at, name in enumerate(NUMBERS)]
    + [f"      {name}: {name}\n" for name in CATEGORIES]
)
START = 1_790_000_000_000
NOW = START / 1000 + 86_400
POLL = 2_500
PAIRS = 10_000

Half = tuple[bytes, list, bytes | None, int]
"""Value, headers, key, partition."""


def tensors(rng: np.random.Generator) -> tuple[dict, dict]:
    """Of a request, and of its response."""
    asked = {"x": ("FP64", rng.normal(size=(1, 20)).round(6))}
    asked |= {name: ("BYTES", [f"value_{rng.integers(10)}"]) for name in CATEGORIES}
    return asked, {"label": ("INT64", [int(rng.integers(2))]), "p": ("FP32", [rng.random()])}


def kserve(number: int, asked: dict, answered: dict, *, binary: bool, structured: bool) -> list[Half]:
    """As Knative's KafkaSink writes them."""
    mode = "structured" if structured else "binary"
    found = []
    for side, given in (("request", asked), ("response", answered)):
        body = encode.v2_json(given, response=side == "response", binary=binary)
        value, headers = encode.cloud_event(
            side, f"r{number}", "fraud", body, time="2026-09-21T12:00:00.250Z", mode=mode
        )
        found.append((value, headers, None, 0))
    return found


def seldon(number: int, asked: dict, answered: dict, *, raw: bool | None) -> list[Half]:
    """As the topics of a pipeline hold them; `raw` None: as JSON."""
    headers, key = encode.seldon_headers("fraud", f"r{number}"), f"fraud.r{number}".encode()
    found = []
    for response, given in ((False, asked), (True, answered)):
        body = (
            encode.v2_json(given, response=response)
            if raw is None
            else encode.v2_protobuf(
                given, response=response, as_raw=raw, id=f"r{number}", model_name="fraud_1"
            )
        )
        found.append((body, headers, key, int(response)))
    return found


def polls(halves: list[list[Half]]) -> list[Messages]:
    """Requests first, then their responses, `POLL` of each a poll."""
    partitions = tuple(
        Partition("predictions", f"seldon.ns.pipeline.fraud.{side}", 0) for side in ("inputs", "outputs")
    )
    found = []
    for start in range(0, len(halves), POLL):
        some = [pair[side] for side in (0, 1) for pair in halves[start : start + POLL]]
        values, headers, keys, partition = map(list, zip(*some, strict=True))
        envelopes = Envelopes(headers, keys, np.full(len(some), START))
        found.append(
            Messages(
                values, np.array(partition, np.int32), partitions, {}, lambda at: Origin("bench", 0, at),
                envelopes=envelopes,
            )
        )  # fmt: skip
    return found


def reading(kind: str, given: list[Messages]) -> Callable[[], None]:
    """What is measured; sees that nothing is lost."""
    codec = InferenceCodec({"fraud": SCHEMA}, parse(MAPPING, "mapping"))

    def work() -> None:
        pairing = Pairing(READERS[kind])
        found = sum(len(codec.predictions(pairing.take(poll, NOW), NOW).predictions[0]) for poll in given)
        if found != PAIRS:
            raise RuntimeError(f"{found} of {PAIRS} pairs decoded")

    return work


def run(repeats: int = 5) -> list[dict]:
    """Pairs per CPU-second of each encoding, the best of `repeats` interleaved rounds."""
    rng = np.random.default_rng(1)
    drawn = [tensors(rng) for _ in range(PAIRS)]

    def made(write: Callable, **how) -> list[Messages]:
        return polls([write(number, *pair, **how) for number, pair in enumerate(drawn)])

    ways = {
        "KServe, JSON": ("kserve", made(kserve, binary=False, structured=False)),
        "KServe, JSON, structured events": ("kserve", made(kserve, binary=False, structured=True)),
        "KServe, binary tensors": ("kserve", made(kserve, binary=True, structured=False)),
        "Seldon, JSON": ("seldon", made(seldon, raw=None)),
        "Seldon, protobuf, raw contents": ("seldon", made(seldon, raw=True)),
        "Seldon, protobuf, typed contents": ("seldon", made(seldon, raw=False)),
    }
    work = {name: reading(kind, given) for name, (kind, given) in ways.items()}
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats):
        for name, one in work.items():
            start = time.process_time()
            one()
            best[name] = min(best[name], time.process_time() - start)
    return [{"name": name, "pairs_per_core_second": round(PAIRS / best[name])} for name in ways]


if __name__ == "__main__":
    for result in run():
        print(f"{result['name']:40} {result['pairs_per_core_second']:10,} pairs/s per core")
