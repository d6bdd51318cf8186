"""References of rows with labels: what they learn, and that it comes back from a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from detectors.base import Categories, Numbers
from detectors.quality.estimation import ClassifierEstimator, RegressionEstimator
from observer.errors import ConfigError
from observer.references import Overrides, Reference, RowLabels, build
from observer.sources.log import of_files
from observer.training import Roles, labels_of, read

N = 2_000
START = 1_700_000_000_000


def rows(seed: int = 0):
    rng = np.random.default_rng(seed)
    score = rng.beta(1, 2, N)
    columns = {
        "x": Numbers(rng.standard_normal(N)),
        "secret": Numbers(rng.standard_normal(N)),
        "@prediction": Categories((score > 0.5).astype(np.int32), ("0", "1")),
        "@score": Numbers(score),
    }
    labels = Categories((rng.random(N) < score).astype(np.int32), ("0", "1"))
    keys = np.sort(rng.integers(0, 2**63, N, dtype=np.uint64))
    return keys, columns, labels


def built(labels=None, **overrides) -> Reference:
    keys, columns, label = rows()
    given = RowLabels(label if labels is None else labels, np.arange(N))
    return build(keys, columns, Overrides(**overrides), "a test", labels=given)


def test_what_labels_taught_comes_back() -> None:
    reference = built()
    assert isinstance(reference.estimator, ClassifierEstimator)
    again = Reference.from_bytes(reference.to_bytes())
    assert again.version == reference.version
    assert isinstance(again.estimator, ClassifierEstimator)
    predicted = again.summary.predicted
    assert predicted is not None
    assert again.estimator.estimate(predicted) == reference.estimator.estimate(predicted)
    keys, columns, _ = rows()
    plain = build(keys, columns, Overrides(), "a test")
    assert plain.estimator is None
    assert plain.version != reference.version
    assert Reference.from_bytes(plain.to_bytes()).summary.predicted is not None


def test_private_columns_are_not_among_the_rows_kept() -> None:
    kept = built(privacy={"secret": "redact"}).estimator
    assert kept is not None
    assert kept.rows is not None
    assert "x" in kept.rows.columns
    assert "secret" not in kept.rows.columns
    assert built(sample_rows=0).estimator.rows is None  # type: ignore[union-attr]


def test_labels_of_no_use_are_noted() -> None:
    missing = Categories(np.full(N, -1, np.int32), ())
    reference = built(missing)
    assert reference.estimator is None
    assert reference.notes["@label"].startswith("no estimates of quality: no row has a usable label")
    keys, columns, label = rows()
    without = {name: column for name, column in columns.items() if name != "@prediction"}
    noted = build(keys, without, Overrides(), "a test", labels=RowLabels(label, np.arange(N)))
    assert noted.notes["@label"] == "no estimates of quality: there are no predictions to compare labels with"


def test_a_column_of_a_plain_table_is_the_label(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    predicted = rng.random(500)
    table = {"x": rng.random(500), "said": predicted, "was": predicted + 0.1}
    pa.parquet.write_table(pa.table(table), tmp_path / "t.parquet", row_group_size=90)
    found = read(tmp_path / "t.parquet", "m", Roles(prediction="said", label="was"))
    assert set(found.columns) == {"x", "@prediction"}
    assert found.label is not None
    given = RowLabels(found.label, found.order, found.weight)
    estimator = build(found.keys, found.columns, Overrides(), "t", labels=given).estimator
    assert isinstance(estimator, RegressionEstimator)
    assert {one.name: one.value for one in estimator.constant}["mae"] == pytest.approx(0.1)
    x = found.columns["x"]
    assert isinstance(x, Numbers)
    np.testing.assert_array_equal(x.values, table["x"][found.order])  # places are those in the file


def event(i: int) -> dict[str, object]:
    return {
        "id": f"e{i}",
        "model": "m",
        "time": START + i,
        "features": {"x": i},
        "prediction": i % 2,
        "scores": i / 99,
    }


def label(i: int, value: int, at: int = 500, **more: object) -> dict[str, object]:
    return {"id": f"e{i}", "model": "m", "time": START + at, "label": value, **more}


def written(path: Path, lines: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_labels_join_their_events_and_the_latest_one_holds(tmp_path: Path) -> None:
    found = read(written(tmp_path / "e.ndjson", [event(i) for i in range(100)]), "m")
    corrected = [label(i, 1, at=600, weight=2.0) for i in range(10)]
    given = [*corrected, *(label(i, 0) for i in range(40)), label(3, 0, at=600), label(1, 1) | {"model": "n"}]
    labels = labels_of(of_files(str(written(tmp_path / "l.ndjson", given)), "labels"), "m")
    assert len(labels.keys) == 40
    assert labels.attach(found) == 40
    assert found.label is not None
    assert found.weight is not None
    x = found.columns["x"]
    assert isinstance(x, Numbers)
    assert isinstance(found.label, Numbers)
    by_event = dict(zip(x.values.astype(int).tolist(), found.label.values.tolist(), strict=True))
    # Of two labels of one time that which came last holds.
    assert [by_event[i] for i in range(12)] == [1, 1, 1, 0, *[1] * 6, 0, 0]
    assert all(np.isnan(by_event[i]) for i in range(40, 100))
    assert sorted(found.weight.tolist()) == [1.0] * 91 + [2.0] * 9
    assert sorted(found.order.tolist()) == [START + i for i in range(100)]


def test_a_file_without_labels_of_the_model_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "l.ndjson", [label(1, 1) | {"model": "n"}])
    with pytest.raises(ConfigError, match="no labels of model 'm'"):
        labels_of(of_files(str(path), "labels"), "m")
