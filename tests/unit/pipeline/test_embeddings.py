"""Embeddings from events to verdicts: learnt, summed, exact."""

from __future__ import annotations

import numpy as np
import pytest

from detectors import catalog
from detectors.base import Numbers, Status, Vectors
from detectors.summaries import sample
from observer.references import Overrides, build
from tests.unit.pipeline.service import config, event, payloads, run
from tests.unit.pipeline.test_windows import LEARN, MINUTE, at, model

NAME = "@embedding.text"
ROWS = 150


def events(minutes: int, changed: int = 99) -> list:
    """`ROWS` a minute; some vectors are missing or too short; from minute `changed` on they lie elsewhere."""
    draw = np.random.default_rng(3)
    out = []
    for minute in range(minutes):
        for i in range(ROWS):
            vector = np.round(draw.normal(size=6) + (1.0 if minute >= changed else 0.0), 4).tolist()
            given = {0: {}, 1: {"embeddings": {"text": vector[:5]}}}.get(
                i % 10, {"embeddings": {"text": vector}}
            )
            time = at(minute) + i * (MINUTE // ROWS)
            out.append(event(f"{minute}-{i}", time, tags={"country": "DE" if i % 2 else "FR"}, **given))
    return out


@pytest.mark.parametrize("privacy", ["keep", "off"])
def test_from_events_to_a_verdict(tmp_path, privacy):
    wanted = model(reference=LEARN, segments=[{"tag": "country"}], features={NAME: {"privacy": privacy}})
    settings = config(tmp_path, models={"m": wanted})
    references = []

    def look(service):
        references.append(service.pipeline.monitors["m"].references["1"])

    ran = run(settings, {0: payloads(events(8, changed=6))}, size=40, during=look)
    (reference,) = references
    if privacy == "off":
        assert reference.table.embeddings.names == ()
        return
    assert reference.table.embeddings.names == (NAME,)
    detector = catalog.build("rff_mmd")
    found = {}
    for minute in (5, 6):
        summary = ran.kept.windows["m", "1", "", at(minute)]
        assert summary.embeddings.counts.tolist() == [[ROWS * 8 // 10, ROWS // 10, ROWS // 10]]
        (found[minute],) = detector.compare(reference.summary.embeddings, summary.embeddings, 1e-4)
    assert (found[5].status, found[6].status) == (Status.STABLE, Status.DRIFT)
    last = [report for report in ran.reports.windows if not report.key.segment][-1]
    (column,) = (one for one in last.columns if one.column == NAME)
    assert (column.missing, column.invalid) == (0.1, 0.1)
    judged = {one.detector for one in last.judged if one.subject == NAME}
    assert judged == {"rff_mmd", "missing", "type_errors"}
    both = ran.kept.windows["m", "1", "country=DE", at(6)].embeddings
    both.merge(ran.kept.windows["m", "1", "country=FR", at(6)].embeddings)
    assert both.to_bytes() == ran.kept.windows["m", "1", "", at(6)].embeddings.to_bytes()


@pytest.mark.parametrize(("size", "crashes"), [(7, ()), (200, ()), (40, (3, 4))])
def test_sums_do_not_depend_on_polls_interleaving_or_crashes(tmp_path, size, crashes):
    log = payloads(events(6))
    logs = {0: log[::2], 1: log[1::2]}
    vectors = np.random.default_rng(1).normal(size=(300, 6)).astype(np.float32)
    keys, column = np.arange(300, dtype=np.uint64), Vectors(vectors.ravel(), np.full(300, 6, np.int32))
    profile = tmp_path / "m.reference"
    columns = {"@score": Numbers(np.linspace(0, 1, 300))}
    build(keys, columns, Overrides(task="binary"), "", vectors={NAME: column}).save(profile)

    def ran(folder, **options):
        (tmp_path / folder).mkdir()
        models = {"m": model(reference=str(profile), segments=[{"tag": "country", "values": ["DE", "FR"]}])}
        return run(config(tmp_path / folder, models=models), logs, checkpoint_every=0.1, **options).kept

    plain, other = ran("plain", size=1000), ran("other", size=size, crashes=crashes, seed=5)
    assert len(plain.windows) == 6 * 3
    for key, summary in plain.windows.items():
        assert summary.embeddings.counts.sum() == summary.n > 0
        assert other.windows[key].embeddings.to_bytes() == summary.embeddings.to_bytes()


def test_the_sketch_that_is_learnt_does_not_depend_on_polls(tmp_path):
    learnt = []
    for size in (15, 70, 1000):
        (tmp_path / str(size)).mkdir()
        settings = config(tmp_path / str(size), models={"m": model(reference=LEARN)})
        run(
            settings,
            {0: payloads(events(4))},
            size=size,
            during=lambda service: learnt.append(service.pipeline.monitors["m"].references["1"].version),
        )
    assert len(learnt) == 3
    assert len(set(learnt)) == 1


def test_only_what_is_learnt_from_holds_vectors(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "VECTOR_ROWS", 100)
    settings = config(tmp_path, models={"m": model(reference={"windows": 9, "rows": 100})})
    learners = []

    def look(service):
        learners.append(service.pipeline.monitors["m"].learners["1"])

    ran = run(settings, {0: payloads(events(5))}, size=40, during=look)
    assert len(learners[0].sample.vectors[NAME]) == 100
    for (_, _, _, start), summary in ran.kept.windows.items():
        is_open = ("m", "1", "", start) in ran.kept.open
        assert set(summary.sample.vectors) == ({NAME} if is_open else set())
    assert 0 < len(ran.kept.open) < len(ran.kept.windows)
