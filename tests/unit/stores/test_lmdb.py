"""The state on disk: the two ports over one transaction, its limits, and what a crash leaves."""

import os
import random
import signal
import subprocess
import sys
import time

import lmdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from observer.errors import Permanent, Retryable
from observer.stores.lmdb import FORMAT, LmdbState, StateSpec


@pytest.fixture
def state(tmp_path):
    state = LmdbState(tmp_path)
    yield state
    state.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    state = LmdbState(tmp_path_factory.mktemp("shared"))
    yield state
    state.close()


def keys(*ids):
    return np.array([[i, i * 7] for i in ids], np.uint64).reshape(-1, 2)


def records(*values, width=3):
    return np.array([[value] * width for value in values], np.uint8).reshape(-1, width)


# Checkpoints


def test_values_in_tables(state):
    state.put("a", b"", b"empty key")
    state.put("a", b"k", b"1")
    state.put("ab", b"k", b"2")
    state.put("a", b"k", b"3")
    assert state.get("a", b"k") == b"3"
    assert state.get("ab", b"k") == b"2"
    assert state.get("a", b"") == b"empty key"
    assert state.get("b", b"k") is None
    state.delete("a", b"k")
    state.delete("a", b"never there")
    assert state.get("a", b"k") is None
    assert state.get("ab", b"k") == b"2"


def test_scan_gives_a_prefix_in_order_and_survives_changes(state):
    for key in (b"x3", b"x1", b"y", b"x2", b"x"):
        state.put("t", key, key * 2)
    state.put("u", b"x", b"other table")
    assert list(state.scan("t", b"x")) == [(k, k * 2) for k in (b"x", b"x1", b"x2", b"x3")]
    seen = []
    for key, _ in state.scan("t"):
        state.delete("t", key)
        state.commit()
        seen.append(key)
    assert seen == [b"x", b"x1", b"x2", b"x3", b"y"]
    assert list(state.scan("t")) == []


def test_a_key_that_is_too_long_is_refused_and_harms_nothing(state):
    state.put("t", b"k", b"v")
    with pytest.raises(ValueError, match="key of 600 bytes in table 't'"):
        state.put("t", b"x" * 600, b"v")
    assert state.get("t", b"k") == b"v"


# Pending joins

OPERATION = st.tuples(
    st.sampled_from(["add", "store", "fetch", "drop", "commit"]),
    st.sampled_from(["s/1", "s/2"]),
    st.lists(st.tuples(st.integers(0, 8), st.integers(1, 255)), max_size=8),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(OPERATION, max_size=20))
def test_spaces_behave_like_dicts(shared, operations):
    for space in shared.spaces():
        shared.drop(space)
    expected: dict[str, dict[int, int]] = {}
    for name, space, rows in operations:
        ids, values = [row[0] for row in rows], [row[1] for row in rows]
        held = expected.get(space, {})
        if name == "add":
            added = shared.add(space, keys(*ids), records(*values))
            fresh = [i not in held and i not in ids[:n] for n, i in enumerate(ids)]
            assert added.tolist() == fresh
            if rows:
                expected[space] = {**dict(reversed(rows)), **held}
        elif name == "store":
            shared.store(space, keys(*ids), records(*values))
            if rows:
                expected[space] = held | dict(rows)
        elif name == "fetch":
            assert shared.fetch(space, keys(*ids), 3).tolist() == [[held.get(i, 0)] * 3 for i in ids]
        elif name == "drop":
            shared.drop(space)
            expected.pop(space, None)
        else:
            shared.commit()
        assert shared.spaces() == {name: len(held) for name, held in sorted(expected.items())}


def test_keys_that_agree_in_their_high_half_are_told_apart(state):
    pairs = np.array([[5, 1], [5, 2], [5, 1], [2**64 - 1, 0]], np.uint64)
    assert state.add("s", pairs, records(1, 2, 3, 4)).tolist() == [True, True, False, True]
    assert state.fetch("s", pairs, 3)[:, 0].tolist() == [1, 2, 1, 4]


def test_a_large_batch_comes_back_in_its_own_order(state):
    rng = np.random.default_rng(5)
    many = rng.integers(0, 2**64, size=(3000, 2), dtype=np.uint64)
    rows = rng.integers(0, 256, size=(3000, 44), dtype=np.uint8)
    state.store("s", many[:2000], rows[:2000])
    shuffled = rng.permutation(3000)
    expected = np.where((shuffled < 2000)[:, None], rows[shuffled], 0)
    assert np.array_equal(state.fetch("s", many[shuffled], 44), expected)


def test_a_width_that_does_not_fit_is_refused(state):
    state.store("s", keys(1), records(1, width=3))
    with pytest.raises(Permanent, match="another width than 5"):
        state.fetch("s", keys(1), 5)


# Durability and limits


def test_only_what_was_committed_is_there_again(tmp_path):
    state = LmdbState(tmp_path)
    state.put("t", b"k", b"1")
    state.store("kept", keys(1), records(1))
    state.store("dropped", keys(1), records(1))
    state.commit()
    state.put("t", b"k", b"2")
    state.store("kept", keys(1, 2), records(9, 9))
    state.store("new", keys(1), records(1))
    state.drop("dropped")
    state.close()
    state.close()
    again = LmdbState(tmp_path)
    assert again.get("t", b"k") == b"1"
    assert again.spaces() == {"dropped": 1, "kept": 1}
    assert again.fetch("kept", keys(1, 2), 3).tolist() == [[1] * 3, [0] * 3]
    again.close()


def test_a_closed_state_says_so(state):
    state.close()
    with pytest.raises(Permanent, match="the state is closed"):
        state.get("t", b"k")
    with pytest.raises(Permanent, match="the state is closed"):
        state.commit()


def test_a_second_owner_is_refused_by_name(tmp_path, state):
    with pytest.raises(Retryable, match=f"in use by process {os.getpid()}"):
        LmdbState(tmp_path)
    state.put("t", b"k", b"v")
    state.close()
    LmdbState(tmp_path).close()


def test_the_size_limit_ends_the_state_and_keeps_the_last_commit(tmp_path):
    state = LmdbState(tmp_path, max_size=1 << 20)
    state.put("t", b"k", b"committed")
    state.commit()
    state.put("t", b"k", b"lost")
    for _ in range(2):
        with pytest.raises(Permanent, match=r"max_size \(1048576 bytes\); raise it"):
            state.put("t", b"large", bytes(2 << 20))
    with pytest.raises(Permanent, match="max_size"):
        state.commit()
    larger = LmdbState(tmp_path, max_size=8 << 20)
    assert larger.get("t", b"k") == b"committed"
    larger.put("t", b"large", bytes(2 << 20))
    larger.commit()
    larger.close()


def test_a_newer_or_foreign_environment_is_refused(tmp_path):
    LmdbState(tmp_path).close()
    state = LmdbState(tmp_path)
    state.commit()
    state.close()
    with lmdb.open(str(tmp_path), max_dbs=4, lock=False) as env, env.begin(write=True) as txn:
        txn.put(b"format", str(FORMAT + 1).encode(), db=env.open_db(b"meta", txn=txn))
    with pytest.raises(Permanent, match=rf"format {FORMAT + 1}, written by a newer service; this one reads"):
        LmdbState(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    with lmdb.open(str(other), lock=False) as env, env.begin(write=True) as txn:
        txn.put(b"somebody", b"else")
    with pytest.raises(Permanent, match="format unknown"):
        LmdbState(other)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "data.mdb").write_bytes(b"x" * 10_000)
    with pytest.raises(Permanent, match="cannot open the state"):
        LmdbState(tmp_path / "broken")


def test_a_path_that_cannot_be_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Permanent, match="cannot hold the state"):
        LmdbState(tmp_path / "file")


def test_the_spec_refuses_what_it_does_not_know(tmp_path):
    assert StateSpec(path=tmp_path).max_size == 1 << 40
    with pytest.raises(ValidationError, match="max_size"):
        StateSpec(path=tmp_path, max_size=10)
    with pytest.raises(ValidationError, match="folder"):
        StateSpec.model_validate({"path": "x", "folder": "y"})


def run(script, *args):
    command = [sys.executable, "-c", script, *args]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


LIMITED = """
import resource, sys
from pathlib import Path
from observer.errors import Retryable
from observer.stores.lmdb import LmdbState
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
state = LmdbState(Path(sys.argv[1]))
state.put("t", b"k", b"committed")
state.commit()
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))  # the disk is "full" from here on
try:
    state.put("t", b"large", bytes(4 << 20))
    state.commit()
except Retryable as error:
    print(error)
"""


def test_a_full_disk_and_little_address_space(tmp_path):
    with run(LIMITED, str(tmp_path)) as child:
        told = child.stdout.read()
    assert "the disk refused to write" in told
    assert str(tmp_path) in told
    state = LmdbState(tmp_path)
    assert state.get("t", b"k") == b"committed"
    assert state.get("t", b"large") is None
    state.close()


WRITERS = """
import os, sys
from pathlib import Path
import numpy as np
from observer.stores.lmdb import LmdbState

def write():
    state = LmdbState(Path(sys.argv[1]))
    step = int(state.get("t", b"step") or 0)
    print(os.getpid(), flush=True)
    while True:
        step += 1
        keys = np.random.default_rng(step).integers(0, 2**64, size=(50, 2), dtype=np.uint64)
        state.add(f"s{step // 10}", keys, np.full((50, 8), step % 255 + 1, np.uint8))
        state.drop(f"s{step // 10 - 5}")
        state.put("t", b"step", str(step).encode())
        state.put("log", step.to_bytes(4, "big"), b"x" * (step % 3000))
        if step % 3 == 0:
            state.commit()

for _ in sys.stdin:  # one writer a line, until it is killed
    writer = os.fork()
    if not writer:
        write()
    os.waitpid(writer, 0)
    print("dead", flush=True)
"""


def test_a_kill_goes_back_to_a_commit_exactly(tmp_path):
    reached = 0
    moment = random.Random(7)
    with run(WRITERS, str(tmp_path)) as writers:
        for busy in range(1, 13):
            print(file=writers.stdin, flush=True)
            writer = int(writers.stdout.readline())
            time.sleep(moment.uniform(0.01, 0.1) * (1 if reached else busy))
            os.kill(writer, signal.SIGKILL)
            assert writers.stdout.readline() == "dead\n"
            reached = check_prefix(tmp_path, reached)
    assert reached > 0


def check_prefix(path, reached):
    """The state holds exactly what the writers wrote up to one commit, at or after step `reached`."""
    state = LmdbState(path)
    step = int(state.get("t", b"step") or 0)
    assert step % 3 == 0
    assert step >= reached
    logged = [(int.from_bytes(key, "big"), len(value)) for key, value in state.scan("log")]
    assert logged == [(i, i % 3000) for i in range(1, step + 1)]
    alive = range(max(0, step // 10 - 4), step // 10 + 1)
    sizes = {f"s{n}": 50 * sum(i // 10 == n for i in range(1, step + 1)) for n in alive}
    assert state.spaces() == {name: size for name, size in sorted(sizes.items()) if size}
    for i in range(max(1, alive[0] * 10), step + 4):
        written = np.random.default_rng(i).integers(0, 2**64, size=(50, 2), dtype=np.uint64)
        value = i % 255 + 1 if i <= step else 0
        assert (state.fetch(f"s{i // 10}", written, 8) == value).all()
    state.close()
    return step
