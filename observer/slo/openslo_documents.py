"""OpenSLO v1 documents as far as they are supported: what else they hold is refused by name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from observer.windows import Milliseconds

NAME = "ml-observer/objective"
"""Annotation with an objective's own name, where OpenSLO's have to be others."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Metadata(_Part):
    """Name of a document, and what else people write there."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    displayName: str = ""  # noqa: N815 - OpenSLO's name
    labels: dict[str, Any] = {}
    annotations: dict[str, Any] = {}

    @property
    def own(self) -> str:
        """The name here, which may have what OpenSLO's may not: `_`."""
        return str(self.annotations.get(NAME, self.name))


class _Source(_Part):
    type: Literal["observer"]
    spec: dict[str, Any] = {}


class _Metric(_Part):
    metricSource: _Source  # noqa: N815


class _Ratio(_Part):
    counter: Literal[True] = True
    good: _Metric
    total: _Metric


class Measured(_Part):
    """What an indicator measures."""

    description: str = ""
    ratioMetric: _Ratio | None = None  # noqa: N815
    thresholdMetric: _Metric | None = None  # noqa: N815


class Sli(_Part):
    """An indicator."""

    metadata: Metadata
    spec: Measured


class _Calendar(_Part):
    startTime: str  # noqa: N815
    timeZone: str = "UTC"  # noqa: N815


class Window(_Part):
    """The objective's window."""

    duration: str
    isRolling: bool  # noqa: N815
    calendar: _Calendar | None = None


class Target(_Part):
    """Share that has to be good, and the bound of a window's value."""

    displayName: str = ""  # noqa: N815
    target: Annotated[float | None, Field(gt=0, lt=1)] = None
    targetPercent: Annotated[float | None, Field(gt=0, lt=100)] = None  # noqa: N815
    op: Literal["gte", "lte"] | None = None
    value: float | None = None
    timeSliceTarget: float | None = None  # noqa: N815
    timeSliceWindow: Milliseconds | None = None  # noqa: N815


class Rate(_Part):
    """A burn rate that alerts."""

    kind: Literal["burnrate"]
    op: Literal["gt"] = "gt"
    threshold: Annotated[float, Field(gt=0)]
    lookbackWindow: str  # noqa: N815
    alertAfter: str = ""  # noqa: N815


class _ConditionSpec(_Part):
    description: str = ""
    severity: Literal["page", "critical", "ticket", "warning"]
    condition: Rate


class _Condition(_Part):
    kind: Literal["AlertCondition"] = "AlertCondition"
    metadata: Metadata
    spec: _ConditionSpec


class ConditionRef(_Part):
    """A condition of another document."""

    conditionRef: str  # noqa: N815


class _NotificationSpec(_Part):
    description: str = ""
    target: Literal["alertmanager"]


class _Notification(_Part):
    kind: Literal["AlertNotificationTarget"] = "AlertNotificationTarget"
    metadata: Metadata
    spec: _NotificationSpec


class NotificationRef(_Part):
    """A notification target of another document."""

    targetRef: str  # noqa: N815


class _PolicySpec(_Part):
    description: str = ""
    alertWhenBreaching: Literal[True] = True  # noqa: N815
    alertWhenResolved: bool = False  # noqa: N815
    alertWhenNoData: Literal[False] = False  # noqa: N815
    conditions: Annotated[tuple[_Condition | ConditionRef, ...], Field(min_length=1)]
    notificationTargets: tuple[_Notification | NotificationRef, ...] = ()  # noqa: N815


class _Policy(_Part):
    kind: Literal["AlertPolicy"] = "AlertPolicy"
    metadata: Metadata
    spec: _PolicySpec


class PolicyRef(_Part):
    """A policy of another document."""

    alertPolicyRef: str  # noqa: N815


class SloSpec(_Part):
    """What an objective says."""

    description: str = ""
    service: Annotated[str, Field(min_length=1, max_length=200)]
    indicator: Sli | None = None
    indicatorRef: str | None = None  # noqa: N815
    timeWindow: Annotated[tuple[Window, ...], Field(min_length=1, max_length=1)]  # noqa: N815
    budgetingMethod: Literal["Occurrences", "Timeslices"] = "Occurrences"  # noqa: N815
    objectives: Annotated[tuple[Target, ...], Field(min_length=1, max_length=1)]
    alertPolicies: tuple[_Policy | PolicyRef, ...] = ()  # noqa: N815


class Slo(_Part):
    """An objective."""

    metadata: Metadata
    spec: SloSpec


class _Service(_Part):
    metadata: Metadata
    spec: dict[str, Any] = {}


KINDS: dict[str, type[BaseModel]] = {
    "SLO": Slo,
    "SLI": Sli,
    "AlertPolicy": _Policy,
    "AlertCondition": _Condition,
    "AlertNotificationTarget": _Notification,
    "Service": _Service,
}
"""Documents that a file may hold, by kind."""
