"""Numbers, times and causes in words, as templates show them."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from observer.model import Finding, ObjectiveStanding, StreamEvidence
from observer.plain import timestamp

_NAMES = {
    "location": ("values rose in rank", "values fell in rank"),
    "spread": ("spread widened", "spread narrowed"),
    "total_variation": ("categories shifted", "categories shifted"),
    "covariance": ("correlations changed", "correlations changed"),
    "missing": ("more missing values", "fewer missing values"),
    "type_errors": ("more values of a wrong type", "fewer values of a wrong type"),
    "unseen_categories": ("more unseen categories", "fewer unseen categories"),
    "duplicates": ("more duplicates", "fewer duplicates"),
    "error_rate": ("more errors", "fewer errors"),
    "absolute_error": ("larger errors", "smaller errors"),
    "calibration": ("scores are off the labels", "scores are off the labels"),
}

_METRICS = {
    "roc_auc": "AUC",
    "pr_auc": "PR AUC",
    "f1": "F1",
    "ece": "ECE",
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R²",
}


def moment(milliseconds: float | None) -> str:
    """As `5 Jan 2026 03:00`, UTC."""
    if milliseconds is None:
        return ""
    when = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return f"{when.day} {when:%b %Y %H:%M}"


def iso(milliseconds: float) -> str:
    """RFC 3339, for machines."""
    return timestamp(milliseconds)


def number(value: float | None, digits: int = 3) -> str:
    """A number to a few digits; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value and (abs(value) >= 1e6 or abs(value) < 1e-3):
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{digits}g}" if abs(value) < 1000 else f"{value:,.0f}"


def metric(value: float | None) -> str:
    """The value of a quality metric: three decimals where it is small."""
    return f"{value:.3f}" if value is not None and abs(value) < 10 else number(value)


def metric_name(name: str) -> str:
    """As people write it."""
    return _METRICS.get(name, name.replace("_", " "))


def share(value: float | None) -> str:
    """A share in per cent."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value * 100:.3g} %"


def points(value: float | None) -> str:
    """A difference of shares in percentage points, with its sign."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value * 100:+.2f}".replace("-", "−")


def loss(value: float | None, kind: str) -> str:
    """A loss: `error rate` in per cent, any other as it is."""
    return share(value) if kind == "error rate" else number(value)


def loss_change(value: float, kind: str) -> str:
    """A change of a loss, with its sign: of an error rate in percentage points."""
    if kind == "error rate":
        return points(value)
    return f"{'−' if value < 0 else '+'}{number(abs(value))}"


def length(milliseconds: float) -> str:
    """A length of time in its two largest units, as `3 d 4 h`."""
    parts: list[str] = []
    rest = int(milliseconds // 1000)
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        if rest >= unit and len(parts) < 2:
            parts.append(f"{rest // unit} {name}")
            rest %= unit
        elif parts:
            break
    return " ".join(parts) or "0 s"


def subject(name: str, statistic: str = "") -> str:
    """A column as a person says it."""
    if name == "@table":
        return statistic.replace("_", " ") or "all columns"
    return name.removeprefix("@").replace("score.", "score of ")


def ranked(name: str) -> str:
    """A column as a ranking names it: detectors of the whole table are a subject each."""
    return subject("@table", name.removeprefix("@table.")) if name.startswith("@table.") else subject(name)


def meaning(one: StreamEvidence) -> str:
    """What happened to a stream, without its name."""
    rose, fell = _NAMES.get(one.statistic, (f"{one.statistic} changed",) * 2)
    return rose if one.effect >= 0 else fell


def cause(one: StreamEvidence) -> str:
    """A stream in a few words: what, and where."""
    where = f" in {one.segment}" if one.segment else ""
    return f"{subject(one.subject)}: {meaning(one)}{where}"


def about(finding: Finding) -> str:
    """A finding in a few words."""
    if finding.causes:
        more = f" and {len(finding.causes) - 1} more" if len(finding.causes) > 1 else ""
        return cause(finding.causes[0]) + more
    where = f" in {finding.window.segment}" if finding.window.segment else ""
    return f"{subject(finding.subject, finding.detector)} differs from the reference{where}"


def burns(one: ObjectiveStanding) -> str:
    """How an objective fares, in a few words."""
    if one.remaining is None:
        return f"{one.name}: no events yet"
    if one.remaining < 0:
        return f"{one.name}: budget overspent by {share(-one.remaining)}"
    firing = [alert for alert in one.alerts if alert.firing]
    fast = f", burning at over {number(max(a.factor for a in firing))} times the pace" if firing else ""
    return f"{one.name}: {share(one.remaining)} of the budget left{fast}"
