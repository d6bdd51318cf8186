"""What every detector of this family is: a frozen, validated set of parameters that can compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field

from detectors.base import Floats, Ints, Status, Verdict, named_tuples

Kind: TypeAlias = Literal["number", "category", "embedding", "table", "outcomes"]
"""What it compares: `Histogram`, `CategoryCounts`, `EmbeddingSums`, `TableSummary`, outcome summaries."""


class Spec(BaseModel):
    """Parameters of a detector; the detector itself once built.

    A verdict is `drift` when its p-value is below `alpha` **and** its effect reaches
    `minimum_effect`: with enough rows every difference is significant, with few a large one is noise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    applies_to: ClassVar[tuple[Kind, ...]]
    type: str
    alpha: float = Field(0.05, gt=0, lt=1, description="Significance level, before any correction.")
    minimum_effect: float = Field(ge=0, description="Smallest effect worth a finding.")
    min_rows: int = Field(50, ge=2, description="Values that each side must hold.")

    @property
    def name(self) -> str:
        """The catalog's name."""
        return self.type


def shortage(reference: Ints, window: Ints, least: int) -> dict[int, str]:
    """Column -> why it cannot be judged, for the columns where either side holds too few values."""
    reasons = {}
    for i in ((reference < least) | (window < least)).nonzero()[0]:
        side, held = ("window", window[i]) if window[i] < least else ("reference", reference[i])
        reasons[int(i)] = f"the {side} holds {held or 'no'} usable values, {least} are needed"
    return reasons


def verdicts(
    spec: Spec,
    statistic: Floats,
    effect: Floats,
    p_value: Floats,
    reference: Ints,
    window: Ints,
    alpha: float | None = None,
    insufficient: Mapping[int, str] | None = None,
    notes: Mapping[int, str] | None = None,
) -> list[Verdict]:
    """One verdict a column, from arrays over columns.

    Parameters
    ----------
    spec : Spec
        Gives the thresholds and the name.
    statistic, effect, p_value : float64[F]
        Ignored where `insufficient`.
    reference, window : int64[F]
        Values that entered on each side.
    alpha : float or None
        Overrides the detector's own level.
    insufficient : mapping
        Column -> why it cannot be judged; default: `shortage` of `spec.min_rows`.
    notes : mapping
        Column -> what to add to the reason of a drift.
    """
    level = spec.alpha if alpha is None else alpha
    if insufficient is None:
        insufficient = shortage(reference, window, spec.min_rows)
    p_value = np.minimum(np.maximum(p_value, 0.0), 1.0)  # rounding may leave the unit interval
    listed = list(map(_listed, (statistic, effect, p_value, reference, window)))
    # Nearly all verdicts are of this sort, and there are hundreds of them a window.
    stable, size = Status.STABLE, len(p_value)
    same = ([stable] * size, [level] * size, [None] * size, [""] * size)
    found = named_tuples(Verdict, same[0], *listed[:3], same[1], *listed[3:], *same[2:])
    for i in (p_value < level).nonzero()[0].tolist():
        t, d, p, n, m = (values[i] for values in listed)
        if d < spec.minimum_effect:
            reason = f"significant, but effect {d:.3g} is below the minimum {spec.minimum_effect:g}"
            found[i] = Verdict(stable, t, d, p, level, n, m, None, reason)
            continue
        reason = f"{spec.name} {t:.3g}, effect {d:.3g}, p {p:.2g}"
        if notes and i in notes:
            reason += f": {notes[i]}"
        found[i] = Verdict(Status.DRIFT, t, d, p, level, n, m, None, reason)
    for i, reason in insufficient.items():
        n, m = listed[3][i], listed[4][i]
        found[i] = Verdict(Status.INSUFFICIENT, 0.0, 0.0, None, level, n, m, None, reason)
    return found


def _listed(values: ArrayLike) -> list[Any]:
    out: list[Any] = np.asarray(values).tolist()
    return out
