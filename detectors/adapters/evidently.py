"""evidently's column drift methods, and its report."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from detectors.adapters.adapter import Adapter
from detectors.adapters.worker.evidently import P_VALUES
from detectors.summaries.table import TableSummary


class Evidently(Adapter):
    """Any column drift method of evidently, for each column that it is for.

    A method that gives a p-value (ks, anderson, chisquare, ...) is held against `alpha`, over all columns;
    one that gives a distance (wasserstein, psi, jensenshannon, ...) against `threshold`, or evidently's own,
    column by column: the finding is then evidently's, and knows nothing of sample sizes.
    """

    packages: ClassVar[str] = "'evidently==0.7.23' 'pandas<3' pyarrow"

    type: Literal["evidently"] = "evidently"
    python: Path = Path("peers/evidently/bin/python")
    method: str = Field("", pattern=r"^\w*$", description="Its name; empty: evidently chooses.")
    threshold: float | None = Field(None, gt=0, description="Of a distance; none: evidently's own.")

    @model_validator(mode="after")
    def _held_once(self) -> Self:
        if self.threshold is not None and (not self.method or self.method in P_VALUES):
            what = f"method {self.method} gives a p-value" if self.method else "no method is named"
            msg = f"threshold: is for a method that gives a distance; {what}: p-values are held against alpha"
            raise ValueError(msg)
        return self

    @property
    def _method(self) -> str:
        return self.method

    def export(self, reference: TableSummary, window: TableSummary, *, as_json: bool = False) -> bytes:
        """Evidently's data drift report on the rows that both keep: a page of HTML, or JSON.

        Raises `DetectorError`, saying what to do, when it cannot be made.
        """
        form = "json" if as_json else "html"
        return self._ask(*self._messages("report", reference, window, format=form))[1]
