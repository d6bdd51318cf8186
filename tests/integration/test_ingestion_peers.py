"""Payloads of the vendors' own packages are read as ours are, and ours by them."""

from __future__ import annotations

import json
import os
import subprocess
from base64 import b64decode, b64encode
from pathlib import Path

import numpy as np
import pytest

from observer.codecs.inference import READERS, Pairing, encode
from tests.services.peers import interpreter
from tests.unit.inference.helpers import MILLISECONDS, NOW, TIME, decoded, messages

pytestmark = [pytest.mark.slow, pytest.mark.services]
WHERE = {"kserve": "client", "triton": "ingestion", "mlserver": "ingestion", "cloudevents": "ingestion"}


def tensor(datatype: str, shape: list[int], data: list) -> dict:
    return {"datatype": datatype, "shape": shape, "data": data}


def extremes(datatype: str) -> dict:
    info = np.iinfo(datatype.replace("UINT", "uint").replace("INT", "int"))
    return tensor(datatype, [3], [int(info.min), 7, int(info.max)])


CASES = {
    "floats": {
        "x": tensor("FP64", [2, 3], [0.1, -1e300, 5e-324, 0.0, 1.5, 2.0]),
        "y": tensor("FP32", [2], [0.5, -2.25]),
    },
    "texts": {
        "t": tensor("BYTES", [2, 2], ["", "ümlaut", "a\n", "x" * 300]),
        "flag": tensor("BOOL", [2], [True, False]),
    },
    "deep": {"picture": tensor("UINT8", [1, 2, 2, 2], list(range(8)))},
    "half": {"h": tensor("FP16", [1, 2], [0.5, -4.0])},
    **{
        datatype: {datatype.lower(): extremes(datatype)}
        for datatype in ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
    },
}  # fmt: skip


def ours() -> dict[str, bytes]:
    """What we encode of every case, by case, form and side."""
    made = {}
    for name, tensors in CASES.items():
        given = {
            key: (one["datatype"], np.array(one["data"], object).reshape(one["shape"]))
            for key, one in tensors.items()
        }
        for side in ("request", "response"):
            shared = {"response": side == "response", "model_name": "m", "id": "r"}
            made[f"{name}|raw {side}"] = encode.v2_protobuf(given, as_raw=True, **shared)
            made[f"{name}|binary {side}"] = encode.v2_json(given, binary=True, **shared)
            if name != "half":
                made[f"{name}|protobuf {side}"] = encode.v2_protobuf(given, **shared)
                made[f"{name}|json {side}"] = encode.v2_json(given, **shared)
    return made


def ask(library: str, given: dict) -> dict:
    done = subprocess.run(
        [interpreter(WHERE[library]), Path(__file__).with_name("ingestion_peers.py"), library],
        input=json.dumps(given), env={**os.environ, "PYTHONPATH": ""},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("library", ["kserve", "triton", "mlserver"])
def test_tensors(library):
    sent = ours()
    answer = ask(
        library, {"cases": CASES, "ours": {key: b64encode(one).decode() for key, one in sent.items()}}
    )
    # They read ours.
    assert len(answer["read"]) >= len(sent) // 3
    for key, found in answer["read"].items():
        case = CASES[key.partition("|")[0]]
        assert found == {name: one["data"] for name, one in case.items()}, key
    # We read theirs, all of one side at once.
    theirs = {key: b64decode(one) for key, one in answer["theirs"].items()}
    assert {key.partition("|")[0] for key in theirs} >= CASES.keys() - {"half"}
    for side in ("request", "response"):
        mine = {key: one for key, one in theirs.items() if key.endswith(side)}
        for key, rows in zip(mine, decoded(list(mine.values()), response=side == "response"), strict=True):
            case = CASES[key.partition("|")[0]]
            assert isinstance(rows, dict), (key, rows)
            assert rows == {
                name: np.array(one["data"], object).reshape(one["shape"][0], -1).tolist()
                for name, one in case.items()
            }, key


def test_cloud_events():
    body = '{"instances": [[1.5, "a"]]}'
    events = [
        {
            "mode": mode,
            "data": body if side == "request" else '{"predictions": [1]}',
            "attributes": {
                "id": mode, "source": "http://localhost:9081/", "specversion": "1.0", "time": TIME,
                "type": f"org.kubeflow.serving.inference.{side}", "inferenceservicename": "fraud",
                "namespace": "default", "component": "predictor", "endpoint": "default",
                "datacontenttype": "application/json",
            },
        }
        for mode in ("binary", "structured")
        for side in ("request", "response")
    ]  # fmt: skip
    mine = [
        encode.cloud_event(
            one["attributes"]["type"].rpartition(".")[2], one["mode"], "fraud", one["data"].encode(),
            time=TIME, mode=one["mode"],
        )
        for one in events
    ]  # fmt: skip
    text = [
        [b64encode(value).decode(), [[name, b64encode(one).decode()] for name, one in headers]]
        for value, headers in mine
    ]
    answer = ask("cloudevents", {"events": events, "ours": text})
    for wanted, (attributes, data) in zip(events, answer["read"], strict=True):
        assert attributes["time"].startswith("2026-01-01 12:00:00.25")
        assert {**attributes, "time": TIME} == wanted["attributes"]
        assert (json.loads(data) if isinstance(data, str) else data) == json.loads(wanted["data"])
    theirs = [
        (b64decode(value), [(name, b64decode(one)) for name, one in headers])
        for value, headers in answer["theirs"]
    ]
    for given in (mine, theirs):
        pairs = Pairing(READERS["kserve"]).take(messages(given), NOW).pairs
        assert [(pair.model, pair.id, pair.time, pair.arm) for pair in pairs] == [
            ("fraud", mode, MILLISECONDS, "champion") for mode in ("binary", "structured")
        ]
        assert [json.loads(pair.request) for pair in pairs] == [json.loads(body)] * 2
        assert [json.loads(pair.response) for pair in pairs] == [{"predictions": [1]}] * 2
