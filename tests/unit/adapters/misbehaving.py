"""A worker that does what the header of a request tells it to; run as a script."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import BinaryIO

sys.path.insert(0, str(Path(__file__).parents[3]))
from detectors.adapters.worker.frames import read_frame, write_frame


def main(at_start: str) -> None:
    match at_start:
        case "die":
            sys.exit("no such library")
        case "hang":
            time.sleep(600)
        case "garbage":
            print("hello, I am a library", flush=True)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    write_frame(answers, {"ready": True})
    while True:
        try:
            header, body = read_frame(requests)
        except EOFError:
            return
        answer(answers, header, body)


def answer(answers: BinaryIO, header: dict, body: bytes) -> None:
    match header["do"]:
        case "echo":
            write_frame(answers, header, body)
        case "environment":
            write_frame(answers, {**os.environ, "folder": str(Path.cwd())})
        case "chatter":
            for i in range(100_000):
                print("line", i, file=sys.stderr)
            write_frame(answers, {})
        case "die":
            print("first line\nsegments are at fault", file=sys.stderr)
            sys.exit(3)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(600)
        case "garbage":
            print("progress: 100%", flush=True)
            time.sleep(600)
        case "half":
            raw(answers, b"OBW1\x40\0\0\0\0\0\0\0{")
            sys.exit()
        case "no object":
            raw(answers, b"OBW1\3\0\0\0\0\0\0\0[1]")
        case "huge":
            raw(answers, b"OBW1" + b"\xff" * 8)
        case "over":
            write_frame(answers, {"over": True})
            sys.exit()


def raw(answers: BinaryIO, data: bytes) -> None:
    answers.write(data)
    answers.flush()


main(sys.argv[1] if len(sys.argv) > 1 else "")
