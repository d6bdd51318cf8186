"""Runs the blocks of a page in their order, as a reader would, in a folder of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.docs.pages import ROOT, Block

PATIENCE = 240.0
"""Seconds until a command, again and again or in the background, must have said what the page tells."""


class Reader:
    """Somebody who does what a page says.

    Parameters
    ----------
    folder : Path
        Where.
    instead : mapping
        Texts of the page, such as addresses, and what stands in their place on this machine.
    """

    def __init__(self, folder: Path, instead: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._instead = dict(instead or {})
        self._running: list[subprocess.Popen[bytes]] = []
        programs = folder / ".programs"
        programs.mkdir(exist_ok=True)
        debian = programs / "alertmanager"
        if not debian.exists():
            debian.symlink_to("/usr/bin/prometheus-alertmanager")
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:{programs}"
        self._environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "110"}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._running):
            os.killpg(process.pid, signal.SIGTERM)
        for process in self._running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def follow(self, page: Sequence[Block]) -> None:
        """Do what every block says; raises `AssertionError` with its place and what came out."""
        for block, after in zip(page, [*page[1:], None], strict=True):
            expected = after.text if after is not None and after.action == "output" else None
            if block.action == "file":
                (self._folder / block.rest).write_text(self._here(block.text))
            elif block.language == "sh" and block.action not in {"skip", "install"}:
                self._do(block, expected)

    def _here(self, text: str) -> str:
        for told, found in self._instead.items():
            text = text.replace(told, found)
        return text

    def _do(self, block: Block, expected: str | None) -> None:
        if block.action == "background":
            log = self._folder / f".log-{len(self._running)}"
            self._start(block, log)
            process = self._running[-1]
            self._wait(block, expected, lambda: (process.poll() or 0, log.read_text(errors="replace")))
        elif block.action == "until":
            self._wait(block, expected, lambda: self._run(block))
        else:
            code, said = self._run(block)
            assert code == 0, f"{block.place}: exit code {code}\n{said}"
            wrong = differs(said, self._here(expected or "…"))
            assert wrong is None, f"{block.place}: {wrong}\n{said}"

    def _wait(self, block: Block, expected: str | None, said: object) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            code, text = said()  # type: ignore[operator]
            wrong = differs(text, self._here(expected or "…"))
            if code == 0 and wrong is None:
                return
            assert time.monotonic() < deadline, f"{block.place}: exit code {code}; {wrong}\n{text[-3000:]}"
            time.sleep(0.5)

    def _start(self, block: Block, log: Path) -> None:
        with log.open("wb") as out:
            self._running.append(
                subprocess.Popen(
                    ["bash", "-euc", f"exec {self._here(block.text)}"],
                    cwd=self._folder,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def _run(self, block: Block) -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self._here(block.text)],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


def differs(said: str, expected: str) -> str | None:
    """What of the expected output did not come.

    `…` stands for anything within a line, alone for any number of lines; blanks may be more or fewer.
    """
    parts = []
    for line in expected.strip("\n").splitlines():
        if line.strip() == "…":
            parts.append(r"(?:.*\n)*?")
        else:
            words = r"\s+".join(re.escape(word) for word in line.split())
            parts.append(rf"[ \t]*{words.replace('…', '.*?')}[ \t]*\n")
    pattern = "".join(parts)
    return None if re.fullmatch(pattern, said.rstrip("\n") + "\n") else f"expected\n{expected}but it said"
