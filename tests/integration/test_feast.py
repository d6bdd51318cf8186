"""A real Feast repository: references whose schema is that of its views, and labels from one."""

from __future__ import annotations

import random
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from observer.errors import ConfigError, Retryable
from observer.references import Reference, load
from observer.sources.batch import FeastLabelsSpec, FeastReader
from observer.sources.feast import Feast, FeastRepo
from observer.sources.feast.process import table_of
from tests.docs.pages import blocks
from tests.services.feast import make_repository
from tests.unit.cli.conftest import Ran, observer, write

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


def test_without_an_interpreter_or_a_repository_it_is_said_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text("project: x")
    with pytest.raises(ConfigError, match=r"no interpreter at .*python3 -m venv .*pip install 'feast=="):
        Feast(FeastRepo(repo=tmp_path, python=tmp_path / "venv/bin/python")).dataset("x")
    with pytest.raises(ConfigError, match="is no Feast repository"):
        Feast(FeastRepo(repo=tmp_path / "nope", python=Path(sys.executable))).dataset("x")
    with pytest.raises(Retryable, match="No module named 'feast'"):
        Feast(FeastRepo(repo=tmp_path, python=Path(sys.executable))).dataset("x")
    with pytest.raises(Retryable, match=r"took more than 0.01 s"):
        Feast(FeastRepo(repo=tmp_path, python=Path(sys.executable), timeout=0.01)).dataset("x")
