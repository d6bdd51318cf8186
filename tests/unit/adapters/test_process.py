"""A worker process that dies, hangs, talks nonsense, or is told to end."""

import os
import sys
import time
from pathlib import Path

import pytest

from detectors.adapters import process
from detectors.adapters.process import Worker, WorkerError
from detectors.adapters.worker.frames import LARGEST

SCRIPT = Path(__file__).with_name("misbehaving.py")
ECHO = {"do": "echo"}


@pytest.fixture
def make():
    workers = []

    def start(at_start="", start_timeout=30.0):
        workers.append(Worker([sys.executable, str(SCRIPT), at_start], start_timeout))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_it_is_started_by_the_first_request_and_answers(make):
    worker = make()
    assert worker.pid is None
    header, body = worker.ask({**ECHO, "text": "ü"}, b"\0" * 1_000_000, 30)
    assert header["text"] == "ü"
    assert body == b"\0" * 1_000_000
    pid = worker.pid
    worker.ask(ECHO, b"", 30)
    assert (worker.pid, worker.starts) == (pid, 1)
    assert worker.hello == {"ready": True}


def test_it_learns_nothing_of_the_environment(make, monkeypatch):
    monkeypatch.setenv("KAFKA_PASSWORD", "secret")
    worker = make()
    environment, _ = worker.ask({"do": "environment"}, b"", 30)
    assert "KAFKA_PASSWORD" not in environment
    assert environment["DO_NOT_TRACK"] == "1"
    assert environment["HOME"] == environment["folder"]
    worker.close()
    assert not Path(environment["folder"]).exists()


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("die", "ended with code 3: segments are at fault"),
        ("kill", "was ended by SIGKILL"),
        ("half", "the worker ended with code 0"),
        ("garbage", "not a frame: b'prog'"),
        ("no object", "its header is no object"),
        ("huge", "not a frame: b'OBW1', 4294967295"),
        ("over", "ran out of memory"),
    ],
)
def test_what_goes_wrong_is_told_and_the_next_request_starts_another(make, what, why):
    worker = make()
    worker.ask(ECHO, b"", 30)
    pid = worker.pid
    with pytest.raises(WorkerError, match=why):
        worker.ask({"do": what}, b"", 30)
    assert worker.pid is None
    assert gone(pid)
    assert worker.ask(ECHO, b"x", 30)[1] == b"x"
    assert worker.starts == 2


def test_one_that_takes_too_long_is_ended(make):
    worker = make()
    worker.ask(ECHO, b"", 30)
    pid, began = worker.pid, time.monotonic()
    with pytest.raises(WorkerError, match=r"took more than 0\.2 s to answer and was ended"):
        worker.ask({"do": "hang"}, b"", 0.2)
    assert time.monotonic() - began < 10
    assert gone(pid)


def test_one_that_dies_between_requests_is_replaced_without_a_word(make):
    worker = make()
    worker.ask(ECHO, b"", 30)
    os.kill(worker.pid, 9)
    time.sleep(0.1)
    assert worker.ask(ECHO, b"x", 30)[1] == b"x"
    assert worker.starts == 2


@pytest.mark.parametrize(
    ("at_start", "why"),
    [
        ("die", "ended with code 1: no such library"),
        ("hang", r"more than 0\.5 s to start"),
        ("garbage", "not a frame: b'hell'"),
    ],
)
def test_one_that_does_not_start(make, at_start, why):
    worker = make(at_start, 0.5 if at_start == "hang" else 30)
    with pytest.raises(WorkerError, match=why):
        worker.ask(ECHO, b"", 30)
    assert worker.hello == {}


def test_an_interpreter_that_cannot_be_run(tmp_path):
    (tmp_path / "python").write_text("")
    worker = Worker([str(tmp_path / "python")], 5)
    with pytest.raises(WorkerError, match="cannot be run: Permission denied"):
        worker.ask(ECHO, b"", 5)


def test_a_broken_one_is_not_started_again_and_again(make):
    worker = make("die")
    starts = []
    for _ in range(16):
        with pytest.raises(WorkerError, match="no such library"):
            worker.ask(ECHO, b"", 30)
        starts.append(worker.starts)
    # Started by the 1st request, the 2nd, then after 1, 3, 7, ... refused ones.
    assert starts == [1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5]
    with pytest.raises(WorkerError, match="5 failures in a row, to be started again in 15 windows"):
        worker.ask(ECHO, b"", 30)


def test_the_pause_has_an_end_and_a_success_ends_it(make):
    worker = make()
    worker._failures = 40
    with pytest.raises(WorkerError):
        worker.ask({"do": "die"}, b"", 30)
    assert worker._pause == 63
    worker._pause = 0
    worker.ask(ECHO, b"", 30)
    assert worker._failures == 0


def test_a_body_that_is_too_large_is_refused(make):
    with pytest.raises(WorkerError, match="accepted are"):
        make().ask(ECHO, bytes(LARGEST + 1), 30)


def test_what_it_prints_neither_blocks_it_nor_is_kept(make):
    worker = make()
    assert worker.ask({"do": "chatter"}, b"", 30)[0] == {}
    assert len(worker._said) <= 5


def test_closing_ends_the_process(make):
    worker = make()
    worker.ask(ECHO, b"", 30)
    pid = worker.pid
    worker.close()
    worker.close()
    assert gone(pid)


def test_workers_are_shared_by_command_and_closed_together():
    command = [sys.executable, str(SCRIPT)]
    worker = process.worker(command, 30)
    assert process.worker(tuple(command), 30) is worker
    worker.ask(ECHO, b"", 30)
    pid = worker.pid
    process.close()
    assert gone(pid)
    assert process.worker(command, 30) is not worker
    process.close()
