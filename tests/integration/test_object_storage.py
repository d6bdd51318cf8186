"""References and labels from a real S3 server, and from web servers."""

from __future__ import annotations

import functools
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import uvicorn
from pydantic import Secret
from starlette.applications import Starlette
from starlette.staticfiles import StaticFiles

from observer.errors import Retryable
from observer.references import load
from observer.sources.batch import TableReader, TableSpec
from observer.sources.storage import Storage
from tests.services.process import accepts, free_port
from tests.services.s3 import S3
from tests.unit.cli.conftest import START, Ran, events, observer, write

__all__ = ["observer"]
pytestmark = pytest.mark.services
Observer = Callable[..., Ran]
PARTS, ROWS = 12, 200
CONFIG = """
predictions: {type: files, path: none.ndjson}
storage:
  s3: {key: "${BUCKET_KEY}", secret: "${BUCKET_SECRET}", endpoint_url: "%s"}
"""


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with S3() as server:
        server.create_bucket("training")
        yield server


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def training(part: int) -> pa.Table:
    draw = np.random.default_rng(part)
    x = draw.normal(size=ROWS)
    columns = {"x": x, "plan": draw.choice(["a", "b"], ROWS), "said": (x > 0) * 1, "left": (x > 0.2) * 1}
    return pa.table(columns)


def labels(first: int, n: int = 10) -> bytes:
    numbers = np.arange(first, first + n)
    table = {
        "id": [f"p{i}" for i in numbers],
        "model": ["m"] * n,
        "time": START + numbers,
        "label": numbers % 2,
    }
    return parquet(pa.table(table))


@pytest.fixture
def credentials(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `storage.s3` of CONFIG refers to them."""
    monkeypatch.setenv("BUCKET_KEY", s3.key)
    monkeypatch.setenv("BUCKET_SECRET", s3.secret)


@pytest.fixture(scope="module")
def month(s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same files in a folder and under a prefix, where other objects lie too."""
    folder = tmp_path_factory.mktemp("month")
    for part in range(PARTS):
        content = parquet(training(part))
        (folder / f"part-{part:02d}.parquet").write_bytes(content)
        s3.put(f"training/churn/day={part:02d}/part-{part:02d}.parquet", content)
    s3.put("training/churn/_SUCCESS", b"")
    s3.put("training/other/part-00.parquet", b"nothing of it")
    return folder


def build(observer: Observer, source: str, out: str, *more: str) -> Ran:
    roles = ("--prediction", "said", "--label", "left")
    return observer("reference", "build", source, "--model", "churn", "-o", out, *roles, *more)


def test_a_reference_of_many_objects_is_that_of_the_same_files(
    observer: Observer, s3: S3, month: Path, credentials: None, tmp_path: Path
) -> None:
    (tmp_path / "observer.yaml").write_text(CONFIG % s3.url)
    ran = build(observer, "s3://training/churn/*/*.parquet", "stored.reference", "-c", "observer.yaml")
    assert ran.code == 0, ran.err
    assert f"{PARTS * ROWS:,} rows of s3://training/churn/*/*.parquet" in ran.out
    assert build(observer, str(month / "*.parquet"), "local.reference", "-c", "observer.yaml").code == 0
    stored, local = load(tmp_path / "stored.reference"), load(tmp_path / "local.reference")
    assert stored.version == local.version
    assert stored.estimator is not None
    assert s3.secret not in ran.out + ran.err


def test_credentials_are_found_where_the_package_of_the_protocol_looks(
    observer: Observer, s3: S3, month: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = {"AWS_ACCESS_KEY_ID": s3.key, "AWS_SECRET_ACCESS_KEY": s3.secret, "AWS_ENDPOINT_URL_S3": s3.url}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    ran = build(observer, "s3://training/churn/day=03/part-03.parquet", "one.reference")
    assert ran.code == 0, ran.err
    assert load(tmp_path / "one.reference").summary.n == ROWS


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("s3://training/churn/day=99/x.parquet", "there is no such file"),
        ("s3://training/churn/*/*.csv", "no file matches"),
        ("s3://elsewhere/*.parquet", "no file matches"),
        ("s3://training/other/part-00.parquet", "Parquet"),
    ],
)
def test_what_is_not_there_is_told(
    observer: Observer, s3: S3, month: Path, credentials: None, tmp_path: Path, source: str, said: str
) -> None:
    (tmp_path / "observer.yaml").write_text(CONFIG % s3.url)
    ran = build(observer, source, "x.reference", "-c", "observer.yaml")
    assert ran.code == 1
    assert source in ran.err
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "x.reference").exists()


@pytest.mark.parametrize(
    "source", ["s3://training/churn/*/*.parquet", "s3://training/churn/day=03/part-03.parquet"]
)
def test_who_may_not_read_is_told_so_without_the_secret(
    observer: Observer, s3: S3, month: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str
) -> None:
    (tmp_path / "observer.yaml").write_text(CONFIG % s3.url)
    monkeypatch.setenv("BUCKET_KEY", s3.key)
    monkeypatch.setenv("BUCKET_SECRET", "not-the-secret")
    ran = build(observer, source, "x.reference", "-c", "observer.yaml")
    assert ran.code == 1
    assert f"{source}: cannot be read: access is refused" in ran.err
    assert "storage" in ran.err
    assert "not-the-secret" not in ran.err
    assert s3.key not in ran.err


def test_a_store_that_is_away_is_told(
    observer: Observer, credentials: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    (tmp_path / "observer.yaml").write_text(CONFIG % f"http://127.0.0.1:{free_port()}")
    ran = build(observer, "s3://training/x.parquet", "x.reference", "-c", "observer.yaml")
    assert ran.code == 1
    assert "s3://training/x.parquet: cannot be read: Could not connect" in ran.err


def test_a_big_object_is_copied_in_pieces(s3: S3, tmp_path: Path) -> None:
    size = 40 << 20
    s3.put("training/big.csv", bytes(size))
    program = """
import json, resource, sys
from pathlib import Path
from pydantic import Secret
from observer.sources.storage import Storage
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
storage = Storage({"s3": Secret(json.loads(sys.argv[1]))})
storage.find("s3://training/big.csv")
before = peak()
copy = Path(storage.fetch("s3://training/big.csv", Path(sys.argv[2])))
print(copy.stat().st_size, peak() - before)
"""
    command = [sys.executable, "-c", program, json.dumps(s3.options), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    copied, megabytes = map(int, done.stdout.split())
    assert copied == size
    assert megabytes < 20


def test_labels_are_read_again_as_objects_come_and_change(s3: S3) -> None:
    s3.put("training/labels/1.parquet", labels(0))
    spec = TableSpec(path="s3://training/labels/*.parquet")
    reader = TableReader(spec, Storage({"s3": Secret(s3.options)}))

    def ids() -> list[str]:
        table = reader.read(None)
        return table.column("id").to_pylist() if table.num_rows else []

    assert ids() == [f"p{i}" for i in range(10)]
    assert ids() == []
    s3.put("training/labels/2.parquet", labels(10))
    assert ids() == [f"p{i}" for i in range(10, 20)]
    s3.put("training/labels/1.parquet", labels(0, 12))
    assert ids() == [f"p{i}" for i in range(12)]


def test_check_reads_stored_labels(observer: Observer, s3: S3, credentials: None, tmp_path: Path) -> None:
    s3.put("training/known/1.parquet", labels(0))
    write(tmp_path / "p.ndjson", events(1))
    text = CONFIG % s3.url + "labels: {type: table, path: s3://training/known/*.parquet, look_back: 1000d}\n"
    (tmp_path / "observer.yaml").write_text(text.replace("none.ndjson", "p.ndjson"))
    ran = observer("check", "-c", "observer.yaml", "--json")
    told = {line["subject"]: line["detail"] for line in ran.lines}
    assert "s3://training/known/*.parquet" in told["labels"]
    assert s3.secret not in ran.out


@pytest.fixture(params=["ranges", "whole files only"])
def web(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A web server over the folder `tmp_path`, of the two kinds there are."""
    port = free_port()
    if request.param == "ranges":
        app = Starlette()
        app.mount("/", StaticFiles(directory=tmp_path))
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", ws="none"))
        thread, end = threading.Thread(target=server.run), lambda: setattr(server, "should_exit", True)
    else:
        handler = functools.partial(Quiet, directory=str(tmp_path))
        plain = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
        thread, end = threading.Thread(target=plain.serve_forever), plain.shutdown
    thread.start()
    while not accepts(port):
        assert thread.is_alive()
    yield f"http://127.0.0.1:{port}"
    end()
    thread.join()
    if request.param != "ranges":
        plain.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


def test_references_and_labels_come_from_web_servers_too(
    observer: Observer, web: str, tmp_path: Path
) -> None:
    (tmp_path / "m.parquet").write_bytes(parquet(training(1)))
    (tmp_path / "labels.parquet").write_bytes(labels(0))
    ran = build(observer, f"{web}/m.parquet?token=hush-hush", "m.reference")
    assert ran.code == 0, ran.err
    assert "hush" not in ran.out
    assert load(tmp_path / "m.reference").summary.n == ROWS
    reader = TableReader(TableSpec(path=f"{web}/labels.parquet"), Storage())
    assert reader.read(None).num_rows == 10
    with pytest.raises(Retryable, match=r"nothing\.parquet: cannot be read: there is no such file"):
        Storage().find(f"{web}/nothing.parquet")
