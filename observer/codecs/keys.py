"""128-bit keys of event ids: the same on every platform, for ever; joins on disk depend on them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from detectors.base import Ints

Words = NDArray[np.uint64]

_MULTIPLY_A = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio
_MULTIPLY_B = np.uint64(0xC2B2AE3D27D4EB4F)
_FINAL_1 = np.uint64(0xFF51AFD7ED558CCD)  # the finaliser of MurmurHash3 (Appleby, public domain)
_FINAL_2 = np.uint64(0xC4CEB9FE1A85EC53)
_LONG = 256  # bytes; a longer id is absorbed as its 32-byte BLAKE2b digest
_BLOCK = 8192  # rows whose state stays in the processor's cache


def hash_ids(ids: pa.Array | Sequence[str], seed_text: str) -> NDArray[np.uint64]:
    """Hash ids to 128 bits; equal ids under different seed texts (model names) differ.

    Two 64-bit lanes absorb an id as little-endian 8-byte words, the last one padded with zeros, by xor or
    addition, multiplication and xorshift; of an id longer than 256 bytes they absorb the BLAKE2b digest. The
    length in bytes enters before both lanes are mixed and finalised. It resists accident, not an attacker
    who chooses ids to collide.

    Parameters
    ----------
    ids : pyarrow string array without nulls, or a sequence of str
        Text of any length; keys depend on its UTF-8 bytes only.
    seed_text : str
        The model's name.

    Returns
    -------
    uint64[n, 2]
    """
    offsets, data = _bytes_of(ids)
    n = len(offsets) - 1
    digest = hashlib.blake2b(seed_text.encode(), digest_size=16).digest()
    seed_a, seed_b = np.frombuffer(digest, "<u8").astype(np.uint64)
    keys = np.empty((n, 2), np.uint64)
    for start in range(0, n, _BLOCK):
        block = offsets[start : start + _BLOCK + 1]
        a = np.full(len(block) - 1, seed_a)
        b = np.full(len(block) - 1, seed_b)
        lengths = np.diff(block)
        if lengths.max() > _LONG:
            _absorb_long(a, b, data, block, lengths)
            _absorb(a, b, data, block[:-1], np.where(lengths > _LONG, 0, lengths))
        elif lengths.min() == lengths.max():
            _absorb_equal(a, b, data[block[0] : block[-1]], int(lengths[0]))
        else:
            _absorb(a, b, data, block[:-1], lengths)
        _finish(a, b, lengths.view(np.uint64))
        keys[start : start + _BLOCK, 0] = a
        keys[start : start + _BLOCK, 1] = b
    return keys


def _bytes_of(ids: pa.Array | Sequence[str]) -> tuple[Ints, NDArray[np.uint8]]:
    """Where each id starts (and the last ends), and the bytes, followed by 8 spare ones."""
    if isinstance(ids, Sequence):
        ids = pa.array(ids, pa.large_string())
    elif not pa.types.is_large_string(ids.type):
        ids = ids.cast(pa.large_string())
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    if not len(ids):
        return np.zeros(1, np.int64), np.zeros(8, np.uint8)
    _, starts, data = ids.buffers()
    offsets = np.frombuffer(starts, np.int64)[ids.offset : ids.offset + len(ids) + 1]
    first, last = int(offsets[0]), int(offsets[-1])
    padded = np.zeros(last - first + 8, np.uint8)
    if last > first:
        padded[:-8] = np.frombuffer(data, np.uint8)[first:last]
    return offsets - first, padded


def _absorb_equal(a: Words, b: Words, data: NDArray[np.uint8], length: int) -> None:
    """Absorb ids that all have one length: their words are columns of a matrix."""
    words = np.zeros((len(a), -(-length // 8) * 8), np.uint8)
    if length:
        words[:, :length] = data.reshape(-1, length)
    for word in np.ascontiguousarray(words.view("<u8").T):
        _mix(a, b, word)


def _absorb(a: Words, b: Words, data: NDArray[np.uint8], starts: Ints, lengths: Ints) -> None:
    """Absorb ids of any lengths, a word of all of them at a time, then of those that are longer."""
    unaligned = np.ndarray((len(data) - 7,), "<u8", data, 0, (1,))
    rows: NDArray[np.intp] | slice = slice(None)
    at, left = starts, lengths
    while True:
        if (left <= 0).any():
            keep = np.flatnonzero(left > 0)
            rows = keep if isinstance(rows, slice) else rows[keep]
            at, left = at[keep], left[keep]
            if not len(left):
                return
        unused = np.clip(8 - left, 0, 7).view(np.uint64) << np.uint64(3)
        word = unaligned[at] & (np.uint64(0xFFFFFFFFFFFFFFFF) >> unused)
        if isinstance(rows, slice):
            _mix(a, b, word)
        else:
            some_a, some_b = a[rows], b[rows]
            _mix(some_a, some_b, word)
            a[rows], b[rows] = some_a, some_b
        at, left = at + 8, left - 8


def _absorb_long(a: Words, b: Words, data: NDArray[np.uint8], offsets: Ints, lengths: Ints) -> None:
    """Absorb the digests of the ids that are longer than `_LONG`, so that they cost no more than others."""
    for row in np.flatnonzero(lengths > _LONG).tolist():
        digest = hashlib.blake2b(data[offsets[row] : offsets[row + 1]].tobytes(), digest_size=32).digest()
        for word in np.frombuffer(digest, "<u8").astype(np.uint64):
            _mix(a[row : row + 1], b[row : row + 1], word)


def _mix(a: Words, b: Words, word: Words | np.uint64) -> None:
    a ^= word
    a *= _MULTIPLY_A
    a ^= a >> np.uint64(32)
    b += word
    b *= _MULTIPLY_B
    b ^= b >> np.uint64(29)


def _finish(a: Words, b: Words, lengths: Words) -> None:
    a ^= lengths
    b ^= lengths
    a += b
    b += a
    _avalanche(a)
    _avalanche(b)
    a += b
    b += a


def _avalanche(lane: Words) -> None:
    lane ^= lane >> np.uint64(33)
    lane *= _FINAL_1
    lane ^= lane >> np.uint64(33)
    lane *= _FINAL_2
    lane ^= lane >> np.uint64(33)
