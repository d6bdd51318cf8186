"""What a model's configuration says to the data plane."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from observer.model import FeatureType, Task
from observer.references import SAMPLE_ROWS, Overrides, Privacy
from observer.segments import SegmentSpec
from observer.windows import Milliseconds, WindowSpec

Wanted = Literal["auto", "pape", "bbse", "off"]
"""How quality is estimated; see `ModelSpec.estimate`."""


class LearnSpec(BaseModel):
    """Learn the reference from the first windows of live traffic."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    windows: Annotated[int, Field(ge=1)] = 24
    """Closed windows with at least `min_events` rows that make the reference."""
    rows: Annotated[int, Field(ge=100)] = 2_000
    """Sampled rows the reference needs at least; learning goes on until both are reached."""


class FeatureSpec(BaseModel):
    """What a person says of one feature."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: FeatureType | None = None
    """Overrides the inferred type."""
    privacy: Privacy = "keep"
    """`hash` category names, `redact` sampled values and names, or `off`: ignore the feature."""


class ModelSpec(BaseModel):
    """How one model is watched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reference: Path | LearnSpec = LearnSpec()
    """A file that `observer reference build` made (`{version}` in its path: one per version), or how to learn
    one from live traffic."""
    versions: dict[str, Path] = {}
    """References of versions that have one of their own."""
    task: Task | None = None
    """Inferred from the reference if not given."""
    classes: Annotated[tuple[str, ...], Field(max_length=100)] = ()
    """Names of all classes, in the order that reports give them; taken from the reference if not given."""
    positive: str | None = None
    """Name of the positive class of a binary task."""
    features: Mapping[str, FeatureSpec] = {}
    window: WindowSpec = WindowSpec()
    segments: Annotated[tuple[SegmentSpec, ...], Field(max_length=8)] = ()
    min_labels: Annotated[int, Field(ge=1)] = 100
    """Quality of a cohort with fewer labels is not given: it would be noise."""
    estimate: Wanted = "auto"
    """Quality before labels, where the reference was built with labels. auto: `cbpe`, from scores, or for
    regression `dle`, from features; `pape` and `bbse` are for classifiers."""
    deduplicate: bool | None = None
    """Leave out predictions whose id came before; by default where labels are joined, which needs the ids."""
    sample_rows: Annotated[int, Field(ge=0, le=10_000)] = SAMPLE_ROWS
    """Rows kept of every window, chosen by the hash of their id; 0 for none."""
    retention: Annotated[Milliseconds, Field(ge=0)] = 90 * 86_400_000
    """How long summaries of closed windows and cohorts are kept."""

    @model_validator(mode="after")
    def _distinct_segments(self) -> Self:
        names = [spec.dimension for spec in self.segments]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"segments: {', '.join(twice)} is given twice; a dimension has one entry")
        return self

    def overrides(self, hash_key: bytes = b"") -> Overrides:
        """What a reference must respect."""
        return Overrides(
            types={name: spec.type for name, spec in self.features.items() if spec.type},
            privacy={name: spec.privacy for name, spec in self.features.items() if spec.privacy != "keep"},
            task=self.task,
            classes=self.classes,
            positive=self.positive,
            sample_rows=self.sample_rows,
            hash_key=hash_key,
        )


Outcome = Literal["accepted", "duplicate", "late_folded", "late_counted"]
"""What becomes of a decoded prediction; the values of the metric label."""
