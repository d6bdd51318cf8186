from __future__ import annotations

import datetime as dt
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest

from detectors.base import Categories, Numbers
from observer.errors import ConfigError, Permanent
from observer.references import Overrides, build
from observer.training import Roles, Rows, read

N = 400
_draw = np.random.default_rng(1)
PLAIN = pa.table(
    {
        "customer": [f"c{number}" for number in range(N)],
        "age": _draw.normal(40, 10, N),
        "visits": _draw.integers(0, 5, N),
        "city": _draw.choice(["a", "b"], N),
        "member": _draw.random(N) < 0.5,
        "predicted": _draw.integers(0, 2, N),
        "probability": _draw.random(N),
        "split": ["train"] * N,
    }
)
ROLES = Roles("predicted", "probability", "customer", ("split",))
EVENTS = [
    {
        "id": f"e{number}",
        "model": "m" if number % 4 else "other",
        "time": 1_700_000_000_000 + number,
        "features": {"age": float(number), "city": "ab"[number % 2]},
        "prediction": number % 2,
        "scores": number / N,
        "tags": {"region": "eu"},
    }
    for number in range(N)
]


def flat(event: dict[str, Any]) -> dict[str, Any]:
    nested = {f"{k}.{name}": v for k in ("features", "tags") for name, v in event[k].items()}
    return {**{k: v for k, v in event.items() if k not in {"features", "tags"}}, **nested}


def ndjson(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def stream(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=150)


def write_plain(path: Path) -> Path:
    rows = PLAIN.to_pylist()
    writers: dict[str, Callable[[], object]] = {
        ".parquet": lambda: pa.parquet.write_table(PLAIN, path, row_group_size=100),
        ".arrow": lambda: pa.feather.write_feather(PLAIN, path),
        ".ipc": lambda: stream(PLAIN, path),
        ".csv": lambda: pa.csv.write_csv(PLAIN, path),
        ".csv.gz": lambda: path.write_bytes(gzip.compress(_csv(PLAIN))),
        ".ndjson": lambda: path.write_bytes(ndjson(rows)),
        ".jsonl.gz": lambda: path.write_bytes(gzip.compress(ndjson(rows))),
    }
    writers["".join(path.suffixes)]()
    return path


def _csv(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pa.csv.write_csv(table, sink)
    return bytes(sink.getvalue().to_pybytes())


def write_events(path: Path) -> Path:
    table = pa.Table.from_pylist([flat(event) for event in EVENTS])
    writers: dict[str, Callable[[], object]] = {
        ".parquet": lambda: pa.parquet.write_table(table, path),
        ".arrow": lambda: pa.feather.write_feather(table, path),
        ".ipc": lambda: stream(table, path),
        ".csv": lambda: pa.csv.write_csv(table, path),
        ".ndjson": lambda: path.write_bytes(ndjson(EVENTS)),
        ".json.gz": lambda: path.write_bytes(gzip.compress(ndjson(EVENTS))),
    }
    writers["".join(path.suffixes)]()
    return path


def version(rows: Rows) -> str:
    return build(rows.keys, rows.columns, Overrides(task="binary"), "", rows.tags).version


PLAIN_KINDS = [".parquet", ".arrow", ".ipc", ".csv", ".csv.gz", ".ndjson", ".jsonl.gz"]
EVENT_KINDS = [".parquet", ".arrow", ".ipc", ".csv", ".ndjson", ".json.gz"]


@pytest.mark.parametrize("kind", PLAIN_KINDS)
def test_a_plain_table_gives_the_same_reference_from_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    rows = read(write_plain(tmp_path / f"t{kind}"), "m", ROLES)
    assert set(rows.columns) == {"age", "visits", "city", "member", "@prediction", "@score"}
    assert (rows.total, rows.rejected, rows.tags, rows.notes) == (N, 0, {}, {})
    assert version(rows) == version(read(write_plain(tmp_path / "same.parquet"), "m", ROLES))


@pytest.mark.parametrize("kind", EVENT_KINDS)
def test_events_give_the_same_reference_from_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    rows = read(write_events(tmp_path / f"e{kind}"), "m")
    assert set(rows.columns) == {"age", "city", "@prediction", "@score"}
    assert set(rows.tags) == {"region"}
    assert rows.total == N * 3 // 4
    assert version(rows) == version(read(write_events(tmp_path / "same.parquet"), "m"))


def test_events_that_cannot_be_used_are_counted_and_the_first_is_told(tmp_path: Path) -> None:
    path = tmp_path / "e.ndjson"
    path.write_bytes(b"\n" + ndjson(EVENTS[:8]) + b'{"id": 1}\nnonsense\n')
    rows = read(path, "m")
    assert rows.rejected == 2
    assert rows.first_problem.startswith(f"{path}[0]@9: invalid: ")


def test_mixed_types_spoil_cells_of_events_not_the_file(tmp_path: Path) -> None:
    path = tmp_path / "e.ndjson"
    path.write_bytes(ndjson([EVENTS[1], EVENTS[2] | {"features": {"age": "old", "city": 3}}]))
    assert read(path, "m").total == 2


def test_a_model_among_very_many_is_found(tmp_path: Path) -> None:
    path = tmp_path / "e.ndjson"
    path.write_bytes(ndjson([EVENTS[1] | {"model": f"x{i}"} for i in range(300)] + EVENTS[:4]))
    assert read(path, "m").total == 3


def test_an_unknown_model_is_told_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no events of model 'n'; it has: m, other"):
        read(write_events(tmp_path / "e.parquet"), "n")


def test_events_take_no_roles(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="leave out --id, --drop age"):
        read(write_events(tmp_path / "e.parquet"), "m", Roles(id="id", drop=("age",)))


def test_wrong_roles_are_all_told_with_the_columns_there_are(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "t.parquet")
    with pytest.raises(ConfigError) as error:
        read(path, "m", Roles("predictd", "age", "age", ("nope",)))
    have = ", ".join(PLAIN.column_names)
    assert error.value.problems == [
        f"{path}: --prediction: no column 'predictd'; there are: {have}",
        f"{path}: --drop nope: no column 'nope'; there are: {have}",
        f"{path}: column 'age' is given twice; accepted: one role a column",
    ]


def test_columns_no_event_can_have_are_left_out_and_named(tmp_path: Path) -> None:
    odd = pa.table(
        {
            "x": [1.5, 2.5, None],
            "at": [dt.datetime(2026, 1, 1)] * 3,  # noqa: DTZ001 - files often lack the zone
            "day": [dt.date(2026, 1, 1)] * 3,
            "lists": [["a"], [], None],
            "raw": [b"\xff"] * 3,
            "price": pa.array([1, 2, 3]).cast(pa.decimal128(21, 2)),
            "kind": pa.array(["a", "b", None]).dictionary_encode(),
            "nothing": pa.nulls(3),
        }
    )
    pa.parquet.write_table(odd, tmp_path / "t.parquet")
    rows = read(tmp_path / "t.parquet", "m")
    assert set(rows.notes) == {"at", "day", "lists", "raw"}
    assert rows.notes["at"] == "left out: it holds times, which no feature of an event can be"
    price, kind = rows.columns["price"], rows.columns["kind"]
    assert isinstance(price, Numbers)
    assert sorted(price.values.tolist()) == [1, 2, 3]
    assert isinstance(kind, Categories)
    assert sorted(kind.codes.tolist()) == [-1, 0, 1]


def test_nested_columns_are_named_with_dots(tmp_path: Path) -> None:
    path = tmp_path / "t.ndjson"
    path.write_bytes(ndjson([{"a": {"b": {"c": 1}, "d": "x"}, "e": 2}] * 3))
    assert set(read(path, "m").columns) == {"a.b.c", "a.d", "e"}


@pytest.mark.parametrize("kind", ["ndjson", "parquet"])
def test_rows_laid_out_as_events_need_not_be_complete(tmp_path: Path, kind: str) -> None:
    rows = [
        {k: v for k, v in event.items() if k not in {"model", "time"}} | {"extra": 1, "latency_ms": 3.0}
        for event in EVENTS
    ]
    path = tmp_path / f"t.{kind}"
    if kind == "ndjson":
        path.write_bytes(ndjson(rows))
    else:
        pa.parquet.write_table(pa.Table.from_pylist(rows), path)
    found = read(path, "m")
    assert set(found.columns) == {"age", "city", "@prediction", "@score"}
    assert set(found.tags) == {"region"}


def test_many_rows_are_sampled_the_same_way_whatever_their_order(tmp_path: Path) -> None:
    pa.parquet.write_table(PLAIN, tmp_path / "t.parquet", row_group_size=50)
    mixed = PLAIN.take(pa.array(_draw.permutation(N)))
    pa.feather.write_feather(mixed, tmp_path / "t.arrow", chunksize=30)
    first = read(tmp_path / "t.parquet", "m", ROLES, most=60)
    second = read(tmp_path / "t.arrow", "m", ROLES, most=60)
    assert (len(first.keys), first.total) == (60, N)
    assert version(first) == version(second)
    every = read(tmp_path / "t.parquet", "m", ROLES)
    assert set(first.keys) == set(np.sort(every.keys)[:60])


def test_many_events_are_sampled(tmp_path: Path) -> None:
    rows = read(write_events(tmp_path / "e.ndjson"), "m", most=50)
    assert (len(rows.keys), rows.total) == (50, N * 3 // 4)
    assert all(
        len(column.codes if isinstance(column, Categories) else column.values) == 50
        for column in rows.columns.values()
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.txt", b"", "unknown kind of file; accepted: .arrow, .csv, .csv.gz"),
        ("t", b"", "unknown kind of file"),
        ("t.gz", b"", "unknown kind of file"),
        ("t.parquet", b"hello", "cannot be read: Parquet"),
        ("t.arrow", b"hello", "cannot be read: "),
        ("t.csv", b"", "Empty CSV"),
        ("t.csv", b"a,b\n1,2\n3\n", "Expected 2 columns"),
        ("t.ndjson", b"", "Empty JSON"),
        ("t.json", b"[{}]", "the first line is no JSON object"),
        ("t.ndjson", b'{"a": 1}\n{"a": "x"}\n', "changed from number to string"),
        ("t.ndjson.gz", b"hello", "cannot be read: "),
    ],
)
def test_broken_files_are_explained(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Permanent, match=r"cannot be read") as error:
        read(tmp_path / name, "m")
    assert said in str(error.value)
    assert str(tmp_path / name) in str(error.value)


def test_a_table_without_rows_or_with_a_name_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n")
    with pytest.raises(ConfigError, match="has no rows"):
        read(tmp_path / "t.csv", "m")
    (tmp_path / "t.csv").write_text("a,a\n1,2\n")
    with pytest.raises(ConfigError, match="has two columns 'a'; rename one"):
        read(tmp_path / "t.csv", "m")


# Embeddings


def _vectors(n: int, length: int = 4) -> np.ndarray:
    return np.random.default_rng(6).standard_normal((n, length)).astype(np.float32)


def _listed(vectors: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])


@pytest.mark.parametrize("kind", ["parquet", "ndjson"])
def test_lists_of_numbers_in_a_plain_table_are_embeddings(tmp_path: Path, kind: str) -> None:
    vectors = _vectors(300)
    table = pa.table({"x": np.arange(300.0), "text": _listed(vectors), "price": np.ones(300)})
    path = tmp_path / f"t.{kind}"
    if kind == "parquet":
        pa.parquet.write_table(table, path)
    else:
        path.write_bytes(ndjson(table.to_pylist()))
    rows = read(path, "m", Roles(drop=("price",)))
    assert (set(rows.columns), set(rows.vectors), rows.notes) == ({"x"}, {"@embedding.text"}, {})
    order = rows.columns["x"]
    assert isinstance(order, Numbers)
    found = rows.vectors["@embedding.text"].of_length(4)
    np.testing.assert_allclose(found, vectors[order.values.astype(int)], rtol=1e-6)
    reference = build(rows.keys, rows.columns, Overrides(), "", rows.tags, rows.vectors)
    assert reference.summary.embeddings.counts.tolist() == [[200, 0, 0]]


@pytest.mark.parametrize("kind", ["parquet", "ndjson"])
def test_events_carry_embeddings(tmp_path: Path, kind: str) -> None:
    vectors = _vectors(N)
    path = tmp_path / f"e.{kind}"
    if kind == "parquet":
        table = pa.Table.from_pylist([flat(event) for event in EVENTS])
        pa.parquet.write_table(table.append_column("embeddings.text", _listed(vectors)), path)
    else:
        rows_of = zip(EVENTS, vectors.tolist(), strict=True)
        path.write_bytes(ndjson([event | {"embeddings": {"text": v}} for event, v in rows_of]))
    rows = read(path, "m")
    age = rows.columns["age"]
    assert isinstance(age, Numbers)
    found = rows.vectors["@embedding.text"].of_length(4)
    np.testing.assert_allclose(found, vectors[age.values.astype(int)], rtol=1e-6)


def test_embeddings_of_a_few_rows_are_enough(tmp_path: Path) -> None:
    vectors = _vectors(1000)
    pa.parquet.write_table(
        pa.table({"x": np.arange(1000.0), "e": _listed(vectors)}), tmp_path / "t.parquet", row_group_size=90
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("observer.training.plain.MOST_VECTORS", 100)
        patch.setattr("observer.training.files.BLOCK", 90)
        rows = read(tmp_path / "t.parquet", "m")
    x = rows.columns["x"]
    assert isinstance(x, Numbers)
    assert rows.total == len(x) == 1000
    found = rows.vectors["@embedding.e"].of_length(4)
    np.testing.assert_array_equal(found, vectors[x.values[:100].astype(int)])  # those of the lowest keys


def test_lists_elsewhere_than_under_embeddings_are_left_out(tmp_path: Path) -> None:
    table = pa.table(
        {
            "features.x": np.arange(200.0),
            "features.e": _listed(_vectors(200)),
            "tags.e": _listed(_vectors(200)),
            "embeddings.e": _listed(_vectors(200)),
            "other": _listed(_vectors(200)),
        }
    )
    pa.parquet.write_table(table, tmp_path / "t.parquet")
    rows = read(tmp_path / "t.parquet", "m")
    assert set(rows.vectors) == {"@embedding.e"}
    assert set(rows.notes) == {"features.e", "tags.e"}
