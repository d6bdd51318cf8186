"""The process that reads Feast: started when it is asked first, ended when it takes too long."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from observer.errors import ConfigError, Permanent, Retryable
from observer.model import FeatureType
from observer.sources.feast.spec import FeastRepo
from observer.sources.storage import shown

_SCRIPT = Path(__file__).with_name("worker.py")
_LINE = 4000


@dataclass(frozen=True, slots=True)
class Answer:
    """What Feast gave.

    Attributes
    ----------
    path : Path
        An Arrow file with the rows; it is gone when the process is closed, or asked again.
    types : mapping
        Feature -> what its view declares it to be; those that no reference can hold are left out.
    keys : tuple of str
        Columns that are no features: join keys and timestamps.
    time : str
        The column of event timestamps, where one is known.
    """

    path: Path
    types: Mapping[str, FeatureType] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    time: str = ""


class Feast:
    """A Feast repository, read by a process whose interpreter has Feast; a context manager.

    Nothing that Feast imports or pins comes near the service. The process has the service's environment:
    that is where the credentials of offline stores are. It ends with this object, and with whoever started
    it, however that ends. One request at a time.
    """

    def __init__(self, spec: FeastRepo) -> None:
        self._spec = spec
        self._process: subprocess.Popen[bytes] | None = None
        self._said: deque[str] = deque(maxlen=5)
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Feast:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def dataset(self, name: str) -> Answer:
        """A saved dataset; raises as `rows`."""
        return self._ask({"do": "dataset", "name": name})

    def historical(self, entities: Path, features: list[str], service: str) -> Answer:
        """Features as they were at the times of entity rows, which an Arrow file holds; raises as `rows`.

        `features` are `view:feature`, or else `service` names a feature service. Further columns of the
        entity rows stay.
        """
        return self._ask(
            {"do": "historical", "entities": str(entities), "features": features, "service": service}
        )

    def rows(self, view: str, start: int | None, end: int | None) -> Answer:
        """Every row of a feature view that is dated from `start` to `end`, milliseconds.

        Raises
        ------
        ConfigError
            There is no interpreter, no repository, or Feast knows no such thing.
        Retryable
            Feast, or the store behind it, failed or took too long.
        """
        return self._ask({"do": "rows", "view": view, "start": start, "end": end})

    def close(self) -> None:
        """End the process; the next request starts another."""
        process, self._process = self._process, None
        if process is not None:
            _kill(process)
            process.wait()
            for stream in (process.stdin, process.stdout):
                with suppress(OSError):
                    if stream is not None:
                        stream.close()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _ask(self, request: Mapping[str, Any]) -> Answer:
        process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None and self._folder is not None  # noqa: PT018, S101
        path = Path(self._folder.name) / "rows.arrow"
        late = threading.Event()

        def stop() -> None:
            late.set()
            _kill(process)

        timer = threading.Timer(self._spec.timeout, stop)
        timer.daemon = True
        timer.start()
        try:
            process.stdin.write(json.dumps({**request, "path": str(path)}).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = b""
        finally:
            timer.cancel()
        if not line:
            process.wait()
            self.close()
            last = f": {shown(self._said[-1])}" if self._said else ""
            why = f"took more than {self._spec.timeout:g} s" if late.is_set() else f"ended{last}"
            hint = "" if late.is_set() else f". Is its environment complete? {self._spec.recipe}"
            raise Retryable(f"Feast ({self._spec.python}) {why}{hint}")
        answer = json.loads(line)
        if "error" in answer:
            said = f"Feast repository {self._spec.repo}: {shown(str(answer['error']))}"
            raise ConfigError([said]) if answer["ours"] else Retryable(said)
        return Answer(path, answer["types"], tuple(answer["keys"]), answer["time"])

    def _start(self) -> subprocess.Popen[bytes]:
        spec = self._spec
        if not spec.interpreter.is_file():
            raise ConfigError([f"Feast: there is no interpreter at {spec.python}; make one: {spec.recipe}"])
        if not (spec.repo / "feature_store.yaml").is_file():
            raise ConfigError([f"{spec.repo} is no Feast repository: it holds no feature_store.yaml"])
        self._folder = tempfile.TemporaryDirectory(prefix="observer-feast-")
        self._said.clear()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the interpreter that is configured
                # Optimised, Feast checks no types while it runs, and starts in half the time.
                [str(spec.interpreter), "-O", str(_SCRIPT), str(spec.repo.absolute())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=spec.repo,
                env={key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
                start_new_session=True,  # it ends with all that it may have started
            )
        except OSError as error:
            raise Permanent(f"Feast: {spec.python} cannot be run: {error.strerror}") from error
        assert self._process.stderr is not None  # noqa: S101 - for the type checker
        threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True).start()
        return self._process

    def _listen(self, stream: IO[bytes]) -> None:
        with stream:
            while line := stream.readline(_LINE):
                if text := line.decode(errors="replace").strip():
                    self._said.append(text)


def table_of(answer: Answer) -> pa.Table:
    """The rows of an answer, in memory."""
    with pa.OSFile(str(answer.path)) as file, pa.ipc.open_file(file) as reader:
        return reader.read_all()


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):  # ended already
        os.killpg(process.pid, signal.SIGKILL)
