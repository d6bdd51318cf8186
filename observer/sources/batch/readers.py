"""One reading of the tables: the rows of labels that are dated since some time, in order of time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from observer.codecs.arrow import columns as arrow
from observer.codecs.times import INVALID_TIME
from observer.errors import ConfigError, ObserverError, Permanent, Retryable
from observer.sources.batch.spec import BatchSpec, FeastLabelsSpec, TableSpec
from observer.sources.feast import Feast
from observer.sources.feast.process import table_of
from observer.sources.storage import Storage, StoredFile, shown

_ROWS = 100_000
SCHEMA = ("id", "model", "time", "label", "weight")
_NO_LABELS = (pa.types.is_nested, pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)


class Reader(Protocol):
    """Reads label tables; may be called from another thread, once at a time."""

    name: str

    def read(self, since: int | None) -> pa.Table:
        """Rows dated `since` (milliseconds) or later, with the columns of label events.

        Raises
        ------
        ConfigError
            A column is missing, or of a wrong type.
        Retryable
            They cannot be read now.
        """

    def close(self) -> None:
        """Free everything."""


def reader(spec: TableSpec | FeastLabelsSpec, storage: Storage) -> Reader:
    """The reader of a Spec."""
    return TableReader(spec, storage) if isinstance(spec, TableSpec) else FeastReader(spec)


class TableReader:
    """Files; those that are as they were at the last reading are left out."""

    def __init__(self, spec: TableSpec, storage: Storage) -> None:
        self.name = shown(spec.path)
        self._spec = spec
        self._storage = storage
        self._states: dict[str, str] = {}

    def read(self, since: int | None) -> pa.Table:
        """As `Reader`."""
        files = self._storage.find(self._spec.path)
        states = {file.place: file.state for file in files}
        parts = [
            rows_of(part, self._spec, self._spec.time, file.name, since)
            for file in files
            if self._states.get(file.place) != file.state
            for part in self._parts(file)
        ]
        rows = sorted_by_time(parts)
        self._states = states  # now that nothing can fail any more, or they would never be read
        return rows

    def close(self) -> None:
        """Nothing is held."""

    def _parts(self, file: StoredFile) -> Iterator[pa.RecordBatch]:
        name, spec = file.name, self._spec
        wanted = {spec.id, spec.label, spec.time, spec.weight} | ({"model"} if spec.model is None else set())
        try:
            with self._storage.open(file) as opened:
                if name.endswith(".parquet"):
                    parquet = pa.parquet.ParquetFile(opened)
                    columns = [column for column in parquet.schema_arrow.names if column in wanted]
                    yield from parquet.iter_batches(_ROWS, columns=columns)
                elif name.endswith(".csv"):
                    # An id of digits stays the text it is: 007 is not 7.
                    text = {column: pa.string() for column in (spec.id, "model")}
                    convert = pa.csv.ConvertOptions(column_types=text, strings_can_be_null=True)
                    yield from pa.csv.read_csv(opened, convert_options=convert).to_batches()
                else:
                    raise ConfigError([f"{name}: accepted for labels in tables: .parquet, .csv"])
        except ObserverError:
            raise
        except Exception as error:
            said = " ".join(str(error).split())[:500]
            raise Retryable(self._storage.hidden(f"{name}: cannot be read: {said}")) from None


class FeastReader:
    """A feature view, asked for the rows since then; the process ends between readings."""

    def __init__(self, spec: FeastLabelsSpec) -> None:
        self.name = f"Feast view {spec.view}"
        self._spec = spec
        self._feast = Feast(spec)

    def read(self, since: int | None) -> pa.Table:
        """As `Reader`."""
        try:
            answer = self._feast.rows(self._spec.view, since, None)
            table = table_of(answer)
        finally:
            self._feast.close()
        return sorted_by_time([rows_of(table, self._spec, answer.time, self.name, since)])

    def close(self) -> None:
        """End the process."""
        self._feast.close()


def rows_of(
    part: pa.RecordBatch | pa.Table, spec: BatchSpec, time: str, name: str, since: int | None
) -> pa.Table:
    """Columns of label events; rows without id, label or time, and those before `since`, are left out.

    Raises
    ------
    ConfigError
        A column is missing, or holds what it cannot hold.
    """
    try:
        return _rows_of(part, spec, time, name, since)
    except pa.ArrowException as error:
        raise ConfigError([f"{name}: {' '.join(str(error).split())[:300]}"]) from error


def _rows_of(
    part: pa.RecordBatch | pa.Table, spec: BatchSpec, time: str, name: str, since: int | None
) -> pa.Table:
    table = part if isinstance(part, pa.Table) else pa.Table.from_batches([part])
    needed = [
        spec.id,
        spec.label,
        time,
        *([spec.weight] if spec.weight else []),
        *([] if spec.model else ["model"]),
    ]
    if missing := sorted(set(needed) - set(table.column_names)):
        have = ", ".join(table.column_names)
        raise ConfigError([f"{name}: no column {', '.join(map(repr, missing))}; there are: {have}"])
    columns = {column: table.column(column).combine_chunks() for column in dict.fromkeys(needed)}
    for column, array in columns.items():
        if isinstance(array, pa.ChunkedArray):
            columns[column] = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
        if pa.types.is_dictionary(array.type):
            columns[column] = columns[column].dictionary_decode()
    dated = columns[time]
    if pa.types.is_date(dated.type):
        dated = dated.cast(pa.timestamp("ms"))
    times = arrow.milliseconds(dated)
    if times is None:
        raise ConfigError([f"{name}: column {time!r} holds {dated.type}; accepted: times"])
    of_label = arrow.plain_type(columns[spec.label])
    if any(kind(of_label) for kind in _NO_LABELS):
        raise ConfigError(
            [f"{name}: column {spec.label!r} holds {of_label}; accepted: text, numbers, booleans"]
        )
    n = len(times)
    model = columns["model"] if spec.model is None else pa.array([spec.model] * n, pa.string())
    weight = pa.nulls(n, pa.float64()) if spec.weight is None else columns[spec.weight].cast(pa.float64())
    ids = columns[spec.id]
    texts = [ids.cast(pa.string()), model.cast(pa.string())]
    rows = pa.table([*texts, pa.array(times), columns[spec.label], weight], names=SCHEMA)
    kept = ~(arrow.null_mask(ids) | arrow.null_mask(dated) | _missing(columns[spec.label]))
    if since is not None:
        kept &= (times >= since) | (times == INVALID_TIME)
    return rows.filter(pa.array(kept))


def sorted_by_time(parts: list[pa.Table]) -> pa.Table:
    """One table: a label must not move event time on before older ones have come."""
    try:
        whole = pa.concat_tables(parts, promote_options="permissive") if parts else pa.table({})
    except pa.ArrowException as error:
        raise Permanent(f"labels of several types do not go together: {error}") from error
    return whole.sort_by("time") if whole.num_rows else whole


def _missing(label: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    nothing = pc.is_null(label, nan_is_null=True).to_numpy(zero_copy_only=False)
    return np.asarray(nothing, np.bool_)
