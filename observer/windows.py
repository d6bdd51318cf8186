"""Event time: which window an event belongs to, what counts as late, when a window may close.

Whether an event is late depends only on what its own partition carried before it, so the answer is the
same however partitions interleave and wherever a run was interrupted. A window closes by the slowest
partition that is not idle, and a partition counts as idle only once it was read to its end.
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import repeat
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from detectors.base import Ints
from observer.model import Partition, WindowKey

END_OF_TIME = 2**62
"""The watermark of a stream that has ended."""
_BEGINNING = -(2**62)

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PIECE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|[smhdw])")
_DURATION = re.compile(rf"(?:{_PIECE.pattern})+")
_LONGEST = 100 * 366 * 86_400_000


def milliseconds(value: object) -> int:
    """`90s`, `1h`, `1h30m`, `7d` as milliseconds; numbers are seconds. Raises `ValueError`."""
    total = math.nan
    if isinstance(value, str):
        text = value.replace(" ", "")
        if _DURATION.fullmatch(text):
            total = sum(float(number) * _UNITS[unit] for number, unit in _PIECE.findall(text))
    elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LONGEST:
        total = value * 1000
    if not abs(total) <= _LONGEST:
        msg = (
            f"{value!r:.50} is not a duration; accepted: at most 100 years, in numbers with ms, s, m, h, d"
            " or w, as in 90s or 1h30m"
        )
        raise ValueError(msg)
    return round(total)


def duration(time: int) -> str:
    """Milliseconds as `milliseconds` reads them: `1h30m`."""
    text, rest = "", time
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, _UNITS[unit])
        text += f"{count}{unit}" if count else ""
    return text or "0s"


Milliseconds = Annotated[
    int,
    BeforeValidator(milliseconds),
    PlainSerializer(duration, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "type": ["string", "number"],
            "pattern": r"^ *([0-9]+(\.[0-9]+)? *(ms|[smhdw]) *)+$|[$][{]",
            "description": "A duration such as 1h30m, or seconds.",
        }
    ),
]
"""A duration in the configuration, such as `1h`; milliseconds in the program."""


class WindowSpec(BaseModel):
    """How a model's events are cut into windows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Annotated[Milliseconds, Field(ge=1_000)] = 3_600_000
    """Length of a tumbling window, aligned to the epoch (UTC)."""
    lateness: Annotated[Milliseconds, Field(ge=0)] = 300_000
    """How far events of one partition may arrive out of order before they are late."""
    late: Literal["fold", "count"] = "fold"
    """Late events: `fold` adds them to their window's stored summary; `count` only counts them."""
    min_events: Annotated[int, Field(ge=1)] = 200
    """Fewer rows than this and a window is `insufficient`, whatever it holds."""

    def start(self, time: Ints) -> Ints:
        """Start of the window of each time, milliseconds."""
        return np.asarray(time - time % self.size)


@dataclass(slots=True)
class _Progress:
    reached: int = _BEGINNING  # greatest event time, milliseconds
    heard: float = 0.0  # when the last message came, seconds of the clock
    caught_up: bool = False
    read: bool = True  # False of a checkpoint's partition that no source has named yet


@dataclass(slots=True)
class Watermarks:
    """How far event time has come in every partition of one stream."""

    idle_after: float
    """Seconds of silence after which a partition that was read to its end holds no window open."""
    _partitions: dict[Partition, _Progress] = field(default_factory=dict)
    _opened: bool = False  # a checkpoint does not know partitions that had no event
    finished: bool = False

    def open(self, partitions: tuple[Partition, ...], now: float) -> None:
        """Make partitions known; one not known before holds windows open until it is heard or idle."""
        self._opened = True
        for partition in partitions:
            progress = self._partitions.get(partition)
            if progress is None:
                self._partitions[partition] = _Progress(heard=now)
            else:
                progress.read = True
                progress.heard = min(progress.heard, now)  # a clock that is set back begins the silence anew

    def advance(
        self, partitions: tuple[Partition, ...], partition: NDArray[np.int32], time: Ints, now: float
    ) -> Ints:
        """Take events in arrival order; per event, the greatest time its partition had reached before it.

        `partition` is int32[n], indexing `partitions`; `time` is int64[n] in milliseconds.
        """
        self.open(partitions, now)
        before = np.empty(len(time), np.int64)
        for index in np.unique(partition):
            progress = self._partitions[partitions[index]]
            rows = np.flatnonzero(partition == index)
            reached = np.maximum.accumulate(np.concatenate(([progress.reached], time[rows])))
            before[rows] = reached[:-1]
            progress.reached = int(reached[-1])
            progress.heard = now
            progress.caught_up = False
        return before

    def note_caught_up(self, partitions: tuple[Partition, ...], caught_up: frozenset[int]) -> None:
        """Say which partitions are read to their end; the others have something left, whatever they were."""
        for index, partition in enumerate(partitions):
            if partition in self._partitions:
                self._partitions[partition].caught_up = index in caught_up

    def silent(self, now: float) -> bool:
        """Whether every partition is idle and none has ever had an event."""
        return self.current(now) is None and not any(map(self._holds, self._partitions.values(), repeat(now)))

    def _holds(self, progress: _Progress, now: float) -> bool:
        return progress.read and not (progress.caught_up and now - progress.heard > self.idle_after)

    def current(self, now: float) -> int | None:
        """Event time up to which everything was seen, milliseconds; None while nothing can be said."""
        if self.finished:
            return END_OF_TIME
        if not self._opened:
            return None
        holding = [progress.reached for progress in self._partitions.values() if self._holds(progress, now)]
        if not holding:  # all idle: event time goes on with the clock, so that the last window closes
            latest = max(self._partitions.values(), key=lambda p: (p.reached, p.heard), default=None)
            if latest is None or latest.reached == _BEGINNING:
                return None
            return latest.reached + int((now - latest.heard - self.idle_after) * 1000)
        lowest = min(holding)
        return None if lowest == _BEGINNING else lowest

    def reached(self) -> Mapping[Partition, int]:
        """Greatest event time per partition that had an event; what a checkpoint keeps."""
        return {
            p: progress.reached for p, progress in self._partitions.items() if progress.reached != _BEGINNING
        }

    def restore(self, reached: Mapping[Partition, int], now: float) -> None:
        """Go on from what `reached` gave; a partition that is read no more holds no window open."""
        for partition, time in reached.items():
            self._partitions[partition] = _Progress(reached=time, heard=now, read=False)


def storage_key(model: str, start: int, *rest: str) -> bytes:
    """Key of a window: grouped by model, in order of time, of fixed size whatever the names."""

    def digest(*texts: str) -> bytes:
        return hashlib.blake2b("\0".join(texts).encode(errors="surrogatepass"), digest_size=12).digest()

    return digest(model) + struct.pack(">Q", start) + digest(*rest)


def window_storage_key(key: WindowKey) -> bytes:
    """The `storage_key` of a window."""
    return storage_key(key.model, key.start, key.version, key.segment)


def model_prefix(model: str) -> bytes:
    """What all `storage_key`s of a model begin with."""
    return storage_key(model, 0)[:12]


def start_prefix(model: str, start: int) -> bytes:
    """What all `storage_key`s of a model and a start begin with; they are in its order."""
    return storage_key(model, max(start, 0))[:20]


def storage_rest(key: bytes) -> bytes:
    """What a `storage_key` says beyond model and start."""
    return key[20:]
