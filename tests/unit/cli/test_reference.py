from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from observer.references import load
from tests.unit.cli.conftest import Ran, events, labels, write

Observer = Callable[..., Ran]


def test_build_and_show(observer: Observer, tmp_path: Path) -> None:
    rows = [*events(2), "{", *events(1, model="n")]
    write(tmp_path / "p.ndjson", rows)
    ran = observer("reference", "build", "p.ndjson", "--model", "m", "-o", "m.reference")
    assert ran.code == 0
    reference = load(tmp_path / "m.reference")
    assert f"m.reference: reference {reference.version} from 500 rows of p.ndjson\n" in ran.out
    assert "2 features, task binary" in ran.out
    assert "1 events were left out; the first: p.ndjson[0]@500: undecodable" in ran.err
    shown = observer("reference", "show", "m.reference", "--plot", "m.svg")
    assert reference.version in shown.out
    assert "city" in shown.out
    assert "drawn into m.svg" in shown.out
    assert (tmp_path / "m.svg").read_text().startswith("<?xml")


def test_the_configuration_says_types_and_privacy(observer: Observer, tmp_path: Path) -> None:
    write(tmp_path / "p.ndjson", events(2))
    (tmp_path / "c.yaml").write_text(
        "predictions: {type: files, path: x}\n"
        "models: {m: {task: regression, features: {city: {privacy: hash}, x: {privacy: off}}}}\nhash_key: k"
    )
    arguments = ["reference", "build", "p.ndjson", "--model", "m", "-o", "m.reference"]
    assert observer(*arguments, "-c", "c.yaml").code == 0
    reference = load(tmp_path / "m.reference")
    assert reference.schema.task == "regression"
    assert set(reference.schema.features) == {"city"}
    assert not set("abc") & set(reference.table.vocabularies.columns[0])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nope.csv", "--model", "m", "-o", "r"], 1, "nope.csv is not a file"),
        (["p.ndjson", "--model", "x", "-o", "r"], 3, "no events of model 'x'; it has: m"),
        (["p.ndjson", "--model", "m", "-o", "r", "--id", "id"], 3, "leave out --id"),
        (["p.ndjson", "--model", "m", "-o", "no/such/folder"], 1, "no/such/folder cannot be written"),
        (["p.ndjson", "--model", "m", "-o", "r", "-c", "nope.yaml"], 3, "nope.yaml: cannot be read"),
    ],
)
def test_mistakes_are_explained(
    observer: Observer, tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    write(tmp_path / "p.ndjson", events(1))
    ran = observer("reference", "build", *arguments)
    assert ran.code == code
    assert said in ran.err


def test_something_else_is_no_reference(observer: Observer, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("hello")
    ran = observer("reference", "show", "x")
    assert ran.code == 1
    assert ran.err.startswith("error: reference x: ")


def test_a_picture_of_an_unknown_kind_is_refused(observer: Observer, tmp_path: Path) -> None:
    write(tmp_path / "p.ndjson", events(1))
    observer("reference", "build", "p.ndjson", "--model", "m", "-o", "m.reference")
    ran = observer("reference", "show", "m.reference", "--plot", "m.bmp")
    assert ran.code == 3
    assert "accepted: .png, .svg, .pdf" in ran.err


def test_labels_teach_to_estimate(observer: Observer, tmp_path: Path) -> None:
    rows = events(4)
    write(tmp_path / "p.ndjson", rows)
    write(tmp_path / "l.ndjson", labels(rows))
    arguments = ["reference", "build", "p.ndjson", "--model", "m", "-o", "m.reference", "--labels"]
    ran = observer(*arguments, "l.ndjson")
    assert ran.code == 0
    assert "900 labels, from which quality can be estimated" in ran.out
    assert load(tmp_path / "m.reference").estimator is not None
    write(tmp_path / "o.ndjson", [{**one, "id": "?" + one["id"]} for one in labels(rows)])
    ran = observer(*arguments, "o.ndjson")
    assert ran.code == 3
    assert "--labels: none of 900 labels has the id of a row of p.ndjson" in ran.err


def test_labels_of_a_topic_need_a_configuration_that_names_it(observer: Observer, tmp_path: Path) -> None:
    write(tmp_path / "p.ndjson", events(1))
    (tmp_path / "c.yaml").write_text("predictions: {type: files, path: x}\nlabels: {type: files, path: y}\n")
    arguments = ["reference", "build", "p.ndjson", "--model", "m", "-o", "r", "--topic-labels"]
    for more in ([], ["-c", "c.yaml"]):
        ran = observer(*arguments, *more)
        assert ran.code == 3
        assert "accepted with a configuration whose `labels` are in Kafka" in ran.err


def test_labels_of_a_plain_table_are_a_column(observer: Observer, tmp_path: Path) -> None:
    rows = "".join(f"{i % 7},{i % 2},{(i // 2) % 2},0.{i % 10}\n" for i in range(500))
    (tmp_path / "t.csv").write_text("x,said,was,score\n" + rows)
    plain = ["reference", "build", "t.csv", "--model", "m", "-o", "r", "--prediction", "said"]
    ran = observer(*plain, "--score", "score", "--label", "was")
    assert ran.code == 0
    assert "500 labels" in ran.out
    write(tmp_path / "l.ndjson", labels(events(1)))
    ran = observer(*plain, "--labels", "l.ndjson")
    assert ran.code == 3
    assert "accepted here: --label" in ran.err
