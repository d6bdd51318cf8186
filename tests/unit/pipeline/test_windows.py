"""Windows of one model: lateness, idle partitions, learning, versions, segments, retention."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.summaries.answers import Answers
from observer.metrics import catalog
from tests.unit.pipeline.service import (
    START,
    Ticking,
    config,
    event,
    label,
    payloads,
    reference,
    reopen,
    run,
)

MINUTE = 60_000


def at(minutes: float) -> int:
    return START + round(minutes * MINUTE)


def model(**fields):
    window = {"size": "1m", "lateness": "30s", "min_events": 1, **fields.pop("window", {})}
    return {"task": "binary", "positive": "1", "min_labels": 1, "window": window, **fields}


def rows(kept, **where) -> dict:
    """Rows by version, segment and minutes since the start."""
    return {
        (version, segment, (start - START) // MINUTE): summary.n
        for (_, version, segment, start), summary in kept.windows.items()
    }


def stream(minutes, **fields):
    return payloads([event(i, at(minute), **fields) for i, minute in enumerate(minutes)])


# Lateness


@pytest.mark.parametrize(
    ("policy", "kept_rows", "outcome"), [("fold", 3, "late_folded"), ("count", 2, "late_counted")]
)
@pytest.mark.parametrize("size", [1, 100])
def test_an_event_behind_its_own_partition_is_late(tmp_path, policy, kept_rows, outcome, size):
    settings = config(tmp_path, models={"m": model(window={"late": policy})})
    logs = {0: stream([0.1, 0.2, 1.5, 0.3, 1.6])}  # 1.5 is the end of window 0 and its lateness
    ran = run(settings, logs, size=size)
    assert rows(ran.kept) == {("1", "", 0): kept_rows, ("1", "", 1): 2}
    assert ran.count(catalog.EVENTS) == {
        ("predictions", "m", "accepted"): 4,
        ("predictions", "m", outcome): 1,
    }
    (closed,) = ran.reports.windows
    assert (closed.rows, closed.status) == (2, "learning")  # whatever became of the late one


@pytest.mark.parametrize("size", [1, 100])
def test_an_event_older_than_the_retention_is_counted_only(tmp_path, size):
    """Its window may be deleted already; and random times must not make a window for each of them."""
    settings = config(tmp_path, models={"m": model(retention="5m")})
    ran = run(settings, {0: stream([0.1, 9.0, 2.9, 3.0, 3.1, 9.1])}, size=size)  # window 2 was over at 3.5
    assert ran.count(catalog.EVENTS) == {
        ("predictions", "m", "accepted"): 3,
        ("predictions", "m", "late_folded"): 2,
        ("predictions", "m", "late_counted"): 1,
    }
    assert rows(ran.kept)["1", "", 3] == 2
    assert ("1", "", 2) not in rows(ran.kept)


def test_an_event_just_in_time_is_not_late(tmp_path):
    settings = config(tmp_path, models={"m": model(window={"late": "count"})})
    ran = run(settings, {0: stream([0.1, 1.4999, 0.3])})
    assert rows(ran.kept)["1", "", 0] == 2


def test_the_slowest_partition_holds_windows_open(tmp_path):
    settings = config(tmp_path, models={"m": model(window={"late": "count"})})
    ahead = {0: stream([0.1, 9]), 1: stream([0.2], id="slow")}
    ran = run(settings, ahead)
    assert ran.reports.windows == []
    ran = run(
        settings, {0: ahead[0], 1: [*ahead[1], *payloads([event("late?", at(0.3)), event("on", at(3))])]}
    )
    assert rows(ran.kept)["1", "", 0] == 3  # in time: its own partition had not come far
    assert [report.rows for report in ran.reports.windows] == [3]


def test_a_partition_that_never_says_anything_holds_windows_open_until_it_is_idle(tmp_path):
    settings = config(tmp_path, models={"m": model()}, idle_after="1s")
    logs = {0: stream([0.1, 5]), 1: []}
    assert run(settings, logs, clock=Ticking(step=0.0)).reports.windows == []
    clock = Ticking()
    ran = run(settings, logs, clock=clock, turns=40)
    assert [report.rows for report in ran.reports.windows] == [1]


def test_when_all_partitions_are_idle_event_time_goes_on_with_the_clock(tmp_path):
    settings = config(tmp_path, models={"m": model(window={"lateness": "0s"})}, idle_after="1s")
    ran = run(settings, {0: stream([0.1, 0.9])}, clock=Ticking(step=2.0), turns=20)
    assert [report.rows for report in ran.reports.windows] == [2]


def test_an_event_of_a_partition_taken_for_idle_is_not_lost(tmp_path):
    """It comes into a closed window; no policy drops it, since its partition was in order."""
    settings = config(tmp_path, models={"m": model(window={"late": "count"})}, idle_after="1s")
    early = {0: stream([0.1, 9]), 1: []}
    clock = Ticking()
    assert len(run(settings, early, clock=clock, turns=50).reports.windows) == 1
    ran = run(settings, {**early, 1: payloads([event("slow", at(0.2))])}, clock=clock)
    assert rows(ran.kept)["1", "", 0] == 2
    assert ran.count(catalog.EVENTS)["predictions", "m", "late_folded"] == 1


def test_the_end_of_the_source_closes_every_window_once(tmp_path):
    settings = config(tmp_path, models={"m": model()})
    log = stream([0.1, 1.1, 7.1])
    ran = run(settings, {0: log}, ends=True)
    assert [(report.key.start - START) // MINUTE for report in ran.reports.windows] == [0, 1, 7]
    assert ran.kept.open == set()


def test_a_source_that_ended_may_go_on_later(tmp_path):
    """A file that has grown: its windows go on, those that closed with the file take their events too."""
    settings = config(tmp_path, models={"m": model()})
    log = stream([0.1, 1.1])
    run(settings, {0: log}, ends=True)
    grown = [*log, *payloads([event("same", at(1.2)), event("new", at(8)), event("newer", at(9))])]
    ran = run(settings, {0: grown}, ends=True)
    assert rows(ran.kept) == {("1", "", 0): 1, ("1", "", 1): 2, ("1", "", 8): 1, ("1", "", 9): 1}
    assert [(r.key.start - START) // MINUTE for r in ran.reports.windows] == [1, 8, 9]  # 1 once more


def test_the_latest_windows_are_reported_again_after_a_restart(tmp_path):
    path = tmp_path / "reference"
    reference({"x": [1.0, 2.0] * 100}).save(path)
    settings = config(tmp_path, models={"m": model(reference=path)})
    log = {0: stream([0.1, 1.1, 2.6], features={"x": 1})}
    first = run(settings, log)
    again = run(settings, log)
    assert again.reports.windows == [first.reports.windows[-1]]
    assert again.count(catalog.WINDOWS_CLOSED) == {}


# What a window holds


def test_a_window_below_min_events_is_insufficient(tmp_path):
    path = tmp_path / "reference"
    reference({"x": list(range(200))}).save(path)
    settings = config(tmp_path, models={"m": model(reference=path, window={"min_events": 3})})
    ran = run(settings, {0: stream([0.1, 0.2, 1.1, 1.2, 1.3, 5], features={"x": 3})})
    few, enough = ran.reports.windows
    assert (few.rows, few.status, few.judged) == (2, "insufficient", ())
    assert enough.rows == 3
    assert enough.judged


def test_drift_is_found_and_nothing_before(tmp_path):
    path = tmp_path / "reference"
    reference({"x": list(np.random.default_rng(0).normal(size=2000))}).save(path)
    settings = config(tmp_path, models={"m": model(reference=path)})
    draw = np.random.default_rng(1)
    events = [
        event(f"{minute}-{i}", at(minute) + i, features={"x": float(draw.normal() + (minute >= 2) * 0.8)})
        for minute in range(4)
        for i in range(400)
    ]
    ran = run(settings, {0: payloads(events)}, size=1000, ends=True)
    assert [report.status for report in ran.reports.windows] == ["stable", "stable", "drift", "drift"]
    found = {finding.subject for report in ran.reports.windows for finding in report.findings}
    assert "x" in found
    findings = sum(len(report.findings) for report in ran.reports.windows)
    assert sum(ran.count(catalog.FINDINGS).values()) == findings


def test_wrong_types_spoil_cells_only(tmp_path):
    path = tmp_path / "reference"
    reference({"x": list(range(10)) * 20, "flag": ["true", "false"] * 100}).save(path)
    settings = config(tmp_path, models={"m": model(reference=path)})
    features = [
        {"x": 1, "flag": True}, {"x": "one", "flag": True}, {"x": 2, "flag": "yes"}, {"x": None},
        {"x": [1], "flag": False}, {"x": 3, "flag": False, "unknown": {"deep": 1}},
    ]  # fmt: skip
    events = [event(i, at(0.1), features=one) for i, one in enumerate(features)]
    ran = run(settings, {0: payloads(events)}, ends=True)
    assert ran.count(catalog.EVENTS) == {("predictions", "m", "accepted"): 6}
    assert ran.count(catalog.SPOILED_VALUES) == {(): 3}
    state = {column.column: column for column in ran.reports.windows[0].columns}
    assert (state["x"].missing, state["x"].invalid, state["x"].mean) == pytest.approx((1 / 6, 2 / 6, 2.0))
    assert (state["flag"].missing, state["flag"].invalid) == pytest.approx((1 / 6, 1 / 6))


@pytest.mark.parametrize("size", [1, 50])
def test_duplicates_are_noted_in_their_window_open_or_closed(tmp_path, size):
    settings = config(tmp_path, models={"m": model(deduplicate=True)})
    first = event("a", at(0.1))
    log = [first, event("b", at(0.2)), first, event("c", at(1.6)), first, event("d", at(3.6))]
    ran = run(settings, {0: payloads(log)}, size=size)
    assert rows(ran.kept) == {("1", "", 0): 2, ("1", "", 1): 1, ("1", "", 3): 1}
    duplicates = {start: s.counts.duplicates for (_, _, _, start), s in ran.kept.windows.items()}
    assert duplicates == {at(0): 2, at(1): 0, at(3): 0}
    # The one that came late is no part of what was reported, whenever the window closed.
    assert ran.reports.windows[0].duplicates == 1
    assert ran.count(catalog.EVENTS)["predictions", "m", "duplicate"] == 2


def test_duplicates_count_where_nobody_looks_for_them(tmp_path):
    settings = config(tmp_path, models={"m": model(deduplicate=False)}, labels={"horizon": "1h"})
    once = event("a", at(0.1))
    ran = run(settings, {0: payloads([once, once])}, {0: payloads([label("a", at(0.2))])})
    assert rows(ran.kept) == {("1", "", 0): 2}
    (cohort,) = ran.kept.cohorts.values()
    assert (cohort[0], cohort[1].n) == (1, 1)  # a label has one prediction


def test_segments_by_tag_and_by_bins(tmp_path):
    segments = [{"tag": "country", "values": ["DE", "FR"]}, {"feature": "x", "bins": [5, 10]}]
    settings = config(tmp_path, models={"m": model(segments=segments)}, labels={"horizon": "1h"})
    cells = [("DE", 1), ("DE", 7), ("FR", 12), ("XX", None), (None, 5)]
    events = [
        event(i, at(0.1), tags={"country": country} if country else {}, features={"x": x})
        for i, (country, x) in enumerate(cells)
    ]
    ran = run(settings, {0: payloads(events)}, {0: payloads([label(0, at(0.2)), label(1, at(0.2), "0")])})
    by_segment = {segment: n for (_, segment, _), n in rows(ran.kept).items()}
    assert by_segment == {
        "": 5, "country=DE": 2, "country=FR": 1, "country=other": 2,
        "x=<5": 1, "x=5..10": 2, "x=>=10": 1, "x=other": 1,
    }  # fmt: skip
    labelled = {key.segment: (n, o.n) for (_, key), (n, o) in ran.kept.cohorts.items()}
    assert labelled == {
        "": (5, 2), "country=DE": (2, 2), "country=FR": (1, 0), "country=other": (2, 0),
        "x=<5": (1, 1), "x=5..10": (2, 1), "x=>=10": (1, 0), "x=other": (1, 0),
    }  # fmt: skip


def test_retention_forgets_windows_and_cohorts(tmp_path):
    settings = config(tmp_path, models={"m": model(retention="3m")}, labels={"horizon": "1h"})
    minutes = [minute + 0.5 for minute in range(10)]
    labels = {0: payloads([label(i, at(minute)) for i, minute in enumerate(minutes)])}
    for size in (1, 100):
        folder = tmp_path / str(size)
        folder.mkdir()
        settings = config(folder, models={"m": model(retention="3m")}, labels={"horizon": "1h"})
        ran = run(settings, {0: stream(minutes)}, labels, size=size)
        # Event time is 9.5: with its lateness window 8 is the last to be over.
        assert [minute for _, _, minute in rows(ran.kept)] == [9, 5, 6, 7, 8]
        assert sorted((key.start - START) // MINUTE for _, key in ran.kept.cohorts) == [5, 6, 7, 8, 9]
        assert rows(reopen(settings)) == rows(ran.kept)


# Versions and models


@pytest.mark.parametrize("size", [3, 500])
def test_versions_beyond_the_limit_share_one_name(tmp_path, size):
    settings = config(tmp_path, models={"m": model()}, labels={"horizon": "1h"})
    events = [event(i, at(0.1), version=f"v{i}") for i in range(60)]
    events += [event(100 + i, at(0.2), version=f"v{i}") for i in range(60)]
    labels = [label(i, at(0.3)) for i in range(160)]
    ran = run(settings, {0: payloads(events)}, {0: payloads(labels)}, size=size)
    found = {version: n for (version, _, _), n in rows(ran.kept).items()}
    assert found == {**{f"v{i}": 2 for i in range(50)}, "other": 20}
    assert {key.version: o.n for (_, key), (_, o) in ran.kept.cohorts.items()} == found
    assert ran.count(catalog.NAMES_DROPPED)["m", "version"] >= 10


def test_versions_are_numbers_texts_or_missing(tmp_path):
    settings = config(tmp_path, models={"m": model()})
    events = [event(i, at(0.1), version=version) for i, version in enumerate([1, "1", 1.0, None, "x"])]
    ran = run(settings, {0: payloads(events)})
    found = {version: n for (version, _, _), n in rows(ran.kept).items()}
    assert sum(found.values()) == 5
    assert found["x"] == found[""] == 1


def test_unknown_models_are_watched(tmp_path):
    settings = config(tmp_path, models={"m": model()}, defaults=model())
    events = [event(1, at(0.1)), event(2, at(0.1), model="new"), event(3, at(0.2), model="new")]
    ran = run(settings, {0: payloads(events)})
    assert {key[0]: summary.n for key, summary in ran.kept.windows.items()} == {"m": 1, "new": 2}
    assert {key[0]: s.n for key, s in reopen(settings).windows.items()} == {"m": 1, "new": 2}


def test_unknown_models_are_rejected(tmp_path):
    settings = config(tmp_path, models={"m": model()}, learn_unknown=False, labels={"horizon": "1h"})
    events = [event(1, at(0.1)), event(2, at(0.1), model="new")]
    ran = run(settings, {0: payloads(events)}, {0: payloads([label(2, at(0.1), model="new")])})
    assert {key[0] for key in ran.kept.windows} == {"m"}
    assert [one.reason for one in ran.letters["predictions"].taken] == ["unknown_model"]
    assert ran.count(catalog.EVENTS)["labels", "", "rejected"] == 1


def test_a_model_that_is_no_longer_wanted_is_rejected(tmp_path):
    log = {0: payloads([event(1, at(0.1), model="old")])}
    run(config(tmp_path, models={"m": model()}), log)
    more = {0: [*log[0], *payloads([event(2, at(0.2), model="old")])]}
    ran = run(config(tmp_path, models={"m": model()}, learn_unknown=False), more)
    assert [one.reason for one in ran.letters["predictions"].taken] == ["unknown_model"]


def test_unknown_models_have_one_limit_for_the_life_of_the_state(tmp_path):
    """Neither a restart nor new codecs, which a newly met version brings, give room for more."""
    settings = config(tmp_path, models={"m": model()}, limits={"max_models": 5})
    events = [event(i, at(0.1), model=f"m{i}", version=f"{i}") for i in range(40)]
    for count in (20, 40):
        ran = run(settings, {0: payloads(events[:count])}, size=4)
        assert len({key[0] for key in ran.kept.windows}) == 5
        assert sum(ran.count(catalog.EVENTS_REJECTED).values()) >= 15


@pytest.mark.parametrize("name", ["x" * 5000, "ü" * 300, "a\0b", " ", "🙂"])
def test_names_of_any_kind_are_watched(tmp_path, name):
    settings = config(tmp_path, defaults=model(), labels={"horizon": "1h"})
    events = [
        event(1, at(0.1), model=name, version=name, features={name: 1.0}, tags={name: name}),
        event(2, at(3), model=name, version=name),
    ]
    ran = run(settings, {0: payloads(events)}, {0: payloads([label(1, at(0.2), name, model=name)])})
    assert {key[:2] for key in ran.kept.windows} == {(name, name)}
    assert {key[:2] for key in reopen(settings).windows} == {(name, name)}


# Learning


def learning(minutes=3, per=60, version="1", extra=0, seed=0):
    draw = np.random.default_rng(seed)
    return [
        event(
            f"{version}-{minute}-{i}", at(minute) + i, version=version,
            features={"x": float(draw.normal()), "c": "ab"[i % 2], **({"late": 1.0} if extra else {})},
            tags={"country": "DE" if i % 3 else "FR"}, prediction="10"[i % 2], scores=0.25,
        )
        for minute in range(minutes)
        for i in range(per)
    ]  # fmt: skip


LEARN = {"windows": 2, "rows": 100}


@pytest.mark.parametrize("crashes", [(), (2, 3)])
def test_a_reference_is_learnt_from_the_first_windows(tmp_path, crashes):
    wanted = model(reference=LEARN, segments=[{"tag": "country"}])
    del wanted["task"], wanted["positive"]
    settings = config(tmp_path, models={"m": wanted}, labels={"horizon": "1h"})
    events = learning(8)
    labels = [label(one["id"], one["time"], one["prediction"]) for one in events]
    ran = run(
        settings, {0: payloads(events)}, {0: payloads(labels)},
        size=30, crashes=crashes, checkpoint_every=0.1, turns=3,
    )  # fmt: skip
    statuses = {}
    for report in ran.reports.windows:
        if not report.key.segment:
            statuses[(report.key.start - START) // MINUTE] = report.status
    # The second window closes when events of the fourth come, which are in the dark as well.
    assert statuses == {**dict.fromkeys(range(4), "learning"), 4: "stable", 5: "stable"}
    assert len({r for r in ran.kept.references.values() if r}) == 1
    kept = reopen(settings)
    assert kept.references == ran.kept.references
    judged = {key[2] for key, r in kept.references.items() if r}
    assert judged == {"", "country=DE", "country=FR"}
    # What was predicted before anything was known is not waited for.
    assert {(key.start - START) // MINUTE for _, key in kept.cohorts} == {3, 4, 5, 6, 7}
    assert all(o.n == n for (_, key), (n, o) in kept.cohorts.items() if key.start > at(3))


def test_a_reference_that_was_learnt_stays_after_a_restart(tmp_path):
    settings = config(tmp_path, models={"m": model(reference=LEARN)})
    log = payloads(learning(5))
    first = run(settings, {0: log}, size=40)
    (learnt,) = {r for r in first.kept.references.values() if r}
    more = [*log, *payloads(learning(12)[-5 * 60 :])]
    ran = run(settings, {0: more}, size=40)
    assert {r for r in ran.kept.references.values() if r} == {learnt}
    assert ran.reports.windows[-1].reference == learnt


def test_the_learnt_reference_does_not_depend_on_polls_or_late_events(tmp_path):
    events = learning(4)
    events.insert(200, event("late", at(0.5), features={"x": 1e6, "c": "late"}))
    events.insert(205, event("later", at(0.5), features={"x": 1e6, "c": "late"}))
    learnt = set()
    for size in (15, 70, 1000):
        folder = tmp_path / str(size)
        folder.mkdir()
        settings = config(folder, models={"m": model(reference=LEARN)})

        def look(service):
            learnt.add(service.pipeline.monitors["m"].references["1"].version)

        ran = run(settings, {0: payloads(events)}, size=size, during=look)
        assert ran.kept.windows["m", "1", "", at(0)].n == 62
    assert len(learnt) == 1


def test_every_feature_of_a_new_version_is_learnt(tmp_path):
    """Once a version has a reference the decoder reads its features only; another version may have more."""
    settings = config(tmp_path, models={"m": model(reference=LEARN)})
    second = [{**one, "time": one["time"] + 5 * MINUTE} for one in learning(4, version="2", extra=1)]
    names = []
    run(
        settings, {0: payloads([*learning(5), *second])}, size=25,
        during=lambda service: names.append(service.pipeline.monitors["m"].references["2"]),
    )  # fmt: skip
    (found,) = names
    assert "late" in found.schema.features
    missing = found.summary.numbers.counts[
        found.summary.numbers.names.index("late"), found.table.binning.bins + 2
    ]
    assert missing == 0


def test_a_feature_that_was_declared_and_never_came_is_let_be(tmp_path, caplog):
    declared = {name: {"type": "number"} for name in ("x", "no")}
    settings = config(tmp_path, models={"m": model(reference=LEARN, features=declared)})
    ran = run(settings, {0: payloads(learning(5))}, size=40)
    assert any(ran.kept.references.values())
    assert "no event has had the features no" in caplog.text


def test_what_is_learnt_from_is_bounded(tmp_path, monkeypatch):
    """Thousands of features shorten the sample; learning still comes to an end."""
    monkeypatch.setattr("observer.pipeline.inputs.LEARNING_CELLS", 4_000)
    settings = config(
        tmp_path, models={"m": model(reference=LEARN, sample_rows=40)}, limits={"max_features": 80}
    )
    draw = np.random.default_rng(0)
    events = [
        event(f"{minute}-{i}", at(minute) + i, features={f"f{j}": float(draw.normal()) for j in range(100)})
        for minute in range(5)
        for i in range(60)
    ]
    ran = run(settings, {0: payloads(events)}, size=30)
    assert any(ran.kept.references.values())
    for summary in ran.kept.windows.values():
        assert len(summary.sample) * len(summary.sample.columns) <= 4_000
    assert len(ran.kept.windows["m", "1", "", at(0)].sample) <= 40
    assert ran.count(catalog.DROPPED_VALUES)[()] > 0


def test_redacted_features_are_in_no_stored_window(tmp_path):
    wishes = {"x": {"privacy": "redact"}, "c": {"privacy": "off"}}
    settings = config(tmp_path, models={"m": model(reference=LEARN, features=wishes)})
    ran = run(settings, {0: payloads(learning(6))}, size=40)
    for key, summary in ran.kept.windows.items():
        if key not in ran.kept.open:
            assert not {"x", "c"} & set(summary.sample.columns)
    assert "c" not in ran.kept.windows["m", "1", "", at(5)].categories.names


# How requests are answered


@pytest.mark.parametrize("crashes", [(), (3, 5)])
def test_a_window_counts_failures_and_latency_of_what_came_in_time_once(tmp_path, crashes):
    settings = config(tmp_path, models={"m": model(segments=[{"tag": "channel", "values": ["web"]}])})
    minutes = [0.1, 0.2, 0.3, 1.6, 0.4, 1.7, 3.5]  # 0.4 comes late
    web = {"channel": "web"}
    events = [
        event(i, at(minute), latency_ms=(5, 50, None)[i % 3], error=i % 2 == 0 or None, tags=web)
        for i, minute in enumerate(minutes)
    ]
    ran = run(settings, {0: payloads(events)}, size=1, crashes=crashes, ends=True)
    said = {r.key.start: r for r in ran.reports.windows if not r.key.segment}
    first = said[at(0)].answers
    assert (first.n, first.failed, sum(first.latency)) == (3, 2, 2)
    assert 5 <= Answers(first.n, first.failed, np.array(first.latency)).quantile(0.5) < 8
    assert (said[at(1)].answers.n, said[at(1)].answers.failed) == (2, 0)
    assert {r.answers for r in ran.reports.windows if r.key.segment} == {None}
