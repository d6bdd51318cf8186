"""A detector of another package that compares windows."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, ValidationError

from detectors.adapters.findings import Finding, one_verdict
from detectors.adapters.peer import Message, Peer
from detectors.adapters.rows import reference_rows, rows
from detectors.base import DetectorError, Status, Verdict
from detectors.statistical.spec import Kind, Spec
from detectors.summaries.table import TableSummary


class Adapter(Peer, Spec):
    """What they share: they compare the rows that reference and window keep, and judge the table.

    A worker that fails gives verdicts `failed`, with a reason; nothing is raised.
    """

    applies_to: ClassVar[tuple[Kind, ...]] = ("table",)

    columns: tuple[str, ...] = Field((), description="Columns to judge; none: all that the method takes.")
    minimum_effect: float = Field(0.0, ge=0, description="Smallest effect worth a finding.")

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
            answer = self._ask(*self._messages("compare", reference, window))[0]
            findings = [Finding.model_validate(found) for found in answer["findings"]]
        except (DetectorError, ValidationError, LookupError, TypeError) as error:
            reason = str(error) if isinstance(error, DetectorError) else f"{self.name}: it sent no findings"
            return [Verdict(Status.FAILED, 0.0, 0.0, None, level, n, m, None, reason)]
        return [one_verdict(self.name, findings, level, self.minimum_effect)]

    def _messages(
        self, op: str, reference: TableSummary, window: TableSummary, **more: Any
    ) -> tuple[Message, Message]:
        """The question, and the reference that the worker may lack."""
        known = reference_rows(reference)
        question = {"op": op, "reference": known.digest, "spec": {**self._request(), **more}}
        return (
            (question, rows(window, reference.table)),
            ({"op": "reference", "reference": known.digest}, known.body),
        )

    def _request(self) -> dict[str, Any]:
        """The parameters that its worker needs."""
        shared = {*Adapter.model_fields} - {"columns", "min_rows"}
        return self.model_dump(mode="json", exclude=shared)
