"""Another package in an environment of its own, and how it is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, Field, JsonValue

from detectors.adapters.process import Worker, WorkerError, worker
from detectors.base import DetectorError

_SCRIPT = Path(__file__).with_name("worker") / "__main__.py"

Message = tuple[Mapping[str, Any], bytes]
"""Header and body of a frame."""


class _Keywords(dict[str, Any]):
    """Keywords of JSON; hashable, as parameters of a detector are, and so not to be changed."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(json.dumps(self, sort_keys=True))


Keywords = Annotated[dict[str, JsonValue], AfterValidator(_Keywords)]


class Peer(BaseModel):
    """What all adapters share: an interpreter with the package, and bounds on the worker that it runs."""

    packages: ClassVar[str]
    """What its environment needs, as pip takes it."""
    base: ClassVar[str] = "python3"
    """An interpreter that the packages are made for."""

    type: str
    python: Path = Field(description="The interpreter that has the package.")
    timeout: float = Field(30.0, gt=0, le=3600, description="Seconds to judge a window.")
    start_timeout: float = Field(120.0, gt=0, le=3600, description="Seconds to start, and to set up once.")
    memory: int = Field(2048, ge=64, description="Megabytes of data that the worker may hold.")

    @property
    def name(self) -> str:
        """The catalog's name and, after a dot, the peer's own: `river.ADWIN`."""
        return f"{self.type}.{self._method}" if self._method else self.type

    @property
    def _method(self) -> str:
        """The peer's name of what it runs; "" where the peer chooses."""
        raise NotImplementedError

    @property
    def recipe(self) -> str:
        """The shell command that makes the environment."""
        python = self._interpreter
        folder = python.parent.parent if python.parent.name == "bin" else python.parent
        return f"{self.base} -m venv {folder} && {folder}/bin/pip install {self.packages}"

    def problem(self) -> str:
        """Why it cannot run here, and the command that helps; "" if nothing is known against it."""
        if self._interpreter.is_file():
            return ""
        return f"{self.name}: there is no interpreter at {self.python}; make one: {self.recipe}"

    def version(self) -> str:
        """The package's version in its environment; raises `DetectorError` when that cannot be started."""
        if problem := self.problem():
            raise DetectorError(problem)
        process = self._worker()
        try:
            return str(process.start().get("version", ""))
        except WorkerError as error:
            raise self._explained(process, error) from error

    @property
    def _interpreter(self) -> Path:
        # Not resolved: an environment's interpreter is a link, and where it lies says what it sees.
        return self.python.expanduser().absolute()

    def _worker(self) -> Worker:
        command = [str(self._interpreter), "-I", str(_SCRIPT), self.type, str(self.memory)]
        return worker(command, self.start_timeout)

    def _ask(self, question: Message, background: Message) -> tuple[dict[str, Any], bytes]:
        """The worker's answer; one that lacks the `background` is given it first.

        Raises `DetectorError` when there is no answer.
        """
        if problem := self.problem():
            raise DetectorError(problem)
        process = self._worker()
        try:
            answer = process.ask(*question, self.timeout)
            if answer[0].get("missing"):
                # What is set up once may take long; the windows after it may not.
                patience = max(self.timeout, self.start_timeout)
                answer = process.ask(*background, patience)
                if "error" not in answer[0]:
                    answer = process.ask(*question, patience)
        except WorkerError as error:
            raise self._explained(process, error) from error
        if "error" in answer[0]:
            msg = f"{self.name}: {str(answer[0]['error'])[:2000]}"
            raise DetectorError(msg)
        return answer

    def _explained(self, process: Worker, error: WorkerError) -> DetectorError:
        hint = "" if process.hello else f". Is it complete? {self.recipe}"
        return DetectorError(f"{self.name} ({self.python}): {error}{hint}")
