"""How many rows a window has, and how many more came twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from detectors.summaries.packing import pack, unpack


@dataclass(slots=True)
class Counts:
    """Rows, each event once, and the events that repeated one of them and were left out."""

    n: int = 0
    duplicates: int = 0

    def merge(self, other: Self) -> None:
        """Add `other`."""
        self.n += other.n
        self.duplicates += other.duplicates

    def to_bytes(self) -> bytes:
        """Compact bytes."""
        return pack({"n": self.n, "duplicates": self.duplicates})

    @classmethod
    def from_bytes(cls, data: bytes) -> Counts:
        """The counts that gave `data`."""
        fields = unpack(data)
        return cls(fields.count("n"), fields.count("duplicates"))
