from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observer.errors import Permanent
from observer.model import Messages, Origin, Partition, Rejected
from observer.sources.files import ROWS, FileDeadLetters, FileSource, FilesSpec


def read_all(source: FileSource, limit: int = 1000) -> list[Messages]:
    polls = [source.poll(limit, 0)]
    while not polls[-1].finished:
        polls.append(source.poll(limit, 0))
    return polls


def read(path: Path, limit: int = 1000, positions: dict[Partition, int] | None = None) -> list[Messages]:
    source = FileSource(FilesSpec(path=str(path)), "predictions")
    try:
        source.open(positions or {})
        return read_all(source, limit)
    finally:
        source.close()


def payloads(polls: list[Messages]) -> list[bytes]:
    return [value for poll in polls for value in poll.values]


def table(rows: int) -> pa.Table:
    return pa.table(
        {
            "id": [f"p{i}" for i in range(rows)],
            "model": ["m"] * rows,
            "time": pa.array(range(rows), pa.int64()),
            "features": pa.array([{"a": float(i)} for i in range(rows)], pa.struct([("a", pa.float64())])),
            "prediction": [i % 2 for i in range(rows)],
        }
    )


def decode(messages: list[bytes]) -> pa.Table:
    return pa.concat_tables([pa.ipc.open_stream(message).read_all() for message in messages])


LINES = st.lists(st.sampled_from([b"", b"  ", b"{}", b'{"a": 1}', b"not json", b"\xff"]), max_size=30)


@given(LINES, st.integers(1, 7), st.integers(0, 31), st.booleans(), st.sampled_from([b"\n", b"\r\n"]))
def test_a_line_is_a_message_at_its_line_number_from_any_position(
    tmp_path_factory, lines, limit, start, packed, newline
):
    path = tmp_path_factory.mktemp("lines") / ("events.ndjson.gz" if packed else "events.ndjson")
    text = newline.join(lines)
    path.write_bytes(gzip.compress(text) if packed else text)
    place = Partition("predictions", str(path), 0)
    polls = read(path, limit, {place: start})
    expected = [(i, line) for i, line in enumerate(lines) if line.strip() and i >= start]
    found = [(poll.origin(i).offset, value) for poll in polls for i, value in enumerate(poll.values)]
    assert found == expected
    assert all(len(poll) <= limit for poll in polls)
    stored = len(text.splitlines()) if text else 0
    assert polls[-1].positions[place] == max(start, stored)
    assert polls[-1].caught_up == {0}


@pytest.mark.parametrize("kind", ["parquet", "arrow", "feather", "ipc"])
def test_a_columnar_file_comes_as_arrow_messages(tmp_path, kind):
    whole = table(2 * ROWS + 5)
    path = tmp_path / f"events.{kind}"
    if kind == "parquet":
        pa.parquet.write_table(whole, path, row_group_size=ROWS + 3)
    elif kind == "feather":
        pa.feather.write_feather(whole, str(path), compression="lz4")
    else:
        new = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
        with new(str(path), whole.schema) as writer:
            writer.write_table(whole)
    messages = payloads(read(path))
    assert len(messages) >= 3
    assert all(pa.ipc.open_stream(message).read_all().num_rows <= ROWS for message in messages)
    assert decode(messages).equals(whole)
    for start in range(len(messages) + 1):
        assert payloads(read(path, 1, {Partition("predictions", str(path), 0): start})) == messages[start:]


def test_csv_types_hold_for_the_whole_file(tmp_path):
    path = tmp_path / "events.csv"
    head = "id,model,version,time,features.a,features.b,features.empty,features.day,tags.t,prediction\n"
    first = "".join(f"{i},m,1,{i},{i},true,,2026-01-01,7,1\n" for i in range(120_000))
    path.write_text(head + first + "x1,m,1.2,5,0.25,false,late,later,seven,0.5\n")
    found = decode(payloads(read(path)))
    assert found.num_rows == 120_001
    last = found.slice(120_000).to_pylist()[0]
    assert last == {
        "id": "x1",
        "model": "m",
        "version": "1.2",
        "time": 5,
        "features.a": 0.25,
        "features.b": False,
        "features.empty": "late",
        "features.day": "later",
        "tags.t": "seven",
        "prediction": 0.5,
    }
    assert found["features.empty"].null_count == 120_000


def test_all_files_of_a_glob_are_read_side_by_side(tmp_path):
    for name, count in {"b": 5, "a": 50, "c": 20}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(f'"{name}{i}"\n' for i in range(count)))
    polls = read(tmp_path / "*.jsonl", limit=9)
    assert [Path(part.source).name for part in polls[0].partitions] == ["a.jsonl", "b.jsonl", "c.jsonl"]
    assert set(polls[0].partition.tolist()) == {0, 1, 2}
    for number, name in enumerate("abc"):
        mine = [v for poll in polls for v, p in zip(poll.values, poll.partition, strict=True) if p == number]
        assert mine == [f'"{name}{i}"'.encode() for i in range({"a": 50, "b": 5, "c": 20}[name])]
    assert polls[-1].caught_up == {0, 1, 2}
    assert not any(poll.finished for poll in polls[:-1])


def test_more_files_than_the_limit_take_turns(tmp_path):
    for i in range(5):
        (tmp_path / f"{i}.jsonl").write_text(f"{i}\n{i}\n")
    polls = read(tmp_path / "*.jsonl", limit=2)
    assert all(len(poll) <= 2 for poll in polls)
    assert sorted(payloads(polls)) == sorted(str(i).encode() for i in range(5) for _ in range(2))


def test_positions_hold_when_new_files_change_the_numbers(tmp_path):
    (tmp_path / "b.jsonl").write_text("1\n2\n3\n")
    (tmp_path / "a.jsonl").write_text("8\n9\n")
    saved = {Partition("predictions", str(tmp_path / "b.jsonl"), 0): 2}
    assert payloads(read(tmp_path / "*.jsonl", positions=saved)) == [b"8", b"9", b"3"]


def test_progress_reaches_the_total(tmp_path):
    pa.parquet.write_table(table(25_000), tmp_path / "a.parquet")
    (tmp_path / "b.ndjson").write_text("{}\n" * 1000)
    (tmp_path / "c.ndjson.gz").write_bytes(gzip.compress(b"{}\n" * 1000))
    source = FileSource(FilesSpec(path=str(tmp_path / "*")), "predictions")
    source.open({})
    assert source.read_bytes == 0
    seen = []
    while not source.poll(300, 0).finished:
        seen.append(source.read_bytes)
    assert seen == sorted(seen)
    assert 0 < seen[0] < source.total_bytes
    assert source.read_bytes == source.total_bytes == sum(f.stat().st_size for f in tmp_path.iterdir())
    source.close()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.parquet", None, "is not a file"),
        ("events.txt", b"x", "unknown kind of file; accepted: .ndjson"),
        ("events.parquet", b"not parquet", "cannot be read as .parquet"),
        ("events.arrow", b"not arrow", "cannot be read as .arrow"),
        ("events.csv", b"a,b\n1,2\n3\n", "cannot be read as .csv"),
        ("events.ndjson.gz", b"not gzip", "cannot be read as .gz"),
        ("events.jsonl.gz", gzip.compress(b"{}\n" * 9999, mtime=0)[:-20], "cannot be read as .gz"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(Permanent, match=f"{name}.*{said}"):
        read(tmp_path / name)


def test_a_glob_without_files_and_a_folder_are_refused(tmp_path):
    with pytest.raises(Permanent, match=r"no file matches .*\*\.parquet"):
        read(tmp_path / "*.parquet")
    with pytest.raises(Permanent, match=r"not a file; give a glob such as"):
        read(tmp_path)


def test_dead_letters_are_lines_of_json(tmp_path):
    path = tmp_path / "deep" / "dead.ndjson"
    letters = FileDeadLetters(path)
    letters.reject(
        [
            Rejected(Origin("f.ndjson", 0, 7), '{"é\n'.encode(), "undecodable", "why\ud800", "m"),
            Rejected(Origin("f.ndjson", 0, 8), b"\xff\x00", "invalid", "why"),
        ]
    )
    letters.flush()
    first, second = (json.loads(line) for line in path.read_bytes().splitlines())
    assert first == {
        "reason": "undecodable",
        "detail": "why\ud800",
        "origin": "f.ndjson[0]@7",
        "model": "m",
        "payload": '{"é\n',
        "encoding": "utf-8",
    }
    assert (second["payload"], second["encoding"]) == ("/wA=", "base64")
    letters.close()


def test_dead_letters_go_on_after_a_line_cut_by_a_crash(tmp_path):
    path = tmp_path / "dead.ndjson"
    path.write_bytes(b'{"whole": 1}\n{"cut')
    letters = FileDeadLetters(path)
    letters.reject([Rejected(Origin("f", 0, 1), b"x", "invalid", "")])
    letters.close()
    lines = path.read_bytes().splitlines()
    assert lines[:2] == [b'{"whole": 1}', b'{"cut']
    assert json.loads(lines[2])["payload"] == "x"


def test_dead_letters_that_cannot_be_written_are_told_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Permanent, match=r"dead letters: .*cannot be written"):
        FileDeadLetters(tmp_path / "file" / "dead.ndjson")


def test_a_broken_file_is_told_while_its_read_part_is_skipped(tmp_path):
    path = tmp_path / "events.ndjson.gz"
    path.write_bytes(gzip.compress(b"{}\n" * 9999, mtime=0)[:-20])
    with pytest.raises(Permanent, match="cannot be read"):
        read(path, positions={Partition("predictions", str(path), 0): 9999})
