"""The worker's side, in a process of its own, with a peer that does not exist elsewhere."""

import signal
import subprocess

import numpy as np
import pytest

from detectors.adapters.process import WorkerError
from detectors.adapters.rows import reference_rows, rows
from detectors.adapters.worker.frames import read_frame, write_frame
from tests.unit.adapters.samples import summaries

# A folder that stands for the worker's own, with a peer that does what it is told.
PEER = """
import socket, subprocess, sys, time
from .columns import Refused
MODULES = ("numpy",)
def judge(spec, reference, window):
    print("noise on stdout")
    subprocess.run(["echo", "noise of a child"], check=True)
    if spec["do"] == "read":
        return [{"stdin": sys.stdin.read(), "columns": list(window), "rows": len(window["amount"])}]
    if spec["do"] == "connect":
        socket.create_connection(("127.0.0.1", 9), timeout=5)
    if spec["do"] == "allocate":
        return [{"size": len(bytearray(spec["bytes"]))}]
    if spec["do"] == "refuse":
        raise Refused("accepted: a, b")
    if spec["do"] == "hang":
        time.sleep(600)
    raise RuntimeError("singular matrix")
def report(spec, reference, window):
    return b"<html>" * spec["times"]
"""


@pytest.fixture
def worker(scripted):
    return scripted(PEER)


@pytest.fixture(scope="module")
def sides():
    return summaries()


def ask(worker, sides, **spec):
    reference, window, _ = sides
    known = reference_rows(reference)
    op = "report" if "times" in spec else "compare"
    header = {"op": op, "reference": known.digest, "spec": spec}
    body = rows(window, reference.table)
    answer = worker.ask(header, body, 30)
    if answer[0].get("missing"):
        assert worker.ask({**header, "op": "reference"}, known.body, 30)[0] == {}
        answer = worker.ask(header, body, 30)
    return answer


def test_it_answers_whatever_the_peer_prints(worker, sides):
    header, _ = ask(worker, sides, do="read")
    names = ["amount", "age", "income", "flag", "plan", "paid"]
    assert header["findings"] == [{"stdin": "", "columns": names, "rows": 600}]
    assert worker.hello == {"ready": "scripted", "version": np.__version__}


def test_what_the_peer_raises_is_told_and_ends_nothing(worker, sides):
    assert ask(worker, sides, do="raise")[0] == {"error": "RuntimeError: singular matrix"}
    assert ask(worker, sides, do="refuse")[0] == {"error": "accepted: a, b"}
    assert worker.starts == 1


def test_it_has_no_network(worker, sides):
    assert ask(worker, sides, do="connect")[0] == {"error": "PermissionError: a worker has no network"}


def test_its_memory_is_bounded(worker, sides):
    assert ask(worker, sides, do="allocate", bytes=2**20)[0]["findings"] == [{"size": 2**20}]
    with pytest.raises(WorkerError, match="ran out of memory"):
        ask(worker, sides, do="allocate", bytes=2**30)
    assert ask(worker, sides, do="allocate", bytes=2**20)[0]["findings"] == [{"size": 2**20}]
    assert worker.starts == 2


def test_a_report_comes_as_bytes(worker, sides):
    assert ask(worker, sides, times=3)[1] == b"<html>" * 3


def test_one_that_hangs_ends_by_itself_should_nobody_be_left_to_end_it(worker, sides):
    with subprocess.Popen(worker._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        read_frame(process.stdout)
        known = reference_rows(sides[0])
        for op in ("reference", "compare"):  # a second from now: five after the time is up
            header = {"op": op, "reference": "a", "spec": {"do": "hang"}, "timeout": -4}
            write_frame(process.stdin, header, known.body)
        read_frame(process.stdout)
        assert process.wait(30) == -signal.SIGALRM


def test_a_reference_that_was_let_go_is_asked_for_again(worker, sides):
    known = reference_rows(sides[0])
    for i in range(17):
        worker.ask({"op": "reference", "reference": str(i)}, known.body, 30)
    header = {"op": "compare", "spec": {"do": "read"}}
    assert worker.ask({**header, "reference": "0"}, known.body, 30)[0] == {"missing": True}
    assert "findings" in worker.ask({**header, "reference": "1"}, known.body, 30)[0]
