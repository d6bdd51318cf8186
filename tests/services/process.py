"""A real server as a child process: its log in a file, its end in our hands and nobody else's."""

from __future__ import annotations

import random
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self


class ServiceError(RuntimeError):
    """A real server cannot be had or does not answer; the message says what to install or where to look."""


def free_port() -> int:
    """A free loopback port below the range the kernel gives to outgoing connections.

    From that range a client which keeps trying a server that is down can be given the server's own
    port, connect to itself, and keep the server from ever coming back.
    """
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServiceError("no free port between 20000 and 32000 on 127.0.0.1")


def accepts(port: int) -> bool:
    """Whether something listens on the loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Server(ABC):
    """Something that runs while its context lasts."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def start(self) -> None:
        """Start, and return once it can be used."""

    @abstractmethod
    def stop(self) -> None:
        """End it, also one half started, and remove its data."""


class Process:
    """One child process that appends what it says to a log file."""

    def __init__(self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as out:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,  # Ctrl-C is for the tests; they end the server themselves
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._popen.poll()

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self._popen.kill()
        self._popen.wait()

    def stop(self, timeout: float = 10) -> None:
        """Ask it to end; kill it when it does not within `timeout` seconds."""
        self._popen.terminate()
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def wait_until(self, ready: Callable[[], bool], timeout: float) -> None:
        """Return once `ready()`; raises `ServiceError` with the log's end when it ends or time is up."""
        deadline = time.monotonic() + timeout
        while not ready():
            code = self._popen.poll()
            if code is not None:
                raise ServiceError(f"ended with code {code}; the end of {self.log}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ServiceError(f"no answer within {timeout} s; the end of {self.log}:\n{self.tail()}")
            time.sleep(0.05)

    def finish(self, timeout: float) -> None:
        """Return once it has ended by itself; raises `ServiceError` when it fails or takes too long."""
        try:
            code = self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ServiceError(f"no end within {timeout} s; the end of {self.log}:\n{self.tail()}") from None
        if code:
            raise ServiceError(f"ended with code {code}; the end of {self.log}:\n{self.tail()}")

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
