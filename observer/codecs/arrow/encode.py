"""Columns -> Arrow IPC messages, as a producer would send them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa

Format = Literal["stream", "file"]
_NESTED = ("features", "scores", "tags", "embeddings")


def encode_predictions(
    columns: Mapping[str, Any], *, container: Format = "stream", compression: str | None = None
) -> bytes:
    """Encode prediction events.

    Parameters
    ----------
    columns : mapping
        Field -> n values (whatever `pyarrow.array` takes); `id`, `model`, `time` and `prediction` are
        required, and a str as `model` or `version` stands for every row. `features`, `scores`, `tags` and
        `embeddings` may be mappings of name -> n values; those of embeddings are lists, or one array of n
        rows.
    container : "stream" or "file"
        The IPC format.
    compression : "lz4", "zstd" or None
        Of the buffers.
    """
    return _encode(columns, "prediction", container, compression)


def encode_labels(
    columns: Mapping[str, Any], *, container: Format = "stream", compression: str | None = None
) -> bytes:
    """Encode label events: `id`, `model`, `time`, `label`, and perhaps `weight`; as `encode_predictions`."""
    return _encode(columns, "label", container, compression)


def _encode(columns: Mapping[str, Any], outcome: str, container: Format, compression: str | None) -> bytes:
    missing = [name for name in ("id", "model", "time", outcome) if name not in columns]
    if missing:
        raise ValueError(f"columns are missing: {', '.join(missing)}")
    n = len(columns["id"])
    arrays: dict[str, pa.Array] = {}
    for name, values in columns.items():
        if isinstance(values, str):
            arrays[name] = pa.DictionaryArray.from_arrays(pa.array([0] * n, pa.int8()), [values])
        elif name in _NESTED and isinstance(values, Mapping):
            arrays.update((f"{name}.{key}", _array(part)) for key, part in values.items())
        else:
            arrays[name] = _array(values)
    batch = pa.record_batch(list(arrays.values()), names=list(arrays))
    sink = pa.BufferOutputStream()
    make = pa.ipc.new_stream if container == "stream" else pa.ipc.new_file
    with make(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_batch(batch)
    encoded: bytes = sink.getvalue().to_pybytes()
    return encoded


def _array(values: Any) -> pa.Array:  # whatever pyarrow.array takes
    if isinstance(values, np.ndarray) and values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    return values if isinstance(values, pa.Array) else pa.array(values)
