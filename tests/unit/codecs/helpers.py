"""Messages, events, and what batches hold, cell by cell."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import strategies as st

from detectors.base import INVALID, NULL, Categories, Numbers
from observer.model import Messages, Origin, Partition, Schema

NOW = 1_800_000_000.0
SCHEMA = Schema({"amount": "number", "age": "number", "country": "category", "returning": "boolean"})
SCHEMAS = {"fraud": SCHEMA, "price": Schema({"size": "number"}), "new": Schema({})}


def messages(values):
    values = [value if isinstance(value, bytes) else json.dumps(value).encode() for value in values]
    partitions = (Partition("predictions", "events", 0), Partition("predictions", "events", 1))
    partition = np.arange(len(values), dtype=np.int32) % 2
    return Messages(values, partition, partitions, {}, lambda index: Origin("events", index % 2, index // 2))


def event(**fields):
    return {"id": "a", "model": "fraud", "time": 1_790_000_000_000, "prediction": "yes"} | fields


def label(**fields):
    return {"id": "a", "model": "fraud", "time": 1_790_000_000_000, "label": "yes"} | fields


def cells(column):
    """Python values of a column: None where null, `...` where invalid."""
    if isinstance(column, Categories):
        special = {NULL: None, INVALID: ...}
        return [special[code] if code < 0 else column.names[code] for code in column.codes.tolist()]
    assert isinstance(column, Numbers)
    out = column.values.tolist()
    for mask, sign in ((column.nulls, None), (column.invalid, ...)):
        for row in [] if mask is None else np.flatnonzero(mask):
            assert np.isnan(out[row])
            out[row] = sign
    return out


def rows(batch):
    """The batch's rows as dictionaries; absent features, scores and tags look like null ones."""
    n = len(batch)
    out = [
        {"model": batch.model, "key": batch.keys[at].tobytes(), "time": int(batch.time[at]),
         "row": int(batch.row[at]), "message": int(batch.message[at]), "partition": int(batch.partition[at])}
        for at in range(n)
    ]  # fmt: skip
    flat = {"label": getattr(batch, "label", None), "prediction": getattr(batch, "prediction", None)}
    for name in ("version", "arm"):
        flat[name] = getattr(batch, name, None)
    for group in ("features", "scores", "tags"):
        flat |= {f"{group}.{name}": column for name, column in getattr(batch, group, {}).items()}
    for name, column in flat.items():
        if column is not None:
            assert len(column) == n
            for row, cell in zip(out, cells(column), strict=True):
                if cell is not None:
                    row[name] = cell
    for name in ("arm_probability", "latency_ms", "weight"):
        for row, cell in zip(out, getattr(batch, name, np.full(n, np.nan)).tolist(), strict=True):
            if not np.isnan(cell):
                row[name] = cell
    errors = getattr(batch, "errors", None)
    for at in [] if errors is None else np.flatnonzero(errors).tolist():
        out[at]["error"] = True
    return out


def all_rows(decoded):
    return sorted(
        (row for batch in decoded.predictions + decoded.labels for row in rows(batch)),
        key=lambda row: row["row"],
    )


def accounted(decoded):
    """Every message that something was made of, once for each of its rows and rejections."""
    used = [row["message"] for row in all_rows(decoded)]
    refused = [rejected.origin.offset * 2 + rejected.origin.partition for rejected in decoded.rejected]
    return sorted(used + refused)


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
numbers = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
scalars = st.one_of(st.none(), st.booleans(), numbers, text)
outcomes = st.one_of(st.booleans(), numbers, text)


def optional(**fields):
    return st.fixed_dictionaries({}, optional=fields)


valid_events = st.builds(
    lambda required, others: required | others,
    st.fixed_dictionaries(
        {
            "id": text.filter(len) | st.integers(),
            "model": st.sampled_from(["fraud", "price"]),
            "time": st.integers(0, int(NOW * 1000))
            | st.datetimes().map(lambda at: at.replace(year=2020).isoformat() + "Z"),
            "prediction": outcomes,
        }
    ),
    optional(
        version=st.none() | text | st.integers(0, 9),
        features=st.none()
        | optional(
            amount=st.none() | numbers,
            age=st.none() | numbers,
            country=scalars,
            returning=st.none() | st.booleans(),
            size=st.none() | numbers,
        ),
        scores=st.none()
        | st.floats(0, 1)
        | st.dictionaries(st.sampled_from("abc"), st.none() | st.floats(0, 1)),
        arm=st.sampled_from([None, "champion", "challenger"]),
        arm_probability=st.none() | st.floats(0, 1),
        tags=st.none() | st.dictionaries(st.sampled_from(["region", "channel"]), scalars),
        latency_ms=st.none() | numbers,
        embeddings=st.none()
        | st.dictionaries(
            st.sampled_from("xy"), st.none() | st.lists(st.floats(-9, 9), min_size=1, max_size=3)
        ),
    ),
)
