"""Slices of a script as Arrow messages: one a model and quarter of an hour of arrivals.

A message depends on the script and its number only, so a stream can be read again from any position. Every
day holds one more message than it has slices: one that was cut off and cannot be decoded.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from detectors.base import Column, Floats, Ints, Numbers
from observer.codecs.arrow import encode_labels, encode_predictions
from observer.model import Stream
from observer.sources.demo.draw import Drawn, draw, draw_choice, generator
from observer.sources.demo.parts import Model
from observer.sources.demo.script import HOUR, Script
from observer.sources.demo.serving import Serving

SLICE = HOUR // 4
_DAY = 24 * HOUR // SLICE
_CUT_OFF = 43  # place of the broken message in each day's: after a quarter to eleven

_DELIVERY = 3_000.0  # mean milliseconds from event to arrival
_LATE = 0.002  # share that arrives 10 minutes to 3 hours after it happened
_LATEST = (10 * 60_000, 3 * HOUR)
_TWICE = 0.0005
_BROKEN = 0.0005  # without id, with an impossible time, or of an unknown model

Ids = NDArray[np.bytes_]


def due(offset: int) -> int:
    """When the message at an offset has come, milliseconds after the script's start."""
    return (_slice(offset) + 1) * SLICE


def count(elapsed: float) -> int:
    """How many messages of a partition have come at `elapsed` milliseconds after the script's start."""
    day, rest = divmod(max(int(elapsed // SLICE), 0), _DAY)
    return day * (_DAY + 1) + rest + (rest >= _CUT_OFF)


def _slice(offset: int) -> int:
    day, place = divmod(offset, _DAY + 1)
    return day * _DAY + place - (place >= _CUT_OFF)


class _Arrivals(NamedTuple):
    ids: Ids
    time: Ints
    """When it happened."""
    arrival: Ints
    drawn: Drawn
    rng: np.random.Generator
    """For what else there is to draw."""


class MessageLog:
    """The messages of one model in one stream, best read in order.

    Labels of a slice come from predictions of many slices before: those still to come are kept, and drawn
    anew when reading starts in the middle.

    Parameters
    ----------
    serving : Serving, optional
        The servers of a model that is served; without them its predictions are as scripted.
    """

    def __init__(self, script: Script, model: Model, stream: Stream, serving: Serving | None = None) -> None:
        self._script = script
        self._model = model
        self._stream = stream
        self._serving = serving
        self._drawn = 0
        """Slices whose labels were drawn."""
        self._coming: dict[int, list[tuple[Ids, Ints, Floats]]] = {}

    def message(self, offset: int) -> bytes:
        """The payload at an offset."""
        number = _slice(offset)
        if offset % (_DAY + 1) == _CUT_OFF:
            whole = self._predictions(number, broken=0.0)
            return whole[: len(whole) // 3]
        return self._predictions(number, _BROKEN) if self._stream == "predictions" else self._labels(number)

    def _arrivals(self, number: int) -> _Arrivals:
        script, model = self._script, self._model
        rng = generator(script.seed, model.name, "predictions", number)
        begin = script.start + number * SLICE
        n = int(rng.poisson(model.per_hour * script.volume(begin) * SLICE / HOUR))
        arrival = np.sort(rng.integers(begin, begin + SLICE, n))
        delay = rng.exponential(_DELIVERY, n)
        late = rng.random(n) < _LATE
        delay[late] = rng.uniform(*_LATEST, np.count_nonzero(late))
        time = np.maximum(arrival - delay.astype(np.int64), script.start)
        drawn = draw(model, rng, n, script.changes(model.name, time))
        return _Arrivals(_ids(model.name, number, n), time, arrival, drawn, rng)

    def _predictions(self, number: int, broken: float) -> bytes:
        model = self._model
        ids, time, _, drawn, rng = self._arrivals(number)
        n = len(time)
        tags = {tag.name: draw_choice(tag, rng, n) for tag in model.tags}
        second = np.zeros(n, np.int8)
        if model.challenger:
            second = (rng.random(n) < model.challenger.share).astype(np.int8)
        twice = np.flatnonzero(rng.random(n) < _TWICE)
        bad = np.flatnonzero(rng.random(n) < broken)
        rows = np.concatenate([np.sort(np.concatenate([np.arange(n), twice])), bad])
        kind = np.concatenate([np.full(len(rows) - len(bad), -1), np.arange(number, number + len(bad)) % 3])
        served: dict[str, object] = {}
        if self._serving is not None:
            copied, served = self._served(number, drawn, time, rows)
            rows, kind = np.concatenate([rows, copied]), np.concatenate([kind, np.full(len(copied), -1)])
        columns: dict[str, object] = {
            "id": _strings(ids[rows], kind == 0),
            "model": _named(model.name, "unheard-of", kind == 2),
            "version": model.version,
            "time": np.where(kind == 1, -1, time[rows]),
            "features": _arrays(drawn.features, rows),
            "prediction": _array(drawn.prediction.take(rows)),
            "tags": _arrays(tags, rows),
        }
        if model.challenger:
            columns["version"] = _coded(second[rows], (model.version, model.challenger.version))
            columns["arm"] = _coded(second[rows], ("champion", "challenger"))
        if self._serving is not None:
            columns.update(served)
        elif "" in drawn.scores:
            columns["scores"] = _array(drawn.scores[""].take(rows))
        elif drawn.scores:
            columns["scores"] = _arrays(drawn.scores, rows)
        return encode_predictions(columns)

    def _served(
        self, number: int, drawn: Drawn, time: Ints, rows: NDArray[np.intp]
    ) -> tuple[Ints, dict[str, object]]:
        """What the servers make of the requests: their own predictions, scores, versions and arms.

        The rows that were copied come after `rows`, and first of what is returned.
        """
        assert self._serving is not None  # noqa: S101 - the caller asked
        rng = generator(self._script.seed, self._model.name, "split", number)
        answers = self._serving.answer(drawn.features, time, rng)
        positive = (answers.score >= self._model.threshold).astype(np.float64)
        at = np.concatenate([rows, np.arange(len(time), len(positive))])
        return answers.copied, {
            "version": _array(answers.version.take(at)),
            "arm": _array(answers.arm.take(at)),
            "scores": pa.array(answers.score[at]),
            "prediction": pa.array(positive[at]),
        }

    def _labels(self, number: int) -> bytes:
        longest = int(self._model.delay.longest * HOUR) // SLICE + 1
        self._drawn = max(self._drawn, number - longest)
        while self._drawn <= number:
            self._draw_labels(self._drawn)
            self._drawn += 1
        for missed in [slot for slot in self._coming if slot < number]:
            del self._coming[missed]
        parts = self._coming.pop(number, [])
        nothing = (np.zeros(0, "S1"), np.zeros(0, np.int64), np.zeros(0))
        ids, time, label = (np.concatenate(part) for part in zip(nothing, *parts, strict=True))
        order = np.argsort(time, kind="stable")
        rng = generator(self._script.seed, self._model.name, "label messages", number)
        twice = order[rng.random(len(order)) < _TWICE]
        rows = np.concatenate([order, twice])
        return encode_labels(
            {
                "id": _strings(ids[rows]),
                "model": self._model.name,
                "time": time[rows],
                "label": self._named_labels(label[rows]),
            }
        )

    def _draw_labels(self, number: int) -> None:
        """Put the labels of a slice's predictions where they will come."""
        delay, model = self._model.delay, self._model
        ids, _, arrival, drawn, _ = self._arrivals(number)
        n = len(ids)
        rng = generator(self._script.seed, model.name, "labels", number)
        hours = delay.median * np.exp(delay.spread * rng.standard_normal(n))
        comes = rng.random(n) < delay.coverage
        wrong = comes & (rng.random(n) < delay.corrected) & (drawn.truth != 0)
        again = hours + rng.exponential(delay.median, n)
        first = np.where(wrong, drawn.truth * 0.95 if model.task == "regression" else 0.0, drawn.truth)
        chosen = np.concatenate([np.flatnonzero(comes), np.flatnonzero(wrong)])
        after = np.concatenate([hours[comes], again[wrong]])
        label = np.concatenate([first[comes], drawn.truth[wrong]])
        intime = after < delay.longest
        chosen, after, label = chosen[intime], after[intime], label[intime]
        time = arrival[chosen] + (after * HOUR).astype(np.int64)
        slot = (time - self._script.start) // SLICE
        order = np.argsort(slot, kind="stable")
        cuts = np.flatnonzero(np.diff(slot[order])) + 1
        for part in np.split(order, cuts):
            if len(part):
                entry = (ids[chosen[part]], time[part], label[part])
                self._coming.setdefault(int(slot[part[0]]), []).append(entry)

    def _named_labels(self, label: Floats) -> pa.Array:
        if self._model.task == "regression":
            return pa.array(label)
        if self._model.task == "binary":
            return pa.array(label.astype(np.int8))
        return _coded(label.astype(np.int8), self._model.classes)


def _ids(model: str, number: int, n: int) -> Ids:
    """`model-slice-row` for each row: bytes of one length, made without a loop over rows."""
    stem = f"{model}-{number:06d}-".encode()
    out = np.empty((n, len(stem) + 6), np.uint8)
    out[:, : len(stem)] = np.frombuffer(stem, np.uint8)
    out[:, len(stem) :] = np.arange(n)[:, None] // 10 ** np.arange(5, -1, -1) % 10 + ord("0")
    return out.view(f"S{out.shape[1]}").ravel()


def _strings(ids: Ids, null: NDArray[np.bool_] | None = None) -> pa.Array:
    ends = np.arange(len(ids) + 1, dtype=np.int32) * ids.itemsize
    data = pa.py_buffer(np.ascontiguousarray(ids))
    text = pa.Array.from_buffers(pa.string(), len(ids), [None, pa.py_buffer(ends), data])
    return text if null is None or not null.any() else pc.if_else(pa.array(null), None, text)


def _named(name: str, other: str, where: NDArray[np.bool_]) -> pa.Array:
    return _coded(where.astype(np.int8), (name, other))


def _coded(codes: NDArray[np.int8] | NDArray[np.int32], names: tuple[str, ...]) -> pa.Array:
    mask = codes < 0
    indices = pa.array(codes.astype(np.int8), mask=mask if mask.any() else None)
    return pa.DictionaryArray.from_arrays(indices, _dictionary(names))


@cache
def _dictionary(names: tuple[str, ...]) -> pa.Array:
    return pa.array(names)


def _array(column: Column) -> pa.Array:
    if isinstance(column, Numbers):
        return pa.array(column.values, mask=column.nulls)
    return _coded(column.codes, column.names)


def _arrays(columns: Mapping[str, Column], rows: NDArray[np.intp]) -> dict[str, pa.Array]:
    return {name: _array(column.take(rows)) for name, column in columns.items()}
