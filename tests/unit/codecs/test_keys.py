import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observer.codecs.keys import hash_ids

GOLDEN = {
    "": "b1bca8ece6186e5b66a37e382c3458d8",
    "a": "877623e65f1feafb5b0f9e52ae5b19be",
    "prediction-000000001": "72763d2c89cbd76d9547e12940821b81",
    "8f14e45f-ceea-467f-9575-6b2b2b2b2b2b": "173801157571154ee0c98788edaf8e41",
    "Größe 東京": "7597dabdffbb521f6a61285b20476687",
}


def one(text, seed="fraud"):
    return hash_ids([text], seed)[0].astype(">u8").tobytes().hex()


def test_golden_values():
    """Joins on disk are found by these keys: if this fails, the change must be undone."""
    assert {text: one(text) for text in GOLDEN} == GOLDEN


def test_golden_value_of_a_long_id():
    assert one("x" * 1000) == "438d4542cdb95c4d3e99205de7b10f24"


def test_seed_separates_models():
    assert one("a", "fraud") != one("a", "price")


@pytest.mark.parametrize("length", [*range(20), 31, 32, 33, 1000])
def test_zero_bytes_before_and_after_count(length):
    variants = {"\0" * before + "x" * length + "\0" * after for before in range(9) for after in range(9)}
    assert len({one(text) for text in variants}) == len(variants)


def test_a_million_sequential_ids_do_not_collide_in_either_half():
    keys = hash_ids([f"prediction-{index}" for index in range(1_000_000)], "fraud")
    # 2^64 values: a collision has probability 3e-8 in each half.
    assert len(np.unique(keys[:, 0])) == len(np.unique(keys[:, 1])) == 1_000_000


@pytest.mark.parametrize("form", ["{}", "id-{:08d}", "{:08d}-suffix-that-is-longer", "{:040b}"])
def test_bits_are_uniform_and_independent(form):
    n = 20_000
    keys = hash_ids([form.format(index) for index in range(n)], "fraud")
    bits = np.unpackbits(keys.view(np.uint8), axis=1).astype(float)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 5.5 * 0.5 / np.sqrt(n)
    correlations = np.corrcoef(bits.T) - np.eye(128)
    assert np.abs(correlations).max() < 5.5 / np.sqrt(n)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 20, 40])
def test_avalanche(length):
    """Flipping any bit of an id flips each bit of its key with probability one half."""
    rng = np.random.default_rng(length)
    ids = rng.integers(0, 64, (400, length), dtype=np.uint8) + 48
    base = hash_ids([row.tobytes().decode() for row in ids], "m")
    for position in range(length):
        for bit in (0, 3, 5):
            flipped = ids.copy()
            flipped[:, position] ^= 1 << bit
            other = hash_ids([row.tobytes().decode() for row in flipped], "m")
            changed = np.unpackbits((base ^ other).view(np.uint8), axis=1).mean()
            assert abs(changed - 0.5) < 0.02


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=30))
@settings(deadline=None, max_examples=60)
def test_a_key_depends_on_nothing_but_its_id(ids):
    keys = hash_ids(ids, "m")
    assert keys.shape == (len(ids), 2)
    for at, text in enumerate(ids):
        assert (hash_ids([text], "m")[0] == keys[at]).all()
    for form in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        sliced = pa.array(["zz", *ids, "yy"], pa.string()).cast(form)[1:-1]
        assert (hash_ids(sliced, "m") == keys).all()


def test_very_long_ids_cost_their_length_only():
    ids = ["short", "x" * 1_000_000, "", "y" * 1_000_001, "x" * 999_999 + "y"]
    keys = hash_ids(ids * 2, "m")
    assert len(np.unique(keys[:, 0])) == 5
    assert (keys[:5] == keys[5:]).all()
