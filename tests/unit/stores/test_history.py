"""The history: what went in comes out, once, whatever happens to the database meanwhile."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from observer.errors import Permanent, Retryable
from observer.model import ReferenceState
from observer.stores.history import writer as writing
from observer.stores.history.database import Database
from observer.stores.history.nouns import MOST_STREAMS
from observer.stores.history.reader import RECENT, HistoryReader
from observer.stores.history.spec import HistorySpec
from observer.stores.history.writer import HistoryWriter, prune
from tests.unit.stores.results import HOUR, START, quality, stream, window
from tests.unit.web.past import standing


def never() -> float:
    return 1_000.0


class Kept:
    """A history in a folder, written at once."""

    def __init__(self, folder, **writer) -> None:
        self.spec = HistorySpec()
        self.database = Database(self.spec.address(folder), patience=0.2)
        self.writer = HistoryWriter(self.database, self.spec, never, gather=0.0, retry=0.01, **writer)
        self.reader = HistoryReader(self.database)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.writer.close()
        self.database.close()


@pytest.fixture
def kept(tmp_path):
    with Kept(tmp_path) as one:
        yield one


def test_windows_come_back_as_they_were(kept):
    reports = [window(hour, status="drift" if hour == 2 else "stable") for hour in range(4)]
    for report in reports:
        kept.writer.window(report)
    assert kept.writer.flush()
    expected = [replace(one, findings=(), evidence=None) for one in reversed(reports)]
    assert kept.reader.windows("churn", "1") == expected
    assert kept.reader.windows("churn", "1", before=START + 2 * HOUR, limit=1) == expected[2:3]
    found = kept.reader.findings("churn")
    assert [finding for _, finding in found] == list(reports[2].findings)
    assert kept.reader.finding(found[0][0]) == found[0][1]
    assert kept.reader.finding("nothing") is None
    assert [report for _, report in kept.reader.evidence("churn", "1", "inputs")] == [
        one.evidence for one in reversed(reports)
    ]


def test_the_latest_window_and_the_recent_ones_make_a_version(kept):
    for hour in range(RECENT + 10):
        kept.writer.window(window(hour, tier="page" if hour > 50 else "", rows=100 + hour))
    kept.writer.window(window(3))  # told again
    kept.writer.window(window(RECENT + 9, segment="country=DE"))
    kept.writer.quality(quality(5))
    assert kept.writer.flush()
    (state,) = kept.reader.versions()
    assert (state.model, state.version, state.start) == ("churn", "1", START + (RECENT + 9) * HOUR)
    assert [start for start, _, _ in state.recent] == [START + (10 + i) * HOUR for i in range(RECENT)]
    assert state.recent[-1] == (state.start, 100 + RECENT + 9, "stable")
    assert state.inputs is not None
    assert state.inputs.incident == START
    assert state.quality is not None
    assert state.quality.watch == "quality"
    assert kept.reader.versions("other") == []
    assert [one.key.segment for one in kept.reader.segments("churn", "1", state.start)] == ["country=DE"]


def test_a_cohort_told_again_replaces_itself(kept):
    for value in (0.8, 0.85, 0.9):
        kept.writer.quality(quality(value=value, final=value == 0.9))
        assert kept.writer.flush()
    (cohort,) = kept.reader.quality("churn", "1")
    assert cohort == replace(quality(value=0.9), evidence=None)


def test_references_are_those_of_now(kept):
    kept.writer.reference(ReferenceState("churn", "1", "", 200, ""))
    kept.writer.reference(ReferenceState("churn", "1", "abc", 20_000, "training.parquet"))
    assert kept.writer.flush()
    assert kept.reader.references() == [ReferenceState("churn", "1", "abc", 20_000, "training.parquet")]


def test_the_revision_grows_only_with_what_is_written(kept):
    kept.writer.window(window())
    assert kept.writer.flush()
    first = kept.reader.revision()
    assert kept.reader.revision() == first
    kept.writer.window(window(1))
    assert kept.writer.flush()
    assert kept.reader.revision() > first


@settings(max_examples=25)
@given(names=st.lists(st.text(max_size=20), min_size=3, max_size=3), times=st.integers(1, 3))
def test_any_names_and_any_repetition_give_each_result_once(tmp_path_factory, names, times):
    model, version, column = names
    with Kept(tmp_path_factory.mktemp("history")) as kept:
        for _ in range(times):
            kept.writer.window(window(0, model, version, column=column, status="drift", tier="page"))
        assert kept.writer.flush()
        assert len(kept.reader.windows(model, version)) == 1
        assert len(kept.reader.findings(model, version)) == 2


def test_names_that_are_no_unicode_are_kept_too(kept):
    kept.writer.window(window(0, "\udcff", column="\udc00"))
    assert kept.writer.flush()
    (found,) = kept.reader.windows("\udcff", "1")
    assert found.key.model == "?"
    assert kept.writer.counts["refused"] == 0


def test_many_streams_leave_the_raised_and_the_strongest(kept):
    streams = tuple(stream(f"c{i}", evidence=i / 100) for i in range(500))
    report = window()
    assert report.evidence is not None
    raised = stream("raised", "ticket", 0.0)
    kept.writer.window(replace(report, evidence=replace(report.evidence, streams=(*streams, raised))))
    assert kept.writer.flush()
    ((_, found),) = kept.reader.evidence("churn", "1", "inputs")
    assert len(found.streams) == MOST_STREAMS
    assert found.streams[0] == raised
    assert {one.subject for one in found.streams[1:]} == {f"c{i}" for i in range(451, 500)}


def test_of_each_objective_only_the_latest_is_read(kept):
    """Whatever there is of the past: the page asks at every look."""
    whose = [
        {"model": model, "name": name, "version": version, "segment": segment}
        for model, name, version, segment in (
            ("a", "good", "", ""), ("a", "good", "1", ""), ("a", "good", "1", "country=DE"),
            ("a b", "good", "", ""), ("b", "fast", "", ""), ("b", "good", "", ""),
        )
    ]  # fmt: skip
    steps = []

    def looked() -> list[int]:
        with kept.database.reading() as connection:
            raw = connection.connection.dbapi_connection
        count = [0]
        raw.set_progress_handler(lambda: count.__setitem__(0, count[0] + 1), 1)
        found = kept.reader.objectives()
        steps.append(count[0])
        raw.set_progress_handler(None, 1)
        return [(one.model, one.name, one.version, one.segment, one.good) for one in found]

    assert kept.reader.objectives() == []
    for number in (2, 300):
        for at in range(number):
            for one in whose:
                kept.writer.objective(replace(standing(), good=at, **one), START + at * HOUR)
        assert kept.writer.flush()
        assert looked() == [(*one.values(), number - 1) for one in whose]
    assert [one.name for one in kept.reader.objectives("b")] == ["fast", "good"]
    assert [one.model for one in kept.reader.objectives("a b")] == ["a b"]
    assert kept.reader.objectives("aa") == kept.reader.objectives("c") == []
    assert steps[1] < 1.5 * steps[0], "no step for a row of the past"


@pytest.mark.parametrize("flushed", [True, False])
def test_a_window_told_again_after_a_restart_was_not_seen_just_now(kept, monkeypatch, flushed):
    """Else a model that has long been silent would look alive after each restart."""
    kept.writer.window(window(1))
    assert not flushed or kept.writer.flush()
    monkeypatch.setattr(kept.writer, "_now", lambda: 2_000.0)
    kept.writer.window(window(1))
    assert kept.writer.flush()
    assert [one.seen for one in kept.reader.versions()] == [never()]
    kept.writer.window(window(2))
    assert kept.writer.flush()
    assert [one.seen for one in kept.reader.versions()] == [2_000.0]


def test_what_is_older_than_the_retention_goes_by_each_models_own_time(kept):
    for model, hours in (("old", range(10)), ("new", range(1_000, 1_010))):
        for hour in hours:
            kept.writer.window(window(hour, model, status="drift"))
            kept.writer.quality(quality(hour, model))
    assert kept.writer.flush()
    prune(kept.database, HistorySpec.model_validate({"retention": "3h"}))
    for model, newest in (("old", 9), ("new", 1_009)):
        starts = [one.key.start for one in kept.reader.windows(model, "1")]
        assert starts == [START + hour * HOUR for hour in range(newest, newest - 4, -1)]
        assert len(kept.reader.findings(model)) == 4
        assert len(kept.reader.quality(model, "1")) == 4
    assert [one.version for one in kept.reader.versions("old")] == ["1"], "the last window of its model"
    kept.writer.window(window(9, "new", version="gone"))
    assert kept.writer.flush()
    prune(kept.database, HistorySpec.model_validate({"retention": "3h"}))
    assert [one.version for one in kept.reader.versions("new")] == ["1"]


def test_no_transaction_drops_more_than_a_piece(kept, monkeypatch):
    """Else a shorter retention would lock the ledger out for minutes, or be cut off each time."""
    for hour in range(25):
        kept.writer.window(window(hour))
    assert kept.writer.flush()
    monkeypatch.setattr(writing, "_PIECE", 4)
    dropped = []
    here = threading.current_thread()

    def note(_connection, cursor, statement, *_):
        if statement.startswith("DELETE") and threading.current_thread() is here:  # the writer prunes, too
            dropped.append(cursor.rowcount)

    event.listen(kept.database._engine, "after_cursor_execute", note)
    prune(kept.database, HistorySpec.model_validate({"retention": "4h"}), lambda: True)
    assert dropped == []
    prune(kept.database, HistorySpec.model_validate({"retention": "4h"}))
    assert max(dropped) == 4
    assert [one.key.start for one in kept.reader.windows("churn", "1")] == [
        START + hour * HOUR for hour in range(24, 19, -1)
    ]


@pytest.mark.parametrize(("model", "index"), [(None, "findings_raised "), ("m", "findings_raised_by_model ")])
def test_pages_and_tickets_are_found_without_passing_what_was_only_noted(kept, model, index):
    """Of a million findings all may be of the other kind, and the page asks again and again."""
    kept.writer.window(window(0, status="drift"))
    assert kept.writer.flush()
    plans, here = [], threading.get_ident()

    def explain(connection, _cursor, statement, parameters, *_):
        mine = threading.get_ident() == here  # the writer's thread prunes meanwhile
        if mine and "findings" in statement and not statement.startswith("EXPLAIN"):
            told = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.append(" ".join(row.detail for row in told) + " ")

    event.listen(kept.database._engine, "after_cursor_execute", explain)
    kept.reader.findings(model, None, ("page", "ticket"))
    assert len(plans) == 1
    assert index in plans[0]


def test_rows_beyond_the_most_go_oldest_first(kept):
    for hour in range(1_100):
        kept.writer.window(window(hour))
    assert kept.writer.flush(60)
    prune(kept.database, HistorySpec(max_rows=1_000))
    kept_starts = [one.key.start for one in kept.reader.windows("churn", "1", limit=2_000)]
    assert len(kept_starts) == 1_000
    assert min(kept_starts) == START + 100 * HOUR


def test_a_locked_database_delays_and_loses_nothing(tmp_path):
    with Kept(tmp_path) as kept:
        kept.writer.window(window(0))
        assert kept.writer.flush()
        other = sqlite3.connect(tmp_path / "history.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for hour in range(1, 5):
            kept.writer.window(window(hour))
        assert not kept.writer.flush(0.6)
        _until(lambda: kept.writer.problem)
        assert "locked" in kept.writer.problem
        kept.writer.window(window(2, rows=7))  # newer than what waits
        other.execute("ROLLBACK")
        other.close()
        assert kept.writer.flush()
        _until(lambda: not kept.writer.problem)
        assert [one.rows for one in kept.reader.windows("churn", "1")] == [900, 900, 7, 900, 900]


def test_a_full_buffer_drops_the_oldest_and_counts(tmp_path):
    blocked = sqlite3.connect(tmp_path / "history.sqlite", isolation_level=None)
    blocked.execute("PRAGMA journal_mode=WAL")
    blocked.execute("BEGIN IMMEDIATE")
    with Kept(tmp_path, limit=20_000) as kept:
        for hour in range(100):
            kept.writer.window(window(hour))
        _until(lambda: kept.writer.problem)
        blocked.execute("ROLLBACK")
        blocked.close()
        assert kept.writer.flush()
        counts = kept.writer.counts
        assert counts["full"] > 100
        found = kept.reader.windows("churn", "1", limit=200)
        assert found[0].key.start == START + 99 * HOUR
        assert 0 < len(found) < 50
        # A window in hand while the database was away is no longer in the buffer's count.
        assert counts["written"] + counts["full"] >= 100


def test_a_database_that_cannot_be_had_is_told_without_its_password(tmp_path):
    url = "postgresql+psycopg://observer:s3cret@127.0.0.1:1/none"
    database = Database(url, patience=0.2)
    with pytest.raises(Retryable) as told:
        HistoryReader(database).revision()
    assert "s3cret" not in str(told.value)
    assert "127.0.0.1:1" in str(told.value)
    writer = HistoryWriter(database, HistorySpec(), never, gather=0.0, retry=0.01)
    writer.window(window())
    _until(lambda: writer.problem)
    assert "s3cret" not in writer.problem
    writer.close()
    database.close()


def test_a_schema_of_a_newer_service_is_refused(tmp_path):
    with Kept(tmp_path) as kept:
        kept.writer.window(window())
        assert kept.writer.flush()
    with sqlite3.connect(tmp_path / "history.sqlite") as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    database = Database(HistorySpec().address(tmp_path))
    with pytest.raises(Permanent, match="newer service"):
        database.prepare()
    database.close()


def _prepare(folder, barrier, failed) -> None:
    database = Database(HistorySpec().address(folder), patience=20)
    barrier.wait(30)
    try:
        database.prepare()
        HistoryReader(database).revision()
    except Exception as error:
        failed.put(repr(error))
    database.close()


def test_two_processes_that_start_at_once_make_one_schema(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    barrier, failed = spawn.Barrier(2), spawn.Queue()
    processes = [spawn.Process(target=_prepare, args=(tmp_path, barrier, failed)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert failed.empty()


def test_urls_that_are_none_are_refused_by_name():
    for url in ("mysql://h/d", "nonsense", "sqlite://"):
        with pytest.raises(ValueError, match="accepted: postgresql://"):
            HistorySpec(url=url)  # type: ignore[arg-type]


def _until(met) -> None:
    given_up = threading.Event()
    for _ in range(3_000):
        if met():
            return
        given_up.wait(0.02)
    raise AssertionError("not within 60 s")
