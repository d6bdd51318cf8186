"""A worker process and the way to it: started on demand, bounded, ended and started again when it fails."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from detectors.adapters.worker.frames import read_frame, write_frame
from detectors.base import DetectorError

# All that a worker is told: nothing of the service's own environment, where secrets may be.
_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    # One thread: the service has its own use for the other processors.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others reserve memory that then counts as used
    # Peers report to their makers by default; the worker has no network either.
    "DO_NOT_TRACK": "1",
    "ITERATIVE_DO_NOT_TRACK": "1",
    "EVIDENTLY_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
_LONGEST_PAUSE = 63
_LINE = 2000


class WorkerError(DetectorError):
    """A worker could not answer; the message says why."""


class Worker:
    """One process that answers frames, one at a time; safe to share between threads.

    After a failure it is started again by the next request; after the k-th in a row, 2^(k-1) - 1 requests,
    63 at most, are refused first. They are counted rather than timed, so that a replay meets the same.

    Parameters
    ----------
    command : sequence of str
        What to run; it must send a frame once it is ready.
    start_timeout : float
        Seconds until then.
    """

    def __init__(self, command: Sequence[str], start_timeout: float) -> None:
        self._command = command
        self._start_timeout = start_timeout
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._drain: threading.Thread | None = None
        self._said: deque[str] = deque(maxlen=5)
        self._failures = 0
        self._pause = 0
        self._why = ""
        self.starts = 0
        self.hello: Mapping[str, Any] = {}
        """What it said when it was ready."""

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return None if self._process is None else self._process.pid

    def ask(self, header: Mapping[str, Any], body: bytes, timeout: float) -> tuple[dict[str, Any], bytes]:
        """Its answer within `timeout` seconds; raises `WorkerError` when there is none."""
        with self._lock:
            if self._pause:
                self._pause -= 1
                more = f"in {self._pause + 1} windows" if self._pause else "at the next window"
                msg = f"{self._why}; {self._failures} failures in a row, to be started again {more}"
                raise WorkerError(msg)
            if self._process is not None and self._process.poll() is not None:
                self._end()  # between requests: start another, and say nothing
            try:
                if self._process is None:
                    self.hello = self._start()
                answer = self._exchange(header, body, timeout)
                if answer[0].get("over"):  # it ends after that
                    raise WorkerError("the worker ran out of memory and was ended")
            except WorkerError as error:
                self._end()
                self._failures += 1
                self._pause = min(2 ** (self._failures - 1) - 1, _LONGEST_PAUSE)
                self._why = str(error)
                raise
            self._failures = 0
            return answer

    def start(self) -> Mapping[str, Any]:
        """What it says when it is ready, started if need be; raises `WorkerError` when it cannot be."""
        with self._lock:
            try:
                if self._process is None:
                    self.hello = self._start()
            except WorkerError:
                self._end()
                raise
            return self.hello

    def close(self) -> None:
        """End the process; the next request would start another."""
        with self._lock:
            self._end()

    def _start(self) -> Mapping[str, Any]:
        self._folder = tempfile.TemporaryDirectory(prefix="observer-worker-")
        home = dict.fromkeys(("HOME", "TMPDIR", "MPLCONFIGDIR"), self._folder.name)
        self._said.clear()
        self.starts += 1
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the interpreter that is configured
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self._folder.name,
                env={**_ENVIRONMENT, **home},
                start_new_session=True,  # it ends with all that it may have started
            )
        except OSError as error:
            msg = f"{self._command[0]} cannot be run: {error.strerror}"
            raise WorkerError(msg) from error
        assert self._process.stderr is not None  # noqa: S101 - for the type checker
        self._drain = threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True)
        self._drain.start()
        return self._exchange(None, b"", self._start_timeout)[0]

    def _listen(self, stream: IO[bytes]) -> None:
        """Keep the last lines that the worker, or what it runs, prints."""
        while line := stream.readline(_LINE):
            text = line.decode(errors="replace").strip()
            if text:
                self._said.append(text)

    def _exchange(
        self, header: Mapping[str, Any] | None, body: bytes, timeout: float
    ) -> tuple[dict[str, Any], bytes]:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None  # noqa: PT018, S101
        late = threading.Event()

        def stop() -> None:
            late.set()
            _kill(process)

        timer = threading.Timer(timeout, stop)
        timer.daemon = True
        timer.start()
        try:
            if header is not None:
                write_frame(process.stdin, {**header, "timeout": timeout}, body)
            return read_frame(process.stdout)
        except (OSError, EOFError, ValueError, RecursionError) as error:
            what = "to start" if header is None else "to answer"
            if late.is_set():
                msg = f"the worker took more than {timeout:g} s {what} and was ended"
            elif isinstance(error, OSError | EOFError):
                msg = f"the worker {self._ending(process)}"
            else:
                msg = f"the worker was ended: {error}"
            raise WorkerError(msg) from error
        finally:
            timer.cancel()

    def _ending(self, process: subprocess.Popen[bytes]) -> str:
        """How it ended by itself, or what it did instead."""
        try:
            code = process.wait(1)
        except subprocess.TimeoutExpired:
            return "closed its output and was ended"
        if self._drain is not None:
            self._drain.join(1)
        last = f": {self._said[-1]}" if self._said else ""
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}{last}"
        return f"ended with code {code}{last}"

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            _kill(process)
            process.wait()
            for stream in (process.stdin, process.stdout):
                with suppress(OSError):  # what was still to be written has no reader
                    if stream is not None:
                        stream.close()
            if self._drain is not None:
                self._drain.join(1)
                if process.stderr is not None and not self._drain.is_alive():
                    process.stderr.close()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):  # ended already
        os.killpg(process.pid, signal.SIGKILL)


_workers: dict[tuple[str, ...], Worker] = {}
_guard = threading.Lock()


def worker(command: Sequence[str], start_timeout: float) -> Worker:
    """The worker that runs `command`; one for all who ask."""
    key = tuple(command)
    with _guard:
        if key not in _workers:
            _workers[key] = Worker(key, start_timeout)
        return _workers[key]


@atexit.register
def close() -> None:
    """End all workers; call it when the service ends. What is asked later starts them again."""
    with _guard:
        workers = [*_workers.values()]
        _workers.clear()
    for one in workers:
        one.close()
