"""Logs of seeded events with everything that goes wrong in real ones."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

BAD = [b"", b"not json", b'{"id": 1}', b"\xff\xfe", b"[1, 2]", b'{"model": "a", "time": "soon"}']


def make(
    seed: int,
    count: int,
    *,
    start: int,
    step: int,
    partitions: int,
    models: Sequence[str],
    horizon: int,
    disorder: int,
    very_late: int,
    delay: int,
) -> tuple[dict[int, list[bytes]], dict[int, list[bytes]]]:
    """Predictions and labels, `count` predictions `step` ms apart.

    Some predictions are out of order by `disorder`, a few by `very_late` ms; some come twice, with other
    bytes in between. Labels follow after an exponential `delay`: a few before their prediction's time, some
    twice, some corrected once or more, some at just the horizon and beyond, some never, some for nothing.
    """
    r = random.Random(seed)
    sent: list[tuple[float, int, bytes]] = []
    labels: list[tuple[float, int, bytes]] = []
    for i in range(count):
        time = start + i * step
        lag = r.choice([0, 0, 0, r.randrange(disorder), very_late if r.random() < 0.1 else 0])
        one: dict[str, Any] = {
            "id": f"{seed}-{i}",
            "model": r.choice(list(models)),
            "version": r.choice(["1", "1", "2"]),
            "time": max(time - lag, start),
            "prediction": r.choice("01"),
            "scores": r.randrange(1, 1024) / 1024,
            "features": {
                "x": r.choice([*range(12), None, "broken"]),
                "c": r.choice(["a", "b", "new", None]),
            },
            "tags": {"country": r.choice(["DE", "FR", "IT"])},
        }
        if r.random() < 0.4:
            one["arm"] = r.choice(["champion", "challenger"])
        partition = i % partitions
        sent.append((time, partition, json.dumps(one).encode()))
        if r.random() < 0.05:  # the producer tries again
            sent.append((time + r.randrange(20 * step), partition, json.dumps(one).encode()))
        if r.random() < 0.02:
            sent.append((time, partition, r.choice(BAD)))
        labels += _labels(r, one, partition, time, horizon=horizon, disorder=disorder, delay=delay)
    for i in range(count // 50):  # for predictions that never were
        time = start + r.randrange(count * step)
        orphan = {"id": f"none-{seed}-{i}", "model": models[0], "time": time, "label": "1"}
        labels.append((time, i % partitions, json.dumps(orphan).encode()))
    return _in_order(sent, partitions), _in_order(labels, partitions)


def _labels(
    r: random.Random,
    one: dict[str, Any],
    partition: int,
    arrival: int,
    *,
    horizon: int,
    disorder: int,
    delay: int,
) -> list[tuple[float, int, bytes]]:
    kind = r.random()
    if kind < 0.15:
        return []
    if kind < 0.2:
        times = [one["time"] + horizon + r.choice([-1, 0, 1])]
    elif kind < 0.25:
        times = [one["time"] - r.randrange(delay)]
    else:
        times = [one["time"] + min(int(r.expovariate(1 / delay)), horizon)]
    while r.random() < 0.2:
        more = times[-1] + r.choice([0, -1, 1, r.randrange(1, delay)])
        times.append(min(more, one["time"] + horizon + 1))
    out = []
    for time in times:
        label: dict[str, Any] = {
            "id": one["id"],
            "model": one["model"],
            "time": time,
            "label": r.choice("01"),
        }
        if r.random() < 0.2:
            label["weight"] = r.choice([0.25, 2.0])
        # As it happens; out of order by up to `disorder`. One dated before its prediction may come before it.
        out.append((time + r.randrange(disorder), partition, json.dumps(label).encode()))
        if r.random() < 0.05:
            out.append((out[-1][0] + 1, partition, out[-1][2]))
        if r.random() < 0.01:
            out.append((arrival, partition, r.choice(BAD)))
    return out


def _in_order(sent: list[tuple[float, int, bytes]], partitions: int) -> dict[int, list[bytes]]:
    logs: dict[int, list[bytes]] = {number: [] for number in range(partitions)}
    for _, partition, payload in sorted(sent, key=lambda item: item[0]):
        logs[partition].append(payload)
    return logs
