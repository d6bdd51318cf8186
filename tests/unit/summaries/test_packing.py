import json
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from detectors.summaries import packing
from detectors.summaries.packing import digest, pack, unpack

DTYPES = [np.dtype(code) for code in "?bBhHiIqQefd"]
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6))
)
VALUES = st.one_of(
    ARRAYS,
    st.binary(max_size=1000),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.none(),
    st.lists(st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)
FIELDS = st.dictionaries(st.text(max_size=8), VALUES, max_size=6)


def forged(header: object, body: bytes = b"", size: int | None = None, *, compressed: bool = False) -> bytes:
    """Bytes with a right checksum whatever they say."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(body) if size is None else size
    stored = zlib.compress(body) if compressed else body
    data = packing._HEAD.pack(packing._MAGIC, compressed, len(head), size) + head + stored
    return data + packing._CRC.pack(zlib.crc32(data))


@settings(max_examples=200)
@given(FIELDS)
def test_what_is_packed_comes_back(fields):
    data = pack(fields)
    back = unpack(data)
    assert list(back) == list(fields)
    for name, value in fields.items():
        if isinstance(value, np.ndarray):
            assert back[name].dtype == value.dtype
            np.testing.assert_array_equal(back[name], value)
            assert back[name].tobytes() == value.tobytes()
            assert back[name].flags.writeable
        else:
            assert back[name] == value
    assert pack(back) == data


@pytest.mark.parametrize(
    "values",
    [
        [-1, 2**63 - 1],
        [-(2**63), 2**63 - 1],
        [-1, 2**40 + 1],
        [0, 2**63 - 1],
        [2**53 + 1, 2**53 + 3],
        [-128, 127],
        [-129, 200],
    ],
)
def test_integers_of_any_size_are_exact(values):
    array = np.array(values, np.int64)
    np.testing.assert_array_equal(unpack(pack({"a": array}))["a"], array)


def test_counts_are_stored_narrow_and_compressed():
    assert len(pack({"counts": np.full((20, 263), 3, np.int64)})) < 200


def test_big_endian_and_strided_arrays_are_accepted():
    array = np.arange(12, dtype=">i8").reshape(3, 4)[:, ::2]
    np.testing.assert_array_equal(unpack(pack({"a": array}))["a"], array)


@pytest.mark.parametrize(
    "array", [np.array(["a"]), np.array([1j]), np.array([None]), np.zeros(2, np.longdouble)]
)
def test_other_arrays_are_refused(array):
    with pytest.raises(TypeError, match="'a'"):
        pack({"a": array})


def test_bodies_beyond_the_limit_are_refused(monkeypatch):
    data = pack({"a": np.ones(1000)})
    monkeypatch.setattr(packing, "LARGEST", 7_999)
    with pytest.raises(ValueError, match="at most 7999"):
        pack({"a": np.ones(1000)})
    with pytest.raises(ValueError, match="at most 7999"):
        unpack(data)


@settings(max_examples=200)
@given(FIELDS, st.data())
def test_damage_is_found(fields, data):
    good = pack(fields)
    at = data.draw(st.integers(0, len(good) - 1))
    how = data.draw(st.sampled_from(["flip", "cut", "insert"]))
    if how == "flip":
        bad = good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :]
    elif how == "cut":
        bad = good[:at]
    else:
        bad = good[:at] + data.draw(st.binary(min_size=1, max_size=8)) + good[at:]
    with pytest.raises(ValueError, match="damaged summary"):
        unpack(bad)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
KINDS = st.one_of(
    JSON,
    st.tuples(
        st.sampled_from(["<f8", "|u1", "<i8", "<i2", "|b1", "O", "<U4", "bytes"]),
        st.sampled_from(["<f8", "|u1", "<i8", "|b1"]) | st.integers(),
        st.lists(st.integers(-3, 5) | st.integers(), max_size=3) | JSON,
    ),
    st.tuples(st.just("bytes"), st.integers() | JSON),
)


@settings(max_examples=300)
@given(st.dictionaries(st.text(max_size=3), KINDS, max_size=4) | JSON, st.binary(max_size=64), st.booleans())
def test_forged_headers_are_refused_or_read(header, body, compressed):
    try:
        fields = unpack(forged(header, body, compressed=compressed))
    except ValueError:
        return
    assert sum(v.nbytes for v in fields.values() if isinstance(v, np.ndarray)) <= 8 * 4 * len(body)


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data):
    with pytest.raises(ValueError, match="damaged summary"):
        unpack(data)
    with pytest.raises(ValueError, match="damaged summary"):
        unpack(packing._MAGIC + data)


def test_a_bomb_is_not_inflated(monkeypatch):
    monkeypatch.setattr(packing, "LARGEST", 1000)
    with pytest.raises(ValueError, match="at most 1000"):
        unpack(forged({}, b"\0" * 10**6, compressed=True))
    # A header that lies about the size gets no more than it asked for.
    with pytest.raises(ValueError, match="body of 101 bytes instead of 100"):
        unpack(forged({}, b"\0" * 10**6, 100, compressed=True))


def test_deep_nesting_is_refused():
    with pytest.raises(ValueError, match="nested too deeply"):
        unpack(forged(b"[" * 100_000))


def test_fields_say_what_is_wrong():
    fields = unpack(pack({"n": -1, "a": np.zeros((2, 3)), "s": "text"}))
    with pytest.raises(ValueError, match="no field 'other'"):
        fields["other"]
    with pytest.raises(ValueError, match="'n' is -1 instead of a count"):
        fields.count("n")
    with pytest.raises(ValueError, match="'s' is 'text' instead of int"):
        fields.count("s")
    with pytest.raises(ValueError, match="'s' is 'text' instead of bytes"):
        fields.packed("s")
    with pytest.raises(ValueError, match=r"'a' is float64\(2, 3\) instead of float64\(2, 4\)"):
        fields.array("a", np.float64, 2, 4)
    with pytest.raises(ValueError, match="instead of int64"):
        fields.array("a", np.int64, 2, 3)
    assert fields.array("a", np.float64, -1, 3).shape == (2, 3)


def test_digest_looks_at_content_not_at_compression(monkeypatch):
    fields = {"a": np.arange(1000), "b": b"raw", "c": {"x": 1, "y": None}}
    nested = {"inner": pack(fields), "d": 1.5}
    first = digest(pack(nested))
    monkeypatch.setattr(packing, "_COMPRESS_FROM", 10**9)
    assert len(pack(fields)) != len(nested["inner"])
    assert digest(pack({"inner": pack(fields), "d": 1.5})) == first
    assert digest(pack({"inner": pack({**fields, "b": b"other"}), "d": 1.5})) != first
    assert digest(pack({"inner": pack({**fields, "a": np.arange(1000.0)}), "d": 1.5})) != first
    assert digest(pack({"inner": pack({**fields, "a": np.arange(1000).reshape(10, 100)}), "d": 1.5})) != first
