"""Findings in plain words."""

from __future__ import annotations

import numpy as np

from detectors.base import Floats
from observer.model import ColumnState, Finding
from observer.references import Reference
from observer.terminal.plots import share

_NOTEWORTHY = 0.1  # sigma
_WIDER = 1.15


def subject(name: str, detector: str) -> str:
    """A column as a person says it; of a verdict on all columns at once, what it is about."""
    if name == "@table":
        return detector
    return name.removeprefix("@").replace("score.", "score of ").replace("embedding.", "embedding ")


def describe(finding: Finding, column: ColumnState | None, reference: Reference | None) -> str:
    """What happened to the column, as far as its window and its reference can say; without its name."""
    effect, detector = finding.verdict.effect, finding.detector
    if finding.causes:
        return finding.verdict.reason
    if column is not None:
        now = {
            "missing": column.missing,
            "type_errors": column.invalid,
            "unseen_categories": column.unseen,
            "out_of_range": column.out_of_range,
        }.get(detector)
        if detector == "missing" and now is not None:
            before = max(now - effect, 0.0) if reference is None else _missing(reference, column.column)
            return f"missing in {share(now)} of rows, {share(before)} before"
        if now is not None:
            what = {
                "type_errors": "of a wrong type",
                "unseen_categories": "new categories",
                "out_of_range": "out of range",
            }[detector]
            return f"{what} in {share(now)} of rows"
    if detector == "rff_mmd":
        return f"embeddings moved by {effect:.2g}, of at most 1.41"
    if detector == "duplicates":
        return f"{share(finding.verdict.statistic)} of events came more than once"
    if detector == "constant":
        return "holds a single value"
    if detector in {"g_test", "chi_square", "total_variation"}:
        return f"{share(effect)} of rows changed category"
    moved = "" if column is None or reference is None else _moved(column, reference)
    _, colon, note = finding.verdict.reason.partition(": ")
    return moved or (note if colon else finding.verdict.reason)


def _missing(reference: Reference, name: str) -> float:
    summary = reference.summary
    numbers, categories, embeddings = summary.numbers, summary.categories, summary.embeddings
    if name in numbers.names:
        counts = numbers.counts[numbers.names.index(name)]
        return float(counts[numbers.bins + 2] + counts[numbers.bins + 3]) / max(int(counts.sum()), 1)
    if name in categories.names:
        counts = categories.counts[categories.names.index(name)]
        return float(counts[-2]) / max(int(counts.sum()), 1)
    if name in embeddings.names:
        counts = embeddings.counts[embeddings.names.index(name)]
        return float(counts[1]) / max(int(counts.sum()), 1)
    return 0.0


def _moved(column: ColumnState, reference: Reference) -> str:
    """How a number's middle and spread moved; nothing where neither says much."""
    numbers = reference.summary.numbers
    if column.mean is None or column.column not in numbers.names:
        return ""
    i = numbers.names.index(column.column)
    sigma = float(numbers.deviation[i])
    parts = []
    if sigma > 0:
        distance = (column.mean - float(numbers.mean[i])) / sigma
        if abs(distance) >= _NOTEWORTHY:
            parts.append(f"moved {'up' if distance > 0 else 'down'} by {abs(distance):.1f} sigma")
    ends = [(p, value) for p, value in column.quantiles if p in {0.05, 0.95}]
    if len(ends) == 2:
        low, high = reference_quantiles(reference, i, [p for p, _ in ends])
        if high > low:
            ratio = (ends[1][1] - ends[0][1]) / (high - low)
            if not 1 / _WIDER < ratio < _WIDER:
                parts.append(f"spread x{ratio:.1f}")
    return ", ".join(parts)


def reference_quantiles(reference: Reference, i: int, probabilities: list[float]) -> Floats:
    """Quantiles of a reference's i-th number: the lower boundary of the bin they fall in."""
    numbers = reference.summary.numbers
    inner = numbers.counts[i, 1 : numbers.bins + 1]
    reached = np.cumsum(inner) / max(int(inner.sum()), 1)
    at = np.searchsorted(reached, probabilities)
    return np.asarray(numbers.boundaries[i][np.minimum(at, numbers.bins)])
