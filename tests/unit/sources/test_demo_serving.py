"""The demo's model really learns, and its servers really divide requests as the split file says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from detectors.base import NULL, Categories, Column, Floats, Numbers
from observer.references import load
from observer.sources.demo import Archive, DemoSource, EventClock, Script, Serving
from observer.sources.demo.draw import draw, generator
from observer.sources.demo.logistic import Logistic
from observer.sources.demo.script import HOUR
from observer.sources.demo.serving import path, trained
from observer.sources.demo.trainer import Rows, read, train
from tests.unit.sources.test_demo import FakeClock, only

SCRIPT = Script.default()
START = SCRIPT.start
ALONE = only(SCRIPT, "offers")


def rows(hour: float, n: int = 8_000, name: str = "x") -> Rows:
    """Rows of `offers`, as the world is at an hour of the script."""
    time = np.full(n, START + round(hour * HOUR))
    drawn = draw(SCRIPT.served, generator(1, name), n, SCRIPT.changes("offers", time))
    return Rows(np.arange(n, dtype=np.uint64), drawn.features, drawn.truth, time)


def right(model: Logistic, at: Rows) -> float:
    return float(np.mean((model.score(at.features) >= 0.5) == at.label))


def test_the_regression_finds_the_weights_that_made_the_labels() -> None:
    rng = np.random.default_rng(3)
    x, plan = rng.normal(5, 2, 20_000), rng.integers(0, 2, 20_000).astype(np.int32)
    features: dict[str, Column] = {"x": Numbers(x), "plan": Categories(plan, ("a", "b"))}
    odds = 0.5 + 1.5 * (x - 5) / 2 - 1.0 * plan
    label = (rng.random(20_000) < 1 / (1 + np.exp(-odds))).astype(np.float64)
    learnt = Logistic.fit(features, label)
    assert learnt.weights == pytest.approx((0.5, 1.5, -1.0), abs=0.1)
    assert Logistic.from_json(learnt.to_json()) == learnt
    assert learnt.score(features)[plan == 0].mean() > learnt.score(features)[plan == 1].mean()


def test_values_that_it_has_not_met_count_for_nothing_and_outliers_for_no_more_than_far_ones() -> None:
    known = {"x": Numbers(np.linspace(-1, 1, 1_000)), "plan": Categories(np.arange(1_000) % 2, ("a", "b"))}
    learnt = Logistic.fit(known, (np.arange(1_000) > 400).astype(np.float64))

    def one(x: float, plan: Categories) -> float:
        return float(learnt.score({"x": Numbers(np.array([x])), "plan": plan})[0])

    first, new = Categories(np.zeros(1, np.int32), ("a",)), Categories(np.zeros(1, np.int32), ("brand-new",))
    gone = Categories(np.full(1, NULL, np.int32), ())
    assert one(0.1, first) == one(0.1, new) == one(0.1, gone)
    assert one(np.nan, first) == pytest.approx(one(0.0, first))
    assert one(1e9, first) == one(1e12, first) < 1.0
    assert np.isfinite(learnt.score({"x": gone, "plan": Numbers(np.zeros(1))}))


def test_labels_of_one_class_teach_nothing() -> None:
    for label in (np.ones(10), np.empty(0)):
        with pytest.raises(ValueError, match="both classes"):
            Logistic.fit({"x": Numbers(np.zeros(len(label)))}, label)


def test_a_version_is_as_good_as_the_world_it_learnt_from(tmp_path: Path) -> None:
    before, after = SCRIPT.turns - 2, SCRIPT.turns + 2
    first = train("offers", rows(before), tmp_path)
    second = train("offers", rows(after, name="y"), tmp_path)
    assert (first.version, second.version) == ("1", "2")
    assert trained(tmp_path, "offers") == ["1", "2"]
    one, two = (Logistic.from_json(path(tmp_path, "offers", v).read_text()) for v in ("1", "2"))
    old, new = rows(before, name="z"), rows(after, name="z")
    assert right(one, old) > 0.82
    assert right(one, new) < 0.66, "what it learnt holds no more"
    assert right(two, new) > 0.80, "what was learnt anew does"
    assert first.accuracy == pytest.approx(right(one, old), abs=0.03)
    assert load(tmp_path / "offers-2.reference").schema.task == "binary"


class Standing:
    """Servers over a split file, with two versions that always say no, and yes."""

    def __init__(self, folder: Path) -> None:
        self.hour = 0.0
        self.split = folder / "split.json"
        for version, intercept in (("1", -5.0), ("2", 5.0)):
            path(folder, "m", version).write_text(Logistic((), (), (intercept,)).to_json())
        self.serving = Serving("m", folder, self.split, lambda: START / 1000 + self.hour * 3600)

    def set(self, share: float, shadow: float = 0.0) -> None:
        self.split.write_text(json.dumps({"share": share, "shadow": shadow, "version": 7}))

    def ask(self, hours: Floats) -> Mapping[str, float]:
        """Share of each version among requests made at these hours."""
        time = (START + hours * HOUR).astype(np.int64)
        features: dict[str, Column] = {"x": Numbers(np.zeros(len(time)))}
        found = self.serving.answer(features, time, np.random.default_rng(5))
        n, said = len(time), np.array(found.version.names)[found.version.codes]
        assert set(said[n:]) <= {"2"}, "who answers copies is the challenger"
        assert {found.arm.names[code] for code in found.arm.codes[n:]} <= {"shadow"}
        self.copied = found.copied
        np.testing.assert_array_equal(found.score > 0.5, said == "2")
        arms = np.array([*found.arm.names, ""])[found.arm.codes]
        assert set(arms[:n][said[:n] == "2"]) <= {"challenger", ""}
        return {str(name): float(np.mean(said[:n] == name)) for name in np.unique(said[:n])}


@pytest.fixture
def standing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Standing:
    monkeypatch.setattr(Logistic, "design", lambda _, features: np.ones((len(features["x"]), 1)))
    return Standing(tmp_path)


def test_requests_are_divided_with_the_share_that_held_when_they_were_made(standing: Standing) -> None:
    n = 20_000
    assert standing.ask(np.full(n, 0.5)) == {"1": 1.0}
    standing.hour = 1.0
    standing.serving.look()
    standing.set(10)
    standing.hour = 2.0
    assert standing.ask(np.full(n, 1.5))["2"] == pytest.approx(0.1, abs=0.01)
    assert standing.ask(np.full(n, 0.7)) == {"1": 1.0}, "a request that came late was made before"
    standing.set(60)
    standing.hour = 3.0
    both = standing.ask(np.repeat([1.5, 2.5], n))
    assert both["2"] == pytest.approx((0.1 + 0.6) / 2, abs=0.01)
    standing.set(0)
    standing.hour = 4.0
    assert standing.ask(np.full(n, 3.5)) == {"1": 1.0}


def test_copies_are_answered_too_and_given_to_nobody(standing: Standing) -> None:
    standing.serving.look()
    standing.set(0, shadow=30)
    standing.hour = 1.0
    n = 20_000
    assert standing.ask(np.full(n, 0.5)) == {"1": 1.0}
    assert len(standing.copied) == pytest.approx(0.3 * n, rel=0.05)
    assert len(np.unique(standing.copied)) == len(standing.copied)
    standing.set(10)
    standing.hour = 2.0
    standing.ask(np.full(n, 1.5))
    assert len(standing.copied) == 0


def test_who_is_promoted_becomes_the_champion_without_a_change_for_anybody(standing: Standing) -> None:
    standing.serving.look()
    standing.set(100)
    standing.hour = 1.0
    assert standing.ask(np.full(100, 0.5)) == {"2": 1.0}
    standing.serving.adopt()
    standing.hour = 2.0
    assert standing.serving.champion == "2"
    assert json.loads(standing.split.read_text()) == {"share": 0, "shadow": 0, "version": 7}
    assert standing.ask(np.full(100, 1.5)) == {"2": 1.0}


def test_the_program_learns_from_the_events_that_were_logged(tmp_path: Path) -> None:
    models, events, run = (tmp_path / name for name in ("models", "events", "run"))
    models.mkdir()
    run.mkdir()
    train("offers", rows(0.0), models)
    _log(models, events, hours=15.0)
    copied, live = (read(events / table, "offers", None) for table in ("copy", "live"))
    assert copied.time.max() < SCRIPT.turns_at < live.time.max()
    since = SCRIPT.turns_at / 1000
    assert read(events / "live", "offers", since).time.min() >= SCRIPT.turns_at
    with pytest.raises(ValueError, match="no labelled predictions"):
        read(events / "live", "churn", None)

    order = {"parameters": {"model": "offers", "since": since, "table": "live", "version": "1"}}
    (run / "order.json").write_text(json.dumps(order))
    program = [sys.executable, "-m", "observer.sources.demo.trainer", str(events), str(models)]
    environment = {**os.environ, "OBSERVER_RUN": str(run)}
    subprocess.run(program, env=environment, check=True, capture_output=True, timeout=120)
    result = json.loads((run / "result.json").read_text())
    assert result["version"] == "2"
    assert result["rows"] > 3_000
    assert result["accuracy"] > 0.78
    learnt = Logistic.from_json(path(models, "offers", "2").read_text())
    assert right(learnt, rows(SCRIPT.turns + 2, name="z")) > 0.78


def _log(models: Path, events: Path, hours: float) -> None:
    clock = FakeClock()
    time = EventClock(clock, START / 1000, 3600.0)
    serving = Serving("offers", models, models / "split.json", time.now)
    archive = Archive(events, "offers", SCRIPT.turns)
    clock.time += hours
    for stream in ("predictions", "labels"):
        source = DemoSource(ALONE, stream, time, clock.sleep, serving, archive)  # type: ignore[arg-type]
        source.open({})
        while any(source.lag().values()):
            source.poll(1_000, 0.0)


def test_event_time_waits_for_a_machine_that_cannot_keep_up() -> None:
    clock = FakeClock()
    time = EventClock(clock, START / 1000, 3600.0)
    source = DemoSource(ALONE, "predictions", time, clock.sleep)
    source.open({})
    source.poll(1, 0.0)
    seen = []
    for _ in range(20):
        clock.time += 1_000.0  # a thousand hours
        seen.append(time.now())
        source.poll(1, 0.0)
    assert seen == sorted(seen)
    assert seen[-1] - START / 1000 == pytest.approx(20 * 900 + 3600, abs=900)
    assert source.lag() == {SCRIPT.partitions("predictions")[0]: 4}
