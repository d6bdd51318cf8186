"""Joins labels to predictions by id within a horizon, whatever order the two streams arrive in.

Records wait in time buckets of an eighth of the horizon: predictions by their own time, labels that came
before their prediction by the label's. A bucket that no event can match any more is dropped whole. The rows
that a batch gives carry a sign, so that a corrected label takes the old outcome back; their sum over a run
depends on the events of each stream in order, and neither on batches nor on how the streams interleave.
See docs/label-join.md for the rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.base import Bools, Floats, Ints
from observer.ports import PendingJoins

Keys: TypeAlias = NDArray[np.uint64]
Records: TypeAlias = NDArray[np.void]
Rows: TypeAlias = NDArray[np.intp]

HELD, LABELLED, DONE = 1, 2, 4
"""Bits of `flags` that the join sets; the caller may use the upper four."""
_OWN = HELD | LABELLED | DONE
_NEVER = np.iinfo(np.int64).min
_SUMMARY = np.full((1, 2), np.iinfo(np.uint64).max, np.uint64)
"""Key under which a space keeps how many of its records are resolved; no event hashes to it."""
_CHAIN = 16
"""Labels of one key that wait side by side in one bucket."""
_STEP = np.array([0, 0x9E3779B97F4A7C15], np.uint64)
_FILTER = 1 << 19
_WAITING = np.dtype([("flags", "u1"), ("label", "<f8"), ("weight", "<f4"), ("label_time", "<i8")])
_LABEL_PART = ("label", "weight", "label_time")
_COUNT_WIDTH = 8


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
            *_WAITING.descr[1:],
        ]
    )


class _Space(NamedTuple):
    """A time bucket, kept as one space of the store."""

    kind: Literal["prediction", "label", "id"]
    shape: str
    """Which record type it holds; spaces of different shapes never meet."""
    span: int
    number: int

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.shape}/{self.span}/{self.number}"

    @property
    def start(self) -> int:
        return self.span * self.number

    @property
    def end(self) -> int:
        return self.start + self.span

    @classmethod
    def parse(cls, name: str) -> _Space:
        kind, shape, span, number = name.split("/")
        return cls(kind, shape, int(span), int(number))  # type: ignore[arg-type]  # written by `name`


@dataclass(slots=True)
class _Waited:
    """Labels that rows of a batch of predictions found waiting in one space, at one place of the chain."""

    space: _Space
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
        self._pending = pending
        self._horizon = horizon_ms
        self._span = -(-horizon_ms // buckets)
        self._reach = self._span * buckets
        self._spaces = {_Space.parse(name) for name in pending.spaces() if name != "floor"}
        self._filters: dict[_Space, Bools] = {}
        floor = pending.fetch("floor", _SUMMARY, _COUNT_WIDTH)
        self._floor = int(floor.view("<i8")[0, 0]) if floor.any() else _NEVER

    def predictions(self, keys: Keys, records: Records) -> JoinedPredictions:
        """Take predictions of one model; their label part and the join's flags are overwritten.

        Parameters
        ----------
        keys : uint64[n, 2]
        records : structured array[n] of `record_dtype`, in arrival order
        """
        records = records.copy()
        records["flags"] = records["flags"] & ~np.uint8(_OWN) | HELD
        for name in _LABEL_PART:
            records[name] = 0
        waited = self._collect(keys, records)
        fresh, late = self._add("prediction", _shape(records.dtype), keys, records["time"], _bytes(records))
        labelled = fresh & (records["flags"] & LABELLED != 0)
        outcomes = self._release(waited, fresh) if waited else {}
        if waited:
            outcomes[Outcome.MATCHED] = int(labelled.sum())
            outcomes[Outcome.STALE] -= outcomes[Outcome.MATCHED]
            for space, rows in self._by_space("prediction", _shape(records.dtype), records["time"], labelled):
                self._resolve(space, len(rows), records.dtype.itemsize)
        rows = records.take(np.flatnonzero(labelled))
        return JoinedPredictions(fresh, late, Joined(rows, np.ones(len(rows), np.int8)), outcomes)

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
        batch = np.zeros(len(time), _WAITING)
        batch["flags"], batch["label"], batch["weight"], batch["label_time"] = HELD, label, weight, time
        held, home, spaces = self._find(dtype, keys, time)
        met = home >= 0
        joining = np.flatnonzero(met & (np.abs(time - held["time"]) <= self._horizon))
        joined = self._replace(keys, batch, held, home, spaces, joining, outcome)
        for space, rows in self._by_space("label", "", time, ~met & (self._end(time) > self._floor)):
            outcome[rows] = self._wait(space, keys[rows], batch.take(rows))
        return JoinedLabels(outcome, joined)

    def deduplicate(self, keys: Keys, time: Ints) -> tuple[Bools, Bools]:
        """`fresh` and `late` as in `JoinedPredictions`, for a model without labels: keeps ids only."""
        return self._add("id", "", keys, time, np.full((len(keys), 1), HELD, np.uint8))

    def expire(self, watermark: int) -> Unmatched:
        """Drop what no event at or after `watermark` (ms) can match, and count what stayed without a match.

        Later events that belong into a dropped bucket are `late` or EXPIRED.
        """
        gone = {space for space in self._spaces if space.end + self._horizon <= watermark}
        unmatched = self._unmatched(gone)
        for space in gone:
            self._pending.drop(space.name)
            self._filters.pop(space, None)
        self._spaces -= gone
        floor = (watermark - self._horizon) // self._span * self._span
        if floor > self._floor:
            self._floor = floor
            self._pending.store("floor", _SUMMARY, np.array([[floor]], "<i8").view(np.uint8))
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
                labels = self._fetch(space, probe, _WAITING)
                there = np.flatnonzero(labels["flags"])
                rows, probe, labels = rows[there], probe[there], labels.take(there)
                in_time = np.abs(labels["label_time"] - records["time"][rows]) <= self._horizon
                newest = records["flags"][rows] & LABELLED == 0
                newest |= labels["label_time"] > records["label_time"][rows]
                better = np.flatnonzero(newest & in_time & (labels["flags"] == HELD))
                _put_label(records, rows[better], labels.take(better))
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
            self._pending.store(found.space.name, found.keys[mine], _bytes(labels))
            self._resolve(found.space, len(labels), _WAITING.itemsize)
            in_time = int(found.in_time[mine].sum())
            counts[Outcome.STALE] += in_time
            counts[Outcome.EXPIRED] += len(labels) - in_time
        return counts

    def _add(
        self,
        kind: Literal["prediction", "id"],
        shape: str,
        keys: Keys,
        time: Ints,
        records: NDArray[np.uint8],
    ) -> tuple[Bools, Bools]:
        fresh = np.zeros(len(time), np.bool_)
        late = self._end(time) <= self._floor
        for space, rows in self._by_space(kind, shape, time, ~late):
            self._spaces.add(space)
            fresh[rows] = self._pending.add(space.name, keys[rows], records[rows])
        return fresh, late

    # Labels

    def _find(
        self, dtype: np.dtype[np.void], keys: Keys, time: Ints
    ) -> tuple[Records, NDArray[np.int16], list[_Space]]:
        """The prediction of each label: its record, and the index of its space or -1; newest bucket first."""
        held = np.zeros(len(time), dtype)
        home = np.full(len(time), -1, np.int16)
        spaces = []
        for space, near in self._near("prediction", _shape(dtype), time):
            rows = near[home[near] < 0]
            records = self._fetch(space, keys[rows], dtype)
            there = np.flatnonzero(records["flags"])
            _opaque(held)[rows[there]] = _opaque(records).take(there)
            home[rows[there]] = len(spaces)
            spaces.append(space)
        return held, home, spaces

    def _replace(
        self,
        keys: Keys,
        batch: Records,
        held: Records,
        home: NDArray[np.int16],
        spaces: list[_Space],
        rows: Rows,
        outcome: NDArray[np.uint8],
    ) -> Joined:
        """Let the label of the latest time win, of equal times the one that arrived later."""
        order = rows[_grouped(keys[rows], home[rows])]
        first = _starts(keys[order], home[order])
        had = held["flags"][order] & LABELLED != 0
        outcome[order] = _judge(first, had, held.take(order), batch.take(order))
        accepted = np.flatnonzero(outcome[order] <= Outcome.CORRECTED)
        run = np.cumsum(first)[accepted]
        winners = order[accepted[np.append(run[1:] != run[:-1], True)[: len(run)]]]
        old, new = held.take(winners), held.take(winners)
        _put_label(new, slice(None), batch.take(winners))
        had = old["flags"] & LABELLED != 0
        for number, space in enumerate(spaces):
            here = np.flatnonzero(home[winners] == number)
            self._pending.store(space.name, keys[winners[here]], _bytes(new.take(here)))
            self._resolve(space, int((~had[here]).sum()), held.dtype.itemsize)
        retracted = old.take(np.flatnonzero(had))
        sign = np.repeat(np.array([-1, 1], np.int8), [len(retracted), len(new)])
        return Joined(np.concatenate([_opaque(retracted), _opaque(new)]).view(held.dtype), sign)

    def _wait(self, space: _Space, keys: Keys, batch: Records) -> NDArray[np.uint8]:
        """Keep labels until their prediction comes: labels of different times side by side in a chain.

        All are needed: which is the latest within the horizon depends on a prediction still unknown.
        """
        if space not in self._spaces:
            self._spaces.add(space)
            self._filters[space] = np.zeros(_FILTER, np.bool_)
        if space in self._filters:
            self._filters[space][keys[:, 1] % _FILTER] = True
        outcome = np.empty(len(batch), np.uint8)
        order = _grouped(keys, batch["label_time"])
        ordered = batch.take(order)
        first = _starts(keys[order], ordered["label_time"])
        repeated = np.append(False, _same(ordered[1:], ordered[:-1]))
        outcome[order] = np.where(repeated, Outcome.DUPLICATE, Outcome.CORRECTED)
        firsts = order[first]
        lasts = order[np.append(first[1:], True)]
        probe = keys[lasts]
        for place in range(_CHAIN):
            held = self._fetch(space, probe, _WAITING)
            free = (held["flags"] == 0) & _starts(probe)
            meets = (held["flags"] == HELD) & (held["label_time"] == batch["label_time"][lasts])
            if place == _CHAIN - 1:
                meets |= (held["flags"] == HELD) & (held["label_time"] < batch["label_time"][lasts])
            outcome[firsts[free]] = Outcome.WAITING
            again = _same(batch.take(firsts[meets]), held[meets])
            outcome[firsts[meets]] = np.where(again, Outcome.DUPLICATE, Outcome.CORRECTED)
            self._pending.store(space.name, probe[free | meets], _bytes(batch.take(lasts[free | meets])))
            rest = ~(free | meets)
            firsts, lasts, probe = firsts[rest], lasts[rest], probe[rest] + _STEP
            if not len(lasts):
                break
        outcome[firsts] = Outcome.STALE
        return outcome

    # Spaces

    def _end(self, time: Ints) -> Ints:
        return (time // self._span + 1) * self._span

    def _by_space(
        self, kind: Literal["prediction", "label", "id"], shape: str, time: Ints, where: Bools
    ) -> Iterator[tuple[_Space, Rows]]:
        """The rows `where` holds, by the space they belong to."""
        rows = np.flatnonzero(where)
        numbers = time[rows] // self._span
        for number in np.unique(numbers):
            yield _Space(kind, shape, self._span, int(number)), rows[numbers == number]

    def _near(
        self, kind: Literal["prediction", "label"], shape: str, time: Ints
    ) -> Iterator[tuple[_Space, Rows]]:
        """Spaces that can hold a match, newest first, and the rows that they can hold one for.

        Whole buckets are compared, so a label considers a prediction exactly when that one considers it.
        """
        if not len(time):
            return
        end = self._end(time)
        start = end - self._span
        lowest, highest = start.min() - self._reach, end.max() + self._reach
        candidates = (s for s in self._spaces if s.kind == kind and s.shape == shape)
        for space in sorted(candidates, key=lambda s: s.start, reverse=True):
            if lowest < space.end and space.start < highest:
                near = (start - self._reach < space.end) & (space.start < end + self._reach)
                yield space, np.flatnonzero(near)

    def _fetch(self, space: _Space, keys: Keys, dtype: np.dtype[Any]) -> Records:
        return self._pending.fetch(space.name, keys, dtype.itemsize).view(dtype)[:, 0]

    def _resolved(self, space: _Space, width: int) -> int:
        return int(self._pending.fetch(space.name, _SUMMARY, width)[0, :_COUNT_WIDTH].view("<i8")[0])

    def _resolve(self, space: _Space, more: int, width: int) -> None:
        if more:
            record = np.zeros((1, width), np.uint8)
            record[0, :_COUNT_WIDTH].view("<i8")[0] = self._resolved(space, width) + more
            self._pending.store(space.name, _SUMMARY, record)

    def _unmatched(self, spaces: set[_Space]) -> Unmatched:
        counts = {"prediction": 0, "label": 0, "id": 0}
        sizes = self._pending.spaces()
        for space in spaces:
            if space.kind != "id":
                resolved = self._resolved(space, _width(space))
                counts[space.kind] += sizes[space.name] - resolved - (resolved > 0)
        return Unmatched(counts["prediction"], counts["label"])


def _judge(first: Bools, had: Bools, held: Records, batch: Records) -> NDArray[np.uint8]:
    """Outcome of each label; rows of one prediction are neighbours in arrival order from each `first` on."""
    n = len(first)
    segment = np.cumsum(first) - 1
    before = np.where(had, held["label_time"], _NEVER)
    if not first.all():
        times, rank = np.unique(batch["label_time"], return_inverse=True)
        newest = np.maximum.accumulate(segment * n + rank) - segment * n
        before[1:] = np.where(first[1:], before[1:], np.maximum(before[1:], times[newest[:-1]]))
    fresh = np.flatnonzero(batch["label_time"] >= before)
    # Of what is not stale, each row meets the one before it, the first of a prediction the held label.
    leads = _starts(segment[fresh])
    previous = held.take(fresh)
    following = np.flatnonzero(~leads)
    for name in _LABEL_PART:
        previous[name][following] = batch[name][fresh[following - 1]]
    known = had[fresh] | ~leads
    outcome = np.full(n, Outcome.STALE, np.uint8)
    outcome[fresh] = np.where(known, Outcome.CORRECTED, Outcome.MATCHED)
    outcome[fresh[known & _same(batch.take(fresh), previous)]] = Outcome.DUPLICATE
    return outcome


def _same(left: Records, right: Records) -> Bools:
    """Whether time, value and weight agree; a NaN agrees with itself."""
    same: Bools = (left["label_time"] == right["label_time"]) & (left["weight"] == right["weight"])
    return same & ((left["label"] == right["label"]) | (np.isnan(left["label"]) & np.isnan(right["label"])))


def _grouped(keys: Keys, within: NDArray[Any]) -> Rows:
    """An order in which rows of a key are neighbours, by `within`, then as they arrived."""
    high = np.sort(keys[:, 0])
    if (high[1:] != high[:-1]).all():  # the usual batch repeats nothing
        return np.arange(len(keys))
    return np.lexsort((within, keys[:, 1], keys[:, 0]))


def _starts(*columns: NDArray[Any]) -> Bools:
    """Where a run of equal rows begins."""
    first = np.ones(len(columns[0]), np.bool_)
    if len(first):
        differs = np.zeros(len(first) - 1, np.bool_)
        for column in columns:
            changed = column[1:] != column[:-1]
            differs |= changed.any(axis=1) if column.ndim == 2 else changed
        first[1:] = differs
    return first


def _put_label(records: Records, rows: Rows | slice, labels: Records) -> None:
    for name in _LABEL_PART:
        records[name][rows] = labels[name]
    records["flags"][rows] |= LABELLED


def _bytes(records: Records) -> NDArray[np.uint8]:
    return np.ascontiguousarray(records).view(np.uint8).reshape(len(records), records.dtype.itemsize)


def _opaque(records: Records) -> Records:
    """The rows as single values, which numpy moves ten times faster than one field after another."""
    return records.view(np.dtype((np.void, records.dtype.itemsize)))


def _shape(dtype: np.dtype[Any]) -> str:
    return f"{dtype['scores'].shape[0]}x{dtype['segments'].shape[0]}"


def _width(space: _Space) -> int:
    if space.kind == "label":
        return _WAITING.itemsize
    n_scores, n_dims = map(int, space.shape.split("x"))
    return record_dtype(n_scores, n_dims).itemsize
