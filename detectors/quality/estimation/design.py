"""Sampled rows as tree learners of scikit-learn take them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

from detectors.base import Bools, Categories, Column, DetectorError, Floats, Numbers
from detectors.summaries.categories import as_categories

NAMES = 64
"""Names of a category told apart; the others count as one."""
SEED = 20


@dataclass(frozen=True, slots=True)
class Design:
    """How columns become F features; laid out by the reference's rows.

    A number stays as it is, a name becomes its rank by frequency; what is missing or of another type is NaN,
    which such learners take as a value of its own.

    Attributes
    ----------
    names : mapping of str to (tuple of str, or None)
        Column -> its frequent names, None where it is numeric.
    """

    names: Mapping[str, tuple[str, ...] | None]

    @classmethod
    def of(cls, columns: Mapping[str, Column]) -> Self:
        """The layout of these columns."""
        return cls({name: _frequent(column) for name, column in sorted(columns.items())})

    @property
    def categorical(self) -> Bools:
        """Which features are ranks of names, bool[F]."""
        return np.array([names is not None for names in self.names.values()], np.bool_)

    def rows(self, columns: Mapping[str, Column], n: int) -> Floats:
        """float64[n, F]; a column that is not there is missing in every row."""
        out = np.full((n, len(self.names)), np.nan)
        for i, (name, known) in enumerate(self.names.items()):
            column = columns.get(name)
            if column is None:
                continue
            if known is not None:
                column = as_categories(column)
                rank = {text: float(at) for at, text in enumerate(known)}
                table = [rank.get(text, float(len(known))) for text in column.names]
                out[:, i] = np.array([*table, np.nan, np.nan])[column.codes]
            elif isinstance(column, Numbers):
                out[:, i] = column.values
        return out


def _frequent(column: Column) -> tuple[str, ...] | None:
    if not isinstance(column, Categories):
        return None
    counts = np.bincount(column.codes[column.codes >= 0], minlength=len(column.names))
    top = np.argsort(-counts, kind="stable")[:NAMES]
    return tuple(column.names[code] for code in top if counts[code])


def boosted(kind: Literal["domain", "loss"], design: Design, rows: int) -> Any:
    """Gradient boosted trees over this design: a classifier of two domains, or a regression of a loss.

    A loss is never negative and scatters more where it is larger, hence Poisson's deviance; measured, it
    halves the error of squared error. Raises `DetectorError` where scikit-learn is not installed.
    """
    try:
        from sklearn import ensemble  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        msg = "estimates that learn from rows (dle, pape) need scikit-learn; install ml-observer[learned]"
        raise DetectorError(msg) from error
    shared = {
        "early_stopping": False,
        "categorical_features": design.categorical,
        "random_state": SEED,
        "min_samples_leaf": min(max(rows // 100, 20), 50),
    }
    if kind == "loss":
        return ensemble.HistGradientBoostingRegressor(loss="poisson", max_iter=50, **shared)
    return ensemble.HistGradientBoostingClassifier(learning_rate=0.05, max_leaf_nodes=8, **shared)


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it trees are grown and asked by one thread: so few rows are not worth a second one."""
    try:
        from threadpoolctl import (  # type: ignore[import-untyped]  # noqa: PLC0415 - comes with scikit-learn
            threadpool_limits,
        )
    except ImportError:
        yield  # `boosted` says what is missing
        return
    with threadpool_limits(1, "openmp"):
        yield


def folds(n: int, count: int) -> list[Bools]:
    """A partition of n rows into `count` parts of equal size, at random but always the same; bool[n] each."""
    part = np.random.default_rng(SEED).permutation(n) % count
    return [part == i for i in range(count)]
