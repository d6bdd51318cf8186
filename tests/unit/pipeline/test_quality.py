"""Quality by cohort: arms, classes, maturity, and what is said of it when."""

from __future__ import annotations

import random

import pytest
from sklearn import metrics as oracle

from detectors.quality import evaluate
from tests.unit.pipeline.service import (
    START,
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


def settings_of(folder, **fields):
    window = {"size": "1m", "lateness": "0s", "min_events": 1}
    wanted = {"task": "binary", "positive": "1", "min_labels": 1, "window": window, **fields}
    return config(folder, models={"m": wanted}, labels={"horizon": "10m"}, learn_unknown=False)


def confusion(kept) -> dict:
    """Counts by actual class (rows) and predicted class (columns), of each version, arm and segment."""
    return {
        (key.version, key.arm, key.segment): outcomes.confusion.rows[:, :2].tolist()
        for (_, key), (_, outcomes) in kept.cohorts.items()
    }


def test_values_are_those_of_scikit_learn(tmp_path):
    r = random.Random(4)
    rows = [(int(r.random() < 0.3), r.randrange(1, 1024) / 1024) for _ in range(800)]
    events = [
        event(i, at(0.1) + i, prediction=int(score > 0.5), scores=score) for i, (_, score) in enumerate(rows)
    ]
    labels = [label(i, at(0.5) + i, actual) for i, (actual, _) in enumerate(rows)]
    path = tmp_path / "reference"
    reference({"@prediction": ["0", "1"] * 50, "@score": [s for _, s in rows[:100]]}).save(path)
    ran = run(settings_of(tmp_path, reference=path), {0: payloads(events)}, {0: payloads(labels)}, ends=True)
    report = ran.reports.qualities[-1]
    assert (report.predictions, report.labelled, report.coverage, report.final) == (800, 800, 1.0, True)
    actual, score = zip(*rows, strict=True)
    predicted = [int(s > 0.5) for s in score]
    exact = {
        "accuracy": oracle.accuracy_score(actual, predicted),
        "precision": oracle.precision_score(actual, predicted),
        "recall": oracle.recall_score(actual, predicted),
        "f1": oracle.f1_score(actual, predicted),
        "brier": oracle.brier_score_loss(actual, score),
        "log_loss": oracle.log_loss(actual, score),
    }
    values = {value.metric: value for value in report.values}
    assert {name: values[name].value for name in exact} == pytest.approx(exact, rel=1e-9)
    auc = next(value for name, value in values.items() if name in ("roc_auc", "auc"))
    assert abs(auc.value - oracle.roc_auc_score(actual, score)) <= auc.error


def test_arms_apart_and_together(tmp_path):
    arms = ["champion", "challenger", None, "champion"]
    segments = [{"tag": "t", "values": ["a"]}]
    events = [
        event(i, at(0.1), tags={"t": "a"}, **({"arm": arm} if arm else {})) for i, arm in enumerate(arms)
    ]
    labels = [label(i, at(0.2), value) for i, value in enumerate("1010")]
    ran = run(settings_of(tmp_path, segments=segments), {0: payloads(events)}, {0: payloads(labels)})
    expected = {
        "": [[0, 2], [0, 2]],
        "champion": [[0, 1], [0, 1]],
        "challenger": [[0, 1], [0, 0]],
    }
    assert confusion(ran.kept) == {
        ("1", arm, segment): counts for arm, counts in expected.items() for segment in ("", "t=a")
    }
    assert {(k.arm, k.segment): n for (_, k), (n, _) in ran.kept.cohorts.items() if not k.segment} == {
        ("", ""): 4, ("champion", ""): 2, ("challenger", ""): 1,
    }  # fmt: skip


@pytest.mark.parametrize("first", ["served", "copy"])
def test_copies_of_requests_show_inputs_and_answers_and_nothing_that_was_served(tmp_path, first):
    """The challenger answers each request too, under its id, before or after the champion does."""
    segments = [{"tag": "t", "values": ["a"]}]
    indicators = ({"type": "latency", "within": "1ms"}, {"type": "correct"}, {"type": "drift"})
    objectives = {one["type"]: {"indicator": one, "target": 0.5} for one in indicators}
    served, copies, labels = [], [], []
    for i in range(200):
        one = {"prediction": i % 2, "tags": {"t": "a"}, "features": {"x": i % 10}, "latency_ms": 0.5}
        served.append(event(i, at(i / 50), version="1", **one))
        two = {**one, "prediction": 1 - i % 2, "latency_ms": 50, "error": True, "arm": "shadow"}
        copies.append(event(i, at(i / 50), version="2", **two))
        labels.append(label(i, at(4) + i, i % 2))
    path = tmp_path / "reference"
    reference({"x": [float(i % 10) for i in range(200)], "@prediction": ["0", "1"] * 100}).save(path)
    settings = settings_of(tmp_path, reference=path, segments=segments, objectives=objectives)
    order = (served, copies) if first == "served" else (copies, served)
    one_by_one = [event for pair in zip(*order, strict=True) for event in pair]
    log = payloads([*copies[:7], *one_by_one])
    found = []
    ran = run(
        settings,
        {0: log},
        {0: payloads(labels)},
        ends=True,
        size=len(log),
        during=lambda service: found.extend(service.objectives.standing()),
    )
    assert {key.version for _, key in ran.kept.cohorts} == {"1"}
    counted = {one.name: (one.good, one.total) for one in found if one.version in ("", "1")}
    assert {name: counted[name] for name in ("latency", "correct")} == {
        "latency": (200, 200),
        "correct": (200, 200),
    }
    assert counted["drift"][1] == 200
    assert {one.version for one in found if one.total} <= {"", "1"}
    windows = {w.key.start: w for w in ran.reports.windows if w.key.version == "2" and not w.key.segment}
    assert sum(w.rows for w in windows.values()) == sum(w.copied for w in windows.values()) == 200
    assert sum(w.answers.failed for w in windows.values()) == 200
    assert sum(w.duplicates for w in windows.values()) == 7
    assert all(w.copied == 0 for w in ran.reports.windows if w.key.version == "1")
    of_segment = [w for w in ran.reports.windows if w.key.version == "2" and w.key.segment]
    assert sum(w.copied for w in of_segment) == 200


@pytest.mark.parametrize(
    ("positive", "predictions", "labels"),
    [
        ("1", [1, 0, 1, 0], [True, False, False, True]),
        ("true", [True, False, True, False], [1, 0, 0, 1]),
        ("fraud", ["fraud", "fine", "fraud", "odd"], ["fraud", "fine", "odd", "fraud"]),
    ],
)
def test_with_the_positive_class_alone_every_other_is_negative(tmp_path, positive, predictions, labels):
    events = [event(i, at(0.1), prediction=value) for i, value in enumerate(predictions)]
    given = [label(i, at(0.2), value) for i, value in enumerate(labels)]
    ran = run(settings_of(tmp_path, positive=positive), {0: payloads(events)}, {0: payloads(given)})
    assert confusion(ran.kept) == {("1", "", ""): [[1, 1], [1, 1]]}


def test_the_configuration_says_more_than_the_reference(tmp_path):
    """A profile of features alone knows of no task."""
    path = tmp_path / "reference"
    reference({"x": [1.0, 2.0] * 50}, task=None, classes=(), positive=None).save(path)
    labels = {0: payloads([label(1, at(0.2))])}
    ran = run(settings_of(tmp_path, reference=path), {0: payloads([event(1, at(0.1))])}, labels)
    assert confusion(ran.kept) == {("1", "", ""): [[0, 0], [0, 1]]}


def test_a_reference_that_comes_with_its_version_says_what_quality_needs(tmp_path):
    made = reference({"x": [1.0, 2.0] * 50}, task="binary", classes=("0", "1"), positive="1")
    made.save(tmp_path / "m-1.reference")
    settings = settings_of(tmp_path, reference=tmp_path / "m-{version}.reference", task=None, positive=None)
    labels = {0: payloads([label(1, at(0.2))])}
    ran = run(settings, {0: payloads([event(1, at(0.1))])}, labels)
    assert confusion(ran.kept) == {("1", "", ""): [[0, 0], [0, 1]]}


def test_multiclass_and_regression(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    classes = ["a", "b", "c"]
    scores = [{"a": 0.5, "b": 0.25, "c": 0.25}, {"a": 0.125, "b": 0.75, "c": 0.125}, {"a": 0.5, "b": 0.5}]
    events = [
        event(i, at(0.1), prediction=p, scores=s) for i, (p, s) in enumerate(zip("aba", scores, strict=True))
    ]
    labels = [label(i, at(0.2), value) for i, value in enumerate("abz")]
    settings = settings_of(tmp_path / "a", task="multiclass", classes=classes, positive=None)
    ran = run(settings, {0: payloads(events)}, {0: payloads(labels)})
    ((predictions, outcomes),) = ran.kept.cohorts.values()
    assert (predictions, outcomes.n) == (3, 3)
    assert outcomes.confusion.rows.sum(axis=1).tolist() == [1, 1, 0, 1]
    found = {m.name: m.value for m in evaluate(outcomes) if not m.class_name}
    assert found["accuracy"] == pytest.approx(2 / 3)

    pairs = [(1.0, 2.5), (4.0, 3.0), (-2.0, -2.0)]
    events = [event(i, at(0.1), prediction=p) for i, (_, p) in enumerate(pairs)]
    labels = [label(i, at(0.2), y) for i, (y, _) in enumerate(pairs)]
    settings = settings_of(tmp_path / "b", task="regression", positive=None)
    ran = run(settings, {0: payloads(events)}, {0: payloads(labels)})
    ((_, outcomes),) = ran.kept.cohorts.values()
    found = {m.name: m.value for m in evaluate(outcomes)}
    actual, predicted = zip(*pairs, strict=True)
    assert found["mae"] == pytest.approx(oracle.mean_absolute_error(actual, predicted), rel=1e-9)
    assert found["r2"] == pytest.approx(oracle.r2_score(actual, predicted), rel=1e-9)


def test_a_correction_takes_the_old_label_back_across_a_restart(tmp_path):
    settings = settings_of(tmp_path)
    predictions = {0: payloads([event(i, at(0.1)) for i in range(4)])}
    labels = [label(0, at(1), "1"), label(1, at(1), "0", weight=2.0), label(2, at(1), "1")]
    first = run(settings, predictions, {0: payloads(labels)})
    assert confusion(first.kept) == {("1", "", ""): [[0, 1], [0, 2]]}
    labels += [label(0, at(2), "0"), label(1, at(2), "1"), label(2, at(0.5), "0"), label(2, at(1), "1")]
    second = run(settings, predictions, {0: payloads(labels)})
    assert confusion(second.kept) == {("1", "", ""): [[0, 1], [0, 2]]}
    assert confusion(reopen(settings)) == confusion(second.kept)
    (_, outcomes) = next(iter(second.kept.cohorts.values()))
    assert outcomes.confusion.weights.sum() == 3.0


def test_cohorts_become_final_once_no_label_can_come(tmp_path):
    events = [event(minute, at(minute + 0.5)) for minute in range(20)]
    labels = [label(minute, at(minute + 0.7)) for minute in range(20)]
    ran = run(settings_of(tmp_path), {0: payloads(events)}, {0: payloads(labels)}, size=1)
    final = [report for report in ran.reports.qualities if report.final]
    # Predictions are at 19.5; a window is 1 minute, the horizon 10.
    assert [(report.start - START) // MINUTE for report in final] == list(range(9))
    assert all(report.maturity == "matured" and report.coverage == 1 for report in final)


def test_cohorts_of_streams_that_ended_are_final(tmp_path):
    events = [event(minute, at(minute + 0.5)) for minute in range(20)]
    labels = [label(minute, at(minute + 0.7)) for minute in range(20)]
    ran = run(settings_of(tmp_path), {0: payloads(events)}, {0: payloads(labels)}, size=7, ends=True)
    final = [report for report in ran.reports.qualities if report.final]
    assert [(report.start - START) // MINUTE for report in final] == list(range(20))
    assert [report.maturity for report in final][-1] == "provisional"


def test_cohorts_become_final_though_no_label_ever_comes(tmp_path):
    """Else a topic without a single label would keep everything for ever."""
    window = {"size": "1m", "lateness": "0s"}
    settings = config(
        tmp_path,
        models={"m": {"task": "binary", "positive": "1", "window": window}},
        labels={"horizon": "2m"},
        idle_after="100ms",
        learn_unknown=False,
    )
    events = [event(minute, at(minute + 0.5)) for minute in range(30)]
    ran = run(settings, {0: payloads(events)}, {0: []}, size=1)
    assert ran.kept.pending is not None
    assert ran.kept.pending.predictions < 10
    assert len([report for report in ran.reports.qualities if report.final]) > 20


def test_a_cohort_is_reported_when_it_matures_without_a_new_label(tmp_path):
    """Labels come within seconds; the cohort then changes no more, and its maturity is news all the same."""
    events = [event(f"{minute}-{i}", at(minute) + i) for minute in range(4) for i in range(150)]
    labels = [label(one["id"], one["time"] + 1000) for one in events]
    logs = {0: payloads(events)}, {0: payloads(labels)}
    ran = run(settings_of(tmp_path), *logs, size=150, publish_every=0.0, turns=2)
    matured = {(r.start - START) // MINUTE for r in ran.reports.qualities if r.maturity == "matured"}
    assert matured == {0, 1}
    assert not any(report.final for report in ran.reports.qualities)


def test_a_version_without_labels_is_reported_when_its_window_matures(tmp_path):
    """A rollout takes a window in which a version has none for one in which it served nobody."""
    events, labels = [], []
    for minute in range(4):
        for i in range(150):
            one = event(f"{minute}-{i}", at(minute) + i, version="2" if i < 5 else "1")
            events.append(one)
            labels += [label(one["id"], one["time"] + 1000)] if i >= 5 else []
    logs = {0: payloads(events)}, {0: payloads(labels)}
    ran = run(settings_of(tmp_path), *logs, size=150, publish_every=0.0, turns=2)
    found = [r for r in ran.reports.qualities if r.version == "2"]
    assert {(r.start - START) // MINUTE for r in found} == {0, 1}
    assert {(r.maturity, r.final, r.predictions, r.labelled) for r in found} == {("matured", False, 5, 0)}


def test_few_labels_give_no_values(tmp_path):
    events = [event(i, at(0.1)) for i in range(5)]
    labels = [label(i, at(0.2)) for i in range(3)]
    ran = run(settings_of(tmp_path, min_labels=4), {0: payloads(events)}, {0: payloads(labels)}, ends=True)
    (report,) = [one for one in ran.reports.qualities if one.final]
    assert (report.labelled, report.values) == (3, ())


def test_what_was_predicted_before_segments_were_known_is_in_no_segment(tmp_path):
    """Segments are named by a reference that is still being learnt; the task is declared."""
    wanted = {"reference": {"windows": 1, "rows": 100}, "segments": [{"tag": "t"}]}
    events = [event(f"{minute}-{i}", at(minute) + i, tags={"t": "ab"[i % 2]}, features={"x": i / 7})
              for minute in range(4) for i in range(120)]  # fmt: skip
    labels = [label(one["id"], at(3.5)) for one in events]
    ran = run(settings_of(tmp_path, **wanted), {0: payloads(events)}, {0: payloads(labels)}, size=60)
    for (_, key), (predictions, outcomes) in ran.kept.cohorts.items():
        assert outcomes.n == predictions, key
    segments = {key.segment for _, key in ran.kept.cohorts}
    assert segments == {"", "t=a", "t=b"}
