"""The rows of one record batch -> a batch per model, and rejections row by row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from detectors.base import NULL, Bools, Categories, Column, Floats, Ints, Numbers, Vectors
from observer.codecs import columns
from observer.codecs.arrow import columns as arrow
from observer.codecs.base import Context, Poll
from observer.codecs.events import ACCEPTED, Arm, refused_time
from observer.codecs.keys import hash_ids
from observer.model import Labels, Predictions, Stream

_EXCERPT = 4096
_ARMS = get_args(Arm)

Arrays = dict[str, pa.Array]


class Rows:
    """One record batch on its way to a batch per model."""

    def __init__(
        self,
        context: Context,
        poll: Poll,
        batch: pa.RecordBatch,
        message: Ints,
        row: Ints,
        default_model: str | None,
    ) -> None:
        self._context = context
        self._poll = poll
        self._batch = batch
        self._message = message
        self._row = row
        self._default_model = default_model
        self._arrays: Arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
        self._good: Bools = np.ones(batch.num_rows, np.bool_)

    def add(self, stream: Stream) -> None:
        """Add the usable rows to the poll and reject the others."""
        times = self._times()
        self._check_id()
        self._check_outcome("prediction" if stream == "predictions" else "label")
        if stream == "predictions":
            self._check_range("arm_probability", 0.0, 1.0)
            self._check_arm()
        else:
            self._check_range("weight", 0.0, np.inf)
        for model, rows in self._models():
            # All rows of one model, the usual case, need no copy.
            part = slice(None) if len(rows) == len(self._good) else rows
            arrays = self._arrays
            if not isinstance(part, slice):
                taken = self._batch.take(pa.array(rows))
                arrays = dict(zip(taken.schema.names, taken.columns, strict=True))
            message = self._message[part]
            shared = (
                hash_ids(arrow.text(arrays["id"]), model),
                times[part],
                self._row[part],
                message,
                self._poll.messages.partition[message],
            )
            columns_of = _Columns(self._context, self._poll, model, arrays, len(rows))
            if stream == "predictions":
                self._poll.add(columns_of.predictions(shared))
            else:
                self._poll.add(columns_of.labels(shared))

    def _models(self) -> Iterator[tuple[str, NDArray[np.intp]]]:
        codes, names = np.full(len(self._good), NULL, np.int32), tuple[str, ...]()
        if "model" in self._arrays:
            column = arrow.categories(self._arrays["model"])
            codes, names = column.codes, column.names
        if self._default_model is None:
            self._refuse(codes == NULL, "invalid", f"`model` is null; accepted: {ACCEPTED['model']}")
        else:
            codes, names = np.where(codes == NULL, len(names), codes), (*names, self._default_model)
        for code in np.flatnonzero(np.bincount(codes[self._good])).tolist():
            here = (codes == code) & self._good
            if self._context.knows(names[code]):
                yield names[code], np.flatnonzero(here)
            else:
                self._refuse(here, "unknown_model", self._context.refusal(names[code]))

    def _times(self) -> Ints:
        array = self._arrays["time"]
        time = arrow.milliseconds(array)
        if time is None:  # `_problem` let it pass, so it is text, a number or a timestamp
            raise TypeError(f"no times in a column of {array.type}")
        ahead = self._context.limits.max_ahead
        bad = (time < 0) | (time > (self._poll.now + ahead) * 1000)
        if bad.any():
            shown = _printable(array.take(pa.array(np.flatnonzero(bad)))).to_pylist()
            for at, value in zip(np.flatnonzero(bad).tolist(), shown, strict=True):
                reason, detail = refused_time(value, int(time[at]), self._poll.now, ahead)
                self._refuse_rows([at], reason, detail)
        return time

    def _check_id(self) -> None:
        array = self._arrays["id"]
        bad = arrow.null_mask(array)
        if arrow.is_text(arrow.plain_type(array)):
            bad = bad | (pc.binary_length(arrow.text(array)).fill_null(0).to_numpy(zero_copy_only=False) == 0)
        self._refuse(bad, "invalid", f"`id` is null or empty; accepted: {ACCEPTED['id']}")

    def _check_outcome(self, name: str) -> None:
        array = self._arrays[name]
        bad = arrow.null_mask(array)
        if pa.types.is_floating(arrow.plain_type(array)):
            bad = bad | np.isnan(arrow.numbers(array).values)
        elif pa.types.is_dictionary(array.type):
            bad = bad | (arrow.categories(array).codes == NULL)
        self._refuse(bad, "invalid", f"`{name}` is null or NaN; accepted: {ACCEPTED[name]}")

    def _check_range(self, name: str, low: float, high: float) -> None:
        if name in self._arrays:
            values = arrow.numbers(self._arrays[name]).values
            bad = (values < low) | (values > high) | np.isinf(values)
            self._refuse(bad, "invalid", f"`{name}` is out of range; accepted: {ACCEPTED[name]}")

    def _check_arm(self) -> None:
        if "arm" in self._arrays:
            column = arrow.categories(self._arrays["arm"])
            unknown = [code for code, name in enumerate(column.names) if name not in _ARMS]
            self._refuse(np.isin(column.codes, unknown), "invalid", f"`arm` is none of {ACCEPTED['arm']}")

    def _refuse(self, bad: Bools, reason: str, detail: str) -> None:
        rows = np.flatnonzero(bad & self._good)
        for start in range(0, len(rows), 1000):
            self._refuse_rows(rows[start : start + 1000].tolist(), reason, detail)

    def _refuse_rows(self, rows: list[int], reason: str, detail: str) -> None:
        some = self._batch.take(pa.array(rows, pa.int64()))
        printable = pa.record_batch([_printable(array) for array in some.columns], some.schema.names)
        try:
            shown = printable.to_pylist()
        except (ValueError, OverflowError, KeyError):  # a date or time zone that Python has no value for
            shown = [{"unprintable": True}] * len(rows)
        for row, event in zip(rows, shown, strict=True):
            payload = json.dumps(event, default=str)[:_EXCERPT].encode()
            self._poll.reject(int(self._message[row]), reason, detail, payload=payload)
        self._good[rows] = False


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of one model's rows, all of them usable."""

    context: Context
    poll: Poll
    model: str
    arrays: Arrays
    n: int

    def predictions(
        self, shared: tuple[NDArray[np.uint64], Ints, Ints, Ints, NDArray[np.int32]]
    ) -> Predictions:
        latency = self._counted(self._numbers("latency_ms"))
        return Predictions(
            self.model,
            *shared,
            version=self._categories("version"),
            arm=self._categories("arm"),
            arm_probability=self._numbers("arm_probability").values,
            latency_ms=latency.values,
            features=self._features(),
            prediction=_outcome(self.arrays["prediction"]),
            scores=self._scores(),
            tags=self._tags(),
            embeddings=self._embeddings(),
            errors=self._flags("error"),
        )

    def labels(self, shared: tuple[NDArray[np.uint64], Ints, Ints, Ints, NDArray[np.int32]]) -> Labels:
        weight: Floats = self._numbers("weight").values
        weight = np.where(np.isnan(weight), 1.0, weight)
        return Labels(self.model, *shared, label=_outcome(self.arrays["label"]), weight=weight)

    def _numbers(self, name: str) -> Numbers:
        array = self.arrays.get(name)
        return columns.no_numbers(self.n) if array is None else arrow.numbers(array)

    def _flags(self, name: str) -> Bools | None:
        column = self._categories(name)
        return None if "true" not in column.names else column.codes == column.names.index("true")

    def _categories(self, name: str) -> Categories:
        array = self.arrays.get(name)
        return columns.no_categories(self.n) if array is None else arrow.categories(array)

    def _features(self) -> dict[str, Column]:
        found = self._children("features")
        schema = self.context.schemas[self.model]
        if not schema.features:
            names = self._admitted("features", found)
            return {name: self._counted(arrow.inferred(found[name])) for name in names}
        features: dict[str, Column] = {}
        for name, kind in schema.features.items():
            array = found.get(name)
            if array is None:
                features[name] = (
                    columns.no_numbers(self.n) if kind == "number" else columns.no_categories(self.n)
                )
            elif kind == "number":
                features[name] = self._counted(arrow.numbers(array))
            else:
                read = arrow.booleans if kind == "boolean" else arrow.categories
                features[name] = self._counted(read(array))
        return features

    def _scores(self) -> dict[str, Numbers]:
        found = self._children("scores")
        scores = {
            name: self._counted(arrow.numbers(found[name])) for name in self._admitted("classes", found)
        }
        binary = self.arrays.get("scores")
        if binary is not None and not (pa.types.is_struct(binary.type) or pa.types.is_null(binary.type)):
            scores = {"": self._counted(arrow.numbers(binary))} | scores
        return scores

    def _tags(self) -> dict[str, Categories]:
        found = self._children("tags")
        tags = {name: self._counted(arrow.categories(found[name])) for name in self._admitted("tags", found)}
        self._count_flat("tags")
        return tags

    def _embeddings(self) -> dict[str, Vectors]:
        found, longest = self._children("embeddings"), self.context.limits.max_embedding_length
        names = self._admitted("embeddings", found)
        self._count_flat("embeddings")
        return {name: self._counted(arrow.vectors(found[name], longest)) for name in names}

    def _count_flat(self, name: str) -> None:
        """Cells of a column that should have been a struct are spoiled."""
        whole = self.arrays.get(name)
        if whole is not None and not pa.types.is_struct(whole.type):
            self.poll.spoiled += len(whole) - whole.null_count

    def _children(self, name: str) -> Arrays:
        """Columns under a name: fields of the struct of that name, and columns `name.<field>`."""
        found: Arrays = {}
        parent = self.arrays.get(name)
        if parent is not None and pa.types.is_struct(parent.type):
            names = [parent.type.field(at).name for at in range(parent.type.num_fields)]
            found.update(zip(names, parent.flatten(), strict=True))
        prefix = f"{name}."
        found.update((key[len(prefix) :], self.arrays[key]) for key in self.arrays if key.startswith(prefix))
        return found

    def _admitted(self, kind: str, found: Arrays) -> list[str]:
        names = self.context.names(self.model, kind).admit(found)
        if len(names) < len(found):
            self.poll.dropped += sum(
                len(found[name]) - found[name].null_count for name in set(found) - set(names)
            )
        return names

    def _counted(self, column: columns.AnyColumn) -> columns.AnyColumn:
        self.poll.spoiled += columns.spoiled(column)
        return column


def _outcome(array: pa.Array) -> Column:
    """Predictions or labels: numbers if they are, else categories."""
    return arrow.numbers(array) if arrow.is_number(arrow.plain_type(array)) else arrow.categories(array)


def _printable(array: pa.Array) -> pa.Array:
    """The array such that Python can show it: timestamps as integers."""
    return array.cast(pa.int64()) if pa.types.is_timestamp(array.type) else array
