"""What a stream of windows looks like while nothing changes, estimated from reference windows.

Steps 1-4 of the false-alarm adapter (docs/false-alarms.md): season, autoregression, long-run variance,
and the charge for having estimated them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from detectors.base import Bools, DetectorError, Floats, Ints
from detectors.summaries.packing import pack, unpack

LAGS = 3
"""Order of the autoregression."""
CLIP = 12.0
"""Largest |z| of one window."""
LEAST_IN_STRATUM = 2
"""Reference windows of a stratum below which its windows say nothing: the residual of a single one is 0."""
LEAST_WINDOWS = 24
"""Reference windows below which a stream has no baseline at all."""
_LEAST_SIGMA = 6.0
"""The minimum effect over the smallest sigma that a stream is taken to have."""
_FOLLOWED = 48
"""Windows at the end of the reference from which the last residuals are forecast where they are missing."""
_INFINITE = 50.0  # logarithm of a distance over its median that is as good as infinite


@dataclass(frozen=True, slots=True)
class Streams:
    """What is watched: one statistic per stream and window.

    Attributes
    ----------
    names : tuple of str
        Each once.
    minimum : float64[K]
        Smallest effect that matters, in the statistic's own unit; 0: any effect does.
    distance : bool[K]
        Whether the statistic is a distance: never negative, right-skewed, and only an increase is drift.
        It is watched as log(1 + T / median).
    """

    names: tuple[str, ...]
    minimum: Floats
    distance: Bools

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        minimum: float | Sequence[float] | Floats = 0.0,
        distance: bool | Sequence[bool] | Bools = False,
    ) -> Streams:
        """Streams by name; one value of `minimum` or `distance` holds for all.

        Raises `DetectorError` when a name repeats or a minimum is negative or no number.
        """
        if len(set(names)) != len(names):
            repeated = sorted({name for name in names if list(names).count(name) > 1})
            msg = f"streams named twice: {', '.join(repeated)}"
            raise DetectorError(msg)
        size = len(names)
        least = np.broadcast_to(np.asarray(minimum, np.float64), size).copy()
        for name, value in zip(names, least.tolist(), strict=True):
            if not 0 <= value < np.inf:
                msg = f"stream {name!r}: minimum effect {value}; accepted: a number of at least 0"
                raise DetectorError(msg)
        return cls(tuple(names), least, np.broadcast_to(np.asarray(distance, np.bool_), size).copy())

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True)
class Baseline:
    """The fitted null model of K streams; never changes, a new reference gives a new one.

    Attributes
    ----------
    streams : Streams
    scale : float64[K]
        Median of a distance in the reference; 1 for other statistics.
    counts : int64[S, K]
        Reference windows by stratum.
    mean : float64[S, K]
        Mean by stratum, of the statistic or of log(1 + T / scale).
    ar : float64[LAGS, K]
        Yule-Walker coefficients.
    unit : float64[K]
        c: what an innovation is divided by to give z.
    charge : float64[K]
        ε: taken off |z|, because the season's mean was estimated.
    spread : float64[K]
        Standard deviation of a residual over that of an innovation, at least 1.
    windows : int64[K]
        Reference windows used.
    recent : float64[LAGS, K]
        Residuals of the last reference windows, the latest first; a forecast where one is missing.
    unseen : int64[K]
        Windows to come until none of the last `LAGS` is a forecast.
    """

    streams: Streams
    scale: Floats
    counts: Ints
    mean: Floats
    ar: Floats
    unit: Floats
    charge: Floats
    spread: Floats
    windows: Ints
    recent: Floats
    unseen: Ints

    @property
    def fitted(self) -> Bools:
        """bool[K]: which streams had enough reference windows to be watched at all."""
        return np.asarray(self.windows >= LEAST_WINDOWS)

    @property
    def gain(self) -> Floats:
        """float64[K]: innovation per unit of a lasting shift, 1 - sum of the AR coefficients."""
        return np.asarray(1.0 - self.ar.sum(axis=0))

    @property
    def response(self) -> Floats:
        """float64[LAGS + 1, K]: innovations of a unit shift, by window; at least and at last `gain`."""
        so_far = np.vstack((np.zeros(len(self.streams)), np.cumsum(self.ar, axis=0)))
        return np.asarray(np.maximum(1.0 - so_far, self.gain))

    @property
    def minimum(self) -> Floats:
        """float64[K]: the smallest effect that matters, in transformed units."""
        distance = np.log1p(self.streams.minimum / (2 * self.scale))
        return np.asarray(np.where(self.streams.distance, distance, self.streams.minimum))

    def transform(self, values: Floats) -> Floats:
        """Distances become log(1 + T / scale); what is not finite becomes NaN. Any shape [..., K]."""
        return _transform(values, self.scale, self.streams.distance)

    def natural(self, effect: Floats) -> Floats:
        """Effects, float64[K], from transformed units back to the statistic's own.

        A distance is taken to have started from its reference median.
        """
        grown = 2 * self.scale * np.expm1(np.minimum(effect, _INFINITE))
        return np.asarray(np.where(self.streams.distance, grown, effect))

    def expected(self, stratum: int) -> Floats:
        """Mean of the statistic itself in a stratum, float64[K]; of a distance, the log-mean."""
        mean = self.mean[stratum]
        return np.asarray(
            np.where(self.streams.distance, self.scale * np.expm1(np.minimum(mean, _INFINITE)), mean)
        )

    def to_bytes(self) -> bytes:
        """Compact bytes."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)[1:]}
        streams = self.streams
        return pack(
            {"names": list(streams.names), "minimum": streams.minimum, "distance": streams.distance, **arrays}
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Baseline:
        """The baseline that gave `data`; raises `ValueError` when it is damaged."""
        packed = unpack(data)
        names = tuple(packed["names"])
        size = len(names)
        streams = Streams(
            names, packed.array("minimum", np.float64, size), packed.array("distance", np.bool_, size)
        )
        strata = len(packed.array("counts", np.int64, -1, size))
        wide, lags = (strata, size), (LAGS, size)
        shapes = {"counts": wide, "mean": wide, "ar": lags, "recent": lags}
        return cls(
            streams,
            *(
                packed.array(
                    field.name,
                    np.int64 if field.name in ("counts", "windows", "unseen") else np.float64,
                    *shapes.get(field.name, (size,)),
                )
                for field in fields(cls)[1:]
            ),
        )


def fit(streams: Streams, values: Floats, strata: Ints, total: int) -> Baseline:
    """Estimate the null model from reference windows.

    Parameters
    ----------
    streams : Streams
        K of them.
    values : float64[R, K]
        The statistic of each reference window, consecutive, in time order; NaN where it has none.
    strata : int64[R]
        Stratum of each window (`Season.of`).
    total : int
        How many strata there are.

    Raises
    ------
    DetectorError
        When the shapes do not agree.

    Notes
    -----
    A stratum needs two windows: the residual of a single one is 0 and says nothing. A window that misses
    counts as unremarkable (residual 0) in the autocovariances, which keeps them positive semi-definite.
    `σ` is at least a sixth of the minimum effect: a nearly constant stream has to move by about twice as
    much as matters before a window counts for the most it can, and that one window is then enough for the
    bound on its effect to exceed the minimum.
    """
    values = np.asarray(values, np.float64)
    strata = np.asarray(strata, np.int64)
    if values.ndim != 2 or values.shape[1] != len(streams) or strata.shape != values.shape[:1]:
        msg = (
            f"reference windows of shape {values.shape} with {strata.shape} strata for {len(streams)} streams"
        )
        raise DetectorError(msg)
    scale = _scale(streams, values)
    x = _transform(values, scale, streams.distance)
    residual, counts, mean = _deseasoned(x, strata, total)
    used = np.isfinite(residual)
    residual = np.where(used, residual, 0.0)
    # Work in units of the largest residual, so that no square leaves the range of a float.
    unit = np.abs(residual).max(axis=0, initial=0.0)
    residual /= np.where(unit > 0, unit, 1.0)
    windows = used.sum(axis=0)
    ar = _yule_walker(residual, windows)
    innovation = residual.copy()
    for lag in range(1, LAGS + 1):
        innovation[lag:] -= ar[lag - 1] * residual[:-lag]
    innovation[~used] = 0.0
    R = np.maximum(windows, 1)
    L = np.clip(R // 14, 4, 48)
    short, long = _deviations(innovation, R, L)
    spread = np.maximum(np.sqrt((residual**2).sum(axis=0) / R) / np.where(short > 0, short, 1.0), 1.0)
    # Rounding alone makes a constant stream move by some 1e-16 of its size.
    rounding = 1e-12 * np.abs(np.where(np.isfinite(x), x, 0.0)).max(axis=0, initial=0.0)
    transformed = np.where(streams.distance, np.log1p(streams.minimum / (2 * scale)), streams.minimum)
    sigma = np.maximum.reduce([np.maximum(short, long) * unit, rounding, transformed / _LEAST_SIGMA])
    widening = np.sqrt(1 + 2 * np.sqrt(2 / R) + np.sqrt(2 * L / R))
    recent, unseen = _followed(residual, used, ar)
    return Baseline(
        streams,
        scale,
        counts,
        mean,
        ar,
        sigma * widening,
        2 / (np.sqrt(R) * widening),
        spread,
        windows,
        recent * unit,
        unseen,
    )


def _scale(streams: Streams, values: Floats) -> Floats:
    """Median of each distance, else 1; also 1 where there is none, or it is 0."""
    scale = np.ones(len(streams))
    for k in np.flatnonzero(streams.distance):
        finite = values[np.isfinite(values[:, k]), k]
        median = float(np.median(finite)) if len(finite) else 0.0
        scale[k] = median if median > 0 else 1.0
    return scale


def _transform(values: Floats, scale: Floats, distance: Bools) -> Floats:
    finite = np.where(np.isfinite(values), values, np.nan)
    if not distance.any():
        return finite
    return np.where(distance, np.log1p(np.maximum(finite, 0.0) / scale), finite)


def _deseasoned(x: Floats, strata: Ints, total: int) -> tuple[Floats, Ints, Floats]:
    """Residuals from the stratum's mean, at the variance they would have had from its expectation."""
    size = x.shape[1]
    used = np.isfinite(x)
    # Means about a value of the data's own size lose no digits to a common offset.
    centre = np.where(used, x, 0.0).sum(axis=0) / np.maximum(used.sum(axis=0), 1)
    x = np.where(used, x - centre, 0.0)
    counts = np.zeros((total, size), np.int64)
    sums = np.zeros((total, size))
    np.add.at(counts, strata, used)
    np.add.at(sums, strata, x)
    mean = sums / np.maximum(counts, 1)
    m = counts[strata]
    factor = np.sqrt(m / np.maximum(m - 1, 1))
    residual = np.where(used & (m >= LEAST_IN_STRATUM), (x - mean[strata]) * factor, np.nan)
    return residual, counts, mean + centre


def _yule_walker(residual: Floats, windows: Ints) -> Floats:
    """AR coefficients float64[LAGS, K] by the Levinson-Durbin recursion."""
    size = residual.shape[1]
    R = np.maximum(windows, 1)
    gamma = [(residual[lag:] * residual[: len(residual) - lag]).sum(axis=0) / R for lag in range(LAGS + 1)]
    ar = np.zeros((LAGS, size))
    error = gamma[0].copy()
    for order in range(LAGS):
        missing = gamma[order + 1] - sum(
            (ar[i] * gamma[order - i] for i in range(order)), start=np.zeros(size)
        )
        reflection = np.divide(missing, error, out=np.zeros(size), where=error > 1e-9 * gamma[0])
        before = ar[:order].copy()
        ar[:order] -= reflection * before[::-1]
        ar[order] = reflection
        error *= 1 - reflection**2
    return ar


def _followed(residual: Floats, used: Bools, ar: Floats) -> tuple[Floats, Ints]:
    """`Baseline.recent` and `Baseline.unseen`, where the residuals end."""
    recent = np.zeros_like(ar)
    unseen = np.full(ar.shape[1], LAGS, np.int64)
    for latest, seen in zip(residual[-_FOLLOWED:], used[-_FOLLOWED:], strict=True):
        recent, unseen = advanced(recent, unseen, np.where(seen, latest, (ar * recent).sum(axis=0)), seen)
    return recent, unseen


def advanced(recent: Floats, unseen: Ints, residual: Floats, seen: Bools) -> tuple[Floats, Ints]:
    """`Baseline.recent` and `Baseline.unseen` one window on; `residual` is a forecast where not `seen`."""
    return np.vstack((residual, recent[:-1])), np.where(seen, np.maximum(unseen - 1, 0), LAGS)


def _deviations(innovation: Floats, R: Ints, L: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Standard deviation of the innovations, and the long-run one with Bartlett's weights up to lag L."""
    variance = (innovation**2).sum(axis=0) / R
    long_run = variance.copy()
    for lag in range(1, min(int(L.max(initial=0)), len(innovation) - 1) + 1):
        weight = np.maximum(1 - lag / (L + 1), 0.0)
        long_run += 2 * weight * (innovation[lag:] * innovation[:-lag]).sum(axis=0) / R
    return np.sqrt(variance), np.sqrt(np.maximum(long_run, 0.0))
