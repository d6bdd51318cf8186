"""Random labelled predictions, awkward ones among them, and the shapes that take them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors.base import Floats
from detectors.summaries.delays import Delays
from detectors.summaries.outcomes import (
    BinaryOutcomes,
    MulticlassOutcomes,
    RegressionOutcomes,
    score_edges,
)

CLASSES = ("a", "b", "c", "d")
EDGES = score_edges(np.random.default_rng(1).beta(1, 3, 5000))
CLASS_EDGES = np.array(
    [score_edges(np.random.default_rng(k).beta(1, 3, 5000), 64) for k in range(len(CLASSES))]
)


@dataclass(frozen=True)
class Shape:
    """How to build a summary, fill it, read it back, and see all its state."""

    zero: Callable[[], Any]
    read: Callable[[bytes], Any]
    rows: Callable[[np.random.Generator, int], tuple[Any, ...]]
    counts: Callable[[Any], list[Any]]
    """State that must be exact."""
    sums: Callable[[Any], list[Any]]
    """State that may differ by rounding."""


def _weights(rng: np.random.Generator, n: int) -> Floats | None:
    if rng.random() < 0.5:
        return None
    return rng.choice([0.0, 0.3, 1.0, 2.0, 7.5, np.nan], n, p=[0.1, 0.2, 0.3, 0.2, 0.15, 0.05])


def _binary(rng: np.random.Generator, n: int) -> tuple[Any, ...]:
    scores = rng.beta(1, 3, n)
    scores[rng.random(n) < 0.2] = np.nan
    scores[rng.random(n) < 0.1] = rng.choice([0.0, 1.0, -0.5, 3.0, np.inf])
    return rng.integers(-1, 3, n), rng.integers(-1, 3, n), scores, _weights(rng, n)


def _multiclass(rng: np.random.Generator, n: int) -> tuple[Any, ...]:
    scores = rng.dirichlet(np.ones(len(CLASSES)), n)
    scores[rng.random(n) < 0.2] = np.nan
    scores[rng.random(n) < 0.1, 0] = 2.0
    return rng.integers(-1, 7, n), rng.integers(-1, 7, n), scores, _weights(rng, n)


def _regression(rng: np.random.Generator, n: int) -> tuple[Any, ...]:
    actual = rng.choice([0.0, -3.0, 1e-12, 5.0, 1e6, np.nan, np.inf], n)
    return actual, actual + rng.standard_cauchy(n) * rng.choice([0.0, 1e-6, 1.0, 1e3], n), _weights(rng, n)


def _delays(rng: np.random.Generator, n: int) -> tuple[Any, ...]:
    return (rng.integers(-(10 ** rng.integers(1, 6)), 10 ** rng.integers(1, 12), n),)


def _spread(buckets: Any) -> Floats:
    out = np.zeros((2, 10_001))
    out[0, buckets.keys + 5000] = buckets.counts.rows
    out[1, buckets.keys + 5000] = buckets.counts.weights
    return out


SHAPES = {
    "binary": Shape(
        lambda: BinaryOutcomes(EDGES),
        lambda data: BinaryOutcomes.from_bytes(data, EDGES),
        _binary,
        lambda o: [o.confusion.rows, o.scores.rows, o.outside, o.unusable, o.n],
        lambda o: [o.confusion.weights, o.scores.weights, o.score_sums, o.squared, o.log],
    ),
    "multiclass": Shape(
        lambda: MulticlassOutcomes(CLASSES, CLASS_EDGES),
        lambda data: MulticlassOutcomes.from_bytes(data, CLASSES, CLASS_EDGES),
        _multiclass,
        lambda o: [o.confusion.rows, o.own.rows, o.every.rows, o.confidence.rows, o.outside, o.unusable],
        lambda o: [
            o.confusion.weights,
            o.own.weights,
            o.every.weights,
            o.confidence.weights,
            o.confidence_sums,
            o.squared,
            o.log,
        ],
    ),
    "regression": Shape(
        lambda: RegressionOutcomes(2.0),
        lambda data: RegressionOutcomes.from_bytes(data, 2.0),
        _regression,
        lambda o: [_spread(o.errors)[0], o.nonzero.rows, o.unusable, o.n],
        lambda o: [_spread(o.errors)[1], o.nonzero.weights, *o.sums],
    ),
    "delays": Shape(
        Delays,
        Delays.from_bytes,
        _delays,
        lambda d: [_spread(d.buckets)[0], d.count, d.negative],
        lambda d: [_spread(d.buckets)[1]],
    ),
}
