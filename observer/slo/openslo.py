"""OpenSLO v1 documents as objectives, and objectives as OpenSLO v1 documents.

What is measured stands in `metricSource` of type `observer`, whose `spec` is an indicator of ours, with
`version`, `arm` and `segment` where the objective is about some predictions only. What cannot be kept is
refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from observer.errors import ConfigError
from observer.slo.burn import AlertRule, BurnWindows
from observer.slo.objective import alert_rules
from observer.slo.openslo_documents import (
    KINDS,
    NAME,
    ConditionRef,
    Measured,
    NotificationRef,
    PolicyRef,
    Rate,
    SloSpec,
    Target,
    Window,
)
from observer.slo.periods import period
from observer.slo.spec import CONDITIONS, Calendar, Drift, LabelCoverage, ObjectiveSpec, Quality, zone
from observer.windows import duration, milliseconds

Found = dict[str, dict[str, ObjectiveSpec]]
"""Objectives by model and name."""

_CALENDARS: dict[str, Calendar] = {"1d": "day", "1w": "week", "1M": "month", "1Q": "quarter", "1Y": "year"}
_SEVERITIES = {"page": "page", "critical": "page", "ticket": "ticket", "warning": "ticket"}
_SELECTORS = ("version", "arm", "segment")
_TOTAL = "predictions"
"""What stands for all that an indicator counts, good or not."""
_SHORTER = 12
"""How many times a short window goes into its long one, where a condition does not say."""


def read(paths: Sequence[Path], size: Callable[[str], int]) -> Found:
    """The objectives of OpenSLO files; documents may refer to others of any of the files.

    Parameters
    ----------
    size : callable
        Model name -> milliseconds of its windows.

    Raises
    ------
    ConfigError
        With everything that is wrong or not supported.
    """
    problems: list[str] = []
    known: dict[str, dict[str, tuple[str, Any]]] = {kind: {} for kind in KINDS}
    for path in paths:
        for place, document in _documents(path, problems):
            _note(place, document, known, problems)
    found: Found = {}
    for place, one in known["SLO"].values():
        try:
            spec = _objective(one, known, size(one.spec.service))
        except ValidationError as error:
            problems += [f"{place}: {_told(item)}" for item in error.errors()]
        except ValueError as error:
            problems.append(f"{place}: {error}")
        else:
            found.setdefault(one.spec.service, {})[one.metadata.own] = spec
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
    if kind not in KINDS:
        problems.append(f"{place}: kind {kind!r} is not supported; accepted: {', '.join(KINDS)}")
        return
    body = {key: value for key, value in document.items() if key not in ("apiVersion", "kind")}
    try:
        one: Any = KINDS[kind].model_validate(body)
    except ValidationError as error:
        problems += [f"{place}: {_told(item)}" for item in error.errors()]
        return
    # Nothing refers to an SLO, and each model may have one of a name.
    name = f"{one.metadata.own} {one.spec.service}" if kind == "SLO" else one.metadata.name
    if name in known[kind]:
        problems.append(f"{place}: {kind} {one.metadata.own!r} is given twice")
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


def _objective(one: Any, known: Mapping[str, Mapping[str, tuple[str, Any]]], size: int) -> ObjectiveSpec:
    spec: SloSpec = one.spec
    if (spec.indicator is None) == (spec.indicatorRef is None):
        raise ValueError("spec: accepted is either indicator or indicatorRef")
    indicator = spec.indicator or _resolved("SLI", spec.indicatorRef or "", known)
    [target], [window] = spec.objectives, spec.timeWindow
    if (target.target is None) == (target.targetPercent is None):
        raise ValueError("spec.objectives.0: accepted is either target or targetPercent")
    share = target.target if target.target is not None else round((target.targetPercent or 0) / 100, 12)
    given = _measured(indicator.spec, target, spec.budgetingMethod)
    _slices(target, spec.budgetingMethod, size)
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


def _measured(measured: Measured, target: Target, method: str) -> dict[str, Any]:
    """Our indicator and selectors."""
    if (measured.ratioMetric is None) == (measured.thresholdMetric is None):
        raise ValueError("indicator: accepted is either ratioMetric or thresholdMetric")
    metric = measured.thresholdMetric or (measured.ratioMetric.good if measured.ratioMetric else None)
    given = dict(metric.metricSource.spec) if metric is not None else {}
    total = measured.ratioMetric.total.metricSource.spec if measured.ratioMetric else {}
    if total not in ({}, _total(given)):
        raise ValueError(f"indicator: total {total!r} is not supported; accepted: {_total(given)!r}, or none")
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
    bound = "at_least" if target.op == "gte" else "at_most"
    for name, where in ((bound, "op and value"), ("weight", "budgetingMethod")):
        if name in given:
            raise ValueError(f"indicator: {name} is not supported in metricSource.spec; accepted: {where}")
    return given | {bound: target.value, "weight": "traffic" if method == "Occurrences" else "windows"}


def _slices(target: Target, method: str, size: int) -> None:
    """Raise unless the slices of time are the model's windows, of which each is good or is not."""
    if method == "Occurrences":
        for name in ("timeSliceTarget", "timeSliceWindow"):
            if getattr(target, name) is not None:
                raise ValueError(f"spec.objectives.0.{name} is not supported with Occurrences")
    elif target.timeSliceTarget not in (None, 1):
        raise ValueError(
            f"spec.objectives.0.timeSliceTarget: {target.timeSliceTarget:g} is not supported; accepted: 1, "
            "since a window has one value"
        )
    elif target.timeSliceWindow not in (None, size):
        given = duration(target.timeSliceWindow or 0)
        raise ValueError(
            f"spec.objectives.0.timeSliceWindow: {given} is not supported; accepted: {duration(size)}, "
            "the model's windows"
        )


def _total(given: Mapping[str, Any]) -> dict[str, Any]:
    """What stands for all events of an indicator."""
    return {"type": _TOTAL} | {name: given[name] for name in _SELECTORS if name in given}


def _window(window: Window) -> dict[str, Any]:
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
    if isinstance(policy, PolicyRef):
        policy = _resolved("AlertPolicy", policy.alertPolicyRef, known)
    for target in policy.spec.notificationTargets:
        if isinstance(target, NotificationRef):
            _resolved("AlertNotificationTarget", target.targetRef, known)
    for condition in policy.spec.conditions:
        if isinstance(condition, ConditionRef):
            condition = _resolved("AlertCondition", condition.conditionRef, known)  # noqa: PLW2901
        rate: Rate = condition.spec.condition
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
        # Of two bounds the second stays in the source.
        target["op"], bound = ("gte", "at_least") if "at_least" in own else ("lte", "at_most")
        target["value"] = own.pop(bound)
        if own.pop("weight") == "windows":
            method = "Timeslices"
            target |= {"timeSliceTarget": 1.0, "timeSliceWindow": _shorthand(size)}
        measured = {"thresholdMetric": _source(own)}
    else:
        measured = {"ratioMetric": {"counter": True, "good": _source(own), "total": _source(_total(own))}}
    metadata = _named(name)
    return {
        "apiVersion": "openslo/v1",
        "kind": "SLO",
        "metadata": metadata,
        "spec": {
            "description": spec.description,
            "service": model,
            "indicator": {"metadata": {"name": metadata["name"]}, "spec": measured},
            "timeWindow": [_time_window(spec)],
            "budgetingMethod": method,
            "objectives": [target],
            "alertPolicies": [_policy(metadata["name"], rule) for rule in alert_rules(spec, size)],
        },
    }


def _named(name: str) -> dict[str, Any]:
    """The metadata of a name; OpenSLO's are DNS labels, so others are kept beside."""
    label = name.replace("_", "-").rstrip("-")
    return {"name": label} if label == name else {"name": label, "annotations": {NAME: name}}


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


def _policy(name: str, rule: AlertRule) -> dict[str, Any]:
    """A rule as a policy of its own: OpenSLO's have one condition each."""
    long = duration(rule.long)
    condition = {
        "kind": "burnrate",
        "op": "gt",
        "threshold": rule.factor,
        "lookbackWindow": _shorthand(rule.long),
        "alertAfter": _shorthand(rule.short),
    }
    return {
        "kind": "AlertPolicy",
        "metadata": {"name": f"{name[:40]}-burns-{long}"},
        "spec": {
            "alertWhenBreaching": True,
            "conditions": [
                {
                    "kind": "AlertCondition",
                    "metadata": {"name": f"{name[:40]}-{long}"},
                    "spec": {"severity": rule.severity, "condition": condition},
                }
            ],
            "notificationTargets": [
                {
                    "kind": "AlertNotificationTarget",
                    "metadata": {"name": "alertmanager"},
                    "spec": {"target": "alertmanager"},
                }
            ],
        },
    }
