from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from tests.unit.cli.conftest import Ran, events, labels, write

Observer = Callable[..., Ran]

CONFIG = """
predictions: {type: kafka, brokers: "nowhere:9092", topic: p}
labels: {type: kafka, brokers: "nowhere:9092", topic: l, horizon: 1h}
models:
  m: {reference: m.reference, segments: [{tag: region}]}
  n: {reference: n.reference}
defaults: {window: {min_events: 50}, min_labels: 50}
"""


@pytest.fixture
def prepared(observer: Observer, tmp_path: Path) -> Path:
    """Events of two models, of which one drifts in the fifth hour, and a reference for each."""
    (tmp_path / "observer.yaml").write_text(CONFIG)
    for model in "mn":
        write(tmp_path / "healthy.ndjson", events(8, model=model))
        ran = observer("reference", "build", "healthy.ndjson", "--model", model, "-o", f"{model}.reference")
        assert ran.code == 0, ran.err
    write(tmp_path / "in/p1.ndjson", events(6, drifts_from=4))
    write(tmp_path / "in/p2.ndjson", events(6, model="n"))
    write(tmp_path / "in/l1.ndjson", labels(events(6, drifts_from=4)))
    write(tmp_path / "in/l2.ndjson", labels(events(6, model="n")))
    return tmp_path


def replay(observer: Observer, predictions: str = "in/p*", labels: str = "in/l*", *more: str) -> Ran:
    ran = observer("replay", "-c", "observer.yaml", "--predictions", predictions, "--labels", labels, *more)
    assert ran.code == 0, ran.err
    return ran


def test_it_finds_the_drift_and_gives_the_quality(prepared: Path, observer: Observer) -> None:
    ran = replay(observer, "in/p*", "in/l*", "--json")
    findings = [line for line in ran.lines if line["kind"] == "finding"]
    assert {(line["model"], line["start"]) for line in findings} == {
        ("m", "2025-11-24T20:00:00Z"),
        ("m", "2025-11-24T21:00:00Z"),
    }
    assert {"x", "@prediction", "@score"} <= {line["subject"] for line in findings}
    assert {"", "region=eu", "region=us"} <= {line["segment"] for line in findings}
    accuracy = [line for line in ran.lines if line.get("metric") == "accuracy" and not line["segment"]]
    assert [line["value"] for line in accuracy] == [1.0] * 12
    assert {line["coverage"] for line in accuracy} == {0.9}
    assert "3,000 predictions\n2,700 labels\n" in ran.err
    assert [line["end"] for line in ran.lines] == sorted(line["end"] for line in ran.lines)
    assert not (prepared / "observer-state").exists()
    assert list(prepared.glob("observer-dead/*")) == []


def test_two_runs_print_the_same(prepared: Path, observer: Observer) -> None:
    first = replay(observer, "in/p*", "in/l*", "--json")
    assert replay(observer, "in/p*", "in/l*", "--json") == first


def test_how_events_are_spread_over_files_makes_no_difference(prepared: Path, observer: Observer) -> None:
    first = replay(observer, "in/p*", "in/l*", "--json")
    other = prepared / "other"
    for name, hours in (("z", slice(0, 700)), ("y", slice(700, None))):
        write(other / f"p-{name}.ndjson", events(6, drifts_from=4)[hours])
    rows = [event | {"prediction": str(event["prediction"])} for event in events(6, model="n")]
    flat = [{k: v for k, v in row.items() if k not in {"features", "tags"}} for row in rows]
    for out, row in zip(flat, rows, strict=True):
        out.update({f"features.{name}": value for name, value in row["features"].items()})
        out.update({f"tags.{name}": value for name, value in row["tags"].items()})
    pa.parquet.write_table(pa.Table.from_pylist(flat), other / "p-a.parquet")
    text = (prepared / "in/l2.ndjson").read_bytes() + (prepared / "in/l1.ndjson").read_bytes()
    (other / "l.ndjson.gz").write_bytes(gzip.compress(text))
    assert replay(observer, "other/p-*", "other/l*", "--json").out == first.out


def test_estimates_stand_until_labels_replace_them(prepared: Path, observer: Observer) -> None:
    build = ["reference", "build", "healthy.ndjson", "--model", "n", "-o", "n.reference"]
    write(prepared / "l.ndjson", labels(events(8, model="n")))
    assert observer(*build, "--labels", "l.ndjson").code == 0
    given = labels(events(6, model="n"))
    write(prepared / "in/l2.ndjson", given[:800])  # none of the last two hours'
    first = replay(observer, "in/p*", "in/l*", "--json")
    n = [
        one
        for one in first.lines
        if one["model"] == "n" and one.get("metric") == "accuracy" and not one["segment"]
    ]
    assert [one["kind"] for one in n] == ["quality"] * 4 + ["estimate"] * 2
    assert all(one["estimate"]["method"] == "cbpe" for one in n[:4])
    last = n[-1]
    assert last["low"] <= last["value"] <= last["high"]
    assert (last["cohorts"], last["backtest"], last["usable"]) == (20, True, False)
    assert replay(observer, "in/p*", "in/l*", "--json").out == first.out
    text = replay(observer).out
    (line,) = [
        one for one in text.splitlines() if "20:00" in one and "estimate n 1  " in one and " accuracy" in one
    ]
    assert line.endswith("skill not known: not to be used")


def test_people_get_a_line_they_can_read(prepared: Path, observer: Observer) -> None:
    out = replay(observer).out
    assert "2025-11-24T20:00:00Z  finding  m 1" in out
    assert "accuracy 1 from 225 labels (" in out


def test_rejected_events_go_to_a_file_that_is_named(prepared: Path, observer: Observer) -> None:
    write(prepared / "in/p3.ndjson", ["{", {"id": "x", "model": "m", "prediction": 1}])
    ran = replay(observer)
    path = "observer-dead/predictions-rejected.ndjson"
    assert f"2 predictions rejected (1 invalid, 1 undecodable): see {path}" in ran.err
    letters = [json.loads(line) for line in (prepared / path).read_text().splitlines()]
    assert [letter["origin"] for letter in letters] == ["in/p3.ndjson[2]@0", "in/p3.ndjson[2]@1"]
    assert not (prepared / "observer-dead/labels-rejected.ndjson").exists()


def test_no_bar_is_drawn_where_nobody_watches(prepared: Path, observer: Observer) -> None:
    assert "\x1b" not in replay(observer).err


def test_a_bar_is_drawn_on_a_terminal(
    prepared: Path, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    ran = replay(observer, "in/p*", "in/l*", "--json")
    assert "replay" in ran.err
    assert len(ran.lines) > 0


def test_without_labels_there_is_no_quality(prepared: Path, observer: Observer) -> None:
    ran = observer("replay", "-c", "observer.yaml", "--predictions", "in/p1.ndjson", "--json")
    assert {line["kind"] for line in ran.lines} == {"finding"}
    assert "labels" not in ran.err


def test_events_ahead_of_the_clock_are_replayed(prepared: Path, observer: Observer) -> None:
    late = [event | {"time": event["time"] + 20 * 365 * 86_400_000} for event in events(2)]
    write(prepared / "future/p.ndjson", late)
    ran = observer("replay", "-c", "observer.yaml", "--predictions", "future/p.ndjson")
    assert "500 predictions\n" in ran.err


@pytest.mark.parametrize(
    ("predictions", "code", "said"),
    [
        ("nope*", 1, "error: no file matches nope*"),
        ("in", 1, "error: in is not a file; give a glob such as in/*.parquet"),
        ("observer.yaml", 1, "error: observer.yaml: unknown kind of file; accepted: .ndjson"),
    ],
)
def test_wrong_files_are_explained(
    prepared: Path, observer: Observer, predictions: str, code: int, said: str
) -> None:
    ran = observer("replay", "-c", "observer.yaml", "--predictions", predictions)
    assert ran.code == code
    assert said in ran.err


def test_every_detector_of_windows_can_be_chosen(prepared: Path, observer: Observer) -> None:
    chosen = ["cramer_von_mises", "anderson_darling", "mmd", "rff_mmd", "domain_classifier"]
    parameters = {
        "mmd": "{type: mmd, permutations: 50}",
        "domain_classifier": "{type: domain_classifier, trees: 10}",
    }
    listed = ", ".join(parameters.get(name, name) for name in chosen)
    text = CONFIG.replace("defaults: {", f"defaults: {{judge: {{detectors: [{listed}]}}, ")
    (prepared / "observer.yaml").write_text(text)
    ran = replay(observer, "in/p1*", "in/l1*", "--json")
    found = {
        (line["detector"], line["subject"], line["segment"]) for line in ran.lines if line.get("detector")
    }
    assert {name for name, _, _ in found} >= set(chosen)
    assert {("cramer_von_mises", "x", ""), ("anderson_darling", "x", ""), ("mmd", "@table", "")} <= found
    starts = {line["start"] for line in ran.lines if line.get("detector") in chosen}
    assert starts == {"2025-11-24T20:00:00Z", "2025-11-24T21:00:00Z"}
