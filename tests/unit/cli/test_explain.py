"""`observer explain`, over a state that a service left behind."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from observer.app import Service
from observer.clock import SystemClock
from observer.config import load
from observer.engines.local import Pace
from observer.references import Overrides, build
from observer.training import read
from tests.unit.cli.conftest import HOUR, START, Ran, events, labels, write

Observer = Callable[..., Ran]
HOURS, DRIFTS = 10, 7

CONFIG = """
predictions: {{type: files, path: "{folder}/in/p*"}}
labels: {{type: files, path: "{folder}/in/l*", horizon: 1h}}
state: {{path: "{folder}/state"}}
idle_after: 36500d
models:
  m: {{reference: "{folder}/m.reference", segments: [{{tag: region}}]}}
  learning: {{task: binary, positive: "1"}}
defaults: {{window: {{min_events: 50}}, min_labels: 50}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state in which `x` drifts from the eighth of ten hours on, and the labels of `us` turn with it."""
    folder = tmp_path_factory.mktemp("explained")
    write(folder / "healthy.ndjson", events(8))
    rows = read(folder / "healthy.ndjson", "m")
    build(rows.keys, rows.columns, Overrides(), "healthy", rows.tags).save(folder / "m.reference")
    predictions = events(HOURS, drifts_from=DRIFTS)
    truth = labels(predictions)
    regions = {event["id"]: event["tags"]["region"] for event in predictions}
    for number, label in enumerate(truth):
        late = label["time"] >= START + DRIFTS * HOUR
        if number % 10 == 0 or (late and number % 2 and regions[label["id"]] == "us"):
            label["label"] = 1 - label["label"]
    write(folder / "in/p1.ndjson", predictions)
    write(folder / "in/p2.ndjson", events(2, model="learning"))
    write(folder / "in/l1.ndjson", truth)
    path = folder / "observer.yaml"
    path.write_text(CONFIG.format(folder=folder))
    with Service(load(path), SystemClock(), serve=False, pace=Pace(checkpoint_every=60.0)) as service:
        service.run(lambda: False)
    return folder


def explain(observer: Observer, folder: Path, *arguments: object) -> Ran:
    return observer("explain", "-c", folder / "observer.yaml", *arguments)


def explained(observer: Observer, folder: Path, *arguments: object) -> dict:
    ran = explain(observer, folder, "m", "--json", *arguments)
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def test_the_latest_window_and_everything_about_it(observer: Observer, folder: Path) -> None:
    found = explained(observer, folder)
    assert (found["model"], found["version"], found["segment"]) == ("m", "1", "")
    assert found["start"] == "2025-11-25T01:00:00Z"
    assert (found["status"], found["rows"], found["reference_rows"]) == ("drift", 250, 2_000)
    drifting = [one["name"] for one in found["features"] if one["drifts"]]
    assert drifting[0] in {"x", "@score"}
    assert "city" not in drifting
    assert found["columns"]["x"]["window"]["mean"] == pytest.approx(1.5, abs=0.2)
    assert found["columns"]["x"]["reference"]["mean"] == pytest.approx(0.0, abs=0.1)
    ranks = [one["log_e"] for one in found["features"] if one["drifts"]]
    assert ranks == sorted(ranks, reverse=True)
    assert len(found["judged"]) > 20
    assert found["judged"][0]["verdict"]["threshold"] > 0
    assert "associations" in found["note"]
    assert found["missing"] == {}
    assert (found["importance"], found["slices"]) == (None, None)


def test_evidence_over_time_comes_first(observer: Observer, tmp_path: Path) -> None:
    """With a reference of enough windows the watch says what moved, and since when; of the latest window."""
    every = events(102, drifts_from=98)
    write(tmp_path / "healthy.ndjson", [one for one in every if one["time"] < START + 96 * HOUR])
    built = tmp_path / "m.reference"
    made = observer("reference", "build", tmp_path / "healthy.ndjson", "--model", "m", "-o", built)
    assert made.code == 0, made.err
    write(tmp_path / "in/p1.ndjson", [one for one in every if one["time"] >= START + 96 * HOUR])
    write(tmp_path / "in/p2.ndjson", events(1, model="learning"))
    write(tmp_path / "in/l1.ndjson", [])
    config = CONFIG.format(folder=tmp_path).replace(", segments: [{tag: region}]", "")
    (tmp_path / "observer.yaml").write_text(config)
    with Service(
        load(tmp_path / "observer.yaml"), SystemClock(), serve=False, pace=Pace(checkpoint_every=60.0)
    ) as service:
        service.run(lambda: False)
    streams = explained(observer, tmp_path)["streams"]
    assert {streams[0]["subject"], streams[1]["subject"]} == {"x", "@score"}
    assert (streams[0]["tier"], streams[0]["statistic"]) == ("ticket", "location")
    assert [one["evidence"] for one in streams] == sorted((one["evidence"] for one in streams), reverse=True)
    assert explained(observer, tmp_path, "--at", "2025-11-28T17:00Z")["streams"] == []


def test_the_fall_of_quality_is_split_exactly(observer: Observer, folder: Path) -> None:
    performance = explained(observer, folder)["performance"]
    assert performance["loss"] == "error rate"
    assert performance["cohort"]["windows"] == 1
    assert performance["baseline"]["start"] == "2025-11-24T16:00:00Z"
    split = performance["by"]["region"]
    assert split["change"] == pytest.approx(performance["change"]["change"], abs=1e-8)
    assert split["mix"] + split["within"] == pytest.approx(split["change"], abs=1e-8)
    worst = split["contributions"][0]
    assert worst["cell"] == "region=us"
    assert worst["within"] > 3 * worst["error"]


def test_segments_are_held_against_their_own_past(observer: Observer, folder: Path) -> None:
    ranking = explained(observer, folder, "--at", "2025-11-24T23:30")["segments"]
    assert ranking["baseline"]["windows"] == 4  # the earlier half of the seven before it
    assert {one["name"] for one in ranking["segments"]} == {"region=eu", "region=us"}
    assert all(one["named"] for one in ranking["segments"])
    assert ranking["segments"][0]["features"][0]["name"] in {"x", "@score"}


def test_impact_says_which_change_is_likely_to_matter(observer: Observer, folder: Path) -> None:
    impact = explained(observer, folder, "--at", "2025-11-24T23:30")["impact"]
    assert "labels" in impact["loss"]
    assert {one["name"] for one in impact["columns"]} >= {"x", "city", "@score"}


def test_a_quiet_window(observer: Observer, folder: Path) -> None:
    ran = explain(observer, folder, "m", "--at", "2025-11-24T18:00Z")
    assert ran.code == 0, ran.err
    assert "stable" in ran.out.splitlines()[0]
    assert "nothing beyond chance" in ran.out
    assert "none differs from its past" in ran.out


def test_it_is_printed_for_people(observer: Observer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    ran = explain(observer, folder, "m", "--slices")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("m 1, 11-25 01:00 to 02:00 UTC: drift\n250 events against 2,000 of reference ")
    for part in (
        "what changed, most evidence first",
        "  x ",
        "sigma)",
        "segments: each against its own 5 windows",
        "quality: error rate ",
        "by region: changed mix ",
        "region=us",
        "slices that became more frequent",
        "x >= ",
        "These are associations",
    ):
        assert part in ran.out
    assert ran.err == ""


def test_a_segment(observer: Observer, folder: Path) -> None:
    found = explained(observer, folder, "--segment", "region=eu", "--slices")
    assert found["segment"] == "region=eu"
    assert found["rows"] < 200
    assert found["features"][0]["drifts"]
    assert set(found["missing"]) == {"segments", "performance", "slices"}
    ran = explain(observer, folder, "m", "--segment", "region=eu")
    assert "m 1 region=eu, " in ran.out
    assert "not given" in ran.out


def test_slices_on_demand(observer: Observer, folder: Path) -> None:
    slices = explained(observer, folder, "--slices")["slices"]
    assert slices[0]["slice"]["words"].startswith("x >= ")
    assert slices[0]["window_share"] > 2 * slices[0]["reference_share"]


def test_importance_on_demand(observer: Observer, folder: Path) -> None:
    found = explained(observer, folder, "--importance")["importance"]
    assert found[0][1] > 0.1
    drops = [drop for _, drop in found]
    assert drops == sorted(drops, reverse=True)
    out = explain(observer, folder, "m", "--importance").out
    name, drop = found[0]
    assert [name.removeprefix("@"), f"{drop:.3f}"] in [line.split()[:2] for line in out.splitlines()]


def test_importance_without_scikit_learn(
    observer: Observer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    found = explained(observer, folder, "--importance")
    assert found["missing"] == {"importance": "needs scikit-learn: pip install 'ml-observer[learned]'"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("n",), "the state has no model 'n'; it knows: learning, m"),
        (("m", "--version", "2"), "model 'm' has no version '2'; it has: '1'"),
        (
            ("m", "--segment", "region=de"),
            "no segment 'region=de'; it has: region=eu, region=us, region=other",
        ),
        (("m", "--segment", "region=other"), "segment 'region=other' has no closed window"),
        (
            ("m", "--at", "2025-01-01"),
            "no window of 2025-01-01T00:00:00Z; those kept run from 2025-11-24T16:00:00Z to 2025-11-25T01:00",
        ),
        (("learning",), "was still being learnt in the window of 2025-11-24T17:00:00Z"),
    ],
)
def test_what_is_not_there_is_told(
    observer: Observer, folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    ran = explain(observer, folder, *arguments)
    assert (ran.code, ran.out) == (1, "")
    assert message in ran.err


def test_wrong_use(observer: Observer, folder: Path) -> None:
    ran = explain(observer, folder, "m", "--at", "yesterday")
    assert ran.code == 2
    assert "'yesterday' is no time; accepted: as in 2026-01-06T03:00Z" in ran.err


def test_without_a_state(observer: Observer, tmp_path: Path) -> None:
    (tmp_path / "observer.yaml").write_text("predictions: {type: files, path: p}\nstate: {path: none}\n")
    ran = observer("explain", "-c", "observer.yaml", "m")
    assert ran.code == 1
    assert "there is no state here" in ran.err
    assert not (tmp_path / "none").exists()


def test_it_changes_nothing(observer: Observer, folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in (folder / "state").iterdir()}
    explain(observer, folder, "m", "--slices")
    assert {path.name: path.read_bytes() for path in (folder / "state").iterdir()} == before


def test_help(observer: Observer) -> None:
    ran = observer("explain", "-h")
    assert ran.code == 0
    assert ran.out.startswith("Usage: observer explain")
    assert "  explain " in observer("-h").out
