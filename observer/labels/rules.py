"""Which label wins: the rules of docs/label-join.md over whole batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.base import Bools
from observer.labels.records import LABEL_PART, Keys, Outcome, Records, Rows

NEVER = np.iinfo(np.int64).min
"""Earlier than every time."""


def judge(first: Bools, had: Bools, held: Records, batch: Records) -> NDArray[np.uint8]:
    """Outcome of each label; rows of one prediction are neighbours in arrival order from each `first` on."""
    n = len(first)
    segment = np.cumsum(first) - 1
    before = np.where(had, held["label_time"], NEVER)
    if not first.all():
        times, rank = np.unique(batch["label_time"], return_inverse=True)
        newest = np.maximum.accumulate(segment * n + rank) - segment * n
        before[1:] = np.where(first[1:], before[1:], np.maximum(before[1:], times[newest[:-1]]))
    fresh = np.flatnonzero(batch["label_time"] >= before)
    # Of what is not stale, each row meets the one before it, the first of a prediction the held label.
    leads = starts(segment[fresh])
    previous = held.take(fresh)
    following = np.flatnonzero(~leads)
    for name in LABEL_PART:
        previous[name][following] = batch[name][fresh[following - 1]]
    known = had[fresh] | ~leads
    outcome = np.full(n, Outcome.STALE, np.uint8)
    outcome[fresh] = np.where(known, Outcome.CORRECTED, Outcome.MATCHED)
    outcome[fresh[known & same(batch.take(fresh), previous)]] = Outcome.DUPLICATE
    return outcome


def same(left: Records, right: Records) -> Bools:
    """Whether time, value and weight agree; a NaN agrees with itself."""
    values, others = left["label"], right["label"]
    agree: Bools = (left["label_time"] == right["label_time"]) & (left["weight"] == right["weight"])
    agree &= (values == others) | (np.isnan(values) & np.isnan(others))
    return agree


def grouped(keys: Keys, within: NDArray[Any]) -> Rows:
    """An order in which rows of a key are neighbours, by `within`, then as they arrived."""
    high = np.sort(keys[:, 0])
    if (high[1:] != high[:-1]).all():  # the usual batch repeats nothing
        return np.arange(len(keys))
    return np.lexsort((within, keys[:, 1], keys[:, 0]))


def parted(codes: NDArray[np.integer[Any]]) -> Iterator[tuple[int, Rows]]:
    """The distinct codes in order, each with its rows as they arrived."""
    order = np.argsort(codes, kind="stable")
    found, first = np.unique(codes[order], return_index=True)
    yield from zip(found.tolist(), np.split(order, first[1:]), strict=False)


def starts(*columns: NDArray[Any]) -> Bools:
    """Where a run of equal rows begins."""
    first = np.ones(len(columns[0]), np.bool_)
    if len(first):
        differs = np.zeros(len(first) - 1, np.bool_)
        for column in columns:
            changed = column[1:] != column[:-1]
            differs |= changed.any(axis=1) if column.ndim == 2 else changed
        first[1:] = differs
    return first
