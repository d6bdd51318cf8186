"""What waits in the buffer: single events and frames of them, copied so that the model may go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress
from typing import Any, Literal

from observer.client.values import BASIC, cells, milliseconds, name, plain

Stream = Literal["predictions", "labels"]

NESTED = ("features", "scores", "tags", "embeddings")
"""Fields that hold names and values; as columns of a frame `features.amount` and so on."""

_EVENT_BYTES = 700  # of an event without its cells: the dictionaries, the id, the time
_CELL_BYTES = 130  # of a cell: its slot in the dictionary, and a number or the head of a text
_NUMBER_BYTES = 32  # in the list of an embedding


class Event:
    """One event: its fields as JSON has them."""

    __slots__ = ("fields", "size", "stream")
    rows = 1

    def __init__(self, stream: Stream, fields: dict[str, Any]) -> None:
        self.stream: Stream = stream
        self.fields = fields
        size = _EVENT_BYTES
        for field in NESTED:
            nested = fields.get(field)
            if type(nested) is dict:
                size += _CELL_BYTES * len(nested)
                for value in nested.values():
                    if type(value) is str:
                        size += len(value)
                    elif type(value) is list:
                        size += _NUMBER_BYTES * len(value)
        self.size = size

    @property
    def ids(self) -> Sequence[str]:
        """Its id."""
        return (self.fields["id"],)

    def kept(self, keep: Sequence[bool]) -> Event | None:
        """Itself, or nothing."""
        return self if keep[0] else None


class Frame:
    """Events of equal fields, a column each.

    Parameters
    ----------
    stream : "predictions" or "labels"
        What they are.
    ids : list of str
        Of the rows.
    columns : mapping
        Flat column name (`time`, `features.amount`) -> values: a list, or an Arrow array.
    constants : mapping
        Field -> the value that all rows share.
    size : int
        Bytes, nearly.
    """

    __slots__ = ("columns", "constants", "ids", "rows", "size", "stream")

    def __init__(
        self, stream: Stream, ids: list[str], columns: dict[str, Any], constants: dict[str, Any], size: int
    ) -> None:
        self.stream: Stream = stream
        self.ids = ids
        self.columns = columns
        self.constants = constants
        self.rows = len(ids)
        self.size = size

    def kept(self, keep: Sequence[bool]) -> Frame | None:
        """The rows to keep, if any."""
        ids = list(compress(self.ids, keep))
        if len(ids) in (0, self.rows):
            return self if ids else None

        def of(values: Any) -> Any:
            return list(compress(values, keep)) if isinstance(values, list) else values.filter(list(keep))

        columns = {column: of(values) for column, values in self.columns.items()}
        return Frame(self.stream, ids, columns, self.constants, self.size * len(ids) // self.rows)

    def events(self) -> Iterator[dict[str, Any]]:
        """The fields of each row; its columns are lists."""
        split = [(column.partition("."), values) for column, values in self.columns.items()]
        top = [(column, values) for (column, dot, _), values in split if not dot or column not in NESTED]
        nested = {
            field: [(key, values) for (column, dot, key), values in split if dot and column == field]
            for field in NESTED
        }
        for row, one in enumerate(self.ids):
            fields = {"id": one, **self.constants}
            for column, values in top:
                if values[row] is not None:
                    fields[column] = values[row]
            for field, parts in nested.items():
                if parts:
                    fields[field] = {key: values[row] for key, values in parts}
            yield fields


Item = Event | Frame


_USUAL = len(("id", "model", "time", "features", "prediction"))
_OTHER: dict[str, Callable[[Any], Any]] = {
    "tags": cells,
    "embeddings": lambda vectors: {name(key): listed(one) for key, one in vectors.items()},
    "arm_probability": plain,
    "latency_ms": plain,
    "error": plain,
}


def prediction(fields: dict[str, Any], classes: Sequence[str], feature_names: Sequence[str]) -> Event:
    """The event of one prediction, of fields as the caller gave them, everything copied that may change.

    Raises
    ------
    TypeError, ValueError
        Features, scores or the time cannot be read.
    """
    fields["features"] = named(fields["features"], feature_names, "features")
    fields["prediction"] = _known(fields["prediction"], "prediction")
    if len(fields) > _USUAL:
        for field in fields.keys() & _OTHER.keys():
            fields[field] = _OTHER[field](fields[field])
    scores = fields.get("scores")
    if scores is not None and type(scores) is not float:
        if isinstance(scores, Sequence) or getattr(scores, "ndim", 0) > 0:
            scores = named(scores, classes, "scores")
        fields["scores"] = cells(scores) if hasattr(scores, "keys") else plain(scores)
    return Event("predictions", fields)


def _known(value: Any, field: str) -> str | int | float | bool:
    """A prediction or a label; raises `ValueError` where it is null or NaN, which no event may have."""
    known = value if type(value) in BASIC else plain(value)
    if known is None or known != known:  # noqa: PLR0124 - NaN alone differs from itself
        raise ValueError(f"`{field}` is {value!r}; accepted: a text, a number or a boolean")
    return known


def label(fields: dict[str, Any]) -> Event:
    """The event of one label."""
    fields["label"] = _known(fields["label"], "label")
    if fields.get("weight") is None:
        fields.pop("weight", None)
    else:
        fields["weight"] = plain(fields["weight"])
    return Event("labels", fields)


def named(values: Any, names: Sequence[str], what: str) -> dict[str, Any]:
    """Values by name: a mapping as it is, a row of values by the names given for it."""
    if type(values) is dict:
        return cells(values)
    if values is None:
        return {}
    if hasattr(values, "keys"):  # a mapping, or a row of a pandas frame
        return cells(values)
    row = listed(values)
    if len(row) == 1 and len(names) != 1 and isinstance(row[0], list):  # a frame of one row
        row = row[0]
    if len(row) != len(names):
        given = "feature_names" if what == "features" else "classes"
        raise ValueError(
            f"{what}: {len(row)} values and {len(names)} names; accepted: a mapping of names to values, "
            f"or as many values as `{given}` of the logger"
        )
    return dict(zip(names, row, strict=True))


def listed(values: Any) -> list[Any]:
    """A copy of a column or a row as a list of Python values."""
    if getattr(getattr(values, "dtype", None), "kind", "") in ("m", "M"):
        values = values.astype(str)
    for method in ("tolist", "to_pylist", "to_list"):
        make: Callable[[], list[Any]] | None = getattr(values, method, None)
        if make is not None:
            return make()
    return list(values)


def times(values: Any) -> list[int | str]:
    """A column of times as milliseconds or text."""
    if getattr(getattr(values, "dtype", None), "kind", "") == "M":
        try:
            quick: list[int | str] = values.astype("datetime64[ms]").astype("int64").tolist()
        except (TypeError, ValueError):  # of pandas with a time zone: one by one
            pass
        else:
            return quick
    each: Iterable[Any] = values.to_pylist() if hasattr(values, "to_pylist") else values
    return [milliseconds(one) for one in each]
