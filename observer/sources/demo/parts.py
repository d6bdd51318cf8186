"""What a scripted model is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from detectors.base import Floats
from observer.model import Task

Shape = Literal["normal", "lognormal", "heavy", "count", "share"]
Change = Literal["shift", "scale", "mix", "new_category", "missing", "concept", "pull"]


@dataclass(frozen=True, slots=True)
class Numeric:
    """A number whose values follow from a standard normal g.

    Attributes
    ----------
    shape : str
        `normal`: center + spread g; `lognormal`: center exp(spread g); `heavy`: center + spread g
        exp(g² / 10), whose moments end at the fifth; `count`: the whole part of a lognormal; `share`:
        logistic(center + spread g).
    pull : tuple of float
        How far a sigma moves the outcome: one number, or one a class for `multiclass`; empty: not at all.
    shared : float
        Correlation of g with the factor that the model's columns have in common, -1 to 1.
    missing : float
        Share of nulls.
    """

    name: str
    shape: Shape = "normal"
    center: float = 0.0
    spread: float = 1.0
    pull: tuple[float, ...] = ()
    shared: float = 0.0
    missing: float = 0.0


@dataclass(frozen=True, slots=True)
class Choice:
    """A category.

    Attributes
    ----------
    shares : mapping
        Name -> share of the rows; they sum to 1.
    pull : mapping
        Name -> as in `Numeric.pull`, for the names that matter.
    """

    name: str
    shares: Mapping[str, float]
    pull: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    missing: float = 0.0


@dataclass(frozen=True, slots=True)
class Delay:
    """When labels come; times in hours.

    Attributes
    ----------
    median, spread : float
        Of the lognormal delay; `spread` is the standard deviation of its logarithm.
    longest : float
        A label that would come later never comes.
    coverage : float
        Share of the predictions that get a label at all, unless it would come too late.
    corrected : float
        Share of the labels other than the first class that say the first class until they are
        corrected; in a regression, of labels that are 5% short at first.
    """

    median: float
    spread: float
    longest: float
    coverage: float = 1.0
    corrected: float = 0.0


@dataclass(frozen=True, slots=True)
class Challenger:
    """A second version that gets a share of the traffic, and behaves alike."""

    version: str
    share: float


@dataclass(frozen=True, slots=True)
class Model:
    """A model and its traffic.

    Attributes
    ----------
    per_hour : float
        Mean predictions per hour of event time, over a day.
    base : tuple of float
        Outcome of an average row: log odds, one a class for `multiclass`; for a regression the
        logarithm of the target.
    noise : float
        For a regression: standard deviation of the logarithm of what cannot be predicted.
    threshold : float
        Score from which a binary prediction is positive.
    tags : tuple of Choice
        Sent beside the features; they pull nothing.
    """

    name: str
    version: str
    task: Task
    per_hour: float
    features: tuple[Numeric | Choice, ...]
    delay: Delay
    base: tuple[float, ...]
    classes: tuple[str, ...] = ()
    noise: float = 0.0
    threshold: float = 0.5
    tags: tuple[Choice, ...] = ()
    challenger: Challenger | None = None
    served: bool = False
    """Whether its versions are trained and served: what it predicts follows from what they have learnt."""

    @property
    def numeric(self) -> tuple[Numeric, ...]:
        """The numbers among the features."""
        return tuple(f for f in self.features if isinstance(f, Numeric))

    @property
    def categorical(self) -> tuple[Choice, ...]:
        """The categories among the features."""
        return tuple(f for f in self.features if isinstance(f, Choice))


@dataclass(frozen=True, slots=True)
class Episode:
    """A change of one model's world for a while; times in hours from the script's start.

    Attributes
    ----------
    change : str
        `shift`: numbers move by `size` sigma; `scale`: they spread `size` times as far; `mix`: a share
        `size` of the rows takes the mirrored category (first for last ...); `new_category`: that share
        takes the category `name`; `missing`: that share becomes null; `concept`: for that share of the
        rows the outcome turns around, which no input shows; `pull`: numbers move the outcome `size` times as
        far.
    columns : tuple of str
        Which features; none for `concept`.
    ramp : float
        Hours from onset to full strength, and from the end of it to none; 0 for sudden.
    once : bool
        Whether it does not come again with the script's cycle.
    """

    model: str
    change: Change
    size: float
    start: float
    end: float
    columns: tuple[str, ...] = ()
    ramp: float = 0.0
    name: str = ""
    once: bool = False

    def strength(self, hours: Floats) -> Floats:
        """0 (nothing yet, or over) to 1 (in full) at each time."""
        if self.ramp == 0:
            return ((hours >= self.start) & (hours < self.end)).astype(np.float64)
        return np.clip(np.minimum(hours - self.start, self.end - hours) / self.ramp, 0.0, 1.0)
