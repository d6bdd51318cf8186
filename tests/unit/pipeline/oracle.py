"""What a log of events must come to, by the rules alone: one plain pass over dictionaries."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from observer.pipeline.cohorts import CohortKey

Logs = Mapping[int, Sequence[bytes]]
WindowName = tuple[str, str, str, int]


@dataclass
class Window:
    rows: int = 0
    duplicates: int = 0
    values: dict[str, Counter] = field(default_factory=lambda: defaultdict(Counter))
    """Feature -> how often each value came; "missing" and "wrong" beside values."""


@dataclass
class Cohort:
    predictions: int = 0
    rows: list[tuple[str, str, float, float]] = field(default_factory=list)
    """Actual, predicted, score and weight of the labelled ones."""

    @property
    def confusion(self) -> Counter:
        return Counter((actual, predicted) for actual, predicted, _, _ in self.rows)

    @property
    def squared(self) -> float:
        return math.fsum(w * ((a == "1") - s) ** 2 for a, _, s, w in self.rows)

    @property
    def log(self) -> float:
        return math.fsum(-w * math.log(s if a == "1" else 1 - s) for a, _, s, w in self.rows)


@dataclass
class Expected:
    windows: dict[WindowName, Window]
    cohorts: dict[tuple[str, CohortKey], Cohort]
    waiting_predictions: int
    waiting_labels: int
    outcomes: Counter
    """Of predictions, by model and outcome."""
    bad: dict[str, list[tuple[int, int]]]
    """Partition and offset of what cannot be used, by stream."""


@dataclass
class Rules:
    """How one model is watched."""

    size: int
    lateness: int
    late: str
    features: Mapping[str, type]
    tags: Mapping[str, tuple[str, ...]]
    """Segments: the values of a tag that have one of their own."""


def parse(payload: bytes, wanted: str) -> dict[str, Any] | None:
    try:
        event = json.loads(payload)
    except ValueError:
        return None
    return event if isinstance(event, dict) and wanted in event and "time" in event else None


def expect(rules: Mapping[str, Rules], predictions: Logs, labels: Logs, horizon: int) -> Expected:
    held_for = horizon + max(rule.lateness for rule in rules.values())
    windows: dict[WindowName, Window] = defaultdict(Window)
    cohorts: dict[tuple[str, CohortKey], Cohort] = defaultdict(Cohort)
    outcomes: Counter = Counter()
    bad: dict[str, list[tuple[int, int]]] = {"predictions": [], "labels": []}
    found = labels_by_id(labels, rules, bad["labels"])
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for partition, log in predictions.items():
        reached = -math.inf
        for offset, payload in enumerate(log):
            one = parse(payload, "prediction")
            if one is None or one["model"] not in rules:
                bad["predictions"].append((partition, offset))
                continue
            rule = rules[one["model"]]
            start = one["time"] // rule.size * rule.size
            is_late = start + rule.size + rule.lateness <= reached
            is_forgotten = one["time"] + held_for <= reached
            reached = max(reached, one["time"])
            model, version = one["model"], one["version"]
            if is_forgotten:
                outcomes[model, "late_counted"] += 1
                continue
            if (model, one["id"]) in seen:
                outcomes[model, "duplicate"] += 1
                windows[model, version, "", start].duplicates += 1
                continue
            seen[model, one["id"]] = one
            segments = ["", *segments_of(rule, one)]
            add_cohorts(cohorts, one, segments, start, found.get((model, one["id"]), []), horizon)
            if is_late and rule.late == "count":
                outcomes[model, "late_counted"] += 1
                continue
            outcomes[model, "late_folded" if is_late else "accepted"] += 1
            for segment in segments:
                add_window(windows[model, version, segment, start], rule, one)
    complete = min(furthest(predictions, rules), furthest(labels, rules))
    span = -(-horizon // 8)

    def held(time: int) -> bool:
        """Whether the bucket that the time lies in is kept at the end."""
        return (time // span + 1) * span + horizon > complete - (held_for - horizon)

    waiting = sum(
        held(one["time"])
        and not any(abs(label["time"] - one["time"]) <= horizon for label in found.get(key, []))
        for key, one in seen.items()
    )
    unmet = sum(sum(map(held, {one["time"] for one in found[key]})) for key in found if key not in seen)
    return Expected(dict(windows), dict(cohorts), waiting, unmet, outcomes, bad)


def furthest(log: Logs, rules: Mapping[str, Rules]) -> float:
    """How far event time has come in the partition that is behind the others."""
    wanted = ("prediction", "label")
    times = [
        max(
            (
                one["time"]
                for one in (parse(p, w) for p in items for w in wanted)
                if one and one["model"] in rules
            ),
            default=-math.inf,
        )
        for items in log.values()
    ]
    return min(times)


def labels_by_id(
    labels: Logs, rules: Mapping[str, Rules], bad: list[tuple[int, int]]
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for partition, log in labels.items():
        for offset, payload in enumerate(log):
            one = parse(payload, "label")
            if one is None or one["model"] not in rules:
                bad.append((partition, offset))
            else:
                found[one["model"], one["id"]].append(one)
    return found


def segments_of(rule: Rules, one: Mapping[str, Any]) -> list[str]:
    names = []
    for tag, values in rule.tags.items():
        value = one.get("tags", {}).get(tag)
        names.append(f"{tag}={value if value in values else 'other'}")
    return names


def add_window(window: Window, rule: Rules, one: Mapping[str, Any]) -> None:
    window.rows += 1
    for name, kind in rule.features.items():
        value = one.get("features", {}).get(name)
        cell = "missing" if value is None else value if isinstance(value, kind) else "wrong"
        window.values[name][cell] += 1


def add_cohorts(
    cohorts: dict[tuple[str, CohortKey], Cohort],
    one: Mapping[str, Any],
    segments: Sequence[str],
    start: int,
    labels: Sequence[Mapping[str, Any]],
    horizon: int,
) -> None:
    near = [label for label in labels if abs(label["time"] - one["time"]) <= horizon]
    last = None
    for label in near:  # of equal times the one that came later
        if last is None or label["time"] >= last["time"]:
            last = label
    for arm in {"", one.get("arm") or ""}:
        for segment in segments:
            cohort = cohorts[one["model"], CohortKey(one["version"], arm, segment, start)]
            cohort.predictions += 1
            if last is not None:
                row = (last["label"], one["prediction"], one["scores"], last.get("weight", 1.0))
                cohort.rows.append(row)
