"""Sums of random Fourier features: how a column of embeddings lies, in a few hundred numbers.

A vector is centred, projected onto the principal components of the reference, and brought to the unit of
a Gaussian kernel's bandwidth; cosines and sines of 256 random directions are its features. The mean
features of two samples differ by (nearly) their maximum mean discrepancy under that kernel
(Rahimi and Recht 2007; Gretton et al. 2012; Sutherland and Schneider 2015).

Everything that is summed is a whole number, matrix products too, and small enough to be exact in double
precision: sums are equal to the bit in whatever order and pieces rows arrive, and on any machine.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from detectors.base import INVALID, NULL, Floats, Ints, Vectors
from detectors.summaries.packing import digest, pack, unpack

FEATURES = 512
"""D: cosines of 256 random directions, then their sines."""
DIMENSIONS = 32
"""Principal components kept."""
LEAST_ROWS = 100
"""Vectors without which a column is not summarised."""

_FITTED = 1_000  # rows at most that components are taken from
_NULL_ROWS = 1_000  # rows at most that the null distribution is taken from
_MEDIAN_ROWS = 500
_LEAST_VARIANCE = 1e-4  # of a component, relative to the first
_STEPS = 4_096  # of a circle
_AMPLITUDE = 2.0**14  # of a feature
_GRAIN = 4_096.0  # steps of a bandwidth
_FARTHEST = 2.0**20  # of those steps; what lies beyond is brought in
_DIRECTION = 2_048.0
_LOADING = 2.0**15 - 1
_CELL = 1_024.0  # steps of the root mean square of a number
_LARGEST = 2.0**19
_ROUND = 1.5 * 2.0**52  # added to a small number, leaves it rounded in the lowest bits
_BLOCK = 2**19  # numbers converted at once, for the caches' sake
_BATCH = 2**16  # rows whose features an int32 can sum


@lru_cache(maxsize=8)
def _directions(dimensions: int) -> Floats:
    """Whole numbers, normally distributed, that no version of a library can change: float64[k, D / 2]."""
    size = dimensions * FEATURES // 2
    noise = np.frombuffer(hashlib.shake_256(b"random Fourier features").digest(4 * size), "<u4")
    normal = ndtri((noise + 0.5) / 2.0**32)
    return np.asarray(np.rint(normal * _DIRECTION).reshape(dimensions, FEATURES // 2))


@cache
def _circle() -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    angle = np.arange(_STEPS) * (2.0 * np.pi / _STEPS)
    cosine, sine = (np.rint(f(angle) * _AMPLITUDE).astype(np.int16) for f in (np.cos, np.sin))
    return cosine, sine


def fourier_features(places: Floats) -> NDArray[np.int16]:
    """Features of points: int16[n, D] from float64[n, k], in bandwidths.

    In units of 1/16384; their squares sum to D / 2 in every row, but for rounding.
    """
    steps = np.rint(places * _GRAIN)
    np.clip(steps, -_FARTHEST, _FARTHEST, out=steps)
    phases = steps @ _directions(places.shape[1])
    phases *= _STEPS / (2.0 * np.pi * _GRAIN * _DIRECTION)
    phases += _ROUND
    which = phases.view(np.int64)
    which &= _STEPS - 1
    features = np.empty((len(places), FEATURES), np.int16)
    for table, out in zip(_circle(), np.split(features, 2, axis=1), strict=True):
        table.take(which, out=out, mode="clip")
    return features


def bandwidth(places: Floats) -> float:
    """Median heuristic: the root of half the median squared distance between points float64[n, k]."""
    some = places[:_MEDIAN_ROWS]
    square = (some**2).sum(axis=1)
    distance = square[:, None] + square - 2.0 * (some @ some.T)
    return math.sqrt(max(float(np.median(distance[np.triu_indices(len(some), 1)])), 0.0) / 2.0)


class FeatureNull(NamedTuple):
    """Of one row's features, scaled to length 1, with covariance S: traces of S, S², S³."""

    trace: float
    square: float
    cube: float

    @classmethod
    def of(cls, features: NDArray[np.int16]) -> FeatureNull:
        """Estimated without bias from rows int16[n, D], of which the first 1,000 are used; n > 3.

        The products between rows are centred as in Székely and Rizzo (2014), which frees them of the mean.
        """
        rows = unit(features[:_NULL_ROWS])
        n = len(rows)
        inner = rows @ rows.T
        np.fill_diagonal(inner, 0.0)
        total = float(inner.sum())
        sums = inner.sum(axis=1) / (n - 2)
        inner -= sums[:, None]
        inner -= sums
        inner += total / ((n - 1) * (n - 2))
        np.fill_diagonal(inner, 0.0)
        square = float(np.vdot(inner, inner)) / (n * (n - 3))
        cube = float(np.vdot(inner @ inner, inner)) / (n * (n - 1) * (n - 2))
        return cls(1.0 - total / (n * (n - 1)), square, cube)


def unit(features: NDArray[np.int16]) -> Floats:
    """Features as real numbers, every row of length 1: float64[n, D]."""
    return features / (_AMPLITUDE * math.sqrt(FEATURES / 2))


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingSketch:
    """How one column of embeddings is summarised; from a reference.

    Attributes
    ----------
    center : float32[d]
    cell : float
        Unit in which centred numbers are rounded to whole ones.
    loadings : int16[d, k]
        Principal components; each is to be multiplied by its `scales`, float64[k]. That brings components
        to the fourth root of their variance, half way between none and equal weights (directions that
        vary little count for less, but not for nothing), and then to bandwidths.
    null : FeatureNull
        What chance does to mean features.
    """

    name: str
    center: NDArray[np.float32]
    cell: float
    loadings: NDArray[np.int16]
    scales: Floats
    null: FeatureNull

    @classmethod
    def fit(cls, name: str, vectors: NDArray[np.float32]) -> tuple[EmbeddingSketch, int] | None:
        """The sketch that vectors float32[n, d], in random order, define; None when there are too few.

        Also how many of the first vectors it took its components from: at most a third. These must not be
        summarised, since they vary more along their own components than any others do. None also when
        the vectors hardly differ.
        """
        fitted = min(len(vectors) // 3, _FITTED)
        if len(vectors) < LEAST_ROWS:
            return None
        first = vectors[:fitted].astype(np.float64)
        center = first.mean(axis=0).astype(np.float32)
        first -= center
        cell = math.sqrt(float(np.mean(first**2))) / _CELL
        if not cell > 0:
            return None
        components = _components(first / cell)
        scales = np.abs(components).max(axis=0) / _LOADING
        loadings = np.rint(components / scales).astype(np.int16)
        sketch = cls(name, center, cell, loadings, scales, FeatureNull(0.0, 0.0, 0.0))
        others = vectors[fitted : fitted + _NULL_ROWS]
        width = bandwidth(sketch._project(others))
        if not width > 0:
            return None
        sketch = cls(name, center, cell, loadings, scales / width, sketch.null)
        null = FeatureNull.of(sketch.features(others))
        return cls(name, center, cell, loadings, sketch.scales, null), fitted

    @property
    def length(self) -> int:
        """d: numbers in a vector."""
        return len(self.center)

    def features(self, vectors: NDArray[np.float32]) -> NDArray[np.int16]:
        """Fourier features: int16[n, D] of float32[n, d]."""
        out = np.empty((len(vectors), FEATURES), np.int16)
        step = max(_BLOCK // self.length, 1)
        for at in range(0, len(vectors), step):
            out[at : at + step] = fourier_features(self._project(vectors[at : at + step]))
        return out

    def _project(self, vectors: NDArray[np.float32]) -> Floats:
        """Places on the scaled components: float64[n, k]; the product is exact."""
        numbers = vectors.astype(np.float64)
        numbers -= self.center
        numbers /= self.cell
        np.rint(numbers, out=numbers)
        np.clip(numbers, -_LARGEST, _LARGEST, out=numbers)
        return np.asarray((numbers @ self.loadings.astype(np.float64)) * self.scales)

    def to_bytes(self) -> bytes:
        """Compact bytes."""
        return pack(
            {
                "name": self.name,
                "center": self.center,
                "loadings": self.loadings,
                "scales": self.scales,
                "constants": np.array([self.cell, *self.null]),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> EmbeddingSketch:
        """The sketch that gave `data`."""
        fields = unpack(data)
        center = fields.array("center", np.float32, -1)
        scales = fields.array("scales", np.float64, -1)
        loadings = fields.array("loadings", np.int16, len(center), len(scales))
        cell, *null = fields.array("constants", np.float64, 4).tolist()
        good = len(center) and 0 < len(scales) <= DIMENSIONS and cell > 0 and np.isfinite(center).all()
        if not (good and np.isfinite([cell, *scales, *null]).all()):
            raise ValueError("fields of an embedding are no sketch")
        return cls(fields["name"], center, cell, loadings, scales, FeatureNull(*null))


def _components(rows: Floats) -> Floats:
    """Principal components of centred rows, over the fourth root of their variances: float64[d, k]."""
    n, length = rows.shape
    if n < length:
        values, vectors = np.linalg.eigh(rows @ rows.T)
    else:
        values, vectors = np.linalg.eigh(rows.T @ rows)
    values, vectors = values[::-1][:DIMENSIONS], vectors[:, ::-1][:, :DIMENSIONS]
    kept = values > _LEAST_VARIANCE * values[0]
    values, vectors = values[kept], vectors[:, kept]
    if n < length:
        vectors = rows.T @ vectors / np.sqrt(values)
    return np.asarray(vectors / values**0.25)


@dataclass(slots=True)
class EncodedVectors:
    """A batch of n rows of one column under its sketch."""

    lengths: NDArray[np.int32]
    """`NULL`, `INVALID` (for vectors of another length, too), or the sketch's length."""
    features: NDArray[np.int16]
    """int16[n, D]; 0 where there is no vector."""

    def take(self, rows: NDArray[np.intp]) -> EncodedVectors:
        """The batch at `rows`."""
        return EncodedVectors(self.lengths[rows], self.features[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """The columns of embeddings that a table has; from a reference."""

    sketches: tuple[EmbeddingSketch, ...] = ()
    _digest: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        content = b"".join(digest(sketch.to_bytes()) for sketch in self.sketches)
        object.__setattr__(self, "_digest", content)

    @property
    def names(self) -> tuple[str, ...]:
        """Column names."""
        return tuple(sketch.name for sketch in self.sketches)

    def same(self, other: Embeddings) -> bool:
        """Whether `other` encodes alike, so that sums over both can be added."""
        return self._digest == other._digest

    def encode(self, column: int, vectors: Vectors) -> EncodedVectors:
        """Bring a batch of a column's rows under its sketch."""
        sketch = self.sketches[column]
        lengths = np.where(vectors.lengths > 0, np.int32(INVALID), vectors.lengths)
        here = vectors.lengths == sketch.length
        lengths[here] = sketch.length
        found = sketch.features(vectors.of_length(sketch.length))
        if len(found) == len(vectors):
            return EncodedVectors(lengths, found)
        features = np.zeros((len(vectors), FEATURES), np.int16)
        features[here] = found
        return EncodedVectors(lengths, features)

    def zero(self) -> EmbeddingSums:
        """The empty sums."""
        size = len(self.sketches)
        return EmbeddingSums(self, np.zeros((size, 3), np.int64), np.zeros((size, FEATURES), np.int64))


@dataclass(slots=True, eq=False)
class EmbeddingSums:
    """What a window's columns of embeddings hold: E columns over one `Embeddings`.

    Attributes
    ----------
    counts : int64[E, 3]
        Rows with a vector, with none, and with something else, such as a vector of another length.
    sums : int64[E, D]
        Of the features, in units of 1/16384.
    """

    embeddings: Embeddings
    counts: Ints
    sums: Ints

    @property
    def names(self) -> tuple[str, ...]:
        """Column names."""
        return self.embeddings.names

    @property
    def means(self) -> Floats:
        """Mean features, scaled so that a row's have length 1: float64[E, D]; 0 where there are none."""
        rows = np.maximum(self.counts[:, :1], 1)
        return np.asarray(self.sums / rows / (_AMPLITUDE * math.sqrt(FEATURES / 2)))

    def update(self, column: int, batch: EncodedVectors) -> None:
        """Add rows of one column."""
        lengths = batch.lengths
        missing, wrong = (int(np.count_nonzero(lengths == code)) for code in (NULL, INVALID))
        self.counts[column] += (len(lengths) - missing - wrong, missing, wrong)
        for at in range(0, len(lengths), _BATCH):
            self.sums[column] += batch.features[at : at + _BATCH].sum(axis=0, dtype=np.int32)

    def merge(self, other: Self) -> None:
        """Add `other`; raises `ValueError` when it is over other columns or sketches."""
        if not self.embeddings.same(other.embeddings):
            raise ValueError("sums over different embeddings cannot be merged")
        self.counts += other.counts
        self.sums += other.sums

    def to_bytes(self) -> bytes:
        """Compact bytes; the sketches are the reference's and not repeated."""
        return pack({"counts": self.counts, "sums": self.sums})

    @classmethod
    def from_bytes(cls, data: bytes, embeddings: Embeddings) -> EmbeddingSums:
        """The sums that gave `data`; `embeddings` must be the ones they were taken over."""
        fields, size = unpack(data), len(embeddings.sketches)
        counts = fields.array("counts", np.int64, size, 3)
        if (counts < 0).any():
            raise ValueError("field 'counts' has negative counts")
        return cls(embeddings, counts, fields.array("sums", np.int64, size, FEATURES))


NO_EMBEDDINGS = Embeddings()


def sketched(columns: Sequence[tuple[str, Vectors]]) -> tuple[EmbeddingSums, dict[str, str]]:
    """The reference's own sums of columns, and why a column is left out.

    Rows must come in random order. A column's length is that of most of its vectors, the smaller one if
    two are as frequent.
    """
    notes: dict[str, str] = {}
    found: list[tuple[EmbeddingSketch, Vectors]] = []
    for name, vectors in columns:
        lengths, counts = np.unique(vectors.lengths[vectors.lengths > 0], return_counts=True)
        if not len(lengths):
            notes[name] = "left out: it has no vector at all"
            continue
        length = int(lengths[counts.argmax()])
        fit = EmbeddingSketch.fit(name, vectors.of_length(length))
        if fit is None:
            few = f"{LEAST_ROWS} vectors of one length are needed, there are {counts.max()}"
            same = "left out: its vectors hardly differ"
            notes[name] = f"left out: {few}" if counts.max() < LEAST_ROWS else same
            continue
        sketch, fitted = fit
        used = np.flatnonzero(vectors.lengths == length)[fitted - 1] + 1
        found.append((sketch, vectors.take(slice(used, None))))
    embeddings = Embeddings(tuple(sketch for sketch, _ in found))
    sums = embeddings.zero()
    for i, (_, rest) in enumerate(found):
        sums.update(i, embeddings.encode(i, rest))
    return sums, notes
