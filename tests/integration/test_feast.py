"""A real Feast repository: references whose schema is that of its views, and labels from one."""

from __future__ import annotations

import random
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from observer.app import Service as App
from observer.clock import SystemClock
from observer.config import load as load_config
from observer.errors import ConfigError, Retryable
from observer.references import Reference, load
from observer.sources.batch import FeastLabelsSpec, FeastReader
from observer.sources.feast import Feast, FeastRepo
from observer.sources.feast.process import table_of
from tests.docs.pages import blocks
from tests.services.feast import make_repository
from tests.services.observer import Observer as Service
from tests.services.process import Process
from tests.unit.cli.conftest import Ran, observer, write
from tests.unit.pipeline.service import MemorySource, read

__all__ = ["observer"]
pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(900)]

Observer = Callable[..., Ran]
N = 3000
DAY = 86_400_000
FIRST = 1_772_323_200_000  # 2026-03-01
MEMBERS = ("basic", "plus", "pro")


@dataclass(frozen=True)
class Shop:
    folder: Path
    python: Path

    def repo(self) -> FeastRepo:
        return FeastRepo(repo=self.folder, python=self.python)


def times(days: list[int] | np.ndarray) -> pa.Array:
    return pa.array([FIRST + int(day) * DAY for day in days], pa.timestamp("ms", "UTC"))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("feast") / "feature_repo"
    draw = np.random.default_rng(7)
    numbers = np.arange(N)
    spend = draw.gamma(2.0, 20.0, N)
    customers = pa.table(
        {
            "customer_id": numbers,
            "event_timestamp": times([0] * N),
            "spend": spend,
            "visits": draw.poisson(3.0, N),
            "account": numbers + 10_000,
            "plan": [MEMBERS[i] for i in draw.choice(3, N, p=[0.6, 0.3, 0.1])],
            "member": draw.random(N) < 0.4,
            "joined": times([0] * N),
            "taste": pa.array(draw.normal(size=(N, 4)).astype(np.float32).tolist(), pa.list_(pa.float32())),
        }
    )
    entities = pa.table(
        {
            "customer_id": numbers,
            "event_timestamp": times([20] * N),
            "predicted": (spend < 30).astype(np.int64),
            "churned": (spend + draw.normal(0, 10, N) < 30).astype(np.int64),
        }
    )
    return Shop(folder, make_repository(folder, customers, entities, outcomes(range(100))))


def outcomes(which: range) -> pa.Table:
    return pa.table(
        {
            "prediction_id": [f"p{i}" for i in which],
            "left_us": [i % 2 for i in which],
            "known_at": times([i % 7 for i in which]),
        }
    )


def build(observer: Observer, shop: Shop, folder: Path, option: str, *more: str) -> tuple[Ran, Reference]:
    """What the page's command with an option prints, beside the repository, and what it makes."""
    (block,) = (one for one in blocks("docs/feast.md") if one.action == "in" and option in one.text)
    words = shlex.split(block.text.replace("\\\n", " "))
    ran = observer(*words[1:], *more)
    assert ran.code == 0, ran.err
    return ran, load(folder / words[words.index("-o") + 1])


def events(start: int, shift: float) -> list[dict]:
    """Predictions of two days, drawn as the customers were; `shift` moves spend and the plans."""
    draw = random.Random(start)
    rows = []
    for i in range(4000):
        spend = draw.gammavariate(2.0, 20.0) * (1 + shift)
        rows.append(
            {
                "id": f"{start}-{i}",
                "model": "churn",
                "time": start + i * 2 * DAY // 4000,
                "features": {
                    "spend": spend,
                    "visits": int(np.random.default_rng(start + i).poisson(3.0)),
                    "account": draw.randrange(10_000, 10_000 + N),
                    "plan": draw.choices(MEMBERS, [0.6 - shift / 2, 0.3, 0.1 + shift / 2])[0],
                    "member": draw.random() < 0.4,
                },
                "embeddings": {"taste": [draw.gauss(0, 1) for _ in range(4)]},
                "prediction": int(spend < 30),
            }
        )
    return rows


def test_the_views_schema_is_the_references_and_tells_drift_from_none(
    observer: Observer, shop: Shop, tmp_path: Path
) -> None:
    (tmp_path / "feature_repo").symlink_to(shop.folder)
    (tmp_path / "peers").mkdir()
    (tmp_path / "peers/feast").symlink_to(shop.python.parents[1])
    shutil.copy(shop.folder / "entities.parquet", tmp_path / "march.parquet")
    made, dataset = build(observer, shop, tmp_path, "--dataset")
    assert f"from {N:,} rows of Feast dataset churn_march" in made.out
    assert "joined: left out: it holds times" in made.out
    # Declared, `account` is a number; inferred, it would be an identifier, and left out.
    assert dataset.schema.features == {
        "account": "number",
        "member": "boolean",
        "plan": "category",
        "spend": "number",
        "visits": "number",
    }
    names = dict(zip(dataset.table.vocabularies.names, dataset.table.vocabularies.columns, strict=True))
    assert set(names["plan"]) == set(MEMBERS)
    assert dataset.table.embeddings.names == ("@embedding.taste",)

    # Features fetched for entity rows, which bring predictions and labels.
    _, reference = build(observer, shop, tmp_path, "--entities", "--id", "customer_id")
    assert reference.schema.features == dataset.schema.features
    assert reference.schema.task == "binary"
    assert reference.estimator is not None
    assert reference.estimator.outcomes.n == N

    (tmp_path / "observer.yaml").write_text(
        "predictions: {type: files, path: x}\n"
        "models: {churn: {reference: churn.reference, window: {size: 1d}}}\n"
    )
    start = FIRST + 30 * DAY
    for name, shift in (("same", 0.0), ("shifted", 0.5)):
        write(tmp_path / f"{name}.ndjson", events(start, shift))
        ran = observer("replay", "-c", "observer.yaml", "--predictions", f"{name}.ndjson", "--json")
        assert ran.code == 0, ran.err
        findings = [line for line in ran.lines if line["kind"] == "finding"]
        columns = {line["subject"] for line in findings}
        if shift:
            assert {"spend", "plan"} <= columns, ran.out
        else:
            assert not findings


def test_labels_of_a_view_late_ones_too(shop: Shop, tmp_path: Path) -> None:
    spec = FeastLabelsSpec(
        repo=shop.folder, python=shop.python, view="outcomes", id="prediction_id", label="churned", model="m"
    )
    reader = FeastReader(spec)
    rows = reader.read(None)
    assert rows["time"].to_pylist() == sorted(FIRST + i % 7 * DAY for i in range(100))
    by_id = dict(zip(rows["id"].to_pylist(), rows["label"].to_pylist(), strict=True))
    assert by_id == {f"p{i}": i % 2 for i in range(100)}
    assert reader._feast._process is None  # its memory is given back until the next reading

    pa.parquet.write_table(outcomes(range(150)), shop.folder / "outcomes.parquet")
    entities = tmp_path / "entities.arrow"
    with pa.OSFile(str(entities), "wb") as file:
        table = pa.table({"customer_id": [1], "event_timestamp": times([20])})
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    with Feast(shop.repo()) as feast:
        later = table_of(feast.rows("outcomes", FIRST + 5 * DAY, None))
        assert sorted(later["prediction_id"].to_pylist()) == sorted(f"p{i}" for i in range(150) if i % 7 >= 5)

        # What is not there is told with what is.
        with pytest.raises(ConfigError, match="no saved dataset 'april'; there are: churn_march"):
            feast.dataset("april")
        with pytest.raises(ConfigError, match="no feature view 'nope'; there are: customers, outcomes"):
            feast.rows("nope", None, None)
        with pytest.raises(ConfigError, match="no feature service 'v9'; there are: churn_v3"):
            feast.historical(entities, [], "v9")
        with pytest.raises(ConfigError, match="no feature 'customers:x'; view 'customers' has: account"):
            feast.historical(entities, ["customers:x"], "")


def dataset(repo: FeastRepo) -> None:
    with Feast(repo) as feast:
        feast.dataset("x")


def test_without_an_interpreter_or_a_repository_it_is_said_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text("project: x")
    with pytest.raises(ConfigError, match=r"no interpreter at .*python3 -m venv .*pip install 'feast=="):
        dataset(FeastRepo(repo=tmp_path, python=tmp_path / "venv/bin/python"))
    with pytest.raises(ConfigError, match="is no Feast repository"):
        dataset(FeastRepo(repo=tmp_path / "nope", python=Path(sys.executable)))
    with pytest.raises(Retryable, match="No module named 'feast'"):
        dataset(FeastRepo(repo=tmp_path, python=Path(sys.executable)))
    with pytest.raises(Retryable, match=r"took more than 0.01 s"):
        dataset(FeastRepo(repo=tmp_path, python=Path(sys.executable), timeout=0.01))


def workers(of: int) -> list[int]:
    """Processes that read Feast for a process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            if parent == of and b"worker.py" in (stat.parent / "cmdline").read_bytes():
                found.append(int(stat.parent.name))
    return found


def runs(process: int) -> bool:
    """Whether it has not ended; one that nobody has asked about since has."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def ended(processes: list[int]) -> bool:
    """Whether all of them end soon."""
    until = time.monotonic() + 20
    while any(map(runs, processes)) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(map(runs, processes))


def test_who_reads_ends_with_who_asked_even_in_the_middle_of_it(tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text("project: x")
    (tmp_path / "feast.py").write_text("import time; time.sleep(600)")  # a store that takes its time
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    program = """
import sys
from pathlib import Path
from observer.sources.feast import Feast, FeastRepo
Feast(FeastRepo(repo=Path(sys.argv[1]), python=Path(sys.argv[2]))).dataset("x")
"""
    asking = Process([sys.executable, "-c", program, str(tmp_path), str(python)], tmp_path / "log")
    asking.wait_until(lambda: workers(asking.pid), 60)
    readers = workers(asking.pid)
    asking.kill()
    assert ended(readers)


def waiting(service: Service) -> float:
    """Predictions whose labels have not been read."""
    try:
        text = httpx.get(f"http://{service.address}/metrics", timeout=10).text
    except httpx.HTTPError:
        return -1.0
    found = re.findall(r"^observer_joins_pending\{[^}]*\} (\S+)$", text, re.MULTILINE)
    return sum(map(float, found)) if found else -1.0


def test_no_label_is_lost_or_doubled_when_the_service_is_killed(shop: Shop, tmp_path: Path) -> None:
    """Killed while it reads and after; what reads for it ends with it."""
    n = 200
    predictions = [
        {"id": f"p{i}", "model": "m", "time": FIRST + i % 7 * DAY, "prediction": str(int(i % 3 == 0)),
         "features": {"x": i}}
        for i in range(n)
    ]  # fmt: skip
    write(tmp_path / "p.ndjson", sorted(predictions, key=lambda one: one["time"]))
    labels = {
        "type": "feast", "repo": str(shop.folder), "python": str(shop.python), "view": "outcomes",
        "id": "prediction_id", "label": "churned", "model": "m", "every": "1s", "horizon": "30d",
    }  # fmt: skip
    service = Service(
        tmp_path,
        {
            "predictions": {"type": "files", "path": str(tmp_path / "p.ndjson")},
            "labels": labels,
            "models": {"m": {"task": "binary", "positive": "1", "window": {"size": "1d"}, "min_labels": 1}},
            "checkpoint_every": 0.3,
        },
    )
    for known in (120, n):
        pa.parquet.write_table(outcomes(range(known)), shop.folder / "outcomes.parquet")
        service.start()
        service.wait_serving()
        service.process.wait_until(lambda known=known: waiting(service) == n - known, timeout=120)
        service.process.wait_until(lambda: workers(service.process.pid), timeout=60)
        readers = workers(service.process.pid)
        service.kill()
        assert ended(readers)
    config = load_config(service.path)
    sources = {stream: MemorySource(stream, {}) for stream in ("predictions", "labels")}
    with App(config, SystemClock(), sources=sources, serve=False) as app:
        kept = read(app)
    counts = {}
    for i in range(n):
        cells = counts.setdefault(FIRST + i % 7 * DAY, [[0, 0], [0, 0]])
        cells[i % 2][i % 3 == 0] += 1
    assert {
        key.start: summaries.confusion.rows[:, :2].tolist()
        for (_, key), (_, summaries) in kept.cohorts.items()
        if not (key.segment or key.arm)
    } == counts
