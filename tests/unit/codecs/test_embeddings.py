"""Embeddings through every encoding, and what is wrong with some."""

import json

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import INVALID, NULL
from observer.codecs import ArrowSpec, AutoSpec, JsonSpec, Limits, codec
from observer.codecs.arrow import encode_predictions
from observer.codecs.avro import AvroCodec
from observer.codecs.schema import avro_schema

from .helpers import NOW, SCHEMAS, event, messages
from .test_arrow import table
from .test_avro import encoded, prediction

LARGE = 1e39  # beyond single precision


def rows_of(vectors):
    """Lists; None where missing, `...` where invalid."""
    ends = np.cumsum(np.maximum(vectors.lengths, 0))
    assert ends[-1] == len(vectors.values)
    assert vectors.values.dtype == np.float32
    special = {NULL: None, INVALID: ...}
    return [
        special[length] if length < 0 else vectors.values[end - length : end].tolist()
        for length, end in zip(vectors.lengths.tolist(), ends.tolist(), strict=True)
    ]


def single(rows):
    return [np.float32(row).tolist() if isinstance(row, list) else row for row in rows]


def decode(values, made=None, **limits):
    made = made or codec(JsonSpec(), SCHEMAS, Limits(**limits))
    decoded = made.predictions(messages(values), NOW)
    assert not decoded.rejected
    (batch,) = decoded.predictions
    return batch, decoded


def arrow(columns, **limits):
    return decode([encode_predictions(columns)], codec(ArrowSpec(), SCHEMAS, Limits(**limits)))


# JSON: what structs take, and what they refuse


def test_json():
    batch, decoded = decode(
        [
            event(id="a", embeddings={"text": [0.5, 1, -2.25], "image": [1e-3]}),
            event(id="b"),
            event(id="c", embeddings={"text": None}),
            event(id="d", embeddings=None),
            event(id="e", embeddings={"text": [4.0]}),
        ]
    )
    assert list(batch.embeddings) == ["image", "text"]
    assert rows_of(batch.embeddings["text"]) == [[0.5, 1.0, -2.25], None, None, None, [4.0]]
    assert rows_of(batch.embeddings["image"]) == single([[1e-3], None, None, None, None])
    assert decoded.spoiled_cells == decoded.dropped_cells == 0
    assert rows_of(batch.take(np.array([4, 0])).embeddings["text"]) == [[4.0], [0.5, 1.0, -2.25]]


WRONG = [[], [1.0, "2"], [1.0, None], [True], [[1.0]], "1", 3, {"0": 1.0}, [LARGE], [1.0] * 9]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
@pytest.mark.parametrize("model", ["fraud", "new"])
def test_what_is_no_vector_spoils_its_cell_only(wrong, model):
    good = [1.0, 2.0]
    batch, decoded = decode(
        [
            event(id="a", model=model, embeddings={"text": good}),
            event(id="b", model=model, features={"amount": 7}, embeddings={"text": wrong, "other": good}),
        ],
        max_embedding_length=8,
    )
    assert rows_of(batch.embeddings["text"]) == [good, ...]
    assert rows_of(batch.embeddings["other"]) == [None, good]
    assert batch.features["amount"].values[1] == 7
    assert decoded.spoiled_cells == 1


def test_all_events_of_a_poll_may_be_wrong():
    batch, decoded = decode([event(id=str(i), embeddings={"e": wrong}) for i, wrong in enumerate(WRONG)],
                            max_embedding_length=8)  # fmt: skip
    assert rows_of(batch.embeddings["e"]) == [...] * len(WRONG)
    assert decoded.spoiled_cells == len(WRONG)


def test_something_else_than_names_is_spoiled():
    batch, decoded = decode([event(id="a", embeddings=[1.0, 2.0]), event(id="b", embeddings={"e": [1.0]})])
    assert rows_of(batch.embeddings["e"]) == [None, [1.0]]
    assert decoded.spoiled_cells == 1


def test_names_are_bounded():
    batch, decoded = decode([event(embeddings={name: [1.0] for name in "edcba"})])
    assert list(batch.embeddings) == ["a", "b", "c", "d"]
    assert decoded.dropped_cells == 1


def test_polls_in_chunks_agree():
    values = [
        event(id=str(i), **({"embeddings": {"e": [float(i)]}} if i >= 700 else {})) for i in range(1300)
    ]
    batch, _ = decode(values)
    assert rows_of(batch.embeddings["e"]) == [None] * 700 + [[float(i)] for i in range(700, 1300)]


# Arrow

VECTORS = [[1.5, 2.0], None, [3.0, 4.0], [5.0, np.nan], None]
TYPES = [
    pa.list_(pa.float32(), 2),
    pa.list_(pa.float64(), 2),
    pa.list_(pa.float32()),
    pa.list_(pa.float64()),
    pa.large_list(pa.float64()),
    pa.list_(pa.float16(), 2),
]


@pytest.mark.parametrize("kind", TYPES, ids=str)
@pytest.mark.parametrize("struct", [False, True])
def test_arrow(kind, struct):
    values = [None if row is None else [np.float16(x) for x in row] for row in VECTORS]
    array = pa.array(values if "half" in str(kind) else VECTORS, kind)
    columns = {"embeddings": pa.StructArray.from_arrays([array], ["text"]) if struct else {"text": array}}
    batch, decoded = arrow(table(5, **columns))
    assert rows_of(batch.embeddings["text"]) == [[1.5, 2.0], None, [3.0, 4.0], ..., None]
    assert decoded.spoiled_cells == 1


def test_arrow_lists_of_any_length_and_of_whole_numbers():
    ragged = pa.array([[1], [], None, [2, 3, 4], [5, None]], pa.list_(pa.int32()))
    batch, decoded = arrow(table(5, embeddings={"e": ragged}), max_embedding_length=2)
    assert rows_of(batch.embeddings["e"]) == [[1.0], ..., None, ..., ...]
    assert decoded.spoiled_cells == 3


@pytest.mark.parametrize(
    "array", [[1.0, None, 2.0], ["a", None, "b"], [["a"], None, []], [{"x": 1}, None, {"x": 2}]]
)
def test_arrow_columns_that_are_no_lists_of_numbers(array):
    batch, decoded = arrow(table(3, embeddings={"e": array}))
    assert rows_of(batch.embeddings["e"]) == [..., None, ...]
    assert decoded.spoiled_cells == 2


def test_arrow_embeddings_that_are_not_named():
    batch, decoded = arrow(table(2, embeddings=pa.array([[1.0], None])))
    assert batch.embeddings == {}
    assert decoded.spoiled_cells == 1


def test_single_precision_is_not_copied():
    payload = encode_predictions(table(2, embeddings={"e": np.ones((2, 3), np.float32)}))
    batch, _ = decode([payload], codec(ArrowSpec(), SCHEMAS))
    assert np.shares_memory(batch.embeddings["e"].values, np.frombuffer(payload, np.uint8))


def test_arrow_rows_of_several_models_and_messages():
    models = ["fraud", "price", "fraud"]
    parts = [table(3, embeddings={"e": np.arange(6.0).reshape(3, 2)}), table(2)]
    decoded = codec(ArrowSpec(), SCHEMAS).predictions(
        messages([encode_predictions(part | {"model": models[: len(part["id"])]}) for part in parts]), NOW
    )
    found = {batch.model: rows_of(batch.embeddings["e"]) for batch in decoded.predictions}
    assert found == {"fraud": [[0.0, 1.0], [4.0, 5.0], None], "price": [[2.0, 3.0], None]}


# Avro


@pytest.mark.parametrize("number", ["float", "double"])
def test_avro(number):
    text = avro_schema("predictions").replace('"items": "float"', f'"items": "{number}"')
    written = fastavro.parse_schema(json.loads(text))
    values = [prediction(embeddings={"e": [1.5, 2.0]}), prediction(), prediction(embeddings={"e": []})]
    made = AvroCodec(SCHEMAS, texts={"predictions": text})
    batch, decoded = decode([encoded(value, written) for value in values], made)
    assert rows_of(batch.embeddings["e"]) == [[1.5, 2.0], None, ...]
    assert decoded.spoiled_cells == 1


# All of them


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.none() | st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=4), min_size=1, max_size=8
    )
)
def test_encodings_agree(rows):
    n = len(rows)
    events = [event(id=f"id-{i}", embeddings={"e": row, "f": [1.0]}) for i, row in enumerate(rows)]
    columns = table(n, embeddings={"e": pa.array(rows, pa.list_(pa.float64())), "f": [[1.0]] * n})
    for values in (events, [encode_predictions(columns)]):
        batch, decoded = decode(values, codec(AutoSpec(), SCHEMAS))
        assert rows_of(batch.embeddings["e"]) == single(rows)
        assert decoded.spoiled_cells == 0
