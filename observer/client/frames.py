"""Data frames, mappings of arrays, Arrow tables and matrices -> frames of events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from observer.client.items import Frame, Stream, listed, times
from observer.client.values import milliseconds, name, plain

_CELL_BYTES = 40  # of a Python value in a list, nearly

Column = Callable[[Any], Any]


class Columns:
    """Turns what the caller has into columns of a frame; with `arrow`, into Arrow arrays."""

    def __init__(self, *, arrow: bool) -> None:
        self._column: Column = listed
        self._times: Column = times
        if arrow:
            from observer.client.arrow import column, times_column  # noqa: PLC0415 - pyarrow is optional

            self._column, self._times = column, times_column

    def frame(
        self, stream: Stream, ids: list[str], fields: Mapping[str, Any], constants: Mapping[str, Any]
    ) -> Frame:
        """A frame of fields.

        Parameters
        ----------
        stream : "predictions" or "labels"
            What the rows are.
        ids : list of str
            A row each.
        fields : mapping
            Field -> column, scalar for every row, None, or, where the field holds names, a mapping of
            name -> column.
        constants : mapping
            Field -> the value of every row.

        Raises
        ------
        ValueError
            A column has another length.
        """
        columns: dict[str, Any] = {}
        same = dict(constants)
        for field, values in fields.items():
            if values is None:
                continue
            if isinstance(values, Mapping):
                columns |= {f"{field}.{name(key)}": self._column(one) for key, one in values.items()}
            elif not _is_column(values):
                same[field] = milliseconds(values) if field == "time" else plain(values)
            else:
                columns[field] = self._times(values) if field == "time" else self._column(values)
        for column, values in columns.items():
            if len(values) != len(ids):
                raise ValueError(f"`{column}` has {len(values)} values; accepted: {len(ids)}, one per row")
        size = sum(getattr(values, "nbytes", _CELL_BYTES * len(ids)) for values in columns.values())
        return Frame(stream, ids, columns, same, size + _CELL_BYTES * 2 * len(ids))


def columns_of(frame: Any, names: Sequence[str]) -> dict[str, Any]:
    """The columns of a frame by name.

    Parameters
    ----------
    frame : pandas or polars DataFrame, pyarrow Table or RecordBatch, mapping of arrays, 2-D array or rows
        What the model saw, a row each.
    names : sequence of str
        Of the columns of an array or of rows.

    Raises
    ------
    ValueError
        It is none of these, or has another number of columns than names.
    """
    if frame is None:
        return {}
    if isinstance(frame, Mapping):
        return {name(key): values for key, values in frame.items()}
    found = getattr(frame, "column_names", None)
    if found is not None:  # pyarrow
        return dict(zip(found, frame.columns, strict=True))
    found = getattr(frame, "columns", None)
    if found is not None:  # pandas, polars
        return {name(key): frame[key] for key in found}
    matrix = _width(frame)
    rows = [] if matrix else [listed(row) for row in frame]
    width = matrix or len(rows[0])
    if names and len(names) != width:
        raise ValueError(f"{width} columns and {len(names)} names; accepted: as many `feature_names`")
    names = names or [f"x{at}" for at in range(width)]
    if matrix:
        return {one: frame[:, at] for at, one in enumerate(names)}
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def scores_of(scores: Any, classes: Sequence[str]) -> Any:
    """Scores as a column, or as a mapping of class to column where there are several."""
    width = _width(scores)
    if not width:
        return scores
    if width == 1:
        return scores[:, 0]
    if len(classes) != width:
        raise ValueError(f"{width} scores a row and {len(classes)} classes; accepted: as many `classes`")
    return {name(one): scores[:, at] for at, one in enumerate(classes)}


def _width(values: Any) -> int:
    """Columns of a matrix; 0 for anything else."""
    shape: tuple[int, ...] = getattr(values, "shape", ())
    return shape[1] if len(shape) == 2 else 0


def _is_column(values: Any) -> bool:
    if isinstance(values, str | bytes) or getattr(values, "ndim", 1) == 0:
        return False
    return hasattr(values, "__len__")


def each(value: Any, of: Any) -> Any:
    """The value, or those of a mapping, looked up."""
    return {key: of(one) for key, one in value.items()} if isinstance(value, Mapping) else of(value)


def is_sized(value: Any) -> bool:
    """Whether it is a column, not a value."""
    return hasattr(value, "__len__") and not isinstance(value, str | bytes)
