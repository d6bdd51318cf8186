"""Files under URLs, in fsspec's own memory; and that secrets stay secret."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet
import pytest
from pydantic import Secret

from observer.errors import ConfigError, Permanent, Retryable
from observer.references import load
from observer.sources import storage as module
from observer.sources.storage import Storage, shown
from tests.unit.cli.conftest import Ran, events, observer, write

__all__ = ["observer"]
URL = "memory://bucket/march"


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()


def put(system: fsspec.AbstractFileSystem, name: str, content: bytes) -> None:
    with system.open(f"{URL}/{name}", "wb") as file:
        file.write(content)


def test_a_glob_finds_files_by_name_and_tells_when_one_was_written_again(memory, tmp_path):
    put(memory, "b.csv", b"2")
    put(memory, "a.csv", b"1")
    put(memory, "a.txt", b"3")
    storage = Storage()
    found = storage.find(f"{URL}/*.csv")
    assert [file.name for file in found] == [f"{URL.replace('//', '///')}/{name}.csv" for name in "ab"]
    assert storage.open(found[1]).read() == b"2"
    assert storage.find(f"{URL}/*.csv") == found
    put(memory, "b.csv", b"22")
    again = storage.find(f"{URL}/*.csv")
    assert [one.state == other.state for one, other in zip(again, found, strict=True)] == [True, False]
    assert Path(storage.fetch(f"{URL}/b.csv", tmp_path)).read_bytes() == b"22"


def test_paths_of_the_disk_need_no_fsspec(tmp_path):
    (tmp_path / "x.csv").write_text("1")
    assert [file.name for file in Storage().find(str(tmp_path / "*.csv"))] == [str(tmp_path / "x.csv")]
    with pytest.raises(Permanent, match="no file matches"):
        Storage().find(str(tmp_path / "*.parquet"))


def test_what_is_not_there_is_told(memory):
    with pytest.raises(Retryable, match=r"no file matches memory://bucket/march/\*.parquet"):
        Storage().find(f"{URL}/*.parquet")
    with pytest.raises(Retryable, match="memory://bucket/march/x: cannot be read: there is no such file"):
        Storage().find(f"{URL}/x")
    with pytest.raises(ConfigError, match="nope://x: Protocol not known: nope"):
        Storage().find("nope://x")


def test_no_secret_is_told(monkeypatch):
    assert shown("s3://key:pass@bucket/x: no") == "s3://***@bucket/x: no"
    assert shown("at https://host/x?X-Amz-Signature=abc now") == "at https://host/x?*** now"

    class Broken(fsspec.AbstractFileSystem):
        protocol = "broken"

        def info(self, path, **_):
            raise PermissionError(
                f"user of broken://who:hush@{path}?sig=1 with {self.storage_options} refused"
            )

    fsspec.register_implementation("broken", Broken, clobber=True)
    options = {"broken": Secret({"secret": "hunter22", "nested": {"token": ["tok-tok"]}})}
    with pytest.raises(Retryable) as told:
        Storage(options).find("broken://who:hush@bucket/x")
    said = str(told.value)
    assert "cannot be read" in said
    assert not any(secret in said for secret in ("hunter22", "tok-tok", "hush", "sig=1"))
    assert told.value.__cause__ is None
    assert "hunter22" not in repr(options)


def test_without_fsspec_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fsspec.core", None)
    with pytest.raises(ConfigError, match=r"s3://b/x: .*pip install 'ml-observer\[storage\]'"):
        module.Storage().find("s3://b/x")


def test_a_reference_of_stored_events_is_that_of_the_same_file(
    observer: object, memory: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    assert callable(observer)
    write(tmp_path / "p.ndjson", events(2))
    put(memory, "p.ndjson", (tmp_path / "p.ndjson").read_bytes())
    assert observer("reference", "build", "p.ndjson", "--model", "m", "-o", "one.reference").code == 0
    ran: Ran = observer("reference", "build", f"{URL}/p.ndjson", "--model", "m", "-o", "two.reference")
    assert ran.code == 0, ran.err
    assert "rows of memory://bucket/march/p.ndjson" in ran.out
    one, two = load(tmp_path / "one.reference"), load(tmp_path / "two.reference")
    assert one.version == two.version
    assert one.description == two.description == "p.ndjson"


def test_a_reference_of_several_stored_tables(
    observer: object, memory: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    assert callable(observer)
    for part in range(3):
        sink = pa.BufferOutputStream()
        table = pa.table({"x": [float(part * 100 + i) for i in range(100)], "y": ["a", "b"] * 50})
        pa.parquet.write_table(table, sink)
        put(memory, f"part-{part}.parquet", sink.getvalue().to_pybytes())
    (tmp_path / "c.yaml").write_text(
        "predictions: {type: files, path: x}\nstorage: {memory: {skip_instance_cache: true}}"
    )
    ran: Ran = observer(
        *("reference", "build", f"{URL}/part-*.parquet", "--model", "m", "-o", "m.reference", "-c", "c.yaml")
    )
    assert ran.code == 0, ran.err
    reference = load(tmp_path / "m.reference")
    assert reference.summary.n == 300
    assert reference.schema.features == {"x": "number", "y": "category"}
