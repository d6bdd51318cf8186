"""A detector of another package, run by a worker with that package's own interpreter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, JsonValue, ValidationError

from detectors.adapters.findings import Finding, one_verdict
from detectors.adapters.process import Worker, WorkerError, worker
from detectors.adapters.rows import reference_rows, rows
from detectors.base import DetectorError, Status, Verdict
from detectors.statistical.spec import Kind, Spec
from detectors.summaries.table import TableSummary

_SCRIPT = Path(__file__).with_name("worker") / "__main__.py"


class _Keywords(dict[str, Any]):
    """Keywords of JSON; hashable, as parameters of a detector are, and so not to be changed."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(json.dumps(self, sort_keys=True))


Keywords = Annotated[dict[str, JsonValue], AfterValidator(_Keywords)]


class Adapter(Spec):
    """What all adapters share. They compare the rows that reference and window keep, and judge the table.

    A worker that fails gives verdicts `failed`, with a reason; nothing is raised.
    """

    applies_to: ClassVar[tuple[Kind, ...]] = ("table",)
    packages: ClassVar[str]
    """What its environment needs, as pip takes it."""
    base: ClassVar[str] = "python3"
    """An interpreter that the packages are made for."""

    python: Path = Field(description="The interpreter that has the package.")
    columns: tuple[str, ...] = Field((), description="Columns to judge; none: all that the method takes.")
    minimum_effect: float = Field(0.0, ge=0, description="Smallest effect worth a finding.")
    timeout: float = Field(30.0, gt=0, le=3600, description="Seconds to judge a window.")
    start_timeout: float = Field(300.0, gt=0, le=3600, description="Seconds to start, and to set up once.")
    memory: int = Field(2048, ge=64, description="Megabytes of data that the worker may hold.")

    @property
    def name(self) -> str:
        """The catalog's name and, after a dot, the peer's own: `river.ADWIN`."""
        return f"{self.type}.{self._method}" if self._method else self.type

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

    def compare(
        self, reference: TableSummary, window: TableSummary, alpha: float | None = None
    ) -> list[Verdict]:
        """One verdict in all; `alpha` overrides the detector's level."""
        level = self.alpha if alpha is None else alpha
        n, m = len(reference.sample), len(window.sample)
        if min(n, m) < self.min_rows:
            side, held = ("window", m) if m < self.min_rows else ("reference", n)
            reason = f"the {side} keeps {held or 'no'} sampled rows, {self.min_rows} are needed"
            return [Verdict(Status.INSUFFICIENT, 0.0, 0.0, None, level, n, m, None, reason)]
        try:
            answer = self._ask("compare", reference, window, self._request())[0]
            findings = [Finding.model_validate(found) for found in answer["findings"]]
        except (DetectorError, ValidationError, LookupError, TypeError) as error:
            reason = str(error) if isinstance(error, DetectorError) else f"{self.name}: it sent no findings"
            return [Verdict(Status.FAILED, 0.0, 0.0, None, level, n, m, None, reason)]
        return [one_verdict(self.name, findings, level, self.minimum_effect)]

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
    def _method(self) -> str:
        """The peer's name of what it runs; "" where the peer chooses."""
        raise NotImplementedError

    def _request(self) -> dict[str, Any]:
        """The parameters that its worker needs."""
        shared = {*Adapter.model_fields} - {"columns", "min_rows"}
        return self.model_dump(mode="json", exclude=shared)

    @property
    def _interpreter(self) -> Path:
        # Not resolved: an environment's interpreter is a link, and where it lies says what it sees.
        return self.python.expanduser().absolute()

    def _worker(self) -> Worker:
        command = [str(self._interpreter), "-I", str(_SCRIPT), self.type, str(self.memory)]
        return worker(command, self.start_timeout)

    def _ask(
        self, op: str, reference: TableSummary, window: TableSummary, spec: Mapping[str, Any]
    ) -> tuple[dict[str, Any], bytes]:
        """The worker's answer; raises `DetectorError` when there is none."""
        if problem := self.problem():
            raise DetectorError(problem)
        known = reference_rows(reference)
        header = {"op": op, "reference": known.digest, "spec": spec}
        body = rows(window, reference.table)
        process = self._worker()
        try:
            answer = process.ask(header, body, self.timeout)
            if answer[0].get("missing"):
                process.ask({"op": "reference", "reference": known.digest}, known.body, self.timeout)
                # What is set up on a reference once may take long; the windows after it may not.
                answer = process.ask(header, body, max(self.timeout, self.start_timeout))
        except WorkerError as error:
            raise self._explained(process, error) from error
        if "error" in answer[0]:
            msg = f"{self.name}: {str(answer[0]['error'])[:2000]}"
            raise DetectorError(msg)
        return answer

    def _explained(self, process: Worker, error: WorkerError) -> DetectorError:
        hint = "" if process.hello else f". Is it complete? {self.recipe}"
        return DetectorError(f"{self.name} ({self.python}): {error}{hint}")
