"""Rows of a scripted model: features, what it predicts, and what turns out to be true."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from detectors.base import NULL, Categories, Column, Floats, Numbers
from observer.sources.demo.parts import Choice, Episode, Model, Numeric, Shape

Changes = Sequence[tuple[Episode, Floats]]
"""Episodes with their strength, float64[n]."""

_SCORE_NOISE = 0.15  # of the log odds that a model sees
_PREDICTION_NOISE = 0.08  # of the logarithm that a regression predicts

_SHAPES: dict[Shape, Callable[[Numeric, Floats], Floats]] = {
    "normal": lambda c, g: c.center + c.spread * g,
    "lognormal": lambda c, g: c.center * np.exp(c.spread * g),
    "heavy": lambda c, g: c.center + c.spread * g * np.exp(g * g / 10.0),
    "count": lambda c, g: np.floor(c.center * np.exp(c.spread * g)),
    "share": lambda c, g: np.asarray(expit(c.center + c.spread * g)),
}


@dataclass(frozen=True, slots=True)
class Drawn:
    """n rows, columnar.

    Attributes
    ----------
    scores : mapping
        `{"": p}` for a binary task, one column a class for several, nothing for a regression.
    truth : float64[n]
        The label that will come: a number, or the code of a class.
    """

    features: dict[str, Column]
    prediction: Column
    scores: dict[str, Numbers]
    truth: Floats


def generator(seed: int, *what: str | int) -> np.random.Generator:
    """Random numbers that depend on nothing but the seed and what they are for."""
    words = (zlib.crc32(w.encode()) if isinstance(w, str) else w for w in what)
    return np.random.Generator(np.random.SFC64([seed, *words]))


def draw(model: Model, rng: np.random.Generator, n: int, changes: Changes = ()) -> Drawn:
    """Draw n independent rows, each under the changes at its strength."""
    extra = rng.spawn(1)[0]  # so that a change alters nothing but what it is about
    by = _Changes(changes, n)
    latent = _latent(model, rng, n)
    for i, column in enumerate(model.numeric):
        for size, strength in by.of("scale", column.name):
            latent[i] *= 1.0 + (size - 1.0) * strength
        for size, strength in by.of("shift", column.name):
            latent[i] += size * strength
    outputs = len(model.base)
    pulls = np.array([column.pull or (0.0,) * outputs for column in model.numeric]).T
    outcome = np.array(model.base)[:, None] + pulls @ latent
    for i, column in enumerate(model.numeric):
        for size, strength in by.of("pull", column.name):
            outcome += np.outer(pulls[:, i], latent[i] * (size - 1.0) * strength)
    features: dict[str, Column] = {}
    for column, g in zip(model.numeric, latent, strict=True):
        values = _SHAPES[column.shape](column, g)
        nulls = _missing(column, rng, extra, by)
        if nulls is not None:
            values[nulls] = np.nan
        features[column.name] = Numbers(values, nulls)
    for choice in model.categorical:
        drawn = draw_choice(choice, rng, n, extra, by)
        if choice.pull:
            none = (0.0,) * outputs
            table = np.array([choice.pull.get(name, none) for name in drawn.names] + [none]).T
            outcome += table[:, drawn.codes]  # a null, -1, finds the zeros at the end
        features[choice.name] = drawn
    turned = np.zeros(n, np.bool_)
    for share in by.shares("concept", ""):
        turned |= extra.random(n) < share
    return _OUTCOMES[model.task](model, rng, outcome, turned, features)


def _latent(model: Model, rng: np.random.Generator, n: int) -> Floats:
    """Standard normal scores of the numbers, float64[F, n], correlated through one common factor."""
    shared = np.array([column.shared for column in model.numeric])[:, None]
    latent = rng.standard_normal((len(shared), n))
    latent *= np.sqrt(1.0 - shared**2)
    latent += shared * rng.standard_normal(n)
    return latent


class _Changes:
    """Changes by kind and column."""

    def __init__(self, changes: Changes, n: int) -> None:
        self._changes = changes
        self.n = n

    def of(self, change: str, column: str) -> list[tuple[float, Floats]]:
        """Size and strength of each change of that kind."""
        return [
            (episode.size, strength)
            for episode, strength in self._changes
            if episode.change == change and (column in episode.columns or not column)
        ]

    def shares(self, change: str, column: str) -> list[Floats]:
        """Share of the rows that each change of that kind takes: float64[n] each."""
        return [size * strength for size, strength in self.of(change, column)]

    def new_names(self, column: str) -> tuple[str, ...]:
        """Names of the categories that come new, in the order of `shares`."""
        return tuple(e.name for e, _ in self._changes if e.change == "new_category" and column in e.columns)


def _missing(
    column: Numeric | Choice, rng: np.random.Generator, extra: np.random.Generator, by: _Changes
) -> NDArray[np.bool_] | None:
    nulls = rng.random(by.n) < column.missing if column.missing else None
    for share in by.shares("missing", column.name):
        more = extra.random(by.n) < share
        nulls = more if nulls is None else nulls | more
    return nulls


def draw_choice(
    choice: Choice,
    rng: np.random.Generator,
    n: int,
    extra: np.random.Generator | None = None,
    by: _Changes | None = None,
) -> Categories:
    """Draw n values of a category, under changes if there are any (`extra` draws for them)."""
    names = tuple(choice.shares)
    steps = np.cumsum(list(choice.shares.values()))[:-1]
    codes = np.searchsorted(steps, rng.random(n), side="right").astype(np.int32)
    if extra is None or by is None:
        return Categories(codes, names)
    for share in by.shares("mix", choice.name):
        codes = np.where(extra.random(n) < share, len(choice.shares) - 1 - codes, codes)
    for share in by.shares("new_category", choice.name):
        codes[extra.random(n) < share] = len(names)
        names = (*names, by.new_names(choice.name)[len(names) - len(choice.shares)])
    nulls = _missing(choice, rng, extra, by)
    if nulls is not None:
        codes[nulls] = NULL
    return Categories(codes.astype(np.int32, copy=False), names)


Outcome = Callable[[Model, np.random.Generator, Floats, NDArray[np.bool_], dict[str, Column]], Drawn]


def _binary(
    model: Model,
    rng: np.random.Generator,
    outcome: Floats,
    turned: NDArray[np.bool_],
    features: dict[str, Column],
) -> Drawn:
    odds = outcome[0]
    score = expit(odds + _SCORE_NOISE * rng.standard_normal(len(odds)))
    truth = rng.random(len(odds)) < expit(np.where(turned, 2 * model.base[0] - odds, odds))
    predicted = Numbers((score >= model.threshold).astype(np.float64))
    return Drawn(features, predicted, {"": Numbers(score)}, truth.astype(np.float64))


def _multiclass(
    model: Model,
    rng: np.random.Generator,
    outcome: Floats,
    turned: NDArray[np.bool_],
    features: dict[str, Column],
) -> Drawn:
    seen = outcome + _SCORE_NOISE * rng.standard_normal(outcome.shape)
    scores = softmax(seen, axis=0)
    # The largest of log odds with Gumbel noise is a draw from their softmax.
    truth = np.argmax(outcome + rng.gumbel(size=outcome.shape), axis=0)
    truth = np.where(turned, (truth + 1) % len(model.classes), truth)
    prediction = Categories(np.argmax(scores, axis=0).astype(np.int32), model.classes)
    columns = {name: Numbers(score) for name, score in zip(model.classes, scores, strict=True)}
    return Drawn(features, prediction, columns, truth.astype(np.float64))


def _regression(
    model: Model,
    rng: np.random.Generator,
    outcome: Floats,
    turned: NDArray[np.bool_],
    features: dict[str, Column],
) -> Drawn:
    mean = outcome[0]
    predicted = np.exp(mean + _PREDICTION_NOISE * rng.standard_normal(len(mean)))
    actual = np.where(turned, 2 * model.base[0] - mean, mean)
    truth = np.exp(actual + model.noise * rng.standard_normal(len(mean)))
    return Drawn(features, Numbers(predicted), {}, truth)


_OUTCOMES: dict[str, Outcome] = {"binary": _binary, "multiclass": _multiclass, "regression": _regression}
