"""Messages of model servers, and what tensors hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from observer.codecs.inference.codec import tables
from observer.model import Envelopes, Messages, Origin, Partition

NOW = 1_800_000_000.0
TIME = "2026-01-01T12:00:00.250Z"
MILLISECONDS = 1_767_268_800_250


def messages(
    given: Sequence[tuple[bytes, list[tuple[str, bytes]] | None]],
    *,
    topics: Sequence[str] = ("events",),
    topic: Sequence[int] | None = None,
    keys: Sequence[bytes | None] | None = None,
    times: Sequence[int] | None = None,
) -> Messages:
    n = len(given)
    return Messages(
        [value for value, _ in given],
        np.array(topic if topic is not None else np.zeros(n), np.int32),
        tuple(Partition("predictions", name, 0) for name in topics),
        {},
        lambda index: Origin("events", 0, index),
        envelopes=Envelopes(
            [headers for _, headers in given],
            keys if keys is not None else [None] * n,
            np.array(times if times is not None else np.full(n, -1), np.int64),
        ),
    )


def decoded(payloads: Sequence[bytes], *, response: bool = False) -> list[dict | str]:
    """Of each message its tensors as lists of rows, or why it was refused."""
    found, refused = tables(payloads, response=response)
    out: list[dict | str] = ["neither read nor refused"] * len(payloads)
    for table in found:
        for name, tensor in table.tensors.items():
            cells, at = tensor.cells.to_pylist(), 0
            for message, rows in zip(table.messages.tolist(), tensor.rows.tolist(), strict=True):
                mine = cells[at : at + rows * tensor.width]
                at += rows * tensor.width
                if isinstance(out[message], str):
                    out[message] = {}
                out[message][name] = [
                    mine[start : start + tensor.width] for start in range(0, len(mine), tensor.width)
                ]
            assert at == len(cells)
    for message, why in refused.items():
        assert out[message] == "neither read nor refused"
        out[message] = why
    return out
