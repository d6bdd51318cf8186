"""A mapping and the tensors of requests and responses -> columns of events, as Arrow messages have them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from detectors.base import Ints
from observer.codecs.inference.mapping import Argmax, Cell, ModelMapping, Threshold
from observer.codecs.inference.tensors import Tensor, Unreadable, is_number

Tensors = Mapping[str, Tensor]
_DASH = pa.scalar("-", pa.large_string())


def columns(mapping: ModelMapping, inputs: Tensors, outputs: Tensors) -> tuple[dict[str, pa.Array], Ints]:
    """Columns by field (`features.age`, `prediction`, …), and the rows of each message.

    `id` and `version` are among them only where the mapping takes them from tensors.

    Raises
    ------
    Unreadable
        A tensor or a column is not there, or tensors that belong together have different rows.
    """
    found = _Columns(inputs, outputs)
    arrays = {
        f"features.{name}": found.cell(cell, inputs, "input") for name, cell in mapping.features.items()
    }
    match mapping.prediction:
        case Cell() as cell:
            arrays["prediction"] = found.cell(cell, outputs, "output")
        case Threshold(cell, least, classes):
            arrays["prediction"] = _above(found.cell(cell, outputs, "output"), cell, least, classes)
        case Argmax(tensor, classes):
            arrays["prediction"] = _greatest(found.tensor(tensor, outputs, "output"), tensor, classes)
    if isinstance(mapping.scores, Cell):
        arrays["scores"] = found.cell(mapping.scores, outputs, "output")
    else:
        for name, cell in (mapping.scores or {}).items():
            arrays[f"scores.{name}"] = found.cell(cell, outputs, "output")
    for name, optional in (("id", mapping.id), ("version", mapping.version)):
        if optional is not None:
            arrays[name] = found.cell(optional, *found.either(optional))
    for name, cell in mapping.tags.items():
        arrays[f"tags.{name}"] = found.cell(cell, *found.either(cell))
    if found.rows is None:
        raise Unreadable("the mapping names no tensor")
    return arrays, found.rows


class _Columns:
    """Looks cells up, and sees that all have the same rows."""

    def __init__(self, inputs: Tensors, outputs: Tensors) -> None:
        self._inputs, self._outputs = inputs, outputs
        self.rows: Ints | None = None
        self._first = ""

    def either(self, cell: Cell) -> tuple[Tensors, str]:
        """The tensors in which to look for a cell that may be in both."""
        in_outputs = cell.tensor not in self._inputs and cell.tensor in self._outputs
        return (self._outputs, "output") if in_outputs else (self._inputs, "input")

    def tensor(self, name: str, among: Tensors, kind: str) -> Tensor:
        found = among.get(name)
        if found is None:
            there = ", ".join(sorted(among)[:20]) or "none"
            raise Unreadable(f"no {kind} `{name[:80]}`; there are: {there}"[:500])
        if self.rows is None:
            self.rows, self._first = found.rows, name
        elif self.rows is not found.rows and not np.array_equal(self.rows, found.rows):
            raise Unreadable(f"tensors `{self._first}` and `{name}` have different numbers of rows")
        return found

    def cell(self, cell: Cell, among: Tensors, kind: str) -> pa.Array:
        found = self.tensor(cell.tensor, among, kind)
        at = cell.column
        if at is None and found.width != 1:
            told = f"name one, as in `{cell.tensor}[0]`"
            raise Unreadable(f"{kind} `{cell.tensor}` has {found.width} columns; {told}")
        if at is not None and at >= found.width:
            raise Unreadable(f"{kind} `{cell.tensor}` has {found.width} columns, so no `[{at}]`")
        return found.column(at or 0)


def _above(scores: pa.Array, cell: Cell, least: float, classes: tuple[str, ...]) -> pa.Array:
    if not is_number(scores.type):
        raise Unreadable(f"output `{cell}` holds no numbers, so it has no threshold")
    return _named(pc.greater_equal(scores, least).cast(pa.int8()), classes)


def _greatest(scores: Tensor, name: str, classes: tuple[str, ...]) -> pa.Array:
    if not is_number(scores.cells.type) or scores.width < 2:
        raise Unreadable(f"output `{name}` has no several numbers a row, so no greatest")
    if classes and len(classes) != scores.width:
        raise Unreadable(
            f"output `{name}` has {scores.width} columns, and the mapping names {len(classes)} classes"
        )
    values = scores.cells.fill_null(-np.inf) if scores.cells.null_count else scores.cells
    matrix = values.to_numpy().reshape(-1, scores.width)
    if np.issubdtype(matrix.dtype, np.floating):
        matrix = np.where(np.isnan(matrix), -np.inf, matrix)
    best = pa.array(matrix.argmax(axis=1).astype(np.int32))
    return _named(best, classes or tuple(map(str, range(scores.width))))


def _named(codes: pa.Array, classes: tuple[str, ...]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(codes, pa.array(classes, pa.string()))


def ids(of_messages: list[str], rows: Ints) -> pa.Array:
    """Ids of rows: the message's, followed by `-0`, `-1` and so on where a message has several rows."""
    each = pa.array(of_messages, pa.large_string())
    if (rows == 1).all():
        return each
    owner = np.repeat(np.arange(len(rows)), rows)
    numbers = np.arange(len(owner)) - np.repeat(np.cumsum(rows) - rows, rows)
    plain = each.take(pa.array(owner))
    counted = pc.binary_join_element_wise(plain, pa.array(numbers).cast(pa.large_string()), _DASH)
    return pc.if_else(pa.array(rows[owner] == 1), plain, counted)
