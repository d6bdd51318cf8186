import io
import json
import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observer.codecs import ArrowSpec, Limits, codec
from observer.codecs.arrow import encode_labels, encode_predictions
from observer.codecs.arrow.guard import Malformed, expanded_bytes
from observer.codecs.keys import hash_ids
from observer.codecs.schema import arrow_schema
from observer.codecs.times import INVALID_TIME

from .helpers import NOW, SCHEMAS, all_rows, cells, messages

TIME = 1_790_000_000_000


def table(n=3, **columns):
    return {
        "id": [f"id-{at}" for at in range(n)],
        "model": "fraud",
        "time": np.arange(n) + TIME,
        "prediction": ["yes"] * n,
    } | columns


def labels(n=3, **columns):
    return {
        "id": [f"id-{at}" for at in range(n)],
        "model": "fraud",
        "time": [TIME] * n,
        "label": [1] * n,
    } | columns


def payload(columns, **options):
    return (encode_labels if "label" in columns else encode_predictions)(columns, **options)


def decode(*values, stream="predictions", default_model=None, learn_unknown=False, **limits):
    values = [value if isinstance(value, bytes) else payload(value) for value in values]
    spec = ArrowSpec(default_model=default_model)
    made = codec(spec, SCHEMAS, Limits(**limits), learn_unknown=learn_unknown)
    return getattr(made, stream)(messages(values), NOW)


def batch_of(*values, **options):
    decoded = decode(*values, **options)
    assert not decoded.rejected
    (batch,) = decoded.predictions + decoded.labels
    return batch


def ipc(batch, new=pa.ipc.new_stream):
    sink = io.BytesIO()
    with new(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def refusal(value, **options):
    decoded = decode(value, **options)
    assert all_rows(decoded) == []
    (rejected,) = decoded.rejected
    return rejected


def test_whole_rows():
    columns = table(
        2,
        version="v1",
        features={"amount": [1.5, None], "age": [3, 4], "country": ["DE", None], "returning": [True, None]},
        scores={"a": [0.25, 0.5]},
        arm=["champion", None],
        arm_probability=[0.5, None],
        tags={"region": ["eu", "us"]},
        latency_ms=[1, 2],
        error=[None, True],
    )
    first, second = all_rows(decode(columns))
    assert first == {
        "model": "fraud", "key": hash_ids(["id-0"], "fraud").tobytes(), "time": TIME, "row": 0, "message": 0,
        "partition": 0, "version": "v1", "features.amount": 1.5, "features.age": 3.0,
        "features.country": "DE", "features.returning": "true", "prediction": "yes", "scores.a": 0.25,
        "arm": "champion", "arm_probability": 0.5, "tags.region": "eu", "latency_ms": 1.0,
    }  # fmt: skip
    assert second == {
        "model": "fraud", "key": hash_ids(["id-1"], "fraud").tobytes(), "time": TIME + 1, "row": 1,
        "message": 0, "partition": 0, "version": "v1", "features.age": 4.0, "prediction": "yes",
        "scores.a": 0.5, "tags.region": "us", "latency_ms": 2.0, "error": True,
    }  # fmt: skip


@pytest.mark.parametrize("container", ["stream", "file"])
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_formats(container, compression):
    columns = table(500, features={"amount": np.arange(500.0), "country": ["DE"] * 500})
    batch = batch_of(encode_predictions(columns, container=container, compression=compression))
    assert batch.features["amount"].values.tolist() == list(range(500))
    assert cells(batch.features["country"]) == ["DE"] * 500


def test_plain_floats_are_not_copied():
    value = payload(table(3, features={"amount": [1.0, 2.0, 3.0]}))
    values = batch_of(value).features["amount"].values
    assert np.shares_memory(values, np.frombuffer(value, np.uint8))


def test_many_messages_become_one_batch_in_order():
    values = [payload(table(100, features={"amount": np.full(100, at), "country": [f"c{at % 7}"] * 100}))
              for at in range(20)]  # fmt: skip
    values[5] = b"\xff\xff\xff\xffgarbage"
    values[9] = payload(table(100, tags={"region": ["eu"] * 100}))
    decoded = decode(*values)
    (batch,) = decoded.predictions
    assert [rejected.origin.offset for rejected in decoded.rejected] == [2]
    assert len(batch) == 1900
    assert (np.diff(batch.row) > 0).all()
    assert (np.diff(batch.message) >= 0).all()
    amounts = np.where(batch.message == 9, np.nan, batch.message)
    np.testing.assert_array_equal(batch.features["amount"].values, amounts)
    countries = [None if at == 9 else f"c{at % 7}" for at in batch.message]
    assert cells(batch.features["country"]) == countries
    assert cells(batch.tags["region"]) == ["eu" if at == 9 else None for at in batch.message]


def test_several_batches_of_a_message():
    one = pa.record_batch({"id": ["a"], "model": ["fraud"], "time": [TIME], "prediction": [1]})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, one.schema) as writer:
        for _ in range(3):
            writer.write_batch(one)
    batch = batch_of(sink.getvalue(), sink.getvalue())
    assert batch.row.tolist() == [0, 1, 2, 1 << 32, (1 << 32) + 1, (1 << 32) + 2]


def test_models_by_row():
    columns = table(4, model=["fraud", "price", "fraud", "other"], features={"amount": [1, 2, 3, 4]})
    decoded = decode(columns)
    assert {batch.model: batch.row.tolist() for batch in decoded.predictions} == {
        "fraud": [0, 2],
        "price": [1],
    }
    (rejected,) = decoded.rejected
    assert rejected.reason == "unknown_model"
    assert json.loads(rejected.payload)["id"] == "id-3"
    learnt = decode(columns, learn_unknown=True)
    assert cells(learnt.predictions[-1].features["amount"]) == [4.0]


def test_default_model():
    columns = table()
    del columns["model"]
    batch = pa.record_batch({name: pa.array(values) for name, values in columns.items()})
    assert refusal(ipc(batch)).reason == "invalid"
    assert batch_of(ipc(batch), default_model="price").model == "price"
    mixed = decode(table(model=["fraud", None, "fraud"]), default_model="price")
    assert {batch.model: len(batch) for batch in mixed.predictions} == {"fraud": 2, "price": 1}


@pytest.mark.parametrize(
    "bad",
    [{"id": ["a", None, "c"]}, {"id": ["a", "", "c"]}, {"model": ["fraud", None, "fraud"]},
     {"time": [1, None, 1]}, {"time": [1, -1, 1]}, {"time": [1, int(NOW * 1000) * 2, 1]},
     {"time": [1.0, float("nan"), 1.0]}, {"prediction": [1, None, 1]}, {"prediction": [1, float("nan"), 1]},
     {"arm": ["champion", "both", None]}, {"arm_probability": [0.5, 1.5, None]}],
)  # fmt: skip
def test_a_bad_row_is_refused_alone(bad):
    decoded = decode(table(**bad, features={"amount": [1, 2, 3]}))
    (batch,) = decoded.predictions
    assert cells(batch.features["amount"]) == [1, 3]
    assert batch.row.tolist() == [0, 2]
    (rejected,) = decoded.rejected
    assert rejected.reason in {"invalid", "time_invalid", "time_in_future"}
    assert json.loads(rejected.payload)["features.amount"] == 2


def test_labels():
    decoded = decode(labels(4, weight=[1.5, None, -1.0, float("inf")]), stream="labels")
    assert decoded.labels[0].weight.tolist() == [1.5, 1.0]
    assert [rejected.reason for rejected in decoded.rejected] == ["invalid"] * 2
    assert cells(batch_of(labels(label=["a", "b", "a"]), stream="labels").label) == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (pa.array([TIME, 5, None]), [TIME, 5, INVALID_TIME]),
        (pa.array([TIME, 2**64 - 1, 0], pa.uint64()), [TIME, INVALID_TIME, 0]),
        (pa.array([1.9, float("inf"), 2]), [1, INVALID_TIME, 2]),
        (pa.array([TIME, 5], pa.timestamp("ms")), [TIME, 5]),
        (pa.array([TIME * 1000 + 999], pa.timestamp("us", tz="Europe/Berlin")), [TIME]),
        (pa.array([TIME * 1000000 + 999999, -1], pa.timestamp("ns", tz="UTC")), [TIME, INVALID_TIME]),
        (pa.array([TIME // 1000, 2**62], pa.timestamp("s")), [TIME // 1000 * 1000, INVALID_TIME]),
        (pa.array(["2026-01-31T12:00:00Z", "x", None]), [1769860800000, INVALID_TIME, INVALID_TIME]),
        (pa.array(["2026-01-31T12:00:00Z"]).dictionary_encode(), [1769860800000]),
    ],
)
def test_times(times, expected):
    decoded = decode(table(len(times), time=times))
    found = {row["row"]: row["time"] for row in all_rows(decoded)}
    assert found == {row: time for row, time in enumerate(expected) if time != INVALID_TIME}
    assert len(decoded.rejected) == expected.count(INVALID_TIME)


@pytest.mark.parametrize(
    ("array", "number", "category", "boolean"),
    [
        (pa.array([1, None], pa.int8()), [1, None], ["1", None], [..., None]),
        (pa.array([1.5, 3], pa.float32()), [1.5, 3], ["1.5", "3"], [..., ...]),
        (pa.array([1.5, float("nan")]), [1.5, "nan"], ["1.5", None], [..., ...]),
        (pa.array([True, None]), [..., None], ["true", None], ["true", None]),
        (pa.array(["a", None], pa.large_string()), [..., None], ["a", None], [..., None]),
        (pa.array(["a", "b"], pa.string_view()), [..., ...], ["a", "b"], [..., ...]),
        (pa.array(["a", None]).dictionary_encode(), [..., None], ["a", None], [..., None]),
        (pa.array([7, None]).dictionary_encode(), [7, None], ["7", None], [..., None]),
        (pa.DictionaryArray.from_arrays([0, 1], ["a", None]), [..., None], ["a", None], [..., None]),
        (pa.nulls(2), [None, None], [None, None], [None, None]),
        (pa.array([[1], None]), [..., None], [..., None], [..., None]),
        (pa.array([TIME, None], pa.timestamp("ms")), [..., None], [..., None], [..., None]),
        (pa.array([2**63, 1], pa.uint64()), [2.0**63, 1], [str(2**63), "1"], [..., ...]),
        (pa.array([1, None]).cast(pa.decimal128(30, 2)), [1, None], ["1", None], [..., None]),
        (pa.array(np.array([1, 2], np.float16)), [1, 2], ["1", "2"], [..., ...]),
    ],
)  # fmt: skip
def test_feature_types(array, number, category, boolean):
    features = {"amount": array, "country": array, "returning": array}
    decoded = decode(table(2, features=features))
    (batch,) = decoded.predictions
    found = [
        "nan" if cell is not ... and cell is not None and np.isnan(cell) else cell
        for cell in cells(batch.features["amount"])
    ]
    assert found == number
    assert cells(batch.features["country"]) == category
    assert cells(batch.features["returning"]) == boolean
    assert decoded.spoiled_cells == (number + category + boolean).count(...)


def test_structs():
    features = pa.array([{"amount": 1.0, "country": "DE"}, None, {"amount": None, "country": "FR"}])
    scores = pa.array([{"a": 0.5}, {"a": 0.25}, None])
    batch = batch_of(table(features=features, scores=scores, tags=pa.array([{"region": "eu"}] * 3)))
    assert cells(batch.features["amount"]) == [1.0, None, None]
    assert cells(batch.features["country"]) == ["DE", None, "FR"]
    assert cells(batch.scores["a"]) == [0.5, 0.25, None]
    assert cells(batch.tags["region"]) == ["eu"] * 3


def test_learning_takes_types_as_they_are_and_caps_names():
    features = {f"f{at}": [at] * 3 for at in range(5)} | {"a": ["x"] * 3, "b": [True] * 3, "c": [[1]] * 3}
    decoded = decode(table(model="new", features=features), max_features=4)
    found = {name: cells(column) for name, column in decoded.predictions[0].features.items()}
    assert found == {"a": ["x"] * 3, "b": ["true"] * 3, "c": [...] * 3, "f0": [0] * 3}
    assert (decoded.dropped_cells, decoded.spoiled_cells) == (12, 3)


def test_dictionaries_that_do_not_join_are_decoded_one_by_one():
    def part(start):
        names = pa.array([f"n{at}" for at in range(start, start + 100)])
        return payload(table(100, features={"country": pa.DictionaryArray.from_arrays(
            pa.array(range(100), pa.int8()), names)}))  # fmt: skip

    batch = batch_of(part(0), part(100), part(0))
    assert cells(batch.features["country"]) == [f"n{at}" for at in [*range(200), *range(100)]]


def test_undecodable():
    good = payload(table())
    for value in (b"ARROW1", b"\xff\xff\xff\xff", b"{}", good[:-200], good[: len(good) // 2], b"\0" * 100):
        assert refusal(value).reason == "undecodable"


@pytest.mark.parametrize(
    "columns",
    [{"id": [1.5] * 3}, {"id": [True] * 3}, {"model": [1, 2, 3]}, {"time": [True] * 3},
     {"prediction": [[1]] * 3}, {"prediction": pa.nulls(3)}, {"version": [[1]] * 3}, {"arm": [1] * 3},
     {"arm_probability": ["x"] * 3}, {"features": [1] * 3}],
)  # fmt: skip
def test_wrong_column_types_refuse_the_message(columns):
    rejected = refusal(table(**columns))
    assert rejected.reason == "invalid"
    assert f"`{next(iter(columns))}`" in rejected.detail
    assert "accepted" in rejected.detail


def test_missing_columns_refuse_the_message():
    for name in ("id", "model", "time", "prediction"):
        batch = pa.record_batch({"id": ["a"], "model": ["fraud"], "time": [1], "prediction": [1]})
        rejected = refusal(ipc(batch.drop_columns([name])))
        assert (rejected.reason, f"`{name}` is missing" in rejected.detail) == ("invalid", True)


def test_integer_ids():
    batch = batch_of(table(id=[7, 8, 9]))
    assert (batch.keys == hash_ids(["7", "8", "9"], "fraud")).all()


def test_too_large():
    zeros = table(10_000, features={"amount": np.zeros(10_000)})
    small = encode_predictions(zeros, compression="zstd")
    assert len(small) < 100_000
    rejected = refusal(small, max_batch_bytes=100_000)
    assert (rejected.reason, "expands to" in rejected.detail) == ("too_large", True)
    assert refusal(zeros, max_batch_rows=9999).reason == "too_large"
    assert refusal(table(), max_batch_bytes=100).reason == "too_large"
    wide = table(1000, features={f"n{at}": pa.nulls(1000) for at in range(1000)})
    assert refusal(wide, max_batch_bytes=900_000).reason == "too_large"


def test_a_bomb_is_refused_before_it_is_expanded():
    """A buffer that claims to expand to 1 TiB."""
    value = encode_predictions(table(features={"amount": np.zeros(3000)}) | table(3000), compression="zstd")
    for at in range(0, len(value) - 8, 8):
        if struct.unpack_from("<q", value, at)[0] == 24_000:  # the float buffer's expanded length
            value = value[:at] + struct.pack("<q", 1 << 40) + value[at + 8 :]
            break
    rejected = refusal(value)
    assert (rejected.reason, str((1 << 40) // 10**10) in rejected.detail) == ("too_large", True)


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_the_guard_reads_what_arrow_writes(compression):
    n = 1000
    value = memoryview(encode_predictions(table(n, prediction=np.zeros(n)), compression=compression))
    total = expanded_bytes(value)
    # id offsets and text, model codes, time, prediction; buffers are padded to 8 bytes, dictionaries extra
    assert 4 * n + 5 * n + n + 8 * n + 8 * n <= total <= 28 * n + (0 if compression is None else len(value))
    with pytest.raises(Malformed):
        expanded_bytes(value[: len(value) // 2])


def test_wire_types_of_the_documented_schema_are_accepted():
    for stream in ("predictions", "labels"):
        schema = arrow_schema(stream)
        row = {"id": "a", "model": "fraud", "time": TIME, "prediction": "x", "label": "x"}
        batch = pa.RecordBatch.from_pylist([row], schema=schema)
        assert len(batch_of(ipc(batch), stream=stream)) == 1


VALUES = [
    payload(table(5, features={"amount": [1.0, None, 2, 3, 4], "country": ["a", None, "b", "a", "c"]})),
    encode_predictions(table(5, tags={"region": ["a"] * 5}), container="file", compression="lz4"),
    payload(labels(5)),
    payload(table(3, features=pa.array([{"amount": 1.0}, None, {"amount": 2.0}]), prediction=[True] * 3)),
]


@st.composite
def mangled(draw):
    value = bytearray(draw(st.sampled_from(VALUES)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(value) - 1))
        change = draw(st.binary(min_size=1, max_size=8))
        value[at : at + len(change)] = change
    return bytes(value[: draw(st.none() | st.integers(0, len(value)))])


@given(st.lists(st.binary(max_size=40) | mangled(), max_size=4))
@settings(deadline=None, max_examples=100)
@pytest.mark.parametrize("stream", ["predictions", "labels"])
def test_mangled_bytes_never_raise_and_are_accounted_for(stream, values):
    decoded = decode(*values, stream=stream, learn_unknown=True)
    refused = {(rejected.origin.offset * 2 + rejected.origin.partition) for rejected in decoded.rejected}
    used = {row["message"] for row in all_rows(decoded)}
    empty = set(range(len(values))) - refused - used
    for index in empty:  # a stream cut after its schema is a valid one without rows
        with pa.ipc.open_stream(pa.py_buffer(values[index].removeprefix(b"ARROW1\0\0"))) as reader:
            assert sum(batch.num_rows for batch in reader) == 0


def test_encoding_needs_the_required_columns():
    with pytest.raises(ValueError, match="time, prediction"):
        encode_predictions({"id": ["a"], "model": "fraud"})
