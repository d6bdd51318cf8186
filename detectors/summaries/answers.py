"""How a model answers: how many requests, how many of them failed, and how long they took."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from detectors.base import Bools, Floats, Ints
from detectors.summaries.packing import pack, unpack

LEAST: Final = 0.1
"""Milliseconds; what is faster is in the first bin."""
PER_DOUBLING: Final = 2
BINS: Final = 48
"""The last begins at about twenty minutes."""


def _no_latency() -> Ints:
    return np.zeros(BINS, np.int64)


@dataclass(slots=True, eq=False)
class Answers:
    """Counts over requests; they add up in any order. Every model has the same bins, so that two compare.

    Attributes
    ----------
    n, failed : int
        Requests, and those that say that they failed.
    copied : int
        Those that were copies, whose answers nobody was given.
    latency : int64[BINS]
        Requests by how long they took, in bins that double every `PER_DOUBLING`; those that say it.
    """

    n: int = 0
    failed: int = 0
    latency: Ints = field(default_factory=_no_latency)
    copied: int = 0

    def update(self, latency_ms: Floats, failed: Bools | None, *, copied: bool = False) -> None:
        """Add requests: how long each took, float64[n], NaN where unknown; which failed, None for none."""
        self.n += len(latency_ms)
        self.copied += len(latency_ms) if copied else 0
        self.failed += 0 if failed is None else int(np.count_nonzero(failed))
        known = latency_ms[latency_ms >= 0]
        if len(known):
            bins = np.ceil(PER_DOUBLING * np.log2(np.maximum(known, LEAST) / LEAST))
            at = np.minimum(bins, BINS - 1).astype(np.int64)
            self.latency = self.latency + np.bincount(at, minlength=BINS)

    def plus(self, other: Answers) -> Answers:
        """Those of both."""
        return Answers(
            self.n + other.n,
            self.failed + other.failed,
            self.latency + other.latency,
            self.copied + other.copied,
        )

    def quantile(self, share: float) -> float | None:
        """Upper edge of the bin within which so much of the latency lies, milliseconds; None without any."""
        total = int(self.latency.sum())
        if not total:
            return None
        at = int(np.searchsorted(np.cumsum(self.latency), math.ceil(share * total)))
        return float(LEAST * 2 ** (at / PER_DOUBLING))

    def to_bytes(self) -> bytes:
        """All of it."""
        counts = {"n": self.n, "failed": self.failed, "copied": self.copied}
        return pack({**counts, "latency": self.latency})

    @classmethod
    def from_bytes(cls, data: bytes) -> Answers:
        """What `to_bytes` gave; raises `ValueError` for anything else."""
        fields = unpack(data)
        latency = fields.array("latency", np.int64, BINS).copy()
        copied = int(fields["copied"]) if "copied" in fields else 0
        return cls(int(fields["n"]), int(fields["failed"]), latency, copied)
