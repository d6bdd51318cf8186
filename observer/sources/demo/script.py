"""Which models there are, and what happens to them when."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detectors.base import Categories, Column, Floats, Numbers
from observer.model import Partition, Stream
from observer.sources.demo.draw import draw, draw_choice, generator
from observer.sources.demo.models import CYCLE, EPISODES, MARKET_TURNS, MODELS
from observer.sources.demo.parts import Episode, Model

HOUR = 3_600_000
_REFERENCE = "reference"
_UNSEEN = ("concept", "pull")
"""Changes that no input shows."""
_START = 1_767_571_200_000  # Monday, 5 January 2026


@dataclass(frozen=True, slots=True)
class Script:
    """A demo from its start on: everything follows from this and the event time.

    Attributes
    ----------
    start : int
        Milliseconds since the epoch; a whole hour.
    cycle : float
        Hours after which the episodes come again.
    turns : float
        Hours after which the world of the served model is another.

    Raises
    ------
    ValueError
        An episode names a model or column that there is not.
    """

    models: tuple[Model, ...]
    episodes: tuple[Episode, ...]
    seed: int
    start: int
    cycle: float
    turns: float = MARKET_TURNS

    def __post_init__(self) -> None:
        columns = {model.name: {feature.name for feature in model.features} for model in self.models}
        for episode in self.episodes:
            if episode.model not in columns:
                msg = f"episode of {episode.model!r}: no such model; accepted: {', '.join(columns)}"
                raise ValueError(msg)
            if unknown := set(episode.columns) - columns[episode.model]:
                accepted = ", ".join(sorted(columns[episode.model]))
                msg = f"episode of {episode.model}: no column {unknown.pop()!r}; accepted: {accepted}"
                raise ValueError(msg)

    @classmethod
    def default(cls, *, seed: int = 7, rate: float = 1.0, start: int = _START) -> Script:
        """Five models, of which one stays healthy; `rate` multiplies their traffic."""
        models = tuple(replace(model, per_hour=model.per_hour * rate) for model in MODELS)
        return cls(models, EPISODES, seed, start, CYCLE)

    @property
    def served(self) -> Model:
        """The model whose versions are trained and served."""
        return next(model for model in self.models if model.served)

    @property
    def turns_at(self) -> int:
        """Event time at which the served model's world becomes another, milliseconds."""
        return self.start + round(self.turns * HOUR)

    @property
    def drift_at(self) -> int | None:
        """Event time at which an input first begins to drift, milliseconds; None where none ever does."""
        onsets = [episode.start for episode in self.episodes if episode.change not in _UNSEEN]
        return self.start + round(min(onsets) * HOUR) if onsets else None

    def drifting(self, model: str, start: int, end: int) -> bool:
        """Whether an input of `model` drifts at any event time from `start` to before `end`, milliseconds."""
        first, last = (start - self.start) / HOUR, (end - self.start) / HOUR
        rounds = range(int(first // self.cycle), int(last // self.cycle) + 1)
        return any(
            episode.start + turn * self.cycle < last and first < episode.end + turn * self.cycle
            for episode in self.episodes
            for turn in ((0,) if episode.once else rounds)
            if turn >= 0 and episode.model == model and episode.change not in _UNSEEN
        )

    def changes(self, model: str, time: NDArray[np.int64]) -> list[tuple[Episode, Floats]]:
        """The episodes of a model with their strength, 0 to 1, at each time; those of any strength."""
        hours = (time - self.start) / HOUR
        mine = (episode for episode in self.episodes if episode.model == model)
        found = [(e, e.strength(hours if e.once else hours % self.cycle)) for e in mine]
        return [(episode, strength) for episode, strength in found if strength.any()]

    def volume(self, time: int) -> float:
        """Traffic at an event time, 1 on a workday's average: more in the afternoon, less at weekends."""
        hours = time / HOUR
        weekday = (hours // 24 + 3) % 7  # the epoch was a Thursday
        return (1.0 + 0.4 * math.sin((hours - 9.0) / 12.0 * math.pi)) * (1.0 if weekday < 5 else 0.8)

    def model(self, name: str) -> Model:
        """The model of that name. Raises `KeyError`, naming the choices, when there is none."""
        for model in self.models:
            if model.name == name:
                return model
        raise KeyError(f"no model {name!r}; accepted: {', '.join(m.name for m in self.models)}")

    def partitions(self, stream: Stream) -> tuple[Partition, ...]:
        """One a model."""
        return tuple(Partition(stream, "demo", number) for number in range(len(self.models)))

    def reference_columns(
        self, model: str, rows: int = 20_000
    ) -> tuple[NDArray[np.uint64], Mapping[str, Column], Mapping[str, Categories]]:
        """Keys, columns and tags of healthy rows, none of which is in the stream; for `references.build`."""
        spec = self.model(model)
        rng = generator(self.seed, spec.name, _REFERENCE)
        drawn = draw(spec, rng, rows)
        tags = {tag.name: draw_choice(tag, rng, rows) for tag in spec.tags}
        columns: dict[str, Column] = {**drawn.features, "@prediction": drawn.prediction}
        for name, score in drawn.scores.items():
            columns[f"@score.{name}" if name else "@score"] = score
        return rng.integers(0, 2**64, rows, np.uint64), columns, tags

    def reference_labels(self, model: str, rows: int = 20_000) -> Column:
        """The labels of these rows."""
        spec = self.model(model)
        truth = draw(spec, generator(self.seed, spec.name, _REFERENCE), rows).truth
        return Categories(truth.astype(np.int32), spec.classes) if spec.classes else Numbers(truth)
