"""The control plane: summaries of a window against its reference become verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    TypeAdapter,
    field_validator,
)

from detectors import catalog
from detectors.base import DetectorError
from detectors.statistical.multiple import correct
from detectors.statistical.spec import Kind, Spec
from detectors.summaries.table import TableSummary
from observer.model import Judged

TABLE = "@table"


def _built(value: object) -> object:
    """A detector from its name, or from a mapping with `type` and parameters."""
    if isinstance(value, str):
        value = {"type": value}
    if isinstance(value, Spec):
        return value
    name = value.get("type") if isinstance(value, dict) else None
    if not isinstance(value, dict) or name is None:
        known = ", ".join(catalog.names())
        raise ValueError(f"accepted: a detector's name, or a mapping with its name as type; names: {known}")
    try:
        return catalog.build(str(name), **{k: v for k, v in value.items() if k != "type"})
    except DetectorError as error:
        raise ValueError(str(error)) from error


class _Known:
    """JSON Schema of a detector: its name, or its name and parameters."""

    def __get_pydantic_json_schema__(self, _core: object, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        full = handler(TypeAdapter(catalog.spec_type()).core_schema)
        return {"anyOf": [{"enum": catalog.names()}, full]}


class JudgeSpec(BaseModel):
    """Which detectors judge a window, and how sure they must be."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.0001
    """Chance that an unchanged window of independent rows shows any drift at all (Holm over all verdicts)."""
    detectors: tuple[Annotated[Any, BeforeValidator(_built), _Known()], ...] | None = None
    """Names or parameters of detectors, for the kinds of column each applies to; default: the catalog's."""

    @field_validator("detectors")
    @classmethod
    def _once(cls, detectors: tuple[Spec, ...] | None) -> tuple[Spec, ...] | None:
        names = [detector.name for detector in detectors or ()]
        again = sorted({name for name in names if names.count(name) > 1})
        if again:  # their verdicts would share one series
            raise ValueError(f"accepted: each detector once; more than once: {', '.join(again)}")
        return detectors


class WindowJudge:
    """Runs the detectors over a window and corrects their verdicts as one family."""

    def __init__(self, spec: JudgeSpec) -> None:
        self._alpha = spec.alpha
        chosen = spec.detectors
        self._detectors: dict[Kind, Sequence[catalog.ColumnDetector]] = {
            kind: catalog.defaults(kind)
            if chosen is None
            else [
                cast("catalog.ColumnDetector", detector) for detector in chosen if kind in detector.applies_to
            ]
            for kind in ("number", "category", "table")
        }

    def judge(self, reference: TableSummary, window: TableSummary) -> tuple[Judged, ...]:
        """Every verdict on the window, corrected for how many there are."""
        asked: list[tuple[str, str]] = []
        verdicts = []
        sides = (
            ("number", reference.numbers, window.numbers, window.numbers.names),
            ("category", reference.categories, window.categories, window.categories.names),
            ("table", reference, window, (TABLE,)),
        )
        for kind, before, now, names in sides:
            if not names:
                continue
            for detector in self._detectors[cast("Kind", kind)]:
                found = detector.compare(before, now, self._alpha)
                verdicts.extend(found)
                asked.extend((name, detector.name) for name in names[: len(found)])
        corrected = correct(verdicts, self._alpha)
        return tuple(
            Judged(name, detector, verdict)
            for (name, detector), verdict in zip(asked, corrected, strict=True)
        )
