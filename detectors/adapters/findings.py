"""What a worker found, column by column, as one verdict on the table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from detectors.base import Status, Verdict
from detectors.statistical.multiple import holm_adjusted

_NAMED = 3


class Finding(BaseModel):
    """What the peer says of one column, or of all at once. A worker is not trusted to send sense."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    column: str | None
    n_reference: int = Field(0, ge=0)
    n_window: int = Field(0, ge=0)
    statistic: FiniteFloat = 0.0
    effect: FiniteFloat | None = None
    """The peer's distance; None where it gives only a p-value, or only a decision."""
    p_value: float | None = Field(None, ge=0, le=1)
    floor: float | None = Field(None, ge=0, le=1)
    """The smallest p-value that the method can give."""
    threshold: FiniteFloat | None = None
    """What the peer held the statistic against; None where it decides in another way."""
    drift: bool = False
    """The peer's decision, where it gives no p-value."""
    note: str = Field("", max_length=500)
    skipped: str = Field("", max_length=2000)
    """Why the column was not judged: its data do not suffice."""
    failed: str = Field("", max_length=2000)
    """Why the column was not judged: the peer failed on it."""


def one_verdict(name: str, findings: Sequence[Finding], level: float, minimum_effect: float) -> Verdict:
    """The verdict on a table.

    A column with a p-value drifts when that, after Holm over such columns, is below `level`; one without when
    the peer says so; the table when a column does. Its p-value, where all columns have one, is the smallest
    times their number. Statistic, sizes and, where the peer gives a distance, effect are those of the column
    that moved most; where it gives none the effect is the share of columns that drift.
    """
    judged = [finding for finding in findings if not (finding.skipped or finding.failed)]
    left_out = [f for f in findings if f.skipped or f.failed]
    if not judged:
        status = Status.FAILED if any(f.failed for f in left_out) else Status.INSUFFICIENT
        why = _why(left_out) or "no column to judge"
        return Verdict(status, 0.0, 0.0, None, level, 0, 0, None, f"{name}: {why}")

    tested = [f.p_value for f in judged if f.p_value is not None]
    each = iter(holm_adjusted(np.array(tested)).tolist())
    adjusted = [None if f.p_value is None else next(each) for f in judged]
    drifting = [f.drift if p is None else p < level for f, p in zip(judged, adjusted, strict=True)]
    order = sorted(range(len(judged)), key=lambda i: (not drifting[i], -_strength(judged[i])))
    worst = judged[order[0]]
    n, m = worst.n_reference, worst.n_window
    # A p-value of some of the columns is not one of the table.
    p_value = adjusted[order[0]] if len(tested) == len(judged) else None
    effect = sum(drifting) / len(judged) if worst.effect is None else max(worst.effect, 0.0)
    own = minimum_effect if worst.threshold is None else worst.threshold
    threshold = level if worst.p_value is not None else own
    floor = worst.floor or 0.0
    if p_value is not None and worst.p_value is not None and worst.p_value <= floor and p_value >= level:
        reason = f"{name}: its smallest p-value, {floor:.2g} among {len(judged)}, is not below {level:g}"
        return Verdict(Status.INSUFFICIENT, 0.0, 0.0, None, level, n, m, None, reason)
    status, reason = Status.STABLE, ""
    if any(drifting) and effect < minimum_effect:
        reason = f"{name} finds drift, but effect {effect:.3g} is below the minimum {minimum_effect:g}"
    elif any(drifting):
        status = Status.DRIFT
        moved = [judged[i] for i in order if drifting[i]]
        more = f" and {len(moved) - _NAMED} more" if len(moved) > _NAMED else ""
        reason = f"{name}: {'; '.join(map(_told, moved[:_NAMED]))}{more}"
    if left_out:
        reason += f"{'; ' if reason else ''}not judged: {_why(left_out)}"
    return Verdict(status, worst.statistic, effect, p_value, threshold, n, m, None, reason)


def _strength(finding: Finding) -> float:
    """How strongly a column speaks for drift, among those of one method."""
    if finding.p_value is not None:
        return -finding.p_value
    return finding.statistic / finding.threshold if finding.threshold else finding.statistic


def _why(left_out: Sequence[Finding]) -> str:
    """Why columns were not judged, each reason once."""
    columns: dict[str, list[str]] = {}
    for finding in left_out:
        columns.setdefault(finding.failed or finding.skipped, []).append(finding.column or "")
    said = []
    for reason, names in [*columns.items()][:_NAMED]:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        said.append(_named(", ".join(names[:_NAMED]) + more, reason))
    return "; ".join(said)


def _named(column: str | None, text: str) -> str:
    return f"{column}: {text}" if column else text


def _told(finding: Finding) -> str:
    parts = [] if finding.statistic == finding.p_value else [f"{finding.statistic:.3g}"]
    if finding.p_value is not None:
        parts.append(f"p {finding.p_value:.2g}")
    elif finding.threshold is not None:
        parts.append(f"threshold {finding.threshold:.3g}")
    if finding.note:
        parts.append(finding.note)
    return _named(finding.column, ", ".join(parts))
