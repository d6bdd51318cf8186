from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from detectors.base import Categories, Numbers, Status
from observer.codecs import ArrowSpec, codec
from observer.judge import JudgeSpec, WindowJudge
from observer.model import Decoded, Messages, Origin, Partition, Predictions, Stream
from observer.pipeline.inputs import columns_of
from observer.references import Overrides, Reference, RowLabels, build
from observer.sources.demo import DemoSource, EventClock, Script
from observer.sources.demo.draw import draw, generator
from observer.sources.demo.messages import count, due
from observer.sources.demo.parts import Episode
from observer.sources.demo.script import HOUR

SCRIPT = Script.default()
ALONE = replace(SCRIPT, models=(SCRIPT.model("churn"),), episodes=())
CAST = tuple(model.name for model in SCRIPT.models)
FAR_AHEAD = 4e9


class FakeClock:
    def __init__(self) -> None:
        self.time = 1_000.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.time += seconds


def source(
    script: Script, stream: Stream, hours: float = 0.0, speed: float = 3600.0
) -> tuple[DemoSource, FakeClock]:
    clock = FakeClock()
    events = EventClock(clock, script.start / 1000, speed)
    clock.time += hours * 3600 / speed
    return DemoSource(script, stream, events, clock.sleep), clock


def read(demo: DemoSource, limit: int = 1000) -> list[tuple[int, bytes]]:
    """Partition and payload of everything that has come, in order."""
    found: list[tuple[int, bytes]] = []
    while any(demo.lag().values()):
        messages = demo.poll(limit, 0.0)
        found.extend(zip(messages.partition.tolist(), messages.values, strict=True))
    return found


def decoded(script: Script, stream: Stream, hours: float) -> Decoded:
    demo, _ = source(script, stream, hours)
    demo.open({})
    values = [value for _, value in read(demo)]
    messages = Messages(
        values,
        np.zeros(len(values), np.int32),
        (Partition(stream, "demo", 0),),
        {},
        lambda message: Origin("demo", 0, message),
    )
    built = codec(ArrowSpec(), {model.name: reference(model.name).schema for model in script.models})
    return (
        built.predictions(messages, FAR_AHEAD)
        if stream == "predictions"
        else built.labels(messages, FAR_AHEAD)
    )


@cache
def reference(name: str) -> Reference:
    keys, columns, tags = SCRIPT.reference_columns(name)
    return build(keys, columns, Overrides(), "demo", tags)


@pytest.mark.parametrize(("model", "metric"), [("churn", "roc_auc"), ("triage", "macro_roc_auc")])
def test_labels_of_a_reference_are_those_of_its_rows(model: str, metric: str) -> None:
    keys, columns, tags = SCRIPT.reference_columns(model)
    labels = RowLabels(SCRIPT.reference_labels(model), np.arange(len(keys)))
    estimator = build(keys, columns, Overrides(), "demo", tags, labels=labels).estimator
    assert estimator is not None
    known = {one.name: one.value for one in estimator.constant}[metric]
    assert known is not None
    assert known > 0.7  # half if they were of other rows


def only(script: Script, *names: str) -> Script:
    """The script with some of its models, and what happens to them."""
    return replace(
        script,
        models=tuple(model for model in script.models if model.name in names),
        episodes=tuple(episode for episode in script.episodes if episode.model in names),
    )


def test_content_does_not_depend_on_how_it_is_polled() -> None:
    for stream in ("predictions", "labels"):
        whole, _ = source(SCRIPT, stream, hours=3)
        whole.open({})
        bits, clock = source(SCRIPT, stream, speed=100.0)
        bits.open({})
        expected = read(whole)
        found: list[tuple[int, bytes]] = []
        while len(found) < len(expected):
            clock.sleep(1.7)
            messages = bits.poll(3, 0.4)
            assert len(messages) <= 3
            found.extend(zip(messages.partition.tolist(), messages.values, strict=True))
        for partition in range(len(SCRIPT.models)):
            of = [[value for p, value in part if p == partition] for part in (expected, found)]
            assert of[0] == of[1][: len(of[0])]
            assert len(of[0]) == 12


def test_another_seed_gives_other_events() -> None:
    first, second = (read(demo) for demo in (_opened(SCRIPT), _opened(Script.default(seed=8))))
    assert len(first) == len(second) > 0
    assert all(a != b for (_, a), (_, b) in zip(first, second, strict=True))


def _opened(script: Script) -> DemoSource:
    demo, _ = source(script, "predictions", hours=0.5)
    demo.open({})
    return demo


@pytest.mark.parametrize("stream", ["predictions", "labels"])
def test_resumes_from_positions(stream: Stream) -> None:
    straight, _ = source(SCRIPT, stream, hours=14)
    straight.open({})
    expected = read(straight)

    first, _ = source(SCRIPT, stream, hours=11)
    first.open({})
    before = read(first)
    positions = {
        partition: len([1 for number, _ in before if number == partition.number])
        for partition in SCRIPT.partitions(stream)
    }
    second, clock = source(SCRIPT, stream)
    second.open(positions)
    clock.sleep(3)
    after = read(second)
    assert sorted(before + after) == sorted(expected)
    assert len(after) == 12 * len(SCRIPT.models)


def test_polls_wait_for_the_next_message_and_no_longer() -> None:
    demo, clock = source(ALONE, "predictions")
    demo.open({})
    began = clock.time
    assert len(demo.poll(10, 0.1)) == 0
    assert clock.time == pytest.approx(began + 0.1)
    messages = demo.poll(10, 5.0)
    assert len(messages) == 1
    assert clock.time == pytest.approx(began + 0.25)
    (partition,) = messages.partitions
    assert messages.positions == {partition: 1}
    assert messages.caught_up == {0}
    assert str(messages.origin(0)) == "demo[0]@0"
    assert not messages.finished
    clock.sleep(1.0)
    assert demo.lag() == {partition: 4}
    assert demo.poll(3, 0.0).caught_up == frozenset()
    assert demo.lag() == {partition: 1}


def test_a_message_has_come_when_it_is_due() -> None:
    dues = [due(offset) for offset in range(3 * 97)]
    assert dues == sorted(dues)
    assert dues[-1] == 3 * 24 * HOUR
    for offset, at in enumerate(dues):
        assert count(at - 1) <= offset < count(at)


def test_event_time_never_runs_back() -> None:
    clock = FakeClock()
    events = EventClock(clock, 100.0, 60.0)
    assert events.now() == 100.0
    clock.time += 2
    assert events.now() == 220.0
    events.skip_to(150.0)
    assert events.now() == 220.0
    events.skip_to(400.0)
    clock.time += 1
    assert events.now() == 460.0
    with pytest.raises(ValueError, match="more than 0"):
        EventClock(clock, 0.0, 0.0)
    later = EventClock(clock, 100.0, 60.0, running=False)
    clock.time += 5
    assert later.now() == 100.0
    later.begin()
    clock.time += 1
    assert later.now() == 160.0


def test_events_decode_and_the_broken_ones_are_rejected_for_the_reasons_meant() -> None:
    script = Script.default(rate=2)
    found = decoded(only(script, "churn", "demand"), "predictions", hours=11)
    # The cut-off message of each model comes in the eleventh hour.
    reasons = Counter(rejected.reason for rejected in found.rejected)
    assert reasons["undecodable"] == 2
    assert set(reasons) == {"undecodable", "invalid", "time_invalid", "unknown_model"}
    rows = sum(map(len, found.predictions))
    assert 0 < reasons.total() < 0.002 * rows
    assert found.spoiled_cells == found.dropped_cells == 0
    assert sum(len(b) for b in found.predictions if b.model == "churn") == pytest.approx(
        11 * 4000 * np.mean([script.volume(script.start + h * HOUR) for h in range(11)]), rel=0.05
    )


def test_traffic_is_a_little_out_of_order_late_and_repeated() -> None:
    (batch,) = decoded(
        replace(ALONE, models=(replace(ALONE.models[0], per_hour=20_000),)), "predictions", 6.0
    ).predictions
    behind = np.maximum.accumulate(batch.time) - batch.time
    assert np.mean(behind > 0) > 0.3
    late = np.mean(behind > 5 * 60_000)
    assert 0.0005 < late < 0.005
    assert batch.time.min() >= ALONE.start
    repeated = 1 - len(np.unique(batch.keys, axis=0)) / len(batch)
    assert 0.0002 < repeated < 0.001


def test_every_label_belongs_to_a_prediction() -> None:
    predictions = decoded(SCRIPT, "predictions", hours=20)
    labels = decoded(SCRIPT, "labels", hours=20)
    assert {rejected.reason for rejected in labels.rejected} == {"undecodable"}
    made = {batch.model: batch for batch in predictions.predictions}
    came = {batch.model: batch for batch in labels.labels}
    assert set(made) == set(came) == set(CAST)
    share = {}
    for name, batch in came.items():
        known = {
            tuple(key): time for key, time in zip(made[name].keys.tolist(), made[name].time, strict=True)
        }
        keys = [tuple(key) for key in batch.keys.tolist()]
        assert set(keys) <= set(known)
        assert all(time > known[key] for key, time in zip(keys, batch.time, strict=True))
        share[name] = len(set(keys)) / len(known)
    # Labels of demand and triage come within hours, those of fraud within days.
    assert share["demand"] > 0.8
    assert share["triage"] > 0.8
    assert share["fraud"] < 0.4


def test_corrections_change_the_label_for_good() -> None:
    (batch,) = decoded(only(SCRIPT, "churn"), "labels", hours=24).labels
    assert isinstance(batch.label, Numbers)
    said: dict[tuple[int, ...], list[float]] = {}
    order = np.argsort(batch.time, kind="stable")
    for row in order:
        said.setdefault(tuple(batch.keys[row]), []).append(batch.label.values[row])
    changed = [labels for labels in said.values() if len(set(labels)) > 1]
    assert changed
    assert all(labels[0] == 0 and labels[-1] == 1 for labels in changed)


@pytest.mark.parametrize(
    ("change", "column", "size"),
    [
        ("shift", "income", 0.5),
        ("scale", "age", 2.0),
        ("mix", "contract", 0.4),
        ("new_category", "device", 0.2),
        ("missing", "age", 0.3),
        ("missing", "payment", 0.3),
        ("concept", "", 0.5),
    ],
)
def test_an_episode_changes_what_it_says_and_nothing_else(change: str, column: str, size: float) -> None:
    model = SCRIPT.model("churn")
    n = 20_000
    episode = Episode("churn", change, size, 0, 1, (column,) if column else (), name="brand-new")  # type: ignore[arg-type]
    plain = draw(model, generator(1, "x"), n)
    drifted = draw(model, generator(1, "x"), n, [(episode, np.ones(n))])
    for name, before in plain.features.items():
        after = drifted.features[name]
        if name != column:
            _same(before, after)
        elif isinstance(before, Numbers) and isinstance(after, Numbers):
            old, new = before.values[~np.isnan(before.values)], after.values[~np.isnan(after.values)]
            if change == "shift":  # of a lognormal's logarithm, whose sigma is 0.5
                assert np.log(new).mean() - np.log(old).mean() == pytest.approx(0.25)
            elif change == "scale":
                assert new.std() / old.std() == pytest.approx(2.0)
                assert new.mean() == pytest.approx(old.mean(), rel=0.02)
            else:
                assert np.isnan(after.values).mean() == pytest.approx(0.3 + 0.7 * 0.01, abs=0.01)
        elif isinstance(before, Categories) and isinstance(after, Categories):
            if change == "mix":
                assert np.mean(after.codes != before.codes) == pytest.approx(0.4 * 0.73, abs=0.02)
            elif change == "new_category":
                assert after.names[-1] == "brand-new"
                assert np.mean(after.codes == len(after.names) - 1) == pytest.approx(0.2, abs=0.01)
            else:
                assert np.mean(after.codes < 0) == pytest.approx(0.3, abs=0.01)
    quality = [np.mean(d.prediction.values == d.truth) for d in (plain, drifted)]  # type: ignore[union-attr]
    if change == "concept":
        _same(plain.prediction, drifted.prediction)
        assert quality[1] < quality[0] - 0.05
    else:
        assert quality[1] > quality[0] - 0.05


def _same(before: Numbers | Categories, after: Numbers | Categories) -> None:
    old, new = (c.values if isinstance(c, Numbers) else c.codes for c in (before, after))
    np.testing.assert_array_equal(old, new)


def test_strength_ramps_up_and_down() -> None:
    gradual = Episode("m", "concept", 1.0, 10, 20, ramp=2)
    hours = np.array([9.0, 10.0, 11.0, 12.0, 17.0, 19.0, 20.0, 30.0])
    np.testing.assert_allclose(gradual.strength(hours), [0, 0, 0.5, 1, 1, 0.5, 0, 0])
    sudden = Episode("m", "concept", 1.0, 10, 20)
    np.testing.assert_allclose(sudden.strength(hours), [0, 1, 1, 1, 1, 1, 0, 0])


def test_the_script_says_when_inputs_drift() -> None:
    start = SCRIPT.start

    def drifting(model: str, first: float, last: float) -> bool:
        return SCRIPT.drifting(model, start + round(first * HOUR), start + round(last * HOUR))

    assert SCRIPT.drift_at == start + 12 * HOUR
    assert not drifting("churn", 0, 12)
    assert drifting("churn", 12, 13)
    assert drifting("churn", 11, 40)
    assert not drifting("churn", 30, 96 + 12)
    assert drifting("churn", 96 + 12, 96 + 13)  # the episodes come again
    assert not drifting("demand", 0, 1000)
    assert not drifting("triage", 0, 1000)  # its quality falls, its inputs do not move
    assert drifting("fraud", 50, 51)
    assert replace(SCRIPT, episodes=()).drift_at is None
    time = np.array([start + 15 * HOUR, start + (96 + 15) * HOUR])
    assert [episode.change for episode, strength in SCRIPT.changes("churn", time) if strength.all()] == [
        "shift",
        "mix",
    ]


def test_wrong_names_are_refused_with_the_choices() -> None:
    for episode, text in (
        (
            Episode("chrun", "concept", 1.0, 0, 1),
            "no such model; accepted: churn, demand, fraud, offers, triage",
        ),
        (Episode("triage", "shift", 1.0, 0, 1, ("age",)), "no column 'age'; accepted: account_value"),
    ):
        with pytest.raises(ValueError, match=text):
            replace(SCRIPT, episodes=(episode,))
    with pytest.raises(KeyError, match="accepted: churn"):
        SCRIPT.model("chrun")


def test_traffic_has_a_season_and_a_mean_of_one_on_workdays() -> None:
    hours = [SCRIPT.volume(SCRIPT.start + h * HOUR) for h in range(7 * 24)]
    assert np.mean(hours[: 5 * 24]) == pytest.approx(1.0)
    assert np.mean(hours[5 * 24 :]) == pytest.approx(0.8)
    assert int(np.argmax(hours[:24])) == 15


def test_references_know_what_the_events_hold() -> None:
    schemas = {name: reference(name).schema for name in CAST}
    assert schemas["churn"].task == schemas["fraud"].task == "binary"
    assert schemas["churn"].positive == "1"
    assert schemas["demand"].task == "regression"
    assert schemas["triage"].classes == ("bug", "question", "refund", "urgent")
    assert len(schemas["churn"].features) == 16
    assert reference("churn").segments == {"region": ("eu", "us", "apac")}
    assert not any(reference(name).notes for name in CAST)


def test_drift_is_found_when_it_comes_and_nothing_before() -> None:
    judge = WindowJudge(JudgeSpec())
    found = decoded(only(SCRIPT, "churn"), "predictions", hours=15).predictions
    (batch,) = found
    hour = (batch.time - SCRIPT.start) // HOUR
    drifted = [
        h for h in range(15) if _drifts(judge, reference("churn"), batch.take(np.flatnonzero(hour == h)))
    ]
    assert drifted
    assert min(drifted) in (12, 13)


def _drifts(judge: WindowJudge, healthy: Reference, batch: Predictions) -> bool:
    window = healthy.table.zero()
    _, first = np.unique(batch.keys[:, 0], return_index=True)
    part = batch.take(np.sort(first))
    window.update(healthy.table.encode(part.keys[:, 0], columns_of(part)))
    return any(j.verdict.status is Status.DRIFT for j in judge.judge(healthy.summary, window))
