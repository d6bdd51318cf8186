"""Whether an estimator has earned trust: how much better than assuming no change it was, as labels came.

`skill = 1 - MAE / MAE_constant` over cohorts, the constant being the reference's value: 1 is perfect, 0 no
better than assuming no change, below 0 worse. The last cohorts count alike and older ones not at all, so
an estimator that has lost its assumption loses its skill within that many cohorts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from detectors.base import Floats
from detectors.quality.estimation.estimate import Estimate
from detectors.quality.metric import Metric
from detectors.summaries.packing import Packable, pack, unpack

COHORTS = 168
"""Cohorts remembered, the latest ones: a week of hours."""
FEWEST = 10
"""Cohorts with a realised value without which there is no skill."""


class Trust(NamedTuple):
    """Skill of one metric.

    Attributes
    ----------
    skill : float or None
        None with fewer than `FEWEST` cohorts, or when the constant guess never erred.
    cohorts : int
    mae, mae_constant : float or None
        None without a cohort.
    backtest : bool
        Measured on the reference, since too few labels have come since.
    """

    skill: float | None
    cohorts: int
    mae: float | None
    mae_constant: float | None
    backtest: bool

    @property
    def usable(self) -> bool:
        """Whether an objective may rest on the estimate."""
        return self.skill is not None and self.skill > 0


@dataclass(slots=True, eq=False)
class Skill:
    """What an estimator said of the last cohorts, and how far it was off.

    A cohort stated again is replaced, so that corrected labels count as they should.

    Attributes
    ----------
    size : int
        Cohorts remembered.
    backtest : bool
        Measured on the reference itself.
    errors : mapping
        Metric -> float64[cohorts, 3], by start: start of the cohort (exact up to 2^53), absolute error of the
        estimate and of the constant guess.
    """

    size: int = COHORTS
    backtest: bool = False
    errors: dict[str, Floats] = field(default_factory=dict)

    def observe(
        self,
        start: int,
        estimates: Iterable[Estimate],
        realised: Sequence[Metric],
        constant: Sequence[Metric],
    ) -> None:
        """State, or state again, the cohort that starts at `start`, now that its labels are known.

        `constant` are the reference's values. `class_recall` counts as one metric, by its mean error.
        """
        known, guessed = (
            {(one.name, one.class_name): one.value for one in of} for of in (realised, constant)
        )
        found: dict[str, list[tuple[float, float]]] = {}
        for one in estimates:
            key = (one.name, one.class_name)
            real, guess = known.get(key), guessed.get(key)
            if one.value is not None and real is not None and guess is not None:
                found.setdefault(one.name, []).append((abs(one.value - real), abs(guess - real)))
        for name, pairs in found.items():
            before = self.errors.get(name, np.empty((0, 3)))
            row = np.array([[start, *np.mean(pairs, axis=0)]])
            rows = np.concatenate((before[before[:, 0] != start], row))
            self.errors[name] = rows[np.argsort(rows[:, 0], kind="stable")][-self.size :]

    def trust(self, name: str, before: int | None = None) -> Trust:
        """The skill of a metric of the catalog, by the cohorts that start before `before` if it is given."""
        rows = self.errors.get(name, np.empty((0, 3)))
        rows = rows if before is None else rows[rows[:, 0] < before]
        if not len(rows):
            return Trust(None, 0, None, None, self.backtest)
        _, mae, constant = rows.mean(axis=0).tolist()
        known = len(rows) >= FEWEST and constant > 0
        skill = round(1 - mae / constant, 9) if known else None  # rounding alone earns no trust
        return Trust(skill, len(rows), mae, constant, self.backtest)

    def to_bytes(self) -> bytes:
        """Compact bytes."""
        fields: dict[str, Packable] = {f"errors of {name}": rows for name, rows in self.errors.items()}
        return pack({"size": self.size, "backtest": self.backtest, "metrics": list(self.errors), **fields})

    @classmethod
    def from_bytes(cls, data: bytes) -> Skill:
        """The skill that gave `data`."""
        fields = unpack(data)
        errors = {name: fields.array(f"errors of {name}", np.float64, -1, 3) for name in fields["metrics"]}
        return cls(fields.count("size"), bool(fields["backtest"]), errors)


def trust(name: str, live: Skill, reference: Skill | None = None, before: int | None = None) -> Trust:
    """The skill of a metric: as labels came, or while too few have, that of the reference's backtest.

    `before` as in `Skill.trust`, of what came.
    """
    found = live.trust(name, before)
    if found.cohorts >= FEWEST or reference is None:
        return found
    return reference.trust(name)
