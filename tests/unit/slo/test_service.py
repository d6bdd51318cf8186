"""Objectives of a whole service: which events are good, whatever the order, after crashes too."""

from __future__ import annotations

import random

import pytest

from observer.app import Service
from observer.metrics import catalog
from observer.model import ObjectiveStanding
from tests.unit.pipeline.service import (
    START,
    Letters,
    MemorySource,
    Ticking,
    config,
    event,
    label,
    payloads,
    reference,
    run,
)

WINDOW = 600_000

OBJECTIVES = {
    "correct": {"indicator": {"type": "correct"}, "target": 0.9, "window": "1d"},
    "correct-de": {"indicator": {"type": "correct"}, "target": 0.9, "window": "1d", "segment": "country=DE"},
    "challenger": {"indicator": {"type": "correct"}, "target": 0.9, "window": "1d", "arm": "challenger"},
    "second": {"indicator": {"type": "correct"}, "target": 0.9, "window": "1d", "version": "2"},
    "fast": {"indicator": {"type": "latency", "within": "200ms"}, "target": 0.9, "window": "1d"},
    "complete": {"indicator": {"type": "complete", "features": ["age"]}, "target": 0.9, "window": "1d"},
    "all-there": {"indicator": {"type": "complete"}, "target": 0.9, "window": "1d"},
    "covered": {"indicator": {"type": "label_coverage", "at_least": 0.5}, "target": 0.9, "window": "1d"},
    "accurate": {
        "indicator": {"type": "quality", "metric": "accuracy", "at_least": 0.6},
        "target": 0.9,
        "window": "1d",
    },
    "stable": {"indicator": {"type": "drift", "weight": "windows"}, "target": 0.9, "window": "1d"},
    "fresh": {"indicator": {"type": "freshness", "within": "1h"}, "target": 0.9, "window": "1d"},
}


def settings_of(folder):
    path = folder / "reference"
    made = reference(
        {
            "@prediction": ["0", "1"] * 100,
            "age": [float(i % 7) for i in range(200)],
            "income": [float(i % 11) for i in range(200)],
        }
    )
    made.save(path)
    model = {
        "task": "binary",
        "positive": "1",
        "min_labels": 1,
        "reference": path,
        "window": {"size": "10m", "lateness": "10s", "min_events": 1},
        "segments": [{"tag": "country", "values": ["DE", "FR"]}],
        "objectives": OBJECTIVES,
    }
    return config(folder, models={"m": model}, labels={"horizon": "10m"}, learn_unknown=False)


def events(seed: int):
    """Predictions of half an hour, labels of most, some corrected; in order of time."""
    r = random.Random(seed)
    predictions, labels = [], []
    for i in range(600):
        time = START + i * 3_000
        one = event(
            i,
            time,
            prediction=str(r.randrange(2)),
            version=r.choice("12"),
            arm=r.choice(["champion", "challenger"]),
            tags={"country": r.choice(["DE", "FR", "IT"])},
            features={"age": None if r.random() < 0.1 else r.randrange(7), "income": r.randrange(11)},
        )
        if r.random() < 0.9:
            one["latency_ms"] = r.randrange(100, 300)
        if r.random() < 0.05:
            del one["features"]["income"]
        predictions.append(one)
        if r.random() < 0.8:
            labels.append(label(i, time + r.randrange(300_000), str(r.randrange(2))))
            if r.random() < 0.2:
                labels.append(label(i, labels[-1]["time"] + 60_000, str(r.randrange(2))))
    return predictions, sorted(labels, key=lambda one: one["time"])


def wanted(predictions, labels) -> dict[str, tuple[int, int]]:
    """Good and total events, from the events alone."""
    last = {one["id"]: one["label"] for one in labels}
    joined = [(one, one["prediction"] == last[one["id"]]) for one in predictions if one["id"] in last]

    def counted(pairs):
        goods = [good for _, good in pairs]
        return sum(goods), len(goods)

    latencies = [one["latency_ms"] <= 200 for one in predictions if "latency_ms" in one]
    windows: dict[tuple[str, int], list[tuple[bool, bool]]] = {}
    for one in predictions:
        good = one["id"] in last and one["prediction"] == last[one["id"]]
        key = (one["version"], one["time"] // WINDOW)
        windows.setdefault(key, []).append((one["id"] in last, good))
    covered = sum(len(rows) for rows in windows.values() if sum(known for known, _ in rows) >= len(rows) / 2)
    accurate = [
        len(rows)
        for rows in windows.values()
        if any(known for known, _ in rows)
        and sum(good for _, good in rows) / sum(known for known, _ in rows) >= 0.6
    ]
    rated = [len(rows) for rows in windows.values() if any(known for known, _ in rows)]
    return {
        "correct": counted(joined),
        "correct-de": counted([p for p in joined if p[0]["tags"]["country"] == "DE"]),
        "challenger": counted([p for p in joined if p[0]["arm"] == "challenger"]),
        "second": counted([p for p in joined if p[0]["version"] == "2"]),
        "fast": (sum(latencies), len(latencies)),
        "complete": (sum(one["features"]["age"] is not None for one in predictions), len(predictions)),
        "all-there": (
            sum(one["features"]["age"] is not None and "income" in one["features"] for one in predictions),
            len(predictions),
        ),
        "covered": (covered, len(predictions)),
        "accurate": (sum(accurate), sum(rated)),
    }


def standings(settings, log, *, seed=0, **how) -> tuple[dict[str, ObjectiveStanding], object]:
    found: dict[str, ObjectiveStanding] = {}

    def look(service: Service) -> None:
        found.update({one.name: one for one in service.objectives.latest})

    predictions, labels = log
    halves = [{0: payloads(part[::2]), 1: payloads(part[1::2])} for part in (predictions, labels)]
    ran = run(settings, halves[0], halves[1], seed=seed, ends=True, during=look, **how)
    return found, ran


@pytest.mark.parametrize("seed", [1, 2])
def test_events_are_good_as_they_say(tmp_path, seed):
    log = events(seed)
    found, ran = standings(settings_of(tmp_path), log, seed=seed)
    counts = {name: (one.good, one.total) for name, one in found.items()}
    assert counts == wanted(*log) | {name: counts[name] for name in ("stable", "fresh")}
    told = [one.status for one in ran.reports.windows if not one.key.segment]
    assert set(told) <= {"stable", "drift"}
    assert counts["stable"] == (told.count("stable"), 6)
    assert counts["fresh"] == (0, 1)
    matched = sum(ran.count(catalog.LABELS_JOINED).get(("m", o), 0) for o in ("matched", "corrected"))
    # A label that is corrected before its prediction comes joins once.
    assert counts["correct"][1] <= ran.count(catalog.SLO_EVENTS)["m", "correct"] <= matched
    assert found["correct"].remaining != found["correct"].remaining_by_arrival
    assert found["fast"].remaining == found["fast"].remaining_by_arrival


def test_crashes_change_nothing(tmp_path):
    log = events(3)
    found, _ = standings(settings_of(tmp_path), log, crashes=(3, 5, 9, 14), publish_every=0.1)
    counts = {name: (one.good, one.total) for name, one in found.items()}
    assert counts == wanted(*log) | {name: counts[name] for name in ("stable", "fresh")}


def test_a_service_without_objectives_says_nothing(tmp_path):
    settings = settings_of(tmp_path)
    plain = settings.models["m"].model_copy(update={"objectives": {}})
    found, ran = standings(settings.model_copy(update={"models": {"m": plain}}), events(4))
    assert found == {}
    assert ran.count(catalog.SLO_EVENTS) == {}


def test_an_objective_that_the_configuration_has_no_more_is_not_shown(tmp_path):
    """What was said of it last may be that it pages."""
    bad = {"indicator": {"type": "latency", "within": "1ms"}, "target": 0.99}
    log = payloads([event(i, START + i * 1_000, latency_ms=9) for i in range(100)])

    def shown(objectives) -> list[tuple[str, str]]:
        settings = config(tmp_path, models={"m": {"objectives": objectives}}, http={"port": 0})
        source = MemorySource("predictions", {0: log}, seed=1)
        letters = {"predictions": Letters()}
        with Service(settings, Ticking(), sources={"predictions": source}, dead_letters=letters) as service:
            service.run(lambda: source.drained)
            assert service.history is not None
            assert service.history.reports.flush()
            return [(one.name, one.severity) for one in service.history.reader.objectives()]

    assert shown({"fast": bad, "gone": bad}) == [("fast", "page"), ("gone", "page")]
    assert shown({"fast": bad}) == [("fast", "page")]
    assert shown({}) == []
