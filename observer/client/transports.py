"""Where messages go: what a transport is, and the one that writes files."""

from __future__ import annotations

from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Protocol

Done = Callable[[Exception | None], None]
"""Called once, from any thread: with nothing when the message is safe, else with what went wrong."""


class TooLarge(Exception):
    """The transport will never take a message of this size."""


class Connection(Protocol):
    """A transport at work. All methods are called from one thread."""

    def send(self, topic: str, value: bytes, done: Done) -> bool:
        """Take a message and call `done` later; False, or an error, when it cannot be taken now."""

    def poll(self) -> str | None:
        """Serve what has come in; what keeps messages from arriving, where that is known."""

    def close(self) -> None:
        """End at once: what is not delivered by now never will be."""


class Transport(Protocol):
    """How to reach what takes messages; holds no connection, so that processes may be forked."""

    @property
    def binary(self) -> bool:
        """Whether it takes Arrow messages; JSON only otherwise."""

    def open(self) -> Connection:
        """Connect, within a few seconds; any error means trying again later."""


class FileTransport:
    """Appends events to `<folder>/<topic>.jsonl`, one a line: for tests, local runs and backtests.

    Parameters
    ----------
    folder : str or Path
        Made where it is not there.
    """

    binary = False

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    def open(self) -> Connection:
        """Make the folder."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return _Files(self._folder)


class _Files:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, FileIO] = {}

    def send(self, topic: str, value: bytes, done: Done) -> bool:
        if topic not in self._files:
            self._files[topic] = (self._folder / f"{topic}.jsonl").open("ab", buffering=0)
        line = value + b"\n"
        written = self._files[topic].write(line)
        while written < len(line):  # the disk was full for a moment
            written += self._files[topic].write(line[written:])
        done(None)
        return True

    def poll(self) -> None:
        pass

    def close(self) -> None:
        for file in self._files.values():
            file.close()
