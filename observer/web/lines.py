"""Time series for the script that draws them: seconds, and lines of values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from observer.model import EvidenceReport, QualityReport, StreamEvidence, WindowReport
from observer.web.endpoints import EvidenceAfter
from observer.web.words import subject

Stream = tuple[str, str, str]
"""Segment, subject and statistic."""


def stream_of(one: StreamEvidence) -> Stream:
    """What a stream is known by."""
    return one.segment, one.subject, one.statistic


def evidence(rows: Iterable[EvidenceAfter], wanted: Sequence[Stream] = ()) -> str:
    """Mean evidence and threshold over time, and some streams: JSON."""
    ordered = list(reversed(list(rows)))
    lines: list[dict[str, Any]] = [
        {"label": "pages at", "kind": "limit", "y": [one.report.threshold or None for one in ordered]},
        {"label": "all streams", "kind": "mean", "y": [one.report.evidence for one in ordered]},
    ]
    for key in wanted[:3]:
        name = subject(key[1]) + (f" {key[2]}" if key[2] else "") + (f", {key[0]}" if key[0] else "")
        lines.append({"label": name, "kind": "one", "y": [_of(one.report, key) for one in ordered]})
    return _json("evidence, log10", [one.start for one in ordered], lines)


def _of(report: EvidenceReport, key: Stream) -> float | None:
    found = next((one for one in report.streams if stream_of(one) == key), None)
    return None if found is None else found.evidence


def effect(rows: Iterable[EvidenceAfter], key: Stream) -> str:
    """A stream's estimated shift over time, and the bound that it is at least: JSON."""
    ordered = list(reversed(list(rows)))
    found = [next((s for s in one.report.streams if stream_of(s) == key), None) for one in ordered]
    lower = [None if s is None else s.lower * (1 if s.effect >= 0 else -1) for s in found]
    lines = [
        {"label": "estimated shift", "kind": "mean", "y": [s.effect if s else None for s in found]},
        {"label": "at least", "kind": "limit", "y": lower},
    ]
    return _json(f"shift of {key[2]}", [one.start for one in ordered], lines)


def quality(cohorts: Sequence[QualityReport], windows: Sequence[WindowReport], metric: str) -> str:
    """A metric over time: matured, provisional, and estimated with its band where there is one: JSON."""
    told = {one.start: one for one in cohorts}
    guessed = {one.key.start: e for one in windows for e in one.estimates if e.metric == metric}
    starts = sorted(set(told) | set(guessed))

    def values(maturity: str) -> list[float | None]:
        found = (told.get(start) for start in starts)
        return [_value(one, metric) if one and one.maturity == maturity else None for one in found]

    lines = [
        {"label": "matured", "kind": "mean", "y": values("matured")},
        {"label": "provisional", "kind": "open", "y": values("provisional")},
    ]
    if guessed:
        for label, kind in (("value", "one"), ("low", "band"), ("high", "band")):
            y = [getattr(guessed[start], label) if start in guessed else None for start in starts]
            lines.append({"label": f"estimated {label}", "kind": kind, "y": y})
    return _json(metric, starts, lines)


def rollout(points: Sequence[Mapping[str, float]], limit: float) -> dict[str, str]:
    """A rollout's difference with its band, its evidence and its share over time: JSON by name.

    `limit`: the evidence, as a power of ten, at which it counts.
    """
    if not points:
        return {}
    known = [one for one in points if one["upper"] - one["lower"] < 1.0] or list(points)
    starts = [round(one["end"] * 1000) for one in points]
    late = known[len(known) // 3 :]  # at first the band is so wide that nothing else could be seen
    reach = 1.2 * max(max(abs(one["lower"]), abs(one["upper"])) for one in late)

    def values(name: str, factor: float = 1.0) -> list[float]:
        return [one[name] * factor for one in points]

    difference = [
        {"label": "no difference", "kind": "limit", "y": [0.0] * len(points)},
        {"label": "low", "kind": "band", "y": values("lower")},
        {"label": "high", "kind": "band", "y": values("upper")},
        {"label": "difference", "kind": "mean", "y": values("estimate")},
    ]
    ten = 1 / math.log(10)
    evidence = [
        {"label": "decides at", "kind": "limit", "y": [limit] * len(points)},
        {"label": "better", "kind": "mean", "y": values("better", ten)},
        {"label": "worse", "kind": "one", "y": values("worse", ten)},
    ]
    share = [{"label": "share, %", "kind": "step", "y": values("share")}]
    return {
        "difference": _json("difference of rates", starts, difference, (-reach, reach)),
        "evidence": _json("evidence, log10", starts, evidence),
        "share": _json("percent", starts, share),
    }


def _value(report: QualityReport, metric: str) -> float | None:
    return next((one.value for one in report.values if one.metric == metric), None)


def _json(
    unit: str,
    starts: Sequence[int],
    lines: Sequence[dict[str, Any]],
    range_: tuple[float, float] | None = None,
) -> str:
    plain: dict[str, Any] = {"unit": unit, "x": [start / 1000 for start in starts], "lines": lines}
    if range_ is not None:
        plain["range"] = range_
    return msgspec.json.encode(plain).decode()
