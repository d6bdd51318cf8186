"""The join itself: look-ups and writes, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.base import Bools, Floats, Ints
from observer.labels.records import (
    DONE,
    HELD,
    LABEL_DTYPE,
    LABEL_PART,
    LABELLED,
    Joined,
    JoinedLabels,
    JoinedPredictions,
    Keys,
    Outcome,
    Records,
    Rows,
    Unmatched,
    as_bytes,
    opaque,
    put_label,
)
from observer.labels.rules import NEVER, grouped, judge, parted, same, starts
from observer.labels.spaces import KINDS, Kind, Space, shape_of, width_of
from observer.ports import PendingJoins

_OWN = HELD | LABELLED | DONE
_TALLY = np.full((1, 2), np.iinfo(np.uint64).max, np.uint64)
"""Key under which a space keeps how many of its records are resolved; no event hashes to it."""
_COUNT_WIDTH = 8
_CHAIN = 16
"""Labels of one key that wait side by side in one bucket."""
_STEP = np.array([0, 0x9E3779B97F4A7C15], np.uint64)
"""From a key to the next place of its chain; an odd number, so that it never comes back early."""
_FILTER = 1 << 19
"""Places of the filter that spares predictions a look-up among waiting labels; half a megabyte a bucket."""
_FILTERS = 128
"""Buckets that have a filter; in more of them, which then hold little each, predictions are looked up."""


@dataclass(slots=True)
class _Waited:
    """Labels that rows of a batch of predictions found waiting in one space, at one place of the chain."""

    space: Space
    rows: Rows
    keys: Keys
    labels: Records
    in_time: Bools


class LabelJoin:
    """Joins predictions and labels, a batch of one model at a time, in either order.

    Parameters
    ----------
    pending : PendingJoins
        Keeps all state; nothing is durable before its transaction commits.
    horizon_ms : int
        A label joins when its time is at most this far from its prediction's, on either side.
    buckets : int
        Time buckets a horizon; more of them free space sooner and cost more look-ups.
    """

    def __init__(self, pending: PendingJoins, horizon_ms: int, buckets: int = 8) -> None:
        self.horizon = horizon_ms
        self._pending = pending
        self._span = -(-horizon_ms // buckets)
        self._reach = self._span * buckets
        names = pending.spaces().keys()
        self._spaces = {Space.parse(name) for name in names if name.partition("/")[0] in KINDS}
        self._filters: dict[Space, Bools] = {}
        self._tallies: dict[Space, int] = {}
        """What spaces hold under `_TALLY`, as far as it was looked up."""
        floor = pending.fetch("floor", _TALLY, _COUNT_WIDTH)
        self.floor = int(floor.view("<i8")[0, 0]) if "floor" in names else NEVER

    def predictions(self, keys: Keys, records: Records) -> JoinedPredictions:
        """Take predictions of one model; their label part and the join's flags are overwritten.

        Parameters
        ----------
        keys : uint64[n, 2]
        records : structured array[n] of `record_dtype`, in arrival order
        """
        records = records.copy()
        records["flags"] = records["flags"] & ~np.uint8(_OWN) | HELD
        for name in LABEL_PART:
            records[name] = 0
        waited = self._collect(keys, records)
        fresh, late = self._add(
            "prediction", shape_of(records.dtype), keys, records["time"], as_bytes(records)
        )
        labelled = fresh & (records["flags"] & LABELLED != 0)
        outcomes = self._release(waited, fresh) if waited else {}
        if waited:
            outcomes[Outcome.MATCHED] = int(labelled.sum())
            outcomes[Outcome.STALE] -= outcomes[Outcome.MATCHED]
            for space, rows in self._by_space(
                "prediction", shape_of(records.dtype), records["time"], labelled
            ):
                self._resolve(space, len(rows), records.dtype.itemsize)
        found = records.take(np.flatnonzero(labelled))
        return JoinedPredictions(fresh, late, Joined(found, np.ones(len(found), np.int8)), outcomes)

    def labels(
        self, dtype: np.dtype[np.void], keys: Keys, time: Ints, label: Floats, weight: Floats
    ) -> JoinedLabels:
        """Take labels of one model, whose predictions are kept as `dtype`.

        Parameters
        ----------
        keys : uint64[n, 2]
        time : int64[n]
        label : float64[n]
            Values, or codes of classes.
        weight : float64[n]
            Kept as float32.
        """
        outcome = np.full(len(time), Outcome.EXPIRED, np.uint8)
        batch = np.zeros(len(time), LABEL_DTYPE)
        batch["flags"], batch["label"], batch["weight"], batch["label_time"] = HELD, label, weight, time
        held, home, spaces = self._find(dtype, keys, time)
        met = home >= 0
        joining = np.flatnonzero(met & (np.abs(time - held["time"]) <= self.horizon))
        joined = self._replace(keys, batch, held, home, spaces, joining, outcome)
        for space, rows in self._by_space("label", "", time, ~met & (self._end(time) > self.floor)):
            outcome[rows] = self._wait(space, keys[rows], batch.take(rows))
        return JoinedLabels(outcome, joined)

    def deduplicate(self, keys: Keys, time: Ints) -> tuple[Bools, Bools]:
        """`fresh` and `late` as in `JoinedPredictions`, for a model without labels: keeps ids only."""
        return self._add("id", "", keys, time, np.full((len(keys), 1), HELD, np.uint8))

    def expire(self, watermark: int) -> Unmatched:
        """Drop what no event at or after `watermark` (ms) can match, and count what stayed without a match.

        Later events that belong into a dropped bucket are `late` or EXPIRED.
        """
        gone = {space for space in self._spaces if space.end + self.horizon <= watermark}
        unmatched = self._unmatched(gone)
        for space in gone:
            self._pending.drop(space.name)
            self._filters.pop(space, None)
            self._tallies.pop(space, None)
        self._spaces -= gone
        floor = (watermark - self.horizon) // self._span * self._span
        if floor > self.floor:
            self.floor = floor
            self._pending.store("floor", _TALLY, np.array([[floor]], "<i8").view(np.uint8))
        return unmatched

    def pending(self) -> Unmatched:
        """What is held without a match now."""
        return self._unmatched(self._spaces)

    # Predictions

    def _collect(self, keys: Keys, records: Records) -> list[_Waited]:
        """Copy waiting labels into `records`, of each row the latest within the horizon."""
        waited = []
        for space, near in self._near("label", "", records["time"]):
            maybe = self._filters.get(space)
            rows = near if maybe is None else near[maybe[keys[near, 1] % _FILTER]]
            probe = keys[rows]
            while len(rows):
                labels = self._fetch(space, probe, LABEL_DTYPE)
                there = np.flatnonzero(labels["flags"])
                rows, probe, labels = rows[there], probe[there], labels.take(there)
                in_time = np.abs(labels["label_time"] - records["time"][rows]) <= self.horizon
                newest = records["flags"][rows] & LABELLED == 0
                newest |= labels["label_time"] > records["label_time"][rows]
                better = np.flatnonzero(newest & in_time & (labels["flags"] == HELD))
                put_label(records, rows[better], labels.take(better))
                waited.append(_Waited(space, rows, probe, labels, in_time))
                probe = probe + _STEP
        return waited

    def _release(self, waited: list[_Waited], fresh: Bools) -> dict[Outcome, int]:
        """Mark the labels that fresh rows found as done; STALE counts the matched ones too."""
        counts = {Outcome.STALE: 0, Outcome.EXPIRED: 0}
        for found in waited:
            mine = np.flatnonzero(fresh[found.rows] & (found.labels["flags"] == HELD))
            labels = found.labels.take(mine)
            labels["flags"] = DONE
            self._pending.store(found.space.name, found.keys[mine], as_bytes(labels))
            self._resolve(found.space, len(labels), LABEL_DTYPE.itemsize)
            in_time = int(found.in_time[mine].sum())
            counts[Outcome.STALE] += in_time
            counts[Outcome.EXPIRED] += len(labels) - in_time
        return counts

    def _add(
        self,
        kind: Kind,
        shape: str,
        keys: Keys,
        time: Ints,
        records: NDArray[np.uint8],
    ) -> tuple[Bools, Bools]:
        fresh = np.zeros(len(time), np.bool_)
        late = self._end(time) <= self.floor
        for space, rows in self._by_space(kind, shape, time, ~late):
            self._spaces.add(space)
            fresh[rows] = self._pending.add(space.name, keys[rows], records[rows])
        return fresh, late

    # Labels

    def _find(
        self, dtype: np.dtype[np.void], keys: Keys, time: Ints
    ) -> tuple[Records, NDArray[np.int16], list[Space]]:
        """The prediction of each label: its record, and the index of its space or -1; newest bucket first."""
        held = np.zeros(len(time), dtype)
        home = np.full(len(time), -1, np.int16)
        spaces: list[Space] = []
        for space, near in self._near("prediction", shape_of(dtype), time):
            rows = near[home[near] < 0]
            records = self._fetch(space, keys[rows], dtype)
            there = np.flatnonzero(records["flags"])
            opaque(held)[rows[there]] = opaque(records).take(there)
            home[rows[there]] = len(spaces)
            spaces.append(space)
        return held, home, spaces

    def _replace(
        self,
        keys: Keys,
        batch: Records,
        held: Records,
        home: NDArray[np.int16],
        spaces: list[Space],
        rows: Rows,
        outcome: NDArray[np.uint8],
    ) -> Joined:
        """Let the label of the latest time win, of equal times the one that arrived later."""
        order = rows[grouped(keys[rows], home[rows])]
        first = starts(keys[order], home[order])
        had = held["flags"][order] & LABELLED != 0
        outcome[order] = judge(first, had, held.take(order), batch.take(order))
        accepted = np.flatnonzero(outcome[order] <= Outcome.CORRECTED)
        run = np.cumsum(first)[accepted]
        winners = order[accepted[np.append(run[1:] != run[:-1], True)[: len(run)]]]
        old, new = held.take(winners), held.take(winners)
        put_label(new, slice(None), batch.take(winners))
        had = old["flags"] & LABELLED != 0
        for number, here in parted(home[winners]):
            space = spaces[number]
            self._pending.store(space.name, keys[winners[here]], as_bytes(new.take(here)))
            self._resolve(space, int((~had[here]).sum()), held.dtype.itemsize)
        retracted = old.take(np.flatnonzero(had))
        sign = np.repeat(np.array([-1, 1], np.int8), [len(retracted), len(new)])
        return Joined(np.concatenate([opaque(retracted), opaque(new)]).view(held.dtype), sign)

    def _wait(self, space: Space, keys: Keys, batch: Records) -> NDArray[np.uint8]:
        """Keep labels until their prediction comes: labels of different times side by side in a chain.

        All are needed: which is the latest within the horizon depends on a prediction still unknown.
        """
        if space not in self._spaces:
            self._spaces.add(space)
            if len(self._filters) < _FILTERS:
                self._filters[space] = np.zeros(_FILTER, np.bool_)
        if space in self._filters:
            self._filters[space][keys[:, 1] % _FILTER] = True
        outcome = np.empty(len(batch), np.uint8)
        order = grouped(keys, batch["label_time"])
        ordered = batch.take(order)
        first = starts(keys[order], ordered["label_time"])
        repeated = np.append(False, same(ordered[1:], ordered[:-1]))
        outcome[order] = np.where(repeated, Outcome.DUPLICATE, Outcome.CORRECTED)
        firsts = order[first]
        lasts = order[np.append(first[1:], True)]
        probe = keys[lasts]
        for place in range(_CHAIN):
            held = self._fetch(space, probe, LABEL_DTYPE)
            free = (held["flags"] == 0) & starts(probe)
            meets = (held["flags"] == HELD) & (held["label_time"] == batch["label_time"][lasts])
            if place == _CHAIN - 1:
                meets |= (held["flags"] == HELD) & (held["label_time"] < batch["label_time"][lasts])
            outcome[firsts[free]] = Outcome.WAITING
            again = same(batch.take(firsts[meets]), held[meets])
            outcome[firsts[meets]] = np.where(again, Outcome.DUPLICATE, Outcome.CORRECTED)
            self._pending.store(space.name, probe[free | meets], as_bytes(batch.take(lasts[free | meets])))
            rest = ~(free | meets)
            firsts, lasts, probe = firsts[rest], lasts[rest], probe[rest] + _STEP
            if not len(lasts):
                break
        outcome[firsts] = Outcome.STALE
        return outcome

    # Spaces

    def _end(self, time: Ints) -> Ints:
        return (time // self._span + 1) * self._span

    def _by_space(self, kind: Kind, shape: str, time: Ints, where: Bools) -> Iterator[tuple[Space, Rows]]:
        """The rows `where` holds, by the space they belong to."""
        rows = np.flatnonzero(where)
        for number, members in parted(time[rows] // self._span):
            yield Space(kind, shape, self._span, number), rows[members]

    def _near(self, kind: Kind, shape: str, time: Ints) -> Iterator[tuple[Space, Rows]]:
        """Spaces that can hold a match, newest first, and the rows that they can hold one for.

        Whole buckets are compared, so a label considers a prediction exactly when that one considers it.
        """
        if not len(time):
            return
        end = self._end(time)
        order = np.argsort(end, kind="stable")
        ends = end[order]
        candidates = (s for s in self._spaces if s.kind == kind and s.shape == shape)
        for space in sorted(candidates, key=lambda s: s.start, reverse=True):
            # Those whose bucket ends after `space.start - reach` and begins before `space.end + reach`.
            first = np.searchsorted(ends, space.start - self._reach, "right")
            last = np.searchsorted(ends, space.end + self._reach + self._span, "left")
            if first < last:
                yield space, np.sort(order[first:last])

    def _fetch(self, space: Space, keys: Keys, dtype: np.dtype[Any]) -> Records:
        return self._pending.fetch(space.name, keys, dtype.itemsize).view(dtype)[:, 0]

    def _resolved(self, space: Space, width: int) -> int:
        known = self._tallies.get(space)
        if known is None:
            tally = self._pending.fetch(space.name, _TALLY, width)[0, :_COUNT_WIDTH]
            known = self._tallies[space] = int(tally.view("<i8")[0])
        return known

    def _resolve(self, space: Space, more: int, width: int) -> None:
        if more:
            record = np.zeros((1, width), np.uint8)
            self._tallies[space] = self._resolved(space, width) + more
            record[0, :_COUNT_WIDTH].view("<i8")[0] = self._tallies[space]
            self._pending.store(space.name, _TALLY, record)

    def _unmatched(self, spaces: set[Space]) -> Unmatched:
        counts = {"prediction": 0, "label": 0, "id": 0}
        sizes = self._pending.spaces()
        for space in spaces:
            if space.kind != "id":
                resolved = self._resolved(space, width_of(space))
                counts[space.kind] += sizes[space.name] - resolved - (resolved > 0)
        return Unmatched(counts["prediction"], counts["label"])
