"""Labels in tables: what a reading takes, that each row is given once, and the quality that comes of it."""

from __future__ import annotations

import logging
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observer.app import Service
from observer.clock import SystemClock
from observer.codecs import AutoSpec, codec
from observer.config import Config, load
from observer.errors import ConfigError, Permanent, Retryable
from observer.model import Partition
from observer.sources import storage
from observer.sources.batch import BatchSource, TableReader, TableSpec
from observer.sources.batch.readers import SCHEMA, rows_of, sorted_by_time
from observer.sources.storage import Storage
from observer.stores.lmdb import LmdbState
from tests.unit.cli.conftest import events, labels, write

HOUR = 3_600_000
NOW = 500_000 * HOUR


def table(rows: list[tuple]) -> pa.Table:
    """Rows of id, label and time (hours before now)."""
    ids, labels, ages = zip(*rows, strict=True) if rows else ((), (), ())
    times = pa.array([NOW - round(age * HOUR) for age in ages], pa.timestamp("ms", "UTC"))
    return pa.table({"prediction": list(ids), "churned": pa.array(labels, pa.int64()), "at": times})


def spec(path: object, **more: object) -> TableSpec:
    return TableSpec.model_validate(
        {"path": str(path), "id": "prediction", "label": "churned", "time": "at", "model": "m", **more}
    )


class Tables:
    """A reader of rows in memory."""

    name = "memory"

    def __init__(self) -> None:
        self.rows: list[tuple] = []
        self.error: Exception | None = None
        self.since: int | None = None

    def read(self, since: int | None) -> pa.Table:
        self.since = since
        if self.error is not None:
            raise self.error
        return sorted_by_time([rows_of(table(self.rows), spec("x"), "at", "memory", since)])

    def close(self) -> None:
        pass


@pytest.fixture
def state(tmp_path):
    state = LmdbState(tmp_path / "state")
    yield state
    state.close()


def source(reader, state, *, every=1, look_back=24 * HOUR) -> BatchSource:
    made = BatchSource(reader, "labels", state, lambda: NOW / 1000, every=every, look_back=look_back)
    made.open({})
    return made


def reading(source: BatchSource) -> tuple[list[float], dict[Partition, int]]:
    """Labels of the next reading, as a decoder gives them, and the positions that it told."""
    decoder = codec(AutoSpec(), {}, learn_unknown=True)
    labels: list[float] = []
    positions: dict[Partition, int] = {}
    source._due, source._idle = 0.0, False
    while not source._idle:
        messages = source.poll(10, 5.0)
        positions |= messages.positions
        for batch in decoder.labels(messages, NOW / 1000).labels:
            labels += batch.label.values.tolist()
    return labels, positions


def test_each_row_is_given_once_and_late_ones_are_picked_up(state):
    reader = Tables()
    one = source(reader, state)
    reader.rows = [("a", 1, 5.0), ("b", 2, 1.0)]
    assert reading(one)[0] == [1, 2]
    assert reader.since is None
    reader.rows += [("old", 1, 24.9)]
    assert reading(one)[0] == [1]
    reader.rows += [("late", 3, 20.0), ("c", 4, 0.5), ("a", 5, 5.0), ("gone", 6, 30.0)]
    assert reading(one)[0] == [3, 5, 4]  # a has another label now; `gone` is older than the look-back
    assert reader.since == NOW - HOUR - 24 * HOUR
    assert reading(one)[0] == []
    one.close()


def test_it_goes_on_where_the_state_was_committed(tmp_path):
    reader = Tables()
    reader.rows = [("a", 1, 5.0), ("b", 2, 1.0)]
    state = LmdbState(tmp_path / "state")
    one = source(reader, state)
    _, positions = reading(one)
    assert positions == {Partition("labels", "memory", 0): NOW - HOUR}
    state.commit()
    reader.rows.append(("c", 3, 0.5))
    assert reading(one)[0] == [3]  # which a crash now forgets
    one.close()
    state.close()
    state = LmdbState(tmp_path / "state")
    again = BatchSource(reader, "labels", state, lambda: NOW / 1000, every=1, look_back=HOUR)
    again.open(positions)
    assert reading(again)[0] == [3]
    assert reader.since == NOW - 2 * HOUR
    again.close()
    state.close()


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(0, 70)), max_size=6), max_size=5
    )
)
@settings(max_examples=30)
def test_whatever_comes_when_every_row_is_given_once(tmp_path_factory, rounds):
    state = LmdbState(tmp_path_factory.mktemp("state"))
    reader, seen = Tables(), []
    one, positions = source(reader, state, look_back=100 * HOUR), {}
    for number, rows in enumerate(rounds):
        reader.rows += [(f"e{i}", label, float(age)) for i, label, age in rows]
        labels, news = reading(one)
        positions |= news
        seen += labels
        if number % 2:  # a restart
            one.close()
            one = BatchSource(reader, "labels", state, lambda: NOW / 1000, every=1, look_back=100 * HOUR)
            one.open(positions)
    assert sorted(seen) == sorted(label for _, label, _ in set(reader.rows))
    one.close()
    state.close()


def test_what_no_reading_looks_at_is_forgotten(state):
    reader = Tables()
    one = source(reader, state, look_back=8 * HOUR)
    reader.rows = [("old", 1, 100.0), ("older", 1, 200.0)]
    reading(one)
    assert len(state.spaces()) == 1
    reader.rows.append(("new", 1, 0.0))
    reading(one)
    assert list(state.spaces()) == [f"read/{NOW // (24 * HOUR)}"]
    one.close()


def test_a_row_of_the_future_moves_no_position(state):
    reader = Tables()
    reader.rows = [("a", 1, 1.0), ("b", 1, -5000.0)]
    one = source(reader, state)
    assert set(reading(one)[1].values()) == {NOW}
    one.close()


def test_a_failure_is_told_once_and_tried_again(state, caplog):
    reader = Tables()
    reader.error = Retryable("the store is away")
    one = source(reader, state)
    with caplog.at_level(logging.WARNING):
        while not caplog.records:
            assert len(one.poll(10, 1.0)) == 0
        one.poll(10, 0.1)
        reader.error = None
        reader.rows = [("a", 1, 1.0)]
        assert reading(one)[0] == [1]
    assert [record.getMessage() for record in caplog.records] == [
        "labels cannot be read; trying again: the store is away",
        "labels can be read again: memory",
    ]
    one.close()


def test_read_once_it_ends_and_a_failure_ends_the_run(state):
    reader = Tables()
    reader.rows = [("a", 1, 1.0)]
    one = source(reader, state, every=0)
    while not (messages := one.poll(10, 1.0)).finished:
        pass
    assert len(messages) == 1
    one.close()
    reader.error = Permanent("access refused")
    two = source(reader, state, every=0)
    with pytest.raises(Permanent, match="access refused"):
        list(iter(lambda: two.poll(10, 1.0), None))
    two.close()


# Files


def test_files_are_read_when_they_are_new_or_were_written_again(tmp_path):
    pa.parquet.write_table(table([("a", 1, 2.0), ("b", None, 1.0)]), tmp_path / "1.parquet")
    pa.csv.write_csv(table([("007", 1, 3.0)]), tmp_path / "2.csv")
    reader = TableReader(spec(tmp_path / "*"), Storage())
    first = reader.read(None)
    assert first.column_names == list(SCHEMA)
    assert first["id"].to_pylist() == ["007", "a"]  # in order of time; without a label it is not there yet
    assert first["time"].to_pylist() == [NOW - 3 * HOUR, NOW - 2 * HOUR]
    assert reader.read(None).num_rows == 0
    pa.parquet.write_table(table([("a", 1, 2.0), ("b", 2, 1.0), ("c", 2, 0.5)]), tmp_path / "1.parquet")
    assert reader.read(NOW - HOUR)["id"].to_pylist() == ["b", "c"]


def test_tables_in_object_storage(state):
    system = fsspec.filesystem("memory")
    with system.open("memory://labels/1.parquet", "wb") as file:
        pa.parquet.write_table(table([("a", 1, 2.0)]), file)
    one = source(TableReader(spec("memory://labels/*.parquet"), Storage()), state)
    assert reading(one)[0] == [1]
    with system.open("memory://labels/2.parquet", "wb") as file:
        pa.parquet.write_table(table([("b", 2, 4.0)]), file)
    assert reading(one)[0] == [2]
    one.close()
    system.store.clear()


@pytest.mark.parametrize(
    ("column", "hour"),
    [
        (pa.array([20455], pa.date32()), 0),
        (pa.array([(20455 * 24 + 3) * HOUR * 1000], pa.timestamp("us")), 3),
        (["2026-01-02T03:00:00Z"], 3),
        (["2026-01-02T05:00:00+02:00"], 3),
        ([(20455 * 24 + 3) * HOUR], 3),
    ],
)
def test_times_of_every_kind(column, hour):
    given = pa.table({"id": ["a"], "label": [1], "time": column})
    rows = rows_of(given, TableSpec(path="x", model="m"), "time", "x", None)
    assert rows["time"].to_pylist() == [(20455 * 24 + hour) * HOUR]


def test_what_is_wrong_with_a_table_is_told(tmp_path):
    pa.parquet.write_table(pa.table({"id": ["a"], "time": [[1]], "label": [1]}), tmp_path / "x.parquet")
    with pytest.raises(ConfigError, match=r"x.parquet: no column 'model', 'was'; there are: id, time"):
        TableReader(TableSpec(path=str(tmp_path / "x.parquet"), label="was"), Storage()).read(None)
    with pytest.raises(ConfigError, match=r"column 'time' holds list<.*>; accepted: times"):
        TableReader(TableSpec(path=str(tmp_path / "x.parquet"), model="m"), Storage()).read(None)
    (tmp_path / "x.txt").write_text("?")
    with pytest.raises(ConfigError, match=r"accepted for labels in tables: .parquet, .csv"):
        TableReader(TableSpec(path=str(tmp_path / "x.txt")), Storage()).read(None)
    (tmp_path / "y.parquet").write_text("?")
    with pytest.raises(Retryable, match=r"y.parquet: cannot be read"):
        TableReader(TableSpec(path=str(tmp_path / "y.parquet")), Storage()).read(None)


@pytest.mark.parametrize(
    "label", [pa.array([{"a": 1}]), pa.array([[1]]), pa.array([b"\xff"]), pa.array([b"\xff"], pa.binary(1))]
)
def test_labels_that_are_none_are_told_and_end_nothing(tmp_path, state, caplog, label):
    made = table([("a", 1, 2.0)])
    pa.parquet.write_table(made.set_column(1, "churned", label), tmp_path / "x.parquet")
    one = source(TableReader(spec(tmp_path / "x.parquet"), Storage()), state)
    while not caplog.records:
        assert len(one.poll(10, 1.0)) == 0
    assert "accepted: text, numbers, booleans" in caplog.text
    one.close()


def test_files_that_do_not_go_together_are_not_taken_for_read(tmp_path):
    """Else the next reading would find them unchanged, and their labels would never count."""
    made = table([("a", 1, 2.0)])
    pa.parquet.write_table(made, tmp_path / "1.parquet")
    pa.parquet.write_table(made.set_column(1, "churned", pa.array(["yes"])), tmp_path / "2.parquet")
    reader = TableReader(spec(tmp_path / "*.parquet"), Storage())
    for _ in range(2):
        with pytest.raises(Permanent, match="several types"):
            reader.read(None)
    pa.parquet.write_table(made, tmp_path / "2.parquet")
    assert reader.read(None).num_rows == 2


def test_a_file_that_goes_while_it_is_looked_for_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "find", lambda pattern: [Path(pattern)])
    with pytest.raises(Retryable, match="there is no such file"):
        TableReader(spec(tmp_path / "gone.parquet"), Storage()).read(None)


# The service


def test_quality_is_that_of_the_same_labels_as_events(tmp_path: Path) -> None:
    """Two configurations, run to the end of their files: the same cohorts, matched label by label."""
    predictions = events(6)
    told = labels(predictions)
    write(tmp_path / "p.ndjson", predictions)
    write(tmp_path / "l.ndjson", told)
    rows = {name: [row[name] for row in told] for name in ("id", "label", "time")}
    halves = [pa.table(rows).slice(0, 600), pa.table(rows).slice(500)]
    for number, half in enumerate(halves):  # rows that overlap count once
        pa.parquet.write_table(half, tmp_path / f"l{number}.parquet")
    sources = {
        "events": "type: files, path: l.ndjson",
        "tables": 'type: table, path: "l?.parquet", model: m, every: 0, look_back: 1000d',
    }
    seen = {}
    for name, where in sources.items():
        (tmp_path / f"{name}.yaml").write_text(
            f"predictions: {{type: files, path: p.ndjson}}\nlabels: {{{where}, horizon: 1h}}\n"
            f"state: {{path: {name}}}\nmodels: {{m: {{task: binary, positive: '1', min_labels: 50}}}}\n"
        )
        seen[name] = _cohorts(load(tmp_path / f"{name}.yaml"))
    assert len(seen["events"]) == 6
    assert seen["tables"] == seen["events"]


def _cohorts(config: Config) -> dict:
    found: dict = {}

    class Keep:
        def window(self, report) -> None:
            pass

        def quality(self, report) -> None:
            values = {one.metric: round(one.value, 12) for one in report.values}
            found[report.start] = (report.labelled, values, report.correct)

    with Service(config, SystemClock(), reports=[Keep()], serve=False) as service:
        service.run(lambda: False)
    return found
