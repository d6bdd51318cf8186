"""The windows of a reference's own events: a watch that begins with them pages from its first day."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detectors.watch.history import Row
from detectors.watch.streams import TableStreams
from observer.history import history
from observer.pipeline.spec import ModelSpec
from observer.references import Overrides, Reference, build, load
from observer.sources.log import of_files
from observer.training import read
from tests.unit.pipeline.service import START, Ticking, config, event, payloads, run

DAY = 86_400_000
FIRST = START // DAY * DAY - DAY
ROWS = 40
WINDOW = {"size": "1d", "lateness": "0s", "min_events": 20}
SEGMENTS = [{"tag": "channel", "values": ["web"]}]
KNOWN = {"task": "binary", "positive": "1"}


def of(day: int, shift: float = 0.0) -> list[dict]:
    r = random.Random(day)
    return [
        event(
            f"{day}-{i}",
            FIRST + day * DAY + i * DAY // ROWS,
            features={"x": r.gauss(shift, 1), "plan": r.choice("ab")},
            prediction=r.choice("01"),
            tags={"channel": r.choice(["web", "web", "app"])},
        )
        for i in range(ROWS)
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Reference]:
    """A file of 60 days of events, and the reference with its windows."""
    path = tmp_path_factory.mktemp("history") / "past.ndjson"
    path.write_text("\n".join(json.dumps(one) for day in range(60) for one in of(day)))
    rows = read(path, "m")
    assert rows.timed
    spec = ModelSpec.model_validate({"window": WINDOW, "segments": SEGMENTS, **KNOWN})
    wishes = spec.overrides()
    reference = build(rows.keys, rows.columns, wishes, "past", rows.tags)
    return path, replace(
        reference, history=history(of_files(str(path), "predictions"), "m", reference, spec, wishes)
    )


def test_rows_are_those_of_each_window_and_segment(made):
    _, reference = made
    rows = [Row.from_bytes(one) for one in reference.history.rows]
    assert [row.start for row in rows] == [FIRST + day * DAY for day in range(60)]
    assert {segment for row in rows for segment in row.readings} >= {"", "channel=web"}
    streams = TableStreams(reference.summary)
    at = [stream.subject for stream in streams.values].index("x")
    everything = np.concatenate([[one["features"]["x"] for one in of(day)] for day in range(60)])
    day = np.array([one["features"]["x"] for one in of(7)])
    rank = (np.searchsorted(np.sort(everything), day) + 0.5).mean() / len(everything)
    # A bin holds at most 1/256 of the rows.
    assert rows[7].readings[""].values[at] == pytest.approx(rank - 0.5, abs=1 / 256)
    assert rows[7].readings[""].counts[at] == ROWS


def test_they_survive_the_file_and_are_no_part_of_the_version(made, tmp_path):
    _, reference = made
    reference.save(tmp_path / "r")
    again = load(tmp_path / "r")
    assert again.history == reference.history
    assert again.version == replace(reference, history=None).version


def live(folder: Path, reference: Reference, shift: float, **fields):
    reference.save(folder / "m.reference")
    judge = {"minimum": {"location": 0.15}}
    model = {
        "reference": folder / "m.reference",
        "window": WINDOW,
        "segments": SEGMENTS,
        "judge": judge,
        **KNOWN,
    }
    settings = config(folder, models={"m": {**model, **fields}}, checkpoint_every="1s")
    log = [one for day in range(60, 76) for one in of(day, shift if day > 62 else 0)]
    return run(settings, {0: payloads(log)}, clock=Ticking(FIRST / 1000 + 100 * 86_400))


def test_a_watch_that_begins_with_them_pages_at_once(made, tmp_path):
    ran = live(tmp_path, made[1], 2.0)
    overall = [report for report in ran.reports.windows if not report.key.segment]
    assert {report.evidence.stage for report in overall} == {"paging"}
    assert all(report.evidence.history >= 60 for report in overall)
    pages = [one for report in overall for one in report.findings if one.tier == "page"]
    assert [one.subject for one in pages] == ["x"]
    assert FIRST + 63 * DAY <= pages[0].since <= pages[0].window.start <= FIRST + 66 * DAY
    segments = {one.segment for one in overall[-1].evidence.streams}
    assert "channel=web" in segments


def test_without_a_change_there_is_no_page(made, tmp_path):
    ran = live(tmp_path, made[1], 0.0)
    assert all(one.tier != "page" for report in ran.reports.windows for one in report.findings)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"window": {**WINDOW, "size": "12h"}}, "they last 1d, the model's 12h"),
        ({"segments": []}, "their segments are channel, the model's "),
    ],
)
def test_windows_of_another_kind_are_not_used_and_that_is_told(made, tmp_path, caplog, fields, told):
    ran = live(tmp_path, made[1], 0.0, **fields)
    assert told in caplog.text
    first = next(report for report in ran.reports.windows if report.evidence is not None)
    assert first.evidence.stage == "learning"


def test_a_window_with_few_events_is_left_out(made):
    path, reference = made
    spec = ModelSpec.model_validate({"window": {**WINDOW, "min_events": ROWS + 1}, **KNOWN})
    assert history(of_files(str(path), "predictions"), "m", reference, spec, Overrides()).rows == ()
