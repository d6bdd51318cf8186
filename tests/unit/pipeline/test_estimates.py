"""Quality before labels in the pipeline: said when a window closes, then held against its labels."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from detectors.base import Categories, Numbers
from detectors.quality.estimation import ClassifierEstimator
from observer.codecs.keys import hash_ids
from observer.model import QualityEstimate
from observer.references import Overrides, Reference, RowLabels, build
from tests.unit.pipeline.service import START, Ran, config, event, label, payloads, run

MINUTE = 60_000
ROWS = 3_000
WINDOWS = 16
PER_WINDOW = 150


def scored(rng: np.random.Generator, n: int, tilt: float = 1.0):
    """Scores and labels; a label is positive with chance score squared."""
    scores = rng.beta(tilt, 2.0, n).round(6)
    return scores, (rng.random(n) < scores**2).astype(int)


def labelled_reference(**overrides) -> Reference:
    scores, labels = scored(np.random.default_rng(0), ROWS)
    names = ("0", "1")
    columns = {
        "x": Numbers(scores * 10),
        "@prediction": Categories((scores > 0.4).astype(np.int32), names),
        "@score": Numbers(scores),
    }
    keys = np.sort(hash_ids([str(i) for i in range(ROWS)], "reference")[:, 0])
    given = RowLabels(Categories(labels.astype(np.int32), names), np.arange(ROWS))
    wishes = {"task": "binary", "classes": names, "positive": "1", **overrides}
    return build(keys, columns, Overrides(**wishes), "made for a test", labels=given)


def logs(windows: int = WINDOWS, tilt: float = 1.0, concept: bool = False):
    """Predictions of windows whose scores move up and down by `tilt`, and labels half a minute later."""
    rng = np.random.default_rng(7)
    events, labels = [], []
    for minute in range(windows):
        moved = 1.0 + (tilt - 1.0) * (1 + np.sin(minute / 3)) / 2
        scores, actual = scored(rng, PER_WINDOW, moved)
        if concept:
            actual = (rng.random(PER_WINDOW) < 0.15).astype(int)
        for i, (score, value) in enumerate(zip(scores.tolist(), actual.tolist(), strict=True)):
            at = START + minute * MINUTE + i * 300
            of = {"prediction": int(score > 0.4), "scores": score, "features": {"x": score * 10}}
            events.append(event(f"{minute}-{i}", at, tags={"t": "ab"[i % 2]}, **of))
            labels.append(label(f"{minute}-{i}", at + 30_000, value))
    return {0: payloads(events)}, {0: payloads(labels)}


def settings_of(folder, made: Reference, labels: bool = True, **fields):
    path = folder / "reference"
    made.save(path)
    window = {"size": "1m", "lateness": "0s", "min_events": 50}
    wanted = {"reference": path, "window": window, "min_labels": 50, **fields}
    horizon = {"labels": {"horizon": "2m"}} if labels else {}
    return config(folder, models={"m": wanted}, learn_unknown=False, **horizon)


def by_metric(estimates) -> dict[str, QualityEstimate]:
    return {one.metric: one for one in estimates}


def overall(ran: Ran):
    final = [one for one in ran.reports.qualities if one.final and not (one.arm or one.segment)]
    return sorted(final, key=lambda one: one.start)


def test_every_window_is_estimated_when_it_closes_and_the_estimate_earns_its_skill(tmp_path):
    made = labelled_reference()
    ran = run(settings_of(tmp_path, made), *logs(tilt=6.0), ends=True)
    windows = [one for one in ran.reports.windows if not one.key.segment]
    assert len(windows) == WINDOWS
    estimator = made.estimator
    assert isinstance(estimator, ClassifierEstimator)
    for report in windows:
        stored = ran.kept.windows["m", "1", "", report.key.start]
        expected = {one.name: one for one in estimator.estimate(stored.predicted)}
        told = by_metric(report.estimates)
        assert told.keys() == expected.keys()
        for name, one in told.items():
            assert (one.value, one.low, one.high) == pytest.approx(
                (expected[name].value, expected[name].low, expected[name].high), rel=1e-9
            )
            assert (one.method, one.rows) == ("cbpe", PER_WINDOW)
    finals = overall(ran)
    assert len(finals) == WINDOWS
    first, last = by_metric(finals[0].estimates), by_metric(finals[-1].estimates)
    assert first["f1"].backtest
    assert first["f1"].cohorts == 20
    assert not last["f1"].backtest
    assert last["f1"].cohorts == WINDOWS - 1
    assert last["f1"].usable
    realised = [{v.metric: v.value for v in one.values} for one in finals]
    constant = {one.name: one.value for one in estimator.constant}
    errors = [
        abs(by_metric(one.estimates)["f1"].value - real["f1"])
        for one, real in zip(finals, realised, strict=True)
    ]
    none = [abs(constant["f1"] - real["f1"]) for real in realised]
    assert last["f1"].skill == pytest.approx(1 - np.mean(errors[:-1]) / np.mean(none[:-1]), abs=1e-6)


def test_what_rests_on_a_broken_assumption_is_not_usable(tmp_path):
    ran = run(settings_of(tmp_path, labelled_reference()), *logs(tilt=5.0, concept=True), ends=True)
    told = by_metric(overall(ran)[-1].estimates)["base_rate"]
    assert told.value is not None
    assert told.skill < 0
    assert not told.usable


@pytest.mark.parametrize("crashes", [(3,), (2, 5)])
def test_crashes_change_nothing(tmp_path, crashes):
    (tmp_path / "plain").mkdir()
    (tmp_path / "crashed").mkdir()
    made, data = labelled_reference(), logs(tilt=4.0)
    plain = run(settings_of(tmp_path / "plain", made), *data, ends=True, size=2000)
    crashed = run(
        settings_of(tmp_path / "crashed", made),
        *data,
        ends=True,
        size=170,
        seed=3,
        pauses=0.3,
        crashes=crashes,
    )
    latest = {one.start: one for one in overall(crashed)}
    assert len(latest) == WINDOWS
    for one in overall(plain):
        wanted, told = by_metric(one.estimates), by_metric(latest[one.start].estimates)
        assert told.keys() == wanted.keys()
        for name in wanted:
            for part in ("value", "low", "high", "skill"):
                assert getattr(told[name], part) == pytest.approx(getattr(wanted[name], part), rel=1e-6), name
            assert told[name].cohorts == wanted[name].cohorts


def test_a_restart_tells_the_latest_windows_again(tmp_path):
    settings = settings_of(tmp_path, labelled_reference())
    first = run(settings, *logs(), turns=2)
    last = max(one.key.start for one in first.reports.windows)
    before = [one for one in first.reports.windows if one.key.start == last and not one.key.segment]
    again = run(settings, {0: logs()[0][0]}, {0: logs()[1][0]})
    (told,) = [one for one in again.reports.windows if one.key.start == last and not one.key.segment]
    assert by_metric(told.estimates)["accuracy"].value == by_metric(before[-1].estimates)["accuracy"].value


def test_segments_are_estimated_and_never_used(tmp_path):
    segments = [{"tag": "t", "values": ["a", "b"]}]
    ran = run(settings_of(tmp_path, labelled_reference(), segments=segments), *logs(), ends=True)
    told = [one for one in ran.reports.windows if one.key.segment]
    assert len(told) == 2 * WINDOWS
    for report in told:
        accuracy = by_metric(report.estimates)["accuracy"]
        assert accuracy.value is not None
        assert accuracy.rows == PER_WINDOW // 2
        assert accuracy.skill is None
        assert not accuracy.usable


def test_without_labels_the_backtest_of_the_reference_speaks(tmp_path):
    ran = run(settings_of(tmp_path, labelled_reference(), labels=False), logs(4)[0], ends=True)
    told = by_metric(ran.reports.windows[-1].estimates)["accuracy"]
    assert told.backtest
    assert told.cohorts == 20
    assert ran.reports.qualities == []


@pytest.mark.parametrize("fields", [{"estimate": "off"}, {"window": {"size": "1m", "min_events": 1000}}])
def test_nothing_is_said_where_it_is_not_wanted_or_too_few_came(tmp_path, fields):
    ran = run(settings_of(tmp_path, labelled_reference(), **fields), *logs(3), ends=True)
    assert len(ran.reports.windows) == 3
    assert not any(one.estimates for one in (*ran.reports.windows, *ran.reports.qualities))


def test_bbse_gives_decisions_alone_and_has_no_backtest(tmp_path):
    ran = run(settings_of(tmp_path, labelled_reference(), estimate="bbse"), *logs(3), ends=True)
    told = by_metric(ran.reports.windows[-1].estimates)
    assert set(told) == {"base_rate", "accuracy", "precision", "recall", "f1"}
    assert {one.method for one in told.values()} == {"bbse"}
    assert {one.cohorts for one in told.values()} == {0}


def test_labels_of_the_other_class_are_not_compared(tmp_path, caplog):
    """The configuration says that the other class is the positive one: the reference's labels do not fit."""
    with caplog.at_level(logging.WARNING):
        ran = run(settings_of(tmp_path, labelled_reference(), positive="0"), *logs(3), ends=True)
    assert not any(one.estimates for one in ran.reports.windows)
    assert caplog.text.count("no estimates of quality: its labels are of 0, 1, the model's of 1, 0") == 1


def test_regression_is_estimated_from_sampled_rows(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.random(1_500)
    predicted = 40 + 3 * x
    columns = {"x": Numbers(x), "@prediction": Numbers(predicted)}
    keys = np.sort(hash_ids([str(i) for i in range(len(x))], "reference")[:, 0])
    actual = predicted + rng.standard_normal(len(x)) * (1 + 5 * x)
    given = RowLabels(Numbers(actual), np.arange(len(x)))
    made = build(keys, columns, Overrides(task="regression"), "made for a test", labels=given)
    events = []
    for minute, most in enumerate((1.0, 0.4)):
        for i in range(300):
            value = rng.random() * most
            at = START + minute * MINUTE + i * 200
            events.append(event(f"{minute}-{i}", at, prediction=40 + 3 * value, features={"x": value}))
    ran = run(settings_of(tmp_path, made, labels=False), {0: payloads(events)}, ends=True)
    usual, easy = (by_metric(one.estimates) for one in ran.reports.windows)
    assert {one.method for one in usual.values()} == {"dle"}
    expected = {1.0: 3.5, 0.4: 2.0}
    for most, told in ((1.0, usual), (0.4, easy)):
        assert told["mae"].value == pytest.approx(expected[most] * np.sqrt(2 / np.pi), rel=0.12)
        assert told["mae"].low < told["mae"].value < told["mae"].high
