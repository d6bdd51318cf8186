"""A small model that really learns: logistic regression by Newton's method."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple, Self

import numpy as np
from scipy.special import expit

from detectors.base import Categories, Column, Floats, Numbers

_RIDGE = 1.0
_ROUNDS = 25
_FAR = 4.0
"""Spreads from the centre at which a number stops counting for more."""


class Number(NamedTuple):
    """How a number enters: `(x - center) / spread`, of log(1 + x) where `log`; missing: 0."""

    name: str
    log: bool
    center: float
    spread: float

    def values(self, column: Column) -> Floats:
        """float64[n]."""
        raw = column.values if isinstance(column, Numbers) else np.full(len(column), np.nan)
        scaled = (_seen(raw, log=self.log) - self.center) / self.spread
        return np.asarray(np.clip(np.nan_to_num(scaled, nan=0.0), -_FAR, _FAR))


class Choice(NamedTuple):
    """How a category enters: one column for each name but the first; any other name counts as the first."""

    name: str
    names: tuple[str, ...]

    def values(self, column: Column) -> Floats:
        """float64[len(names) - 1, n]."""
        if not isinstance(column, Categories):
            return np.zeros((len(self.names) - 1, len(column)))
        place = {name: i for i, name in enumerate(self.names)}
        # Missing and invalid values, -1 and -2, find the zeros at the end.
        codes = np.array([*(place.get(name, 0) for name in column.names), 0, 0])[column.codes]
        return np.asarray(codes == np.arange(1, len(self.names))[:, None], np.float64)


@dataclass(frozen=True, slots=True)
class Logistic:
    """A fitted model.

    Attributes
    ----------
    weights : tuple of float
        The intercept, one for each number, then those of the categories.
    """

    numbers: tuple[Number, ...]
    choices: tuple[Choice, ...]
    weights: tuple[float, ...]

    @classmethod
    def fit(cls, features: Mapping[str, Column], label: Floats) -> Self:
        """Learn from n rows and their labels, 0 or 1; raises `ValueError` unless both occur."""
        if not (len(label) and 0 < label.mean() < 1):
            raise ValueError(f"{len(label)} labels; accepted: labels of both classes")
        numbers = tuple(_number(n, c) for n, c in sorted(features.items()) if isinstance(c, Numbers))
        choices = tuple(
            Choice(n, tuple(sorted(c.names)))
            for n, c in sorted(features.items())
            if isinstance(c, Categories)
        )
        blank = cls(numbers, choices, ())
        return cls(numbers, choices, tuple(_newton(blank.design(features), label).tolist()))

    def design(self, features: Mapping[str, Column]) -> Floats:
        """The rows as the model sees them, float64[n, len(weights)]."""
        parts = [number.values(features[number.name])[None] for number in self.numbers]
        parts += [choice.values(features[choice.name]) for choice in self.choices]
        return np.vstack([np.ones((1, parts[0].shape[1])), *parts]).T

    def score(self, features: Mapping[str, Column]) -> Floats:
        """Probability of the positive class, float64[n]."""
        return np.asarray(expit(self.design(features) @ np.array(self.weights)))

    def to_json(self) -> str:
        """All of it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` gave."""
        data = json.loads(text)
        return cls(
            tuple(Number(*one) for one in data["numbers"]),
            tuple(Choice(name, tuple(names)) for name, names in data["choices"]),
            tuple(data["weights"]),
        )


def _seen(values: Floats, *, log: bool) -> Floats:
    return np.log1p(np.maximum(values, 0.0)) if log else values


def _number(name: str, column: Numbers) -> Number:
    known = column.values[np.isfinite(column.values)]
    log = bool(len(known) and known.min() >= 0)
    seen = _seen(known, log=log)
    spread = float(seen.std()) if len(seen) else 0.0
    return Number(name, log, float(seen.mean()) if len(seen) else 0.0, spread or 1.0)


def _newton(design: Floats, label: Floats) -> Floats:
    """Weights of the largest penalised likelihood; the intercept is not penalised."""
    penalty = np.full(design.shape[1], _RIDGE)
    penalty[0] = 0.0
    weights = np.zeros(design.shape[1])
    for _ in range(_ROUNDS):
        p = expit(design @ weights)
        slope = design.T @ (label - p) - penalty * weights
        curve = (design * np.maximum(p * (1 - p), 1e-9)[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    return weights
