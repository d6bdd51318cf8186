"""Runs in an environment of pandas, polars and KServe, without the service: prints what the client sent.

Several encodings of the same rows; `tests/integration/test_client_peers.py` compares them.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
from kserve import InferInput, InferOutput, InferRequest, InferResponse, Model

from observer.client import FileTransport, PredictionLogger, watch_kserve


def lines(write, **options) -> list[dict]:
    folder = Path(tempfile.mkdtemp())
    with PredictionLogger("m", transport=FileTransport(folder), **options) as logger:
        write(logger)
        assert logger.flush(30)
        assert not logger.stats().dropped, logger.stats()
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def frames() -> dict[str, list[dict]]:
    frame = pd.DataFrame(
        {
            "amount": [1.5, None, 3.0],
            "count": pd.array([1, None, 3], dtype="Int64"),
            "kind": pd.Categorical(["a", "b", None]),
            "text": ["x", None, "z"],
            "flag": pd.array([True, False, None], dtype="boolean"),
            "at": pd.to_datetime(["2026-01-01T00:00:00.250Z"] * 3),
            "p": [0.1, 0.2, 0.3],
        }
    )
    made = {"pandas": frame, "polars": pl.from_pandas(frame)}
    return {
        name: lines(
            lambda logger, one=one: logger.log_frame(one, [1, 0, 1], "p", id=["a", "b", "c"], time="at")
        )
        for name, one in made.items()
    }


class Sums(Model):
    def __init__(self) -> None:
        super().__init__("sums")
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):  # noqa: ARG002
        if isinstance(payload, dict):
            return {"predictions": [sum(row) for row in payload["instances"]]}
        sums = payload.inputs[0].as_numpy().sum(axis=1)
        output = InferOutput("sum", [len(sums)], "FP64")
        output.set_data_from_numpy(sums, binary_data=False)
        return InferResponse(payload.id, self.name, [output])


class Plain(Model):
    def predict(self, payload, headers=None):  # noqa: ARG002
        return {"predictions": ["x"] * len(payload["instances"])}


def kserve() -> list[dict]:
    async def ask(logger: PredictionLogger) -> None:
        sums, plain = watch_kserve(Sums(), logger), watch_kserve(Plain("plain"), logger)
        answer, _ = await sums({"instances": [[1, 2], [3, 4]]}, headers={"x-request-id": "v1"})
        assert answer == {"predictions": [3, 7]}
        for binary in (True, False):
            given = InferInput("input", [2, 2], "FP64")
            given.set_data_from_numpy(np.array([[1.0, 2.0], [3.0, 4.0]]), binary_data=binary)
            answer, _ = await sums(InferRequest("sums", [given], request_id=f"v2-{binary}"), headers={})
            assert answer.outputs[0].data == [3.0, 7.0]
        await plain({"instances": [[5, 6]]}, headers={"x-request-id": "plain"})

    return lines(lambda logger: asyncio.run(ask(logger)), feature_names=("a", "b"))


if __name__ == "__main__":
    print(json.dumps({**frames(), "kserve": kserve()}))
