"""Requests and responses in any partitions and order, restarts between: each pair counts once."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from observer.codecs.inference.encode import cloud_event
from observer.metrics import catalog
from tests.unit.pipeline.service import START, Ticking, config, label, run

MAPPING = """
models:
  m:
    features: {x: x}
    prediction: {threshold: 0.5, of: p}
    scores: p
"""
LATENCY = 400
ROWS = 60
WINDOW = {"size": "10s", "lateness": "5s"}


def event(side, number: int, body: bytes, at: int) -> bytes:
    time = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
    return cloud_event(side, str(number), "m", body, time=time, mode="structured")[0]


def logs(lone: int) -> tuple[dict[int, list[bytes]], dict[int, list[bytes]], dict[int, list[int]]]:
    """Halves over three partitions, labels, and the values of `x` that each window of ten seconds holds.

    Every `lone`-th request is never answered.
    """
    halves: list[tuple[int, int, bytes]] = []
    labels, windows = [], dict[int, list[int]]()
    for number in range(ROWS):
        at = START + number * 500
        request = json.dumps({"instances": [{"x": number}]}).encode()
        response = json.dumps({"predictions": [{"p": (number % 10) / 10}]}).encode()
        halves.append((at, number % 3, event("request", number, request, at)))
        if number % lone == lone - 1:
            continue
        later = at + LATENCY * (number % 4)
        halves.append((later, (number // 3) % 3, event("response", number, response, later)))
        windows.setdefault(at // 10_000 * 10_000, []).append(number)
        labels.append(json.dumps(label(number, at + 700, str(number % 2))).encode())
    halves.sort(key=lambda half: half[0])
    predictions: dict[int, list[bytes]] = {0: [], 1: [], 2: []}
    for _, partition, value in halves:
        predictions[partition].append(value)
    return predictions, {0: labels}, windows


@pytest.fixture(scope="module")
def mapping(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("mapping") / "mapping.yaml"
    path.write_text(MAPPING)
    return path


@settings(max_examples=6, phases=[Phase.explicit, Phase.generate])
@given(
    seed=st.integers(0, 1000),
    size=st.integers(3, 60),
    crashes=st.lists(st.integers(1, 12), max_size=3),
    pauses=st.sampled_from([0.0, 0.4]),
)
def test_every_pair_counts_once(tmp_path_factory, mapping, seed, size, crashes, pauses):
    predictions, labels, windows = logs(lone=10)
    chosen = config(
        tmp_path_factory.mktemp("run"),
        predictions={"encoding": {"type": "kserve", "mapping": mapping, "wait": 20}},
        models={"m": {"window": WINDOW, "min_labels": 1, "task": "binary", "positive": "1"}},
        labels={"horizon": "60s"},
    )
    ran = run(chosen, predictions, labels, seed=seed, size=size, crashes=crashes, pauses=pauses)
    kept = {key[3]: summary for key, summary in ran.kept.windows.items() if key[2] == ""}
    assert {start: summary.n for start, summary in kept.items()} == {
        start: len(rows) for start, rows in windows.items()
    }
    cohorts = [
        outcomes for (_, key), (_, outcomes) in ran.kept.cohorts.items() if not (key.segment or key.arm)
    ]
    joined = sum(int(outcomes.confusion.rows[:, :2].sum()) for outcomes in cohorts)
    assert joined == sum(map(len, windows.values()))
    assert (ran.kept.pending.predictions, ran.kept.pending.labels) == (0, 0)
    # Lone requests are told once their time has passed; those of the end still wait.
    unmatched = [one for one in ran.letters["predictions"].taken if one.reason == "unmatched"]
    told = {dict(one.headers)["ce_id"].decode() for one in unmatched}
    lone = {str(number) for number in range(ROWS) if number % 10 == 9}
    assert told < lone
    assert {one.reason for one in ran.letters["predictions"].taken} == {"unmatched"}


def test_when_the_source_ends_what_waits_is_told(tmp_path, mapping):
    predictions, _, windows = logs(lone=10)
    chosen = config(
        tmp_path,
        predictions={"encoding": {"type": "kserve", "mapping": mapping}},
        models={"m": {"window": WINDOW}},
    )
    ran = run(chosen, predictions, ends=True)
    assert ran.count(catalog.EVENTS)["predictions", "m", "accepted"] == sum(map(len, windows.values()))
    assert ran.count(catalog.EVENTS_REJECTED) == {("predictions", "unmatched"): ROWS // 10}
    assert len(ran.letters["predictions"].taken) == ROWS // 10


def test_a_lone_half_is_told_when_all_is_silent(tmp_path, mapping):
    predictions, _, _ = logs(lone=10)
    chosen = config(
        tmp_path,
        predictions={"encoding": {"type": "kserve", "mapping": mapping, "wait": 20}},
        models={"m": {"window": WINDOW}},
        idle_after="1s",
    )
    clock = Ticking(step=0.2)
    ran = run(chosen, predictions, clock=clock, turns=120)
    assert ran.count(catalog.EVENTS_REJECTED) == {("predictions", "unmatched"): ROWS // 10}
