"""Files of rows, of whatever kind, as tables of Arrow."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.json
import pyarrow.parquet

BLOCK = 100_000
"""Rows read at a time."""
_PARQUET, _CSV, _ARROW = {".parquet"}, {".csv"}, {".arrow", ".feather", ".ipc"}
_LINES = {".ndjson", ".jsonl", ".json"}
_PACKED = {f"{suffix}.gz" for suffix in (*_CSV, *_LINES)}


def _kind(path: Path) -> str:
    kind = path.suffixes[-2] + ".gz" if path.suffix == ".gz" and len(path.suffixes) > 1 else path.suffix
    known = _PARQUET | _CSV | _LINES | _ARROW | _PACKED
    if kind not in known:
        raise ValueError(f"unknown kind of file; accepted: {', '.join(sorted(known))}")
    return kind.removesuffix(".gz")


def names(path: Path) -> list[str]:
    """Names of the columns, without reading more than the beginning."""
    kind = _kind(path)
    if kind in _PARQUET:
        return list(pa.parquet.read_schema(path).names)
    if kind in _CSV:
        with pa.csv.open_csv(path) as reader:
            return list(reader.schema.names)
    if kind in _ARROW:
        return next((list(batch.schema.names) for batch in _arrow(path)), [])
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        first = next((line for line in file if line.strip()), b"{}")
    try:
        row = json.loads(first)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise ValueError("the first line is no JSON object; accepted: one object a line")  # noqa: TRY004
    return list(row)


def tables(path: Path) -> Iterable[pa.RecordBatch | pa.Table]:
    """The file's rows, in pieces."""
    kind = _kind(path)
    if kind in _CSV:
        convert = pa.csv.ConvertOptions(strings_can_be_null=True)
        return [pa.csv.read_csv(path, convert_options=convert)]
    if kind in _LINES:
        return [pa.json.read_json(path)]
    if kind in _ARROW:
        return _arrow(path)
    return _parquet(path)


def _parquet(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.parquet.ParquetFile(path) as file:
        yield from file.iter_batches(BLOCK)


def _arrow(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(path)) as source:
        try:
            file = pa.ipc.open_file(source)
        except pa.ArrowInvalid:  # the other of the two IPC formats
            source.seek(0)
            with pa.ipc.open_stream(source) as stream:
                yield from stream
            return
        for number in range(file.num_record_batches):
            yield file.get_batch(number)
