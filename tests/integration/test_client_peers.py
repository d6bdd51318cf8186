"""The client with pandas, polars and KServe themselves, in an environment of their own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.services.peers import interpreter

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def sent() -> dict[str, list[dict]]:
    done = subprocess.run(
        [interpreter("client"), Path(__file__).with_name("client_peers.py")],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(sent, library):
    expected = [
        ("a", 1, 0.1, {"amount": 1.5, "count": 1, "kind": "a", "text": "x", "flag": True}),
        ("b", 0, 0.2, {"amount": None, "count": None, "kind": "b", "text": None, "flag": False}),
        ("c", 1, 0.3, {"amount": 3.0, "count": 3, "kind": None, "text": "z", "flag": None}),
    ]
    assert sent[library] == [
        {"id": one, "model": "m", "time": 1_767_225_600_250, "prediction": answer, "scores": score,
         "features": features}
        for one, answer, score, features in expected
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.services
def test_kserve(sent):
    found = [(event["id"], event["features"], event["prediction"]) for event in sent["kserve"]]
    sums = [({"a": 1, "b": 2}, 3), ({"a": 3, "b": 4}, 7)]
    assert found == [
        *((f"{one}-{at}", *row) for one in ("v1", "v2-True", "v2-False") for at, row in enumerate(sums)),
        ("plain", {"a": 5, "b": 6}, "x"),
    ]
    assert all(event["latency_ms"] >= 0 for event in sent["kserve"])
