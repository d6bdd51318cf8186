from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detectors.base import Status, Verdict
from observer.model import Finding, Tier, WindowKey, WindowReport
from tests.unit.cli.conftest import HOUR, Ran, write

Observer = Callable[..., Ran]
MONDAY = 1_767_571_200_000
CONFIG = """
predictions: {type: kafka, brokers: "nowhere:9092", topic: p}
models: {m: {reference: m.reference}}
defaults: {window: {min_events: 10}}
"""


def predictions(hours: int, drifts_from: int | None = None, a_hour: int = 15) -> list[dict[str, Any]]:
    draw = random.Random(hours)
    found = []
    for number in range(hours * a_hour):
        hour = number // a_hour
        x = draw.gauss(2.0 if drifts_from is not None and hour >= drifts_from else 0.0, 1.0)
        found.append(
            {
                "id": f"{number}",
                "model": "m",
                "version": "1",
                "time": MONDAY + hour * HOUR + number % a_hour * 1000,
                "features": {"x": x, "city": draw.choice(["a", "b"])},
                "prediction": draw.choice([0, 1]),
            }
        )
    return found


@pytest.fixture
def prepared(observer: Observer, tmp_path: Path) -> Path:
    (tmp_path / "observer.yaml").write_text(CONFIG)
    write(tmp_path / "training.ndjson", predictions(100))
    ran = observer("reference", "build", "training.ndjson", "--model", "m", "-o", "m.reference")
    assert ran.code == 0, ran.err
    return tmp_path


def backtest(observer: Observer, *more: str) -> Ran:
    ran = observer("backtest", "-c", "observer.yaml", "--predictions", "p.ndjson", *more)
    assert ran.code == 0, ran.err
    return ran


@pytest.mark.slow
def test_a_shift_pages_and_is_drawn(prepared: Path, observer: Observer) -> None:
    write(prepared / "p.ndjson", predictions(480, drifts_from=456))
    ran = backtest(observer, "--runs", "1", "--json", "--plot", "evidence.svg")
    [found] = ran.lines
    [inputs] = found["watches"]
    assert (inputs["stage"], inputs["needed"]) == ("paging", 336)
    assert inputs["pages_since"] == "2026-01-19T01:00:00Z"
    page = next(alert for alert in found["alerts"] if alert["tier"] == "page")
    assert page["subject"] == "x"
    assert "2026-01-24T00:00:00Z" < page["time"] < "2026-01-24T06:00:00Z"
    assert page["causes"][0].startswith("x: values rose in rank by ")
    assert found["incidents"][0]["opened"] == page["time"]
    assert found["incidents"][0]["closed"] is None
    assert "x" not in {one["subject"] for one in found["missed"]}
    assert 20 <= inputs["left_out"] <= 30
    assert inputs["windows"] + inputs["left_out"] == 480
    for simulated in inputs["false_alarms"].values():
        assert simulated["windows"] > 600
        assert simulated["a_month"]["pages"]["rate"] <= 2
    least = {(one["subject"], one["statistic"]): one for one in inputs["smallest_shifts"]}
    assert 0.02 < least["x", "location"]["shift"] < 0.3
    ratio = least["x", "location"]["shift"] / least["x", "location"]["standard_deviations"]
    assert ratio == pytest.approx(0.28, rel=0.1)
    assert "<svg" in (prepared / "evidence.svg").read_text()
    assert "7,200 predictions\n" in ran.err
    assert not (prepared / "observer-state").exists()


@pytest.mark.slow
def test_without_a_change_nothing_pages_and_people_can_read_it(prepared: Path, observer: Observer) -> None:
    write(prepared / "p.ndjson", predictions(400))
    out = backtest(observer, "--runs", "0").out
    assert "Raised: 0 pages" in out
    assert "could page from 2026-01-19T01:00Z on" in out
    assert "Smallest lasting shift paged for within a day" in out
    assert "incident" not in out


LABELLED = """
predictions: {type: kafka, brokers: "nowhere:9092", topic: p}
labels: {type: kafka, brokers: "nowhere:9092", topic: l, horizon: 1h}
models:
  m:
    reference: m.reference
    task: binary
    positive: "1"
    min_labels: 10
    window: {size: 1d, min_events: 10, lateness: 0s}
    segments: [{feature: city}]
    false_pages_per_month: 3
"""


def test_labels_and_segments_are_backtested_too(prepared: Path, observer: Observer) -> None:
    """Errors rise in one city, and the cities' values change places; each is found where it is."""
    (prepared / "observer.yaml").write_text(LABELLED)
    draw = random.Random(3)
    events, labels = [], []
    for one in predictions(80, a_hour=300):  # a "hour" of which becomes a day
        day, within = divmod(one["time"] - MONDAY, HOUR)
        late, in_b = day >= 70, one["features"]["city"] == "b"
        x = one["features"]["x"] + (0.5 if in_b != late else -0.5)
        features = {**one["features"], "x": x}
        event = {**one, "time": MONDAY + 24 * day * HOUR + 60 * within, "features": features}
        wrong = draw.random() < (0.5 if late and in_b else 0.05)
        events.append(event)
        label = {"id": one["id"], "model": "m", "time": event["time"] + 1000}
        labels.append({**label, "label": one["prediction"] ^ wrong})
    write(prepared / "p.ndjson", events)
    write(prepared / "l.ndjson", labels)
    [found] = backtest(observer, "--labels", "l.ndjson", "--runs", "1", "--json").lines
    inputs, quality = sorted(found["watches"], key=lambda one: one["watch"])
    assert (inputs["watch"], quality["watch"]) == ("inputs", "quality")
    assert (inputs["stage"], quality["stage"]) == ("paging", "paging")
    pages = {one["subject"]: one for one in found["alerts"] if one["tier"] == "page"}
    assert set(pages) == {"x", "@label"}
    assert all(" in city=" in cause for cause in pages["x"]["causes"]), pages
    assert any(" in city=b" in cause for cause in pages["@label"]["causes"])
    for watch in (inputs, quality):
        assert watch["false_alarms"]["days_resampled"]["a_month"]["pages"]["rate"] <= 3
    assert inputs["false_alarms"]["rows_shuffled"] is not None
    assert quality["false_alarms"]["rows_shuffled"] is None
    segments = {one["segment"] for one in inputs["smallest_shifts"]}
    assert segments == {"", "city=a", "city=b"}
    assert {one["statistic"] for one in quality["smallest_shifts"]} == {"error_rate"}
    out = " ".join(backtest(observer, "--labels", "l.ndjson", "--runs", "0").out.split())
    assert "quality: could page from" in out
    assert "errors rose by" in out


def test_too_little_history_is_said(prepared: Path, observer: Observer) -> None:
    write(prepared / "p.ndjson", [*predictions(60), {"id": "x", "model": "m", "prediction": 1}])
    ran = backtest(observer)
    assert "too little history to page: 60 reference windows, 336 are needed" in ran.out
    assert "too little history to simulate: 60 windows of usual traffic; 336 are needed" in " ".join(
        ran.out.split()
    )
    assert "1 predictions rejected: observer replay shows why" in ran.err
    assert not list(prepared.glob("observer-dead*/*"))


def test_labels_too_few_for_any_cohort_are_said(prepared: Path, observer: Observer) -> None:
    every = predictions(3)
    write(prepared / "p.ndjson", every)
    write(
        prepared / "l.ndjson",
        [{"id": one["id"], "model": "m", "time": one["time"], "label": 1} for one in every],
    )
    ran = backtest(observer, "--labels", "l.ndjson", "--runs", "0")
    assert "m 1: quality was not watched: no final cohort has 100 labels (min_labels)" in ran.err
    assert "quality was not watched" not in backtest(observer, "--runs", "0").err


def told(hour: int, *findings: tuple[str, Tier]) -> WindowReport:
    """The report of a window with verdicts or alerts on subjects."""
    key = WindowKey("m", "1", "", MONDAY + hour * HOUR)
    verdict = Verdict(Status.DRIFT, 1.0, 1.0, None, 1.0, 1, 1, 1.0, "why")
    found = tuple(Finding(key, key.start + HOUR, name, "any", verdict, tier) for name, tier in findings)
    return WindowReport(key, key.start + HOUR, 10, 0, "r", "drift", (), found, ())


def test_drift_that_nobody_was_told_of_within_a_day_is_missed() -> None:
    from observer.cli.backtesting import History  # noqa: PLC0415 - it binds `observer.cli.group` to the module

    history = History()
    for report in (
        told(0, ("x", "info"), ("y", "info"), ("@table", "info")),
        told(1, ("y", "info")),
        told(23, ("x", "ticket")),
        told(24, ("x", "info")),
        told(48, ("x", "info"), ("@table", "info")),
    ):
        history.window(report)
    missed = {one.subject: (one.windows, one.first, one.last) for one in history.missed("m", "1")}
    at = [MONDAY + hour * HOUR for hour in range(49)]
    assert missed == {"y": (2, at[0], at[1]), "x": (2, at[24], at[48]), "@table": (1, at[48], at[48])}


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("--plot", "evidence.bmp"), 3, "evidence.bmp: no picture of that kind; accepted: .png, .svg, .pdf"),
        (("--runs", "-1"), 2, "--runs"),
        ((), 1, "error: p.ndjson is not a file"),
    ],
)
def test_wrong_use_is_explained(
    prepared: Path, observer: Observer, more: tuple[str, ...], code: int, said: str
) -> None:
    ran = observer("backtest", "-c", "observer.yaml", "--predictions", "p.ndjson", *more)
    assert ran.code == code
    assert said in ran.err


@pytest.mark.slow
def test_two_runs_print_the_same(prepared: Path, observer: Observer) -> None:
    write(prepared / "p.ndjson", predictions(345))
    first = backtest(observer, "--runs", "1", "--json").out
    assert json.loads(first)["watches"][0]["false_alarms"]["days_resampled"]["windows"] > 600
    assert backtest(observer, "--runs", "1", "--json").out == first
