"""What is kept of predictions and labels, and what the join answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.base import Bools

Keys: TypeAlias = NDArray[np.uint64]
Records: TypeAlias = NDArray[np.void]
Rows: TypeAlias = NDArray[np.intp]

HELD, LABELLED, DONE = 1, 2, 4
"""Bits of `flags` that the join sets; the caller may use the upper four."""
LABEL_DTYPE = np.dtype([("flags", "u1"), ("label", "<f8"), ("weight", "<f4"), ("label_time", "<i8")])
"""What is kept of a label that waits for its prediction; the end of every prediction's record too."""
LABEL_PART = ("label", "weight", "label_time")


class Outcome(IntEnum):
    """What became of a label; the name in lower case is the metric label."""

    MATCHED = 0
    """The first label of its prediction."""
    CORRECTED = 1
    """Replaced the label held before: of a later time, or of the same time and arrived later."""
    DUPLICATE = 2
    """Same time, value and weight as the one held."""
    STALE = 3
    """Older than the one held."""
    WAITING = 4
    """Its prediction has not come yet."""
    EXPIRED = 5
    """More than the horizon from its prediction, or older than anything that is still held."""


class Unmatched(NamedTuple):
    """Records without a counterpart."""

    predictions: int
    """Predictions that no label has reached."""
    labels: int
    """Labels that have met no prediction."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Labelled predictions to add to quality summaries, or to take back.

    Attributes
    ----------
    rows : structured array[m] of the model's record type
        Prediction and label; the delay is `label_time - time`.
    sign : int8[m]
        +1 to add the row, -1 to retract it: it was given before with +1, byte for byte.
    """

    rows: Records
    sign: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class JoinedPredictions:
    """What a batch of predictions gave.

    Attributes
    ----------
    fresh : bool[n]
        Seen for the first time; of a repeated id the first arrival.
    late : bool[n]
        Older than anything still held, so neither fresh nor known to be a duplicate.
    joined : Joined
        Predictions whose label had come before; all with sign +1.
    waited : mapping of Outcome to int
        Labels that stopped waiting, by what became of them: MATCHED, STALE or EXPIRED.
    """

    fresh: Bools
    late: Bools
    joined: Joined
    waited: dict[Outcome, int]


@dataclass(frozen=True, slots=True)
class JoinedLabels:
    """What a batch of labels gave; `outcome` is uint8[n], an `Outcome` a row."""

    outcome: NDArray[np.uint8]
    joined: Joined


def record_dtype(n_scores: int, n_dims: int) -> np.dtype[np.void]:
    """What is kept of a prediction: `n_scores` score columns, `n_dims` segment codes.

    Times are milliseconds since the epoch; `version`, `arm` and `segments` are codes that the caller gives.
    """
    return np.dtype(
        [
            ("flags", "u1"),
            ("time", "<i8"),
            ("version", "<u2"),
            ("arm", "u1"),
            ("segments", "u1", (n_dims,)),
            ("prediction", "<f8"),
            ("scores", "<f4", (n_scores,)),
            *LABEL_DTYPE.descr[1:],
        ]
    )


def put_label(records: Records, rows: Rows | slice, labels: Records) -> None:
    """Write the labels, one a row, into the records at `rows`."""
    for name in LABEL_PART:
        records[name][rows] = labels[name]
    records["flags"][rows] |= LABELLED


def as_bytes(records: Records) -> NDArray[np.uint8]:
    """uint8[n, width]: the records as the store takes them."""
    return np.ascontiguousarray(records).view(np.uint8).reshape(len(records), records.dtype.itemsize)


def opaque(records: Records) -> Records:
    """The rows as single values, which numpy moves ten times faster than one field after another."""
    return records.view(np.dtype((np.void, records.dtype.itemsize)))
