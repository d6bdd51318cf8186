"""What the configuration says of an objective."""

from __future__ import annotations

from datetime import UTC, tzinfo
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    field_validator,
    model_validator,
)

from detectors.quality.catalog import CATALOG
from observer.slo.burn import DAY, BurnWindows, Packaged
from observer.windows import Milliseconds, duration

Basis = Literal["realised", "estimated"]
Calendar = Literal["day", "week", "month", "quarter", "year"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Correct(_Section):
    """Good: the predicted class is the label's."""

    type: Literal["correct"] = "correct"
    basis: Basis = "realised"
    """`estimated`: of all predictions without waiting for labels, while the estimator has skill."""

    @property
    def words(self) -> str:
        """What is measured."""
        return "predictions that are correct" + (", estimated" if self.basis == "estimated" else "")


class ErrorWithin(_Section):
    """Good: prediction and label are close."""

    type: Literal["error_within"] = "error_within"
    absolute: Annotated[FiniteFloat | None, Field(ge=0)] = None
    """Largest error, in the label's unit."""
    relative: Annotated[FiniteFloat | None, Field(ge=0)] = None
    """Largest error as a share of the label's size. Given both, the larger of the two is allowed."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.absolute is None and self.relative is None:
            raise ValueError("neither absolute nor relative is given; accepted: one of them or both")
        return self

    @property
    def words(self) -> str:
        """What is measured."""
        bounds = [f"{self.absolute:g}"] if self.absolute is not None else []
        bounds += [f"{self.relative:.4g} of the label"] if self.relative is not None else []
        return f"predictions within {' or '.join(bounds)}"


class Complete(_Section):
    """Good: no feature is missing, null or of a wrong type."""

    type: Literal["complete"] = "complete"
    features: Annotated[tuple[str, ...], Field(max_length=1_000)] = ()
    """The features that have to be there; empty: all of the reference, once there is one."""

    @property
    def words(self) -> str:
        """What is measured."""
        return f"predictions with {', '.join(self.features) or 'every feature'}"


class Latency(_Section):
    """Good: the prediction was fast enough; events without `latency_ms` do not count."""

    type: Literal["latency"] = "latency"
    within: Annotated[Milliseconds, Field(ge=1)]
    """The longest that is good: a prediction's latency, or the age of the model's latest prediction."""

    @property
    def words(self) -> str:
        """What is measured."""
        return f"predictions within {duration(self.within)}"


class _Condition(_Section):
    weight: Literal["traffic", "windows"] = "traffic"
    """What a window counts: its predictions, or 1."""


class Quality(_Condition):
    """Good: a window whose quality metric, once its labels are there, lies within bounds."""

    type: Literal["quality"] = "quality"
    metric: Annotated[str, Field(min_length=1)]
    """Such as `roc_auc`, `ece`, `rmse`; `class_recall.NAME` of one class."""
    at_least: FiniteFloat | None = None
    """Lower bound: of the metric, or of the share of a window's predictions that have their label."""
    at_most: FiniteFloat | None = None
    """Upper bound: of the metric, or of the share of the judged columns that may drift."""
    basis: Basis = "realised"
    """`estimated`: of all predictions without waiting for labels, while the estimator has skill."""

    @field_validator("metric")
    @classmethod
    def _known(cls, metric: str) -> str:
        if metric.partition(".")[0] not in CATALOG:
            raise ValueError(f"{metric!r} is no quality metric; accepted: {', '.join(CATALOG)}")
        return metric

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("neither at_least nor at_most is given; accepted: one of them or both")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least, {self.at_least:g}, is more than at_most, {self.at_most:g}")
        return self

    def holds(self, value: float) -> bool:
        """Whether a value lies within the bounds."""
        above = self.at_least is None or value >= self.at_least
        return above and (self.at_most is None or value <= self.at_most)

    @property
    def words(self) -> str:
        """What is measured."""
        bounds = [f">= {self.at_least:g}"] if self.at_least is not None else []
        bounds += [f"<= {self.at_most:g}"] if self.at_most is not None else []
        told = ", estimated" if self.basis == "estimated" else ""
        return f"windows with {self.metric} {' and '.join(bounds)}{told}"


class LabelCoverage(_Condition):
    """Good: a window that has got enough of its labels by the time that nearly all should have come."""

    type: Literal["label_coverage"] = "label_coverage"
    at_least: Annotated[float, Field(gt=0, le=1)]
    """Lower bound: of the metric, or of the share of a window's predictions that have their label."""

    @property
    def words(self) -> str:
        """What is measured."""
        return f"windows with labels for {self.at_least:.4g} of the predictions"


class Drift(_Condition):
    """Good: a window in which few columns drift."""

    type: Literal["drift"] = "drift"
    at_most: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Upper bound: of the metric, or of the share of the judged columns that may drift."""

    @property
    def words(self) -> str:
        """What is measured."""
        return f"windows with drift in at most {self.at_most:.4g} of the columns"


class Freshness(_Section):
    """Good: a moment, every ten seconds by the clock, at which the model's latest event is recent."""

    type: Literal["freshness"] = "freshness"
    within: Annotated[Milliseconds, Field(ge=1_000)]
    """The longest that is good: a prediction's latency, or the age of the model's latest prediction."""

    @property
    def words(self) -> str:
        """What is measured."""
        return f"moments with a prediction in the last {duration(self.within)}"


Indicator: TypeAlias = (
    Correct | ErrorWithin | Complete | Latency | Quality | LabelCoverage | Drift | Freshness
)
LABELLED = (Correct, ErrorWithin, Quality, LabelCoverage)
"""Indicators that wait for labels, unless they are estimated."""
CONDITIONS = (Quality, LabelCoverage, Drift)
"""Indicators whose events are windows."""


def zone(name: str) -> tzinfo:
    """A time zone; UTC needs no data of the system."""
    return UTC if name == "UTC" else ZoneInfo(name)


def _zone(name: str) -> str:
    try:
        zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no time zone; accepted: names such as Europe/Berlin") from error
    return name


class ObjectiveSpec(_Section):
    """How many of a model's events, or windows, have to be good."""

    indicator: Annotated[Indicator, Field(discriminator="type")]
    """What is good."""
    target: Annotated[float, Field(gt=0, lt=1)]
    """Share that has to be good; the rest is the error budget."""
    description: str = ""
    """For people; alerts begin with it."""
    window: Annotated[Milliseconds, Field(ge=1_000, le=366 * DAY)] = 30 * DAY
    """Length of the rolling window that the budget is for."""
    calendar: Calendar | None = None
    """Instead of `window`: the budget begins anew with each."""
    time_zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    """Where calendar windows begin at midnight."""
    version: Annotated[str | None, Field(min_length=1)] = None
    """Only this version; all versions together if not given."""
    arm: Literal["champion", "challenger"] | None = None
    """Only this arm."""
    segment: Annotated[str, Field(pattern=r"^([^=]+=.*)?$")] = ""
    """Only this segment, `dimension=value`, of one of the model's `segments`."""
    burn_windows: Packaged | BurnWindows | Path = "google-30d"
    """Which burn rates alert: `google-30d`, `pyrra-28d`, a file like them, or what would stand in it."""

    @property
    def waits_for_labels(self) -> bool:
        """Whether nothing is known before labels come."""
        basis = getattr(self.indicator, "basis", "realised")
        return isinstance(self.indicator, LABELLED) and basis == "realised"

    @property
    def is_condition(self) -> bool:
        """Whether windows of the model are what is counted."""
        return isinstance(self.indicator, CONDITIONS) or (
            isinstance(self.indicator, Correct) and self.indicator.basis == "estimated"
        )

    @property
    def meaningless(self) -> list[str]:
        """Selectors that are given although the indicator knows no such predictions: nothing would count."""
        if isinstance(self.indicator, Freshness):
            unknown = ["version", "arm", "segment"]
        elif isinstance(self.indicator, Drift) or getattr(self.indicator, "basis", "") == "estimated":
            unknown = ["arm"]
        else:
            unknown = []
        return [name for name in unknown if getattr(self, name)]
