"""What the service needs from the outside, in small protocols; `app` hands the implementations over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from observer.model import Messages, Partition, Rejected


class Clock(Protocol):
    """The only reader of the wall clock."""

    def now(self) -> float:
        """Seconds since the epoch."""


class Source(Protocol):
    """A stream of payloads in numbered partitions that can be read again from a position."""

    def open(self, positions: Mapping[Partition, int]) -> None:
        """Start reading; a partition without a position starts where the source's Spec says."""

    def poll(self, limit: int, timeout: float) -> Messages:
        """Up to `limit` messages, waiting at most `timeout` seconds for the first; may be empty."""

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Tell the outside (a consumer group) how far we are; never what we resume from."""

    def lag(self) -> Mapping[Partition, int]:
        """Messages not yet read, per partition, as last known without asking the server."""

    def close(self) -> None:
        """Stop reading and free everything."""


class DeadLetters(Protocol):
    """Where rejected payloads go."""

    def reject(self, rejected: Sequence[Rejected]) -> None:
        """Take them; may buffer."""

    def flush(self) -> None:
        """Return once all are durable; raises `Retryable` when that fails."""

    def close(self) -> None:
        """Flush and free everything."""


class Checkpoints(Protocol):
    """Named values in tables; nothing is visible to others, or survives a crash, before `commit`."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value, uncommitted changes included."""

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """Set the value."""

    def delete(self, table: str, key: bytes) -> None:
        """Remove the value if it is there."""

    def scan(self, table: str, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Key and value of everything under `prefix`, in key order."""

    def commit(self) -> None:
        """Make every change since the last commit durable at once, those of `PendingJoins` too."""


class PendingJoins(Protocol):
    """Fixed-width records by 128-bit key, in named spaces; part of the same transaction as `Checkpoints`."""

    def fetch(self, space: str, keys: NDArray[np.uint64], width: int) -> NDArray[np.uint8]:
        """uint8[n, width]: the record of each row of `keys` (uint64[n, 2]), all zero where absent."""

    def store(self, space: str, keys: NDArray[np.uint64], records: NDArray[np.uint8]) -> None:
        """Set the records (uint8[n, width]); of a repeated key the last row stays."""

    def spaces(self) -> list[str]:
        """Names of the spaces that exist, sorted."""

    def count(self, space: str) -> int:
        """Records in the space; 0 if it does not exist."""

    def drop(self, space: str) -> None:
        """Remove a space and its records."""
