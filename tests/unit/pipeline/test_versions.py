"""Versions come and go: at most so many are watched, and the one idle longest gives way."""

from __future__ import annotations

from operator import itemgetter

import numpy as np
import pytest

from detectors.base import Categories
from observer.metrics import catalog
from observer.pipeline.naming import MAX_VERSIONS, Names
from observer.pipeline.versions import REFERENCES
from observer.windows import END_OF_TIME as END
from tests.unit.pipeline.service import HOUR, START, config, event, label, payloads, reopen, run

DAY = 24 * HOUR
STEP = HOUR
"""Between two versions; labels come when fifty others have followed."""
EACH = 100
"""Events of a version, all in one window of an hour, from which its reference is learnt."""
NAMES = [f"v{number:03}" for number in range(70)]


def settings(folder):
    model = {
        "task": "binary",
        "positive": "1",
        "min_labels": 1,
        "reference": {"windows": 1, "rows": 100},
        "retention": "6d",
        "window": {"size": "1h", "lateness": "0s", "min_events": 1},
    }
    return config(folder, models={"m": model}, labels={"horizon": "3d"})


@pytest.fixture(scope="module")
def logs():
    """A version after the other over two partitions, and a label each, shortly before the horizon."""
    predictions, labels = {0: [], 1: []}, {0: [], 1: []}
    for turn, name in enumerate(NAMES):
        for number in range(EACH):
            time = START + turn * STEP + number * 30_000
            one = f"{turn}-{number}"
            predictions[number % 2].append(event(one, time, version=name))
            labels[number % 2].append(label(one, time + 3 * DAY - HOUR))
        if name == NAMES[-1]:  # goes on until all labels have come
            for number in range(1, 20):
                time = START + turn * STEP + number * 5 * HOUR
                for side in (0, 1):
                    predictions[side].append(event(f"{turn}-{side}-{number}", time, version=name))
                    labels[side].append(label(f"{turn}-{side}-{number}", time))
    return [
        {number: payloads(sorted(log, key=itemgetter("time"))) for number, log in stream.items()}
        for stream in (predictions, labels)
    ]


@pytest.mark.parametrize(
    ("size", "seed", "crashes"),
    [(1_000, 0, ()), (150, 1, ()), (60, 2, (80, 60))],
    ids=["few", "some", "crash"],
)
def test_a_model_with_ever_new_versions_goes_on_being_watched(tmp_path, logs, size, seed, crashes, caplog):
    """However events come: the latest versions are watched, and every label finds the one that predicted."""
    seen = {}

    def during(service):
        monitor, judge = service.pipeline.monitors["m"], service.pipeline._judges("m")
        seen["watched"] = sorted(monitor.watched)
        seen["held"] = {*monitor.references, *monitor.learners, *(name for _, name in judge._lasts)}
        seen["references"] = len(list(service.state.scan(REFERENCES)))

    caplog.set_level("INFO")
    ran = run(settings(tmp_path), *logs, size=size, seed=seed, crashes=crashes, during=during)
    assert seen["watched"] == NAMES[-MAX_VERSIONS:]
    assert seen["held"] <= set(seen["watched"])
    assert not ran.count(catalog.NAMES_DROPPED)
    told = [one for one in ran.reports.windows if one.key.version != NAMES[-1]]
    assert {one.key.version: one.rows for one in told} == dict.fromkeys(NAMES[:-1], EACH)
    final = [one for one in ran.reports.qualities if one.final and one.version != NAMES[-1]]
    assert {one.version: one.labelled for one in final} == dict.fromkeys(NAMES[:-1], EACH)
    # One window of those that gave way is not older than the retention yet.
    assert seen["references"] == MAX_VERSIONS + 1, "what others learnt goes with their windows"
    if not crashes:
        gone = len(NAMES) - MAX_VERSIONS
        assert ran.count(catalog.VERSIONS_RELEASED) == {("m",): gone}
        assert sum("gave way" in record.message for record in caplog.records) == gone
    again = reopen(settings(tmp_path))
    assert again.cohorts.keys() == ran.kept.cohorts.keys()
    assert again.references == ran.kept.references


def test_a_version_that_gave_way_and_comes_back_begins_anew(tmp_path):
    """It is learnt anew, in a window that may have been opened before it gave way."""
    events = []
    for turn, name in enumerate([*NAMES[: MAX_VERSIONS + 4], NAMES[0], NAMES[0]]):
        start = START + turn * STEP
        events += [event(f"{turn}-{i}", start + i * 30_000, version=name) for i in range(EACH)]
    found = []
    for size in (40, 10_000):
        folder = tmp_path / str(size)
        folder.mkdir()
        watched = []
        ran = run(
            settings(folder),
            {0: payloads(events)},
            {0: payloads([label("0-1", START)])},
            size=size,
            during=lambda service, watched=watched: watched.extend(service.pipeline.monitors["m"].watched),
        )
        found.append(sorted(watched))
        back = [one.rows for one in ran.reports.windows if one.key.version == NAMES[0]]
        assert back == [EACH, EACH]
    assert found[0] == found[1]
    assert NAMES[0] in found[0]


# The rule itself


def column(*names):
    known = tuple(dict.fromkeys(names))
    return Categories(np.array([known.index(name) for name in names], np.int32), known)


def meet(names, found, times, released=0):
    return names.meet(column(*found), np.array(times, np.int64), released)


def test_versions_that_are_alive_share_a_name_beyond_the_limit():
    names = Names(HOUR)
    assert meet(names, NAMES[:MAX_VERSIONS], range(MAX_VERSIONS)) == (0, NAMES[:MAX_VERSIONS])
    assert meet(names, ["x", "y"], [DAY, DAY]) == (2, ["other"])
    assert meet(names, ["z"], [DAY + MAX_VERSIONS]) == (0, ["z"]), "the others are idle"
    assert names.codes(column("v003", "x", "z")).tolist() == [3, MAX_VERSIONS, MAX_VERSIONS + 1]


def test_a_code_is_given_again_only_when_nothing_is_awaited():
    names = Names(HOUR)
    for turn, name in enumerate(NAMES[: MAX_VERSIONS + 2]):
        meet(names, [name], [turn * DAY])
        gone = names.closed(name, turn * DAY)
    assert gone == [("v001", DAY, False)]
    assert names.watched == NAMES[2 : MAX_VERSIONS + 2]
    meet(names, ["a"], [60 * DAY], released=0)
    assert names.codes(column("v000", "v001", "a")).tolist() == [0, 1, MAX_VERSIONS + 2]
    meet(names, ["b"], [60 * DAY], released=1)
    assert names.codes(column("b", "v001")).tolist() == [0, 1]
    meet(names, ["v001"], [60 * DAY], released=END)
    assert "v001" in names.watched, "it is back, under its code"


def test_what_is_closed_decides_whatever_came_before_it():
    """The same windows close in the same order; events of some were met long before others."""
    spans = {name: (turn * DAY, (turn + turn % 7) * DAY) for turn, name in enumerate(NAMES)}
    order = sorted((at, name) for name, span in spans.items() for at in set(span))
    told = []
    for ahead in (0, 5, len(order)):
        names, gone, met = Names(HOUR), [], 0
        for number, (at, name) in enumerate(order):
            for start, one in order[met : number + ahead + 1]:
                assert meet(names, [one], [start])[0] == 0
            met = max(met, number + ahead + 1)
            gone += [one[:2] for one in names.closed(name, at)]
        told.append(gone)
    assert told[0] == told[1] == told[2]
    assert len(told[0]) >= len(NAMES) - MAX_VERSIONS


def test_versions_that_are_all_alive_do_not_give_way():
    names = Names(HOUR)
    meet(names, NAMES[:MAX_VERSIONS], [0] * MAX_VERSIONS)
    for name in NAMES[:MAX_VERSIONS]:
        names.closed(name, 0)
    meet(names, ["late"], [-3 * DAY])  # of an old partition: all its windows are closed
    assert names.closed("new", DAY) == [("late", -3 * DAY, False)]
    assert names.closed("new", DAY + 1) == [("v000", 0, False)]


def test_names_survive_a_restart():
    names = Names(HOUR)
    for turn, name in enumerate(NAMES):
        meet(names, [name], [turn * DAY])
        names.closed(name, turn * DAY)
    again = Names(HOUR)
    again.restore(names.saved(), 0)
    assert again.saved() == names.saved()
    assert again.closed("x", 100 * DAY) == names.closed("x", 100 * DAY)


def test_a_state_without_times_keeps_its_versions_until_they_are_idle():
    names = Names(HOUR)
    names.restore({"versions": NAMES[:MAX_VERSIONS]}, 10 * DAY)
    assert meet(names, ["x"], [11 * DAY]) == (1, ["other"])
    assert meet(names, ["x"], [11 * DAY + 1]) == (0, ["x"])
