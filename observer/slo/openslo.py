"""OpenSLO v1 documents as objectives, and objectives as OpenSLO v1 documents.

What is measured stands in `metricSource` of type `observer`, whose `spec` is an indicator of ours, with
`version`, `arm` and `segment` where the objective is about some predictions only. What cannot be kept is
refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from observer.errors import ConfigError
from observer.slo.burn import AlertRule, BurnWindows
from observer.slo.objective import alert_rules
from observer.slo.periods import period
from observer.slo.spec import CONDITIONS, Calendar, Drift, LabelCoverage, ObjectiveSpec, Quality, zone
from observer.windows import duration, milliseconds

Found = dict[str, dict[str, ObjectiveSpec]]
"""Objectives by model and name."""

_CALENDARS: dict[str, Calendar] = {"1d": "day", "1w": "week", "1M": "month", "1Q": "quarter", "1Y": "year"}
_SEVERITIES = {"page": "page", "critical": "page", "ticket": "ticket", "warning": "ticket"}
_SELECTORS = ("version", "arm", "segment")
_SHORTER = 12
"""How many times a short window goes into its long one, where a condition does not say."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Metadata(_Part):
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    displayName: str = ""  # noqa: N815 - OpenSLO's name
    labels: dict[str, Any] = {}
    annotations: dict[str, Any] = {}


class _Source(_Part):
    type: Literal["observer"]
    spec: dict[str, Any] = {}


class _Metric(_Part):
    metricSource: _Source  # noqa: N815


class _Ratio(_Part):
    counter: Literal[True] = True
    good: _Metric
    total: _Metric


class _Measured(_Part):
    description: str = ""
    ratioMetric: _Ratio | None = None  # noqa: N815
    thresholdMetric: _Metric | None = None  # noqa: N815


class _Indicator(_Part):
    metadata: _Metadata
    spec: _Measured


class _Calendar(_Part):
    startTime: str  # noqa: N815
    timeZone: str = "UTC"  # noqa: N815


class _Window(_Part):
    duration: str
    isRolling: bool  # noqa: N815
    calendar: _Calendar | None = None


class _Target(_Part):
    displayName: str = ""  # noqa: N815
    target: Annotated[float | None, Field(gt=0, lt=1)] = None
    targetPercent: Annotated[float | None, Field(gt=0, lt=100)] = None  # noqa: N815
    op: Literal["gte", "lte"] | None = None
    value: float | None = None


class _Rate(_Part):
    kind: Literal["burnrate"]
    op: Literal["gt", "gte"] = "gt"
    threshold: Annotated[float, Field(gt=0)]
    lookbackWindow: str  # noqa: N815
    alertAfter: str = ""  # noqa: N815


class _ConditionSpec(_Part):
    description: str = ""
    severity: Literal["page", "critical", "ticket", "warning"]
    condition: _Rate


class _Condition(_Part):
    kind: Literal["AlertCondition"] = "AlertCondition"
    metadata: _Metadata
    spec: _ConditionSpec


class _ConditionRef(_Part):
    conditionRef: str  # noqa: N815


class _PolicySpec(_Part):
    description: str = ""
    alertWhenBreaching: Literal[True] = True  # noqa: N815
    alertWhenResolved: bool = False  # noqa: N815
    alertWhenNoData: Literal[False] = False  # noqa: N815
    conditions: Annotated[tuple[_Condition | _ConditionRef, ...], Field(min_length=1)]
    notificationTargets: Annotated[tuple[Any, ...], Field(max_length=0)] = ()  # noqa: N815


class _Policy(_Part):
    kind: Literal["AlertPolicy"] = "AlertPolicy"
    metadata: _Metadata
    spec: _PolicySpec


class _PolicyRef(_Part):
    alertPolicyRef: str  # noqa: N815


class _ObjectiveSpec(_Part):
    description: str = ""
    service: Annotated[str, Field(min_length=1, max_length=200)]
    indicator: _Indicator | None = None
    indicatorRef: str | None = None  # noqa: N815
    timeWindow: Annotated[tuple[_Window, ...], Field(min_length=1, max_length=1)]  # noqa: N815
    budgetingMethod: Literal["Occurrences", "Timeslices"] = "Occurrences"  # noqa: N815
    objectives: Annotated[tuple[_Target, ...], Field(min_length=1, max_length=1)]
    alertPolicies: tuple[_Policy | _PolicyRef, ...] = ()  # noqa: N815


class _Objective(_Part):
    metadata: _Metadata
    spec: _ObjectiveSpec


class _Service(_Part):
    metadata: _Metadata
    spec: dict[str, Any] = {}


_KINDS: dict[str, type[BaseModel]] = {
    "SLO": _Objective,
    "SLI": _Indicator,
    "AlertPolicy": _Policy,
    "AlertCondition": _Condition,
    "Service": _Service,
}


def read(paths: Sequence[Path]) -> Found:
    """The objectives of OpenSLO files; documents may refer to others of any of the files.

    Raises
    ------
    ConfigError
        With everything that is wrong or not supported.
    """
    problems: list[str] = []
    known: dict[str, dict[str, tuple[str, Any]]] = {kind: {} for kind in _KINDS}
    for path in paths:
        for place, document in _documents(path, problems):
            _note(place, document, known, problems)
    found: Found = {}
    for place, one in known["SLO"].values():
        try:
            spec = _objective(one, known)
        except ValidationError as error:
            problems += [f"{place}: {_told(item)}" for item in error.errors()]
        except ValueError as error:
            problems.append(f"{place}: {error}")
        else:
            found.setdefault(one.spec.service, {})[one.metadata.name] = spec
    if problems:
        raise ConfigError(problems)
    return found


def _documents(path: Path, problems: list[str]) -> Iterator[tuple[str, Any]]:
    try:
        documents = list(yaml.safe_load_all(path.read_text("utf-8")))
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror}")
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problems.append(f"{path}: is no YAML: {' '.join(str(error).split())}")
    else:
        yield from ((f"{path}, document {i}", one) for i, one in enumerate(documents, 1) if one is not None)


def _note(
    place: str, document: Any, known: dict[str, dict[str, tuple[str, Any]]], problems: list[str]
) -> None:
    if not isinstance(document, dict) or document.get("apiVersion") != "openslo/v1":
        problems.append(f"{place}: apiVersion is not openslo/v1")
        return
    kind = document.get("kind")
    if kind not in _KINDS:
        problems.append(f"{place}: kind {kind!r} is not supported; accepted: {', '.join(_KINDS)}")
        return
    body = {key: value for key, value in document.items() if key not in ("apiVersion", "kind")}
    try:
        one: Any = _KINDS[kind].model_validate(body)
    except ValidationError as error:
        problems += [f"{place}: {_told(item)}" for item in error.errors()]
        return
    # Nothing refers to an SLO, and each model may have one of a name.
    name = f"{one.metadata.name} {one.spec.service}" if kind == "SLO" else one.metadata.name
    if name in known[kind]:
        problems.append(f"{place}: {kind} {one.metadata.name!r} is given twice")
    known[kind][name] = (place, one)


def _told(item: Any) -> str:
    where = ".".join(str(step) for step in item["loc"] if not str(step).startswith("_"))
    if item["type"] == "extra_forbidden":
        return f"{where} is not supported"
    if item["type"] == "literal_error":
        return f"{where}: {item['input']!r} is not supported; accepted: {item['ctx']['expected']}"
    return f"{where}: {item['msg'].removeprefix('Value error, ')}"


def _resolved(kind: str, name: str, known: Mapping[str, Mapping[str, tuple[str, Any]]]) -> Any:
    if name not in known[kind]:
        raise ValueError(f"refers to {kind} {name!r}; there are: {', '.join(known[kind]) or 'none'}")
    return known[kind][name][1]


def _objective(one: Any, known: Mapping[str, Mapping[str, tuple[str, Any]]]) -> ObjectiveSpec:
    spec: _ObjectiveSpec = one.spec
    if (spec.indicator is None) == (spec.indicatorRef is None):
        raise ValueError("spec: accepted is either indicator or indicatorRef")
    indicator = spec.indicator or _resolved("SLI", spec.indicatorRef or "", known)
    [target], [window] = spec.objectives, spec.timeWindow
    if (target.target is None) == (target.targetPercent is None):
        raise ValueError("spec.objectives.0: accepted is either target or targetPercent")
    share = target.target if target.target is not None else round((target.targetPercent or 0) / 100, 12)
    given = _measured(indicator.spec, target, spec.budgetingMethod)
    chosen = {name: given.pop(name) for name in _SELECTORS if name in given}
    fields = {
        "indicator": given,
        "target": share,
        "description": spec.description or one.metadata.displayName,
        **_window(window),
        **chosen,
    }
    if spec.alertPolicies:
        rules = [rule for policy in spec.alertPolicies for rule in _rules(policy, known)]
        span = window.duration if window.isRolling else "30d"
        fields["burn_windows"] = BurnWindows.model_validate({"period": span, "alerts": tuple(rules)})
    return ObjectiveSpec.model_validate(fields)


def _measured(measured: _Measured, target: _Target, method: str) -> dict[str, Any]:
    """Our indicator and selectors."""
    if (measured.ratioMetric is None) == (measured.thresholdMetric is None):
        raise ValueError("indicator: accepted is either ratioMetric or thresholdMetric")
    metric = measured.thresholdMetric or (measured.ratioMetric.good if measured.ratioMetric else None)
    given = dict(metric.metricSource.spec) if metric is not None else {}
    is_condition = given.get("type") in {kind.model_fields["type"].default for kind in CONDITIONS}
    if is_condition != (measured.thresholdMetric is not None):
        wanted = "thresholdMetric" if is_condition else "ratioMetric"
        raise ValueError(f"indicator: {given.get('type')!r} is given as {wanted} only")
    if not is_condition:
        if method != "Occurrences":
            raise ValueError(f"budgetingMethod {method} is not supported for events; accepted: Occurrences")
        if target.op is not None or target.value is not None:
            raise ValueError("spec.objectives.0: op and value go with a thresholdMetric")
        return given
    if target.op is None or target.value is None:
        raise ValueError("spec.objectives.0: a thresholdMetric needs op and value")
    given["at_least" if target.op == "gte" else "at_most"] = target.value
    given["weight"] = "traffic" if method == "Occurrences" else "windows"
    return given


def _window(window: _Window) -> dict[str, Any]:
    if window.isRolling:
        if not re.fullmatch(r"[0-9]+[mhdw]", window.duration):
            raise ValueError(f"timeWindow {window.duration!r} is not supported; accepted: m, h, d or w")
        if window.calendar is not None:
            raise ValueError("timeWindow.calendar goes with isRolling: false")
        return {"window": window.duration}
    if window.duration not in _CALENDARS or window.calendar is None:
        known = ", ".join(_CALENDARS)
        raise ValueError(
            f"timeWindow {window.duration!r} is not supported; accepted with a calendar: {known}"
        )
    calendar, own = _CALENDARS[window.duration], window.calendar
    found = ObjectiveSpec.model_validate(
        {"indicator": {"type": "correct"}, "target": 0.5, "calendar": calendar, "time_zone": own.timeZone}
    )
    first = datetime.fromisoformat(own.startTime).replace(tzinfo=zone(found.time_zone))
    start = int(first.timestamp() * 1000)
    if period(calendar, zone(found.time_zone), start)[0] != start:
        raise ValueError(f"timeWindow.calendar.startTime {own.startTime!r} does not begin a {calendar}")
    return {"calendar": calendar, "time_zone": own.timeZone}


def _rules(policy: Any, known: Mapping[str, Mapping[str, tuple[str, Any]]]) -> Iterator[AlertRule]:
    if isinstance(policy, _PolicyRef):
        policy = _resolved("AlertPolicy", policy.alertPolicyRef, known)
    for condition in policy.spec.conditions:
        if isinstance(condition, _ConditionRef):
            condition = _resolved("AlertCondition", condition.conditionRef, known)  # noqa: PLW2901
        rate: _Rate = condition.spec.condition
        long = milliseconds(rate.lookbackWindow)
        yield AlertRule.model_validate(
            {
                "severity": _SEVERITIES[condition.spec.severity],
                "short": rate.alertAfter or duration(long // _SHORTER),
                "long": rate.lookbackWindow,
                "factor": rate.threshold,
            }
        )


def document(model: str, name: str, spec: ObjectiveSpec, size: int) -> dict[str, Any]:
    """An objective of a model whose windows last `size` milliseconds, as an OpenSLO document."""
    own = spec.indicator.model_dump(mode="json", exclude_none=True)
    own |= spec.model_dump(include=set(_SELECTORS), exclude_defaults=True)
    target: dict[str, Any] = {"target": spec.target}
    method = "Occurrences"
    if isinstance(spec.indicator, Quality | LabelCoverage | Drift):
        bounds = {"gte": own.pop("at_least", None), "lte": own.pop("at_most", None)}
        given = {op: value for op, value in bounds.items() if value is not None}
        if len(given) != 1:
            raise ConfigError([f"{model}.{name}: OpenSLO has one bound, this objective has two"])
        [(target["op"], target["value"])] = given.items()
        method = "Occurrences" if own.pop("weight") == "traffic" else "Timeslices"
        measured = {"thresholdMetric": _source(own)}
    else:
        measured = {"ratioMetric": {"counter": True, "good": _source(own), "total": _source({})}}
    return {
        "apiVersion": "openslo/v1",
        "kind": "SLO",
        "metadata": {"name": name},
        "spec": {
            "description": spec.description,
            "service": model,
            "indicator": {"metadata": {"name": name}, "spec": measured},
            "timeWindow": [_time_window(spec)],
            "budgetingMethod": method,
            "objectives": [target],
            "alertPolicies": _policies(name, alert_rules(spec, size)),
        },
    }


def _source(spec: dict[str, Any]) -> dict[str, Any]:
    return {"metricSource": {"type": "observer", "spec": spec}}


def _time_window(spec: ObjectiveSpec) -> dict[str, Any]:
    if spec.calendar is None:
        return {"duration": _shorthand(spec.window), "isRolling": True}
    length = next(length for length, calendar in _CALENDARS.items() if calendar == spec.calendar)
    # The year 2024 begins on a Monday, so it begins every kind of calendar window.
    begin = {"startTime": "2024-01-01 00:00:00", "timeZone": spec.time_zone}
    return {"duration": length, "isRolling": False, "calendar": begin}


def _shorthand(time: int) -> str:
    for unit, size in (("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)):
        if time % size == 0:
            return f"{time // size}{unit}"
    raise ConfigError([f"{duration(time)}: OpenSLO has no windows of less than a minute"])


def _policies(name: str, rules: Sequence[AlertRule]) -> list[dict[str, Any]]:
    conditions = [
        {
            "kind": "AlertCondition",
            "metadata": {"name": f"{name[:50]}-{duration(rule.long)}"},
            "spec": {
                "severity": rule.severity,
                "condition": {
                    "kind": "burnrate",
                    "op": "gt",
                    "threshold": rule.factor,
                    "lookbackWindow": _shorthand(rule.long),
                    "alertAfter": _shorthand(rule.short),
                },
            },
        }
        for rule in rules
    ]
    if not conditions:
        return []
    metadata = {"name": f"{name[:50]}-burns"}
    return [{"kind": "AlertPolicy", "metadata": metadata, "spec": {"conditions": conditions}}]
