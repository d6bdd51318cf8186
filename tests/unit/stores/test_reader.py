"""Reading a state that another process writes."""

import subprocess
import sys
import zlib

import lmdb
import pytest

from observer.errors import Permanent, Retryable
from observer.stores.lmdb import LmdbState
from observer.stores.reader import LmdbReader

WRITER = """
import sys, zlib
from pathlib import Path
from observer.stores.lmdb import LmdbState

state = LmdbState(Path(sys.argv[1]))
for turn in range(10**9):
    for key in range(40):
        body = bytes([(turn + key) % 251]) * 9000
        state.put("t", b"%03d" % key, zlib.crc32(body).to_bytes(4, "little") + body)
    state.commit()
    if turn == 2:
        print("ready", flush=True)
"""


@pytest.fixture
def written(tmp_path):
    state = LmdbState(tmp_path / "state")
    for key in (b"b", b"a", b"c1", b"c2"):
        state.put("t", key, key * 3)
    state.put("u", b"a", b"another table")
    state.commit()
    state.put("t", b"late", b"not committed")
    state.close()
    return tmp_path / "state"


def test_it_reads_what_was_committed(written):
    with LmdbReader(written) as reader:
        assert reader.get("t", b"a") == b"aaa"
        assert reader.get("t", b"late") is None
        assert reader.get("v", b"a") is None
        assert list(reader.scan("t", b"c")) == [(b"c1", b"c1c1c1"), (b"c2", b"c2c2c2")]
        assert [key for key, _ in reader.scan("t")] == [b"a", b"b", b"c1", b"c2"]


def test_it_cannot_write(written):
    with LmdbReader(written) as reader:
        for change in (lambda: reader.put("t", b"a", b""), lambda: reader.delete("t", b"a"), reader.commit):
            with pytest.raises(Permanent, match="for reading only"):
                change()


def test_a_folder_without_a_state_is_told_and_left_as_it_was(tmp_path):
    with pytest.raises(Permanent, match="there is no state here"):
        LmdbReader(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_state_without_a_commit_is_told(tmp_path):
    LmdbState(tmp_path).close()
    with pytest.raises(Permanent, match="its service has saved nothing yet"):
        LmdbReader(tmp_path)


def test_a_state_of_another_format_is_refused(written):
    with lmdb.open(str(written), lock=False, max_dbs=8) as env:
        meta = env.open_db(b"meta")
        with env.begin(write=True) as txn:
            txn.put(b"format", b"99", db=meta)
    with pytest.raises(Permanent, match="format 99, written by a newer service"):
        LmdbReader(written)


def test_what_a_running_writer_commits_is_read_whole(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        try:
            assert writer.stdout.readline() == "ready\n"
            seen = set()
            with LmdbReader(tmp_path) as reader:
                for _ in range(150):
                    values = [value for _, value in reader.scan("t")]
                    assert len(values) == 40
                    for value in values:
                        assert zlib.crc32(value[4:]).to_bytes(4, "little") == value[:4]
                    seen.add(values[0][4])
            assert len(seen) > 1, "the writer stood still"
        finally:
            writer.kill()


def test_a_reader_that_is_always_overtaken_gives_up(written, monkeypatch):
    with LmdbReader(written) as reader:
        monkeypatch.setattr(reader, "_intact", lambda _: False)
        with pytest.raises(Retryable, match="written faster than it can be read"):
            reader.get("t", b"a")
