"""What online detectors share: their parameters, what a window gives them, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field

from detectors.base import Bools, Floats, Ints

Fed: TypeAlias = Literal["moments", "column", "table", "outcomes"]
"""What a window gives a detector: `Moments` of K streams; sampled values of one numeric column, float64[n];
sampled rows of all of them, float64[n, D], NaN where missing; or outcome summaries of a final cohort. Rows
come in the order of their keys."""
Statistic: TypeAlias = Literal[
    "location",
    "spread",
    "total_variation",
    "embedding",
    "covariance",
    "missing",
    "type_errors",
    "unseen_categories",
    "duplicates",
    "error_rate",
    "absolute_error",
]
"""A watched statistic (`detectors.watch.streams`)."""
Direction: TypeAlias = Literal["both", "up", "down"]
"""Which changes of a mean count."""
FAR = 1e100
"""In units of the reference; what lies beyond is taken to lie here, so that squares stay finite."""


class OnlineSpec(BaseModel):
    """Parameters of an online detector; `fresh` gives one that has seen no window yet.

    It advances once per closed window, in event-time order, from the window's summary alone: the same windows
    give the same answers, whatever the order in which their events came.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fed: ClassVar[Fed]
    type: str
    columns: tuple[str, ...] | None = Field(None, description="Columns it is for; default: all it can see.")

    @property
    def name(self) -> str:
        """The catalog's name."""
        return self.type

    def fresh(self, reference: Any) -> Online[Any]:
        """A detector; `reference` is what the reference would give it as a window (`fed`).

        Moments of streams that the reference does not know have no rows; of outcomes nothing is known: None.
        """
        raise NotImplementedError


class MomentsSpec(OnlineSpec):
    """Parameters of a detector of means."""

    fed: ClassVar[Fed] = "moments"
    statistics: tuple[Statistic, ...] = Field(
        ("location", "missing", "error_rate", "absolute_error"), description="Watched statistics it is for."
    )
    observation: Literal["row", "window"] = Field(
        "window", description="What counts as one observation: each row, or each window's mean."
    )


class Moments(NamedTuple):
    """A window's rows in K streams; no rows where a stream has none.

    Attributes
    ----------
    rows : float64[K]
    mean : float64[K]
    variance : float64[K]
        Of the rows within the window, divisor `rows`.
    """

    rows: Floats
    mean: Floats
    variance: Floats

    @classmethod
    def of_rates(cls, hits: ArrayLike, rows: ArrayLike) -> Self:
        """Of `hits` of `rows` that are 1, the others 0; each [K]."""
        n = np.asarray(rows, np.float64)
        mean = np.divide(hits, n, out=np.zeros(n.shape), where=n > 0)
        return cls(n, mean, mean * (1 - mean))

    @classmethod
    def of_values(cls, values: ArrayLike) -> Self:
        """Of one value a stream, [K]; NaN where it has none."""
        values = np.asarray(values, np.float64)
        return cls((~np.isnan(values)).astype(np.float64), values, np.zeros(values.shape))

    @classmethod
    def none(cls, streams: int) -> Self:
        """Without any rows."""
        return cls(np.zeros(streams), np.zeros(streams), np.zeros(streams))

    def whole(self) -> Moments:
        """Each stream's mean as its only row."""
        return Moments.of_values(np.where(self.rows > 0, self.mean, np.nan))

    def take(self, streams: Ints) -> Moments:
        """Those of some streams, int64[...]."""
        return Moments(self.rows[streams], self.mean[streams], self.variance[streams])

    def scaled(self, center: Floats | float, unit: Floats | float) -> Moments:
        """The same in units from a center, each [K]; what is no number counts as no rows."""
        with np.errstate(over="ignore", invalid="ignore"):
            mean = np.asarray(self.mean, np.float64) / unit - center / unit
            deviation = np.sqrt(np.maximum(self.variance, 0.0)) / unit
        rows = np.asarray(self.rows, np.float64)
        usable = (rows > 0) & np.isfinite(rows) & ~np.isnan(mean) & ~np.isnan(deviation)
        return Moments(
            np.where(usable, rows, 0.0),
            np.where(usable, np.clip(mean, -FAR, FAR), 0.0),
            np.where(usable, np.minimum(deviation, FAR) ** 2, 0.0),
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """Where K streams stand after a window.

    Attributes
    ----------
    ready : bool[K]
        Whether there is an answer; not before enough has been seen.
    drift : bool[K]
        Whether `statistic` exceeds `threshold`.
    statistic, threshold : float64[K]
        In the detector's own unit.
    age : int64[K]
        Windows since the change, if it is one, began, the present one included.
    reason : str
        Why there is no answer where there is none.
    failed : bool
        There is none because the detector failed, not for lack of data.
    """

    ready: Bools
    drift: Bools
    statistic: Floats
    threshold: Floats
    age: Ints
    reason: str = ""
    failed: bool = False


W_contra = TypeVar("W_contra", contravariant=True)


class Online(Protocol[W_contra]):
    """What `fresh` gives."""

    def update(self, window: W_contra, /) -> Standing:
        """Advance by one closed window and say where the streams stand."""

    def snapshot(self) -> bytes:
        """The whole state but the reference."""

    def restore(self, state: bytes, /) -> None:
        """Replace the state by one that `snapshot` gave for this reference; raises `ValueError` if not."""
