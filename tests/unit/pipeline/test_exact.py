"""Whatever the polls, the interleaving and the crashes: the state equals one plain pass over the logs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observer.metrics import catalog
from tests.unit.pipeline import events
from tests.unit.pipeline.oracle import Expected, Rules, expect
from tests.unit.pipeline.service import HOUR, START, Kept, config, read, reference, reopen, run

SECOND = 1000
REFERENCE = {"x": list(range(10)) * 30, "c": ["a", "b", "b"] * 100}
MODELS = {
    "a": {"window": {"size": "60s", "lateness": "5s", "late": "fold"}},
    "b": {"window": {"size": "40s", "lateness": "3s", "late": "count"}},
}
RULES = {
    "a": Rules(60 * SECOND, 5 * SECOND, "fold", {"x": int, "c": str}, {"country": ("DE", "FR")}),
    "b": Rules(40 * SECOND, 3 * SECOND, "count", {"x": int, "c": str}, {"country": ("DE", "FR")}),
}


def setting(folder: Path, horizon: str, **fields):
    path = folder / "reference"
    if not path.exists():
        reference(REFERENCE).save(path)
    common = {"reference": path, "segments": [{"tag": "country", "values": ["DE", "FR"]}], "min_labels": 1}
    models = {name: {**common, **own} for name, own in MODELS.items()}
    return config(folder, models=models, labels={"horizon": horizon}, learn_unknown=False, **fields)


def same(kept: Kept, wanted: Expected) -> None:
    """Every count equal, every float to 1e-9."""
    assert {key: summary.n for key, summary in kept.windows.items()} == {
        key: window.rows for key, window in wanted.windows.items()
    }
    for key, window in wanted.windows.items():
        summary = kept.windows[key]
        assert summary.counts.duplicates == window.duplicates, key
        if window.rows:
            assert numbers(summary) == {value: n for value, n in window.values["x"].items() if n}, key
            assert categories(summary) == {value: n for value, n in window.values["c"].items() if n}, key
    assert {key: predictions for key, (predictions, _) in kept.cohorts.items()} == {
        key: cohort.predictions for key, cohort in wanted.cohorts.items()
    }
    for key, cohort in wanted.cohorts.items():
        outcomes = kept.cohorts[key][1]
        confusion = {("0", "0"): 0, ("0", "1"): 0, ("1", "0"): 0, ("1", "1"): 0, **cohort.confusion}
        assert outcomes.confusion.rows[:, :2].ravel().tolist() == list(confusion.values()), key
        assert not outcomes.confusion.rows[:, 2].any()
        assert outcomes.squared == pytest.approx(cohort.squared, rel=1e-9, abs=1e-9), key
        assert outcomes.log == pytest.approx(cohort.log, rel=1e-9, abs=1e-9), key
    assert kept.pending == (wanted.waiting_predictions, wanted.waiting_labels)


def numbers(summary) -> dict:
    counts = summary.numbers.counts[summary.numbers.names.index("x")]
    bins = summary.numbers.bins
    inside = {value: int(counts[1 + value]) for value in range(10)}
    assert summary.numbers.counts.sum() == summary.n * len(summary.numbers.names)
    above = int(counts[bins + 1])
    found = {**inside, "above": above, "missing": int(counts[bins + 2]), "wrong": int(counts[bins + 6])}
    return {value: count for value, count in found.items() if count}


def categories(summary) -> dict:
    counts = summary.categories.counts[summary.categories.names.index("c")]
    top = summary.categories.vocabularies.top
    names = summary.categories.vocabulary[summary.categories.names.index("c")]
    found = {name: int(counts[i]) for i, name in enumerate(names)}
    found |= {"new": int(counts[top + 1]), "missing": int(counts[top + 2])}
    return {value: count for value, count in found.items() if count}


def fold_values(wanted: Expected) -> Expected:
    """10 and 11 lie above the reference."""
    for window in wanted.windows.values():
        x = window.values["x"]
        above = x.pop(10, 0) + x.pop(11, 0)
        if above:
            x["above"] = above
    return wanted


def logs(seed: int, horizon: int, count: int = 500):
    return events.make(
        seed, count, start=START, step=500, partitions=3, models=["a", "b"], horizon=horizon,
        disorder=3 * SECOND, very_late=75 * SECOND, delay=20 * SECOND,
    )  # fmt: skip


@settings(max_examples=6)
@given(
    seed=st.integers(0, 10_000),
    size=st.sampled_from([9, 40, 200, 5000]),
    pauses=st.sampled_from([0.0, 0.6]),
    crashes=st.lists(st.integers(1, 12), max_size=4),
)
def test_a_run_equals_one_plain_pass(tmp_path_factory, seed, size, pauses, crashes):
    predictions, labels = logs(seed, HOUR, count=200)
    wanted = fold_values(expect(RULES, predictions, labels, HOUR))
    folder = tmp_path_factory.mktemp("exact")
    ran = run(
        setting(folder, "1h"), predictions, labels,
        seed=seed, size=size, pauses=pauses, crashes=crashes, checkpoint_every=0.1,
    )  # fmt: skip
    same(ran.kept, wanted)
    same(reopen(setting(folder, "1h")), wanted)
    for stream in ("predictions", "labels"):
        letters = {(one.origin.partition, one.origin.offset) for one in ran.letters[stream].taken}
        assert letters == set(wanted.bad[stream])


@pytest.mark.parametrize("seed", range(3))
def test_labels_at_the_edge_of_the_horizon_join_whatever_the_interleaving(tmp_path, seed):
    """Old joins are forgotten while the run goes on, and what counts is the event times alone."""
    predictions, labels = logs(seed, 40 * SECOND, count=400)
    wanted = fold_values(expect(RULES, predictions, labels, 40 * SECOND))
    crashes = [[], [5, 3, 9]][seed % 2]
    ran = run(
        setting(tmp_path, "40s"), predictions, labels, seed=seed, size=[15, 60][seed // 2], pauses=0.3,
        crashes=crashes, checkpoint_every=0.1,
    )  # fmt: skip
    same(ran.kept, wanted)
    expired = ran.count(catalog.JOINS_EXPIRED)
    assert crashes or (expired["prediction",] > 0 and expired["label",] > 0)


@pytest.mark.parametrize("size", [20, 1000])
def test_every_event_read_ends_in_one_outcome(tmp_path, size):
    predictions, labels = logs(7, HOUR, count=400)
    wanted = expect(RULES, predictions, labels, HOUR)
    ran = run(setting(tmp_path, "1h"), predictions, labels, size=size)
    counts = ran.count(catalog.EVENTS)
    for stream, log in (("predictions", predictions), ("labels", labels)):
        read_ = sum(map(len, log.values()))
        assert sum(n for labels_, n in counts.items() if labels_[0] == stream) == read_
        assert sum(ran.count(catalog.EVENTS_REJECTED)[key] for key in ran.count(catalog.EVENTS_REJECTED)
                   if key[0] == stream) == len(wanted.bad[stream])  # fmt: skip
    for (model, outcome), n in wanted.outcomes.items():
        assert counts["predictions", model, outcome] == n, (model, outcome)
    assert min(wanted.outcomes["a", "late_folded"], wanted.outcomes["b", "late_counted"]) > 0


def test_verdicts_do_not_depend_on_polls_interleaving_or_crashes(tmp_path):
    predictions, labels = logs(11, HOUR, count=400)
    verdicts = []
    for i, (size, crashes) in enumerate([(10, ()), (60, (3, 6)), (2000, ())]):
        folder = tmp_path / str(i)
        folder.mkdir()
        ran = run(setting(folder, "1h"), predictions, labels, size=size, seed=i, crashes=crashes, ends=True)
        said = {}
        for report in ran.reports.windows:  # a crash may repeat one, never change it
            assert said.setdefault(report.key, report) == report
        verdicts.append(said)
    assert len(verdicts[0]) > 20
    assert verdicts[0] == verdicts[1] == verdicts[2]


def test_positions_come_from_the_state_and_are_told_outside(tmp_path):
    predictions, labels = logs(3, HOUR, count=200)
    ran = run(setting(tmp_path, "1h"), predictions, labels, crashes=[4])
    for source in ran.sources.values():
        assert source.committed == {p: len(source._logs[p.number]) for p in source.partitions}


def test_a_service_that_reads_nothing_changes_nothing(tmp_path):
    predictions, labels = logs(5, HOUR, count=200)
    settings_ = setting(tmp_path, "1h")
    before = run(settings_, predictions, labels).kept
    after = run(settings_, predictions, labels, turns=3).kept
    assert after.pending == before.pending
    assert {k: s.to_bytes() for k, s in after.windows.items()} == {
        k: s.to_bytes() for k, s in before.windows.items()
    }
    assert after.cohorts.keys() == before.cohorts.keys()


def test_what_is_lost_in_a_crash_is_what_was_not_saved(tmp_path):
    """Without a checkpoint before the crash the next process starts at the beginning."""
    predictions, labels = logs(2, HOUR, count=60)
    seen = []
    ran = run(
        setting(tmp_path, "1h"), predictions, labels, size=10, crashes=[3], checkpoint_every=10**6,
        during=lambda service: seen.append(read(service)),
    )  # fmt: skip
    same(ran.kept, fold_values(expect(RULES, predictions, labels, HOUR)))
    read_ = sum(sum(map(len, log.values())) for log in (predictions, labels))
    messages = sum(ran.count(catalog.SOURCE_MESSAGES).values())
    assert messages == read_  # by the last process alone


def test_models_do_not_disturb_each_other(tmp_path):
    predictions, labels = logs(8, HOUR, count=200)

    def only(model, log):
        return {
            p: [one for one in items if (json.loads(one) if one[:1] == b"{" else {}).get("model") == model]
            for p, items in log.items()
        }

    (tmp_path / "both").mkdir()
    (tmp_path / "alone").mkdir()
    both = run(setting(tmp_path / "both", "1h"), predictions, labels).kept
    alone = run(setting(tmp_path / "alone", "1h"), only("a", predictions), only("a", labels)).kept
    mine = {key: summary for key, summary in both.windows.items() if key[0] == "a"}
    # Lateness is decided per partition, over all models; what is in a window is not.
    assert {k: s.n for k, s in mine.items()} == {k: s.n for k, s in alone.windows.items()}
    for key, summary in mine.items():
        assert np.array_equal(summary.numbers.counts, alone.windows[key].numbers.counts)
