"""Bodies of requests and responses -> tensors: what was encoded comes back, and junk is told."""

from __future__ import annotations

import gc
import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from observer.codecs.inference import encode
from observer.codecs.inference.collector import uncollected
from observer.codecs.inference.protobuf import unframed, varints
from tests.unit.inference.helpers import decoded

_FLOATS = {"FP64": np.float64, "FP32": np.float32}
_WHOLE = {
    "INT64": np.int64, "INT32": np.int32, "INT16": np.int16, "INT8": np.int8,
    "UINT64": np.uint64, "UINT32": np.uint32, "UINT16": np.uint16, "UINT8": np.uint8,
}  # fmt: skip
X = {"name": "x", "datatype": "FP64"}
NAME = "m" * ord("{")
"""Whose message begins with a line feed and a brace."""
ENCODINGS = {
    "json": lambda tensors, response: encode.v2_json(tensors, response=response),
    "json, binary": lambda tensors, response: encode.v2_json(tensors, response=response, binary=True, id="ü"),
    "protobuf": lambda tensors, response: encode.v2_protobuf(tensors, response=response, model_version="7"),
    "protobuf, raw": lambda tensors, response: encode.v2_protobuf(
        tensors, response=response, as_raw=True, model_name=NAME
    ),
}


@st.composite
def tensor(draw: st.DrawFn) -> tuple[str, np.ndarray]:
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    datatype = draw(st.sampled_from([*_FLOATS, *_WHOLE, "BOOL", "BYTES"]))
    if datatype == "BYTES":
        texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
        cells = draw(st.lists(texts, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
        return datatype, np.array(cells, object).reshape(shape)
    kind = {**_FLOATS, **_WHOLE, "BOOL": np.bool_}[datatype]
    plain = {"allow_nan": False, "allow_infinity": False} if datatype in _FLOATS else {}
    return datatype, draw(hnp.arrays(kind, tuple(shape), elements=hnp.from_dtype(np.dtype(kind), **plain)))


tensors = st.dictionaries(st.text("abc", min_size=1, max_size=2), tensor(), min_size=1, max_size=3)


def expected(given_tensors: dict) -> dict:
    return {name: array.reshape(len(array), -1).tolist() for name, (_, array) in given_tensors.items()}


@pytest.mark.parametrize("response", [False, True])
@settings(max_examples=40)
@given(st.lists(st.tuples(tensors, st.sampled_from(sorted(ENCODINGS))), min_size=1, max_size=6))
def test_what_was_encoded_is_decoded(response, chosen):
    """All messages at once, whatever their order, structures and encodings."""
    payloads = [ENCODINGS[name](one, response) for one, name in chosen]
    assert decoded(payloads, response=response) == [expected(one) for one, _ in chosen]


@settings(max_examples=80)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=30))
@example([0, 127, 128, 2**63, 2**64 - 1])
def test_base_128(numbers):
    assert varints(b"".join(map(encode._varint, numbers))).tolist() == numbers


@settings(max_examples=100)
@given(st.binary(max_size=60), st.booleans())
@example(b"\xff" * 12, False)
@example(b"{" + b"[" * 5000, True)
def test_junk_is_refused_not_raised(junk, response):
    whole = encode.v2_json({"x": ("FP64", [[1.0]])}, response=response)
    result = decoded([whole, junk, whole], response=response)
    assert result[0] == result[2] == {"x": [[1.0]]}


@settings(max_examples=80)
@given(st.data(), st.sampled_from(sorted(ENCODINGS)), tensors)
def test_cut_and_damaged_messages_never_raise(data, name, one):
    payload = bytearray(ENCODINGS[name](one, False))
    for _ in range(data.draw(st.integers(0, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(payload[: data.draw(st.integers(0, len(payload)))])
    assert len(decoded([cut, cut])) == 2


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        ({"instances": [1, 2.5, None]}, {"instances": [[1.0], [2.5], [None]]}),
        ({"instances": [[1, 2], [3, 4]]}, {"instances": [[1, 2], [3, 4]]}),
        ({"instances": [[[1, 2], [3, 4]]]}, {"instances": [[1, 2, 3, 4]]}),
        ({"instances": [[1, "a"]]}, {"instances": [["1", "a"]]}),
        ({"instances": [True, False]}, {"instances": [[True], [False]]}),
        (
            {"instances": [{"a": 1, "b": "x"}, {"a": 2, "v": [1, 2]}, {"v": [3, 4], "b": None}]},
            "another number of values",
        ),
        (
            {"instances": [{"a": 1, "v": [1, 2]}, {"v": [3, 4], "b": "x"}]},
            {"a": [[1], [None]], "b": [[None], ["x"]], "v": [[1, 2], [3, 4]]},
        ),
        ({"instances": [{"a": {"b64": "eA=="}}]}, "holds lists or objects where values belong"),
        ({"instances": [{"a": 1}, 2]}, "holds objects and other values"),
        ({"instances": [[1], [2, 3]]}, "another number of values than its shape says"),
        ({"instances": 3}, "no V1 or V2 body"),
        ({"features": {}}, "neither `inputs` nor `instances` in it"),
        ({"inputs": [{**X, "shape": [2], "data": [1]}]}, "another number of values"),
        ({"inputs": [{**X, "shape": [1], "datatype": "INT8", "data": [1.5]}]}, "`x` of INT8"),
        ({"inputs": [{**X, "shape": [1], "datatype": "COLOUR", "data": [1]}]}, "datatype 'COLOUR'"),
        ({"inputs": [{**X, "shape": [-1], "data": []}]}, "has shape [-1]"),
        ({"inputs": [{**X, "shape": [2, 1], "data": [[1], [None]]}], "outputs": [{"name": "y"}]},
         {"x": [[1.0], [None]]}),
    ],
)  # fmt: skip
def test_json_bodies(body, rows):
    found = decoded([json.dumps(body).encode()])[0]
    assert found == rows if isinstance(rows, dict) else rows in found


def test_a_wrong_body_spoils_no_other():
    good, bad = (
        encode.v2_json({"x": ("FP64", [[1.0, 2.0]])}),
        json.dumps({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1]}]}).encode(),
    )
    result = decoded([good, bad, good])
    assert result[0] == result[2] == {"x": [[1.0, 2.0]]}
    assert "another number of values" in result[1]


def test_half_precision_is_raw_only():
    body = encode.v2_protobuf({"x": ("FP16", np.array([[1.5], [-2.0]]))}, as_raw=True)
    assert decoded([body]) == [{"x": [[1.5], [-2.0]]}]


@pytest.mark.parametrize("places", [b"\x00", b"\x02\x00", b"\x04\x02\x08"])
def test_a_schema_registrys_header_is_left_out(places):
    body = encode.v2_protobuf({"x": ("FP32", [1.0])})
    assert unframed(b"\x00\x00\x00\x00\x2a" + places + body) == body
    assert unframed(body) == body


@pytest.mark.parametrize("tail", [b'"binary_data_size": 7 ', b'"binary_data_size":1}', b"}", b"{}"])
def test_binary_tensors_that_look_like_json_are_none(tail):
    """Where the JSON ends is guessed from the sizes in it; a wrong guess must be noticed."""
    cells = tail + bytes(-len(tail) % 8)
    for data in (cells, cells[::-1], bytes(8) + cells):
        numbers = np.frombuffer(data, np.int64)
        whole = encode.v2_json({"x": ("INT64", numbers)}, binary=True)
        assert decoded([whole]) == [{"x": [[one] for one in numbers.tolist()]}]


def test_tensors_of_other_shapes_between_those_of_one_shape():
    """What precedes contents is expected to be as in the message before."""
    given = [{"x": ("FP64", [[1.0]] * n), "y": ("BYTES", ["a" * 200] * n)} for n in (1, 1, 2, 1, 3)]
    payloads = [encode.v2_protobuf(one) for one in given]
    assert decoded(payloads) == [
        expected({k: (d, np.array(v)) for k, (d, v) in one.items()}) for one in given
    ]


def test_a_field_of_another_wire_type_is_another_field():
    """As protobuf has it: unknown, and left out."""
    whole = encode.v2_protobuf({"x": ("INT64", [7])}, model_version="3")
    assert decoded([b"\x28\x05" + b"\x10\x01" + whole]) == [{"x": [[7]]}]


def test_the_collector_is_on_again_whatever_happened():
    @uncollected()
    def fail():
        assert not gc.isenabled()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert gc.isenabled()
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
