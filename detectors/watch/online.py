"""The online detectors of one version: fed window by window, beside the evidence of its watch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from detectors.base import Floats, Ints, Numbers, Status, Verdict
from detectors.online.spec import Moments, MomentsSpec, Online, OnlineSpec, Standing
from detectors.summaries.outcomes import Outcomes
from detectors.summaries.packing import Fields, Packable, pack, unpack
from detectors.summaries.table import TableSummary
from detectors.watch.history import Row
from detectors.watch.streams import LABEL, TABLE, OutcomeStreams, Reading, TableStreams


class Heard(NamedTuple):
    """What one online detector says of one stream after a window."""

    subject: str
    """Column, `@label`, or `@table` for all columns at once."""
    detector: str
    """The detector's name, followed by `.` and the watched statistic where it is for several."""
    verdict: Verdict
    """`drift` while the statistic exceeds the threshold; the effect is then the statistic, else 0."""
    new: bool
    """It has not been of drift lately."""
    age: int
    """Windows since the change, if it is one, began, the present one included."""


@dataclass(slots=True, eq=False)
class _Track:
    """One running detector and its K streams, as subject and detector."""

    spec: OnlineSpec
    streams: tuple[tuple[str, str], ...]
    detector: Online[Any]
    at: Ints
    """Of moments: which streams of a reading."""
    reference: Ints
    """Reference rows, int64[K]."""
    rows: Ints
    """Rows of the last window, int64[K]."""
    drifted: Ints
    """Start of the last window of drift, milliseconds, int64[K]; -1 before any."""
    last: Standing | None = None


class OnlineWatch:
    """Every online detector of one version's inputs, or of its quality.

    Parameters
    ----------
    specs : sequence of OnlineSpec
        Those that have nothing to see here are left out.
    streams : TableStreams or OutcomeStreams
    reference : TableSummary or None
        None for quality.
    settling : int
        Milliseconds after a window of drift within which the next is no news.
    """

    def __init__(
        self,
        specs: Sequence[OnlineSpec],
        streams: TableStreams | OutcomeStreams,
        reference: TableSummary | None,
        settling: int,
    ) -> None:
        self._streams = streams
        self._settling = settling
        self._names = (*streams.values, *streams.rates)
        place = {stream: i for i, stream in enumerate(streams.values)}
        # A location's rows have a variance: that of the column's ranks, which its spread tells.
        self._located = np.array([stream.statistic == "location" for stream in streams.values], np.bool_)
        self._spread = np.array(
            [place.get(stream._replace(statistic="spread"), 0) for stream in streams.values]
        )
        self._tracks = [track for spec in specs for track in self._begun(spec, reference)]

    def _begun(self, spec: OnlineSpec, reference: TableSummary | None) -> Iterator[_Track]:
        if spec.fed == "moments" and isinstance(spec, MomentsSpec):
            yield from self._of_moments(spec, reference)
        elif spec.fed == "outcomes" and reference is None:
            yield _track(spec, ((LABEL, spec.name),), None, 0)
        elif spec.fed == "column" and reference is not None:
            for name in reference.numbers.names if spec.columns is None else spec.columns:
                values = _sampled(reference, name)
                yield _track(spec, ((name, spec.name),), values, np.count_nonzero(~np.isnan(values)))
        elif spec.fed == "table" and reference is not None:
            rows = _table(reference, _columns(spec, reference))
            if rows.shape[1]:
                yield _track(spec, ((TABLE, spec.name),), rows, len(rows))

    def _of_moments(self, spec: MomentsSpec, reference: TableSummary | None) -> Iterator[_Track]:
        at = [
            i
            for i, (subject, statistic) in enumerate(self._names)
            if statistic in spec.statistics and (spec.columns is None or subject in spec.columns)
        ]
        if not at:
            return
        known = Moments.none(len(self._names))
        if reference is not None and isinstance(self._streams, TableStreams) and spec.observation == "row":
            known = self._moments(self._streams.read(reference, joint=False))
            known.rows[: len(self._located)] *= self._located  # of distances a reference says nothing
        places = np.array(at)
        names = tuple((self._names[i].subject, f"{spec.name}.{self._names[i].statistic}") for i in at)
        known = known.take(places)
        track = _track(spec, names, known, known.rows.astype(np.int64))
        track.at = places
        yield track

    # Windows

    def remember(self, rows: Sequence[Row]) -> None:
        """Take reference windows, in time order, before the first update; detectors of rows learn nothing."""
        for row in rows:
            reading = row.readings.get("")
            if reading is not None:
                self._advance(row.start, [t for t in self._tracks if t.spec.fed == "moments"], None, reading)

    def update(self, start: int, window: TableSummary | Outcomes, reading: Reading) -> tuple[Heard, ...]:
        """Advance by one window of all events.

        Parameters
        ----------
        start : int
            Of the window, milliseconds since the epoch; later than those before.
        window : TableSummary or outcomes
        reading : Reading
            Of that window.
        """
        before = [track.drifted for track in self._tracks]
        self._advance(start, self._tracks, window, reading)
        return tuple(
            heard
            for track, drifted in zip(self._tracks, before, strict=True)
            for heard in _heard(track, (drifted < 0) | (start - drifted > self._settling))
        )

    def standing(self) -> tuple[Heard, ...]:
        """What was said last, without another window; nothing is new."""
        return tuple(
            one for track in self._tracks for one in _heard(track, np.zeros(len(track.streams), np.bool_))
        )

    def _advance(
        self, start: int, tracks: Sequence[_Track], window: TableSummary | Outcomes | None, reading: Reading
    ) -> None:
        if not tracks:
            return
        moments = self._moments(reading)
        for track in tracks:
            fed, track.rows = self._fed(track, window, moments)
            track.last = track.detector.update(fed)
            track.drifted = np.where(track.last.drift, start, track.drifted)

    def _fed(
        self, track: _Track, window: TableSummary | Outcomes | None, moments: Moments
    ) -> tuple[Any, Ints]:
        """What the detector is given, and rows in it."""
        spec = track.spec
        if isinstance(spec, MomentsSpec):
            mine = moments.take(track.at)
            return mine.whole() if spec.observation == "window" else mine, mine.rows.astype(np.int64)
        if not isinstance(window, TableSummary):
            return window, np.array([0 if window is None else window.n])
        subject = track.streams[0][0]
        if spec.fed == "column":
            values = _sampled(window, subject)
        else:
            values = _table(window, _columns(spec, window))
        return values, np.array([len(values)])

    def _moments(self, reading: Reading) -> Moments:
        """Of every stream of a reading; values other than locations count as one row."""
        streams, values = self._streams, reading.values
        rows = np.where(self._located, reading.counts, 1.0) * ~np.isnan(values)
        mean = np.where(self._located, values + 0.5, values)
        variance = np.zeros(len(values))
        if isinstance(streams, TableStreams) and self._located.any():
            base = np.zeros(len(values))
            base[self._located] = streams.spread
            variance = np.where(self._located, (values[self._spread] + base) / 12 - values**2, 0.0)
        rates = Moments.of_rates(reading.hits, reading.rows)
        parts = zip((rows, mean, np.maximum(variance, 0.0)), rates, strict=True)
        return Moments(*(np.concatenate(pair) for pair in parts))

    # State

    def snapshot(self) -> bytes:
        """The whole state but the reference."""
        return pack({str(i): _packed(track) for i, track in enumerate(self._tracks)})

    def restore(self, state: bytes) -> None:
        """Replace the state by one that `snapshot` gave, where it is of the same detector.

        A detector that is new, or whose parameters or streams are others, stays as it is.
        """
        saved = {}
        for data in unpack(state).values():
            fields = unpack(data)
            saved[fields["spec"], tuple(map(tuple, fields["streams"]))] = fields
        for track in self._tracks:
            found = saved.get((track.spec.model_dump_json(), track.streams))
            if found is not None:
                _resume(track, found)


def _track(
    spec: OnlineSpec, streams: tuple[tuple[str, str], ...], reference: Any, rows: Ints | int | np.integer[Any]
) -> _Track:
    size = len(streams)
    return _Track(
        spec,
        streams,
        spec.fresh(reference),
        np.empty(0, np.int64),
        np.broadcast_to(np.asarray(rows, np.int64), (size,)),
        np.zeros(size, np.int64),
        np.full(size, -1, np.int64),
    )


def _heard(track: _Track, fresh: Any) -> Iterator[Heard]:
    last = track.last
    if last is None:
        return
    listed = zip(
        track.streams,
        last.ready.tolist(),
        last.drift.tolist(),
        last.statistic.tolist(),
        last.threshold.tolist(),
        last.age.tolist(),
        track.reference.tolist(),
        track.rows.tolist(),
        fresh.tolist(),
        strict=True,
    )
    for (subject, name), ready, drift, statistic, threshold, age, n, m, new in listed:
        status, reason = Status.STABLE, ""
        if not ready:
            status = Status.FAILED if last.failed else Status.INSUFFICIENT
            reason = last.reason or "too little has been seen"
        elif drift:
            status = Status.DRIFT
            reason = f"{name} {statistic:.3g} above {threshold:.3g}, for {age} window{'s' * (age != 1)}"
        effect = statistic if drift else 0.0
        verdict = Verdict(status, statistic, effect, None, threshold, n, m, None, reason)
        yield Heard(subject, name, verdict, drift and new, age)


def _columns(spec: OnlineSpec, table: TableSummary) -> tuple[str, ...]:
    names = table.numbers.names
    return names if spec.columns is None else tuple(name for name in names if name in spec.columns)


def _sampled(table: TableSummary, name: str) -> Floats:
    """Sampled values of a numeric column in the order of their keys, float64[n]; none where none are kept."""
    column = table.sample.column(name) if name in table.sample.columns else None
    return column.values if isinstance(column, Numbers) else np.full(len(table.sample), np.nan)


def _table(table: TableSummary, names: Sequence[str]) -> Floats:
    """Of several columns, float64[n, len(names)]."""
    return np.stack([_sampled(table, name) for name in names] or [np.empty((len(table.sample), 0))], axis=-1)


def _packed(track: _Track) -> bytes:
    fields: dict[str, Packable] = {
        "spec": track.spec.model_dump_json(),
        "streams": [list(one) for one in track.streams],
        "detector": track.detector.snapshot(),
        "rows": track.rows,
        "drifted": track.drifted,
    }
    last = track.last
    if last is not None:
        fields |= {
            "ready": last.ready,
            "drift": last.drift,
            "statistic": last.statistic,
            "threshold": last.threshold,
            "age": last.age,
            "reason": last.reason,
            "failed": last.failed,
        }
    return pack(fields)


def _resume(track: _Track, fields: Fields) -> None:
    size = len(track.streams)
    rows, drifted = (fields.array(name, np.int64, size) for name in ("rows", "drifted"))
    last = None
    if "ready" in fields:
        last = Standing(
            fields.array("ready", np.bool_, size),
            fields.array("drift", np.bool_, size),
            fields.array("statistic", np.float64, size),
            fields.array("threshold", np.float64, size),
            fields.array("age", np.int64, size),
            fields["reason"],
            fields["failed"],
        )
    track.detector.restore(fields.packed("detector"))
    track.rows, track.drifted, track.last = rows, drifted, last
