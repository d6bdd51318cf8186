"""Models whose truth is known: rows to estimate the quality of."""

from __future__ import annotations

from typing import Any

import numpy as np

from detectors.base import Categories, Column, Floats, Ints, Numbers
from detectors.quality.estimation import LabelledRows
from detectors.summaries.outcomes import score_edges
from detectors.summaries.predicted import ClassTable

CLASSES = ("a", "b", "c")
BINARY = ClassTable(("0", "1"), score_edges(np.random.default_rng(1).beta(1, 2, 5000))[None], binary=True)
SEVERAL = ClassTable(
    CLASSES,
    np.array([score_edges(np.random.default_rng(k).beta(1, 2, 5000), 64) for k in range(3)]),
    binary=False,
)


def keys(n: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed + 99).integers(0, 2**63, n, dtype=np.uint64)


def binary_rows(rng: np.random.Generator, n: int, tilt: float = 1.0) -> tuple[Ints, Ints, Floats]:
    """Labels, predictions, scores; a label is positive with chance score squared. `tilt` moves the scores."""
    scores = rng.beta(1.0 * tilt, 2.0, n)
    return (rng.random(n) < scores**2).astype(np.int64), (scores > 0.4).astype(np.int64), scores


def several_rows(rng: np.random.Generator, n: int, tilt: float = 1.0) -> tuple[Ints, Ints, Floats]:
    """The same of three classes; scores are chances, sharpened."""
    chances = rng.dirichlet([1.0 * tilt, 0.7, 0.5], n)
    labels = (rng.random((n, 1)) > np.cumsum(chances, axis=1)).sum(axis=1).clip(0, 2)
    sharp = chances**2 / (chances**2).sum(axis=1, keepdims=True)
    return labels.astype(np.int64), sharp.argmax(axis=1), sharp


def codes(values: Ints, names: tuple[str, ...]) -> Categories:
    return Categories(values.astype(np.int32), names)


def labelled_binary(
    rng: np.random.Generator, n: int, features: dict[str, Column] | None = None
) -> LabelledRows:
    label, called, scores = binary_rows(rng, n)
    return LabelledRows(
        keys(n), features or {}, codes(called, ("0", "1")), {"": Numbers(scores)}, codes(label, ("0", "1")),
        np.ones(n), np.arange(n),
    )  # fmt: skip


def labelled_several(rng: np.random.Generator, n: int) -> LabelledRows:
    label, called, scores = several_rows(rng, n)
    by_class: dict[str, Column] = {name: Numbers(scores[:, k]) for k, name in enumerate(CLASSES)}
    return LabelledRows(
        keys(n), {}, codes(called, CLASSES), by_class, codes(label, CLASSES), np.ones(n), np.arange(n)
    )


def window(table: ClassTable, called: Ints, scores: Floats) -> Any:
    predicted = table.zero()
    predicted.update(table.encode(called, scores.reshape(len(called), len(table.edges))))
    return predicted
