"""Which versions of a model bear a name of their own, and which of them gives way when there are many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.base import Categories, Ints
from detectors.summaries.packing import Packable

MAX_VERSIONS = 50
OTHER = "other"
_DAY = 86_400_000
_MOST = 20 * MAX_VERSIONS
"""Names in all, those included whose labels are still awaited."""


class Names:
    """The versions of one model, by code.

    A version is alive from its first event until it has had none for `idle`, in event time. At most
    `MAX_VERSIONS` are alive at a time; more share `OTHER`. Of those watched, the one whose last window is
    oldest gives way when a further one closes a window. Both go by event times, so neither depends on how
    partitions interleave or how messages are cut into polls.

    Parameters
    ----------
    size : int
        Length of a window, milliseconds.

    Attributes
    ----------
    listed : list of str
        By code. A version that gave way keeps its code while the join may hold predictions of it.
    retired : dict
        Those that gave way -> start of their last window.
    """

    def __init__(self, size: int) -> None:
        self.idle = max(_DAY, 2 * size)
        self.listed: list[str] = []
        self.retired: dict[str, int] = {}
        self._size = size
        self._seen: dict[str, tuple[int, int]] = {}
        """First and last event of each, milliseconds."""
        self._closed: dict[str, int] = {}
        """Start of the last window of each that closed one and did not give way."""

    @property
    def watched(self) -> list[str]:
        """Those that did not give way."""
        return [name for name in self.listed if name not in self.retired]

    def meet(self, column: Categories, time: Ints, released: int) -> tuple[int, list[str]]:
        """Take note of the versions that events name, in the order in which they do.

        `time` int64[n] is the events'; of what happened before `released` the join holds nothing any more.
        Returns how many do not get a name of their own, and which are new or have come back.
        """
        codes, first, inverse = np.unique(column.codes, return_index=True, return_inverse=True)
        earliest = np.full(len(codes), np.iinfo(np.int64).max)
        latest = np.full(len(codes), np.iinfo(np.int64).min)
        np.minimum.at(earliest, inverse, time)
        np.maximum.at(latest, inverse, time)
        spans = list(zip(earliest.tolist(), latest.tolist(), strict=True))
        met: dict[str, tuple[int, int]] = {}
        for at in np.argsort(first):
            name = column.names[codes[at]] if codes[at] >= 0 else ""
            low, high = met.get(name, spans[at])
            met[name] = min(low, spans[at][0]), max(high, spans[at][1])
        known = self._seen.keys() & met.keys()
        fresh = [name for name in met if name in self.retired and met[name][1] >= self._back(name)]
        for name in fresh:  # what came before the silence is over
            del self.retired[name], self._seen[name]
        for name in known:
            self._widen(name, *met[name])
        dropped = 0
        for name, span in met.items():
            if name in known:
                continue
            own = name == OTHER or self._alive(span[0]) < MAX_VERSIONS
            dropped += not own
            named = name if own else OTHER
            if named not in self._seen:
                self._list(named, released, met)
                fresh.append(named)
            self._widen(named, *span)
        return dropped, fresh

    def _widen(self, name: str, first: int, last: int) -> None:
        before = self._seen.get(name, (first, last))
        self._seen[name] = min(first, before[0]), max(last, before[1])

    def _back(self, name: str) -> int:
        return self.retired[name] + self._size

    def _alive(self, time: int) -> int:
        if len(self.listed) >= _MOST:
            return MAX_VERSIONS
        return sum(
            first <= time and last >= time - self.idle
            for name, (first, last) in self._seen.items()
            if name != OTHER
        )

    def _list(self, name: str, released: int, used: Mapping[str, object]) -> None:
        """Give a name a code, if possible that of a version of which nothing is awaited."""
        for code, old in enumerate(self.listed):
            if old in self.retired and old not in used and self._seen[old][1] < released:
                del self.retired[old], self._seen[old]
                self.listed[code] = name
                return
        self.listed.append(name)

    def codes(self, column: Categories) -> NDArray[np.uint16]:
        """Codes of versions that were met before, uint16[n]."""
        known = {name: code for code, name in enumerate(self.listed)}
        other = known.get(OTHER, 0)
        codes = np.array([known.get(name, other) for name in (*column.names, "", "")], np.uint16)
        return np.asarray(codes[column.codes])

    # Giving way

    def closed(self, name: str, start: int) -> list[tuple[str, int, bool]]:
        """Windows of a version closed, which start at `start`: the versions that give way.

        With each, its last event, milliseconds, and whether it has come back already: it has events from
        `start` on, and begins anew.
        """
        self._closed[name] = max(start, self._closed.get(name, start))
        ranked = [(last, one) for one, last in self._closed.items() if one != OTHER]
        if len(ranked) <= MAX_VERSIONS:
            return []
        gone = [one for _, one in sorted(ranked)[: len(ranked) - MAX_VERSIONS]]
        gone = [one for one in gone if self._closed[one] < start - self.idle]
        # Versions that had late events only never close a window in time.
        gone += [
            one for one in self.watched if one not in self._closed and self._seen[one][1] < start - self.idle
        ]
        found = []
        for one in gone:
            last, back = self._seen[one][1], self._seen[one][1] >= start
            closed = self._closed.pop(one, last)
            if back:
                self._seen[one] = start, last
            else:
                self.retired[one] = closed
            found.append((one, last, back))
        return found

    # State

    def restore(self, fields: Mapping[str, Any], reached: int) -> None:
        """Take up what `saved` gave; in a state of 0.1.0 every version's last window starts at `reached`."""
        self.listed[:] = fields["versions"]
        kept = fields.get("names")
        if kept is None:
            self._seen = dict.fromkeys(self.listed, (0, reached))
            self._closed = dict.fromkeys(self.listed, reached)
            return
        self._seen = {name: (first, last) for name, (first, last) in kept["seen"].items()}
        self._closed, self.retired = dict(kept["closed"]), dict(kept["retired"])

    def saved(self) -> dict[str, Packable]:
        """What `restore` needs."""
        seen = {name: list(span) for name, span in self._seen.items()}
        return {
            "versions": self.listed,
            "names": {"seen": seen, "closed": self._closed, "retired": self.retired},
        }
