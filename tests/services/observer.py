"""The service itself as a child process, as a user runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import yaml

from tests.services.process import Process, ServiceError


class Observer:
    """`observer run -c` over a configuration, started and ended any number of times.

    Parameters
    ----------
    folder : Path
        Gets the configuration, the state and the log.
    config : mapping
        The configuration file; `state` and a free port for `http` are added unless it has them.
    code : Path, optional
        Where another version of the service lies, which is run instead of this one.
    """

    def __init__(self, folder: Path, config: dict, code: Path | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.path = folder / "observer.yaml"
        self.log = folder / "observer.log"
        self.log.touch()
        self._process: Process | None = None
        self._started_at = 0
        config = {"state": {"path": str(folder / "state")}, "http": {"port": 0}, **config}
        self.path.write_text(yaml.safe_dump(config))
        # Started dozens of times: what a first start compiles the others need not compile again.
        self._env = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder.parent / "bytecode")}
        self._env.pop("PYTHONDONTWRITEBYTECODE", None)
        self._python = [sys.executable]
        if code is not None:
            self._python += ["-P"]  # else what lies in the working directory would go first
            self._env["PYTHONPATH"] = str(code)

    def start(self, *arguments: str) -> None:
        """Start it, with further arguments, and return at once."""
        self._started_at = self.log.stat().st_size
        command = [*self._python, "-m", "observer", "run", "-c", str(self.path), *arguments]
        self._process = Process(command, self.log, self._env)

    def python(self, code: str) -> str:
        """What a program with its packages prints, what it says when it fails too."""
        done = subprocess.run(
            [*self._python, "-c", code], env=self._env, capture_output=True, text=True, check=False
        )
        return (done.stdout + done.stderr).strip()

    @property
    def code(self) -> Path:
        """The folder that its packages come from."""
        return Path(self.python("import observer; print(observer.__file__)")).parents[1]

    @property
    def said(self) -> str:
        """What it has logged since it was last started."""
        with self.log.open("rb") as file:
            file.seek(self._started_at)
            return file.read().decode(errors="replace")

    @property
    def address(self) -> str:
        """Where it serves, as `host:port`; empty while it does not yet."""
        found = re.search(r"serving http://([^/\s]+)/", self.said)
        return found[1] if found else ""

    def wait_serving(self, timeout: float = 60) -> str:
        """The address, once it serves."""
        self.process.wait_until(lambda: self.address, timeout)
        return self.address

    def wait_ready(self, timeout: float = 60) -> str:
        """The address, once it says that it is ready."""
        address = self.wait_serving(timeout)
        self.process.wait_until(lambda: self._get(address, "/readyz") == httpx.codes.OK, timeout)
        return address

    @property
    def process(self) -> Process:
        if self._process is None:
            raise ServiceError("the service was not started")
        return self._process

    def kill(self) -> None:
        """End it as `kill -9` does."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def end(self, timeout: float = 60) -> int:
        """Ask it to end by SIGTERM; its exit code."""
        os.kill(self.process.pid, signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout: float = 60) -> int:
        """Wait until it ends by itself; its exit code."""
        end = time.monotonic() + timeout
        while (code := self.process.code) is None:
            if time.monotonic() > end:
                self.kill()
                raise ServiceError(f"did not end within {timeout} s:\n{self.said[-3000:]}")
            time.sleep(0.05)
        self._process = None
        return code

    def _get(self, address: str, path: str) -> int:
        try:
            return httpx.get(f"http://{address}{path}", timeout=5).status_code
        except httpx.TransportError:
            return 0
