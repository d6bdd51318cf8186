"""Classifier two-sample test: whether sampled rows betray which side they come from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator
from scipy.special import ndtr

from detectors.base import Bools, DetectorError, Floats, Verdict
from detectors.learned.rows import Layout
from detectors.statistical.spec import Kind, Spec, shortage, verdicts
from detectors.summaries.table import TableSummary

_BLOCKS = 5
_TREES = 50
_SHUFFLES = 3  # of each column, for its importance
_SEED = 20_261_103
_LACKING = "needs scikit-learn: pip install 'ml-observer[learned]'"


class DomainClassifier(Spec):
    """How well gradient boosted trees tell rows of the window from rows of the reference.

    Statistic: the area under the ROC curve of rows that the trees have not seen. The rows that both
    summaries sample are cut into five blocks; each but the first is scored by trees grown on the
    blocks before it. Effect: 2 AUC - 1, or 0; its mean under no change is 0. P-value: the normal limit of the
    Mann-Whitney statistics summed over blocks, one-sided, with ties. Given what the trees learnt, rows of the
    next block are exchangeable when nothing changed, so that the sum is a martingale and its variance is the
    sum of theirs; with the usual folds, which learn from each other, it would be larger than that.

    Sees any change of the joint distribution that trees find, given enough rows; a finding names the columns
    that gave it away (`importance`). Small shifts are better seen by each column's own tests. Needs
    scikit-learn, the extra `learned`; without it the detector cannot be built.
    Source: Lopez-Paz and Oquab, ICLR (2017).
    """

    applies_to: ClassVar[tuple[Kind, ...]] = ("table",)
    type: Literal["domain_classifier"] = "domain_classifier"
    minimum_effect: float = Field(0.1, ge=0, description="2 AUC - 1, from 0 to 1.")
    min_rows: int = Field(100, ge=50, description="Sampled rows that each side must hold.")
    trees: int = Field(_TREES, ge=1, le=1000, description="Trees grown on each set of blocks.")
    named: int = Field(3, ge=0, description="Columns that a finding names.")

    @model_validator(mode="after")
    def _able(self) -> Self:
        if find_spec("sklearn") is None:
            raise ValueError(_LACKING)
        return self

    def compare(
        self, reference: TableSummary, window: TableSummary, alpha: float | None = None
    ) -> list[Verdict]:
        """One verdict in all; `alpha` overrides the detector's level."""
        sizes = np.array([len(reference.sample)]), np.array([len(window.sample)])
        insufficient, notes = shortage(*sizes, self.min_rows), {}
        area, p_value = 0.5, 1.0
        if not insufficient:
            try:
                found = _grown(reference, window, self.trees)
                area, p_value = found.area, found.p_value
                level = self.alpha if alpha is None else alpha
                if self.named and p_value < level and 2 * area - 1 >= self.minimum_effect:
                    notes[0] = _described(found.importance(), self.named)
            except DetectorError as why:
                insufficient = {0: str(why)}
        effect = np.array([max(2 * area - 1, 0.0)])
        return verdicts(
            self, np.array([area]), effect, np.array([p_value]), *sizes, alpha, insufficient, notes
        )


def importance(reference: TableSummary, window: TableSummary) -> list[tuple[str, float]]:
    """Columns by what they tell of the side a row comes from: (column, drop of the AUC), falling.

    The drop is that of rows which the trees have not seen, when the column's values are shuffled among
    them. Columns that say the same share the drop, so that each may look unimportant.
    Raises `DetectorError` without scikit-learn, and when a side samples fewer than 50 rows.
    Source: Breiman, Machine Learning 45 (2001).
    """
    sizes = np.array([len(reference.sample)]), np.array([len(window.sample)])
    for reason in shortage(*sizes, 50).values():
        raise DetectorError(reason)
    return _grown(reference, window, _TREES).importance()


class _Block(NamedTuple):
    """Rows that were scored by trees which had not seen them."""

    trees: Any
    rows: Floats
    from_window: Bools

    def scores(self, rows: Floats) -> Floats:
        return np.asarray(self.trees.decision_function(rows))


class _Grown(NamedTuple):
    columns: tuple[str, ...]
    """Of each feature."""
    blocks: list[_Block]
    area: float
    p_value: float

    def importance(self) -> list[tuple[str, float]]:
        names = tuple(dict.fromkeys(self.columns))
        rng = np.random.default_rng(_SEED)
        lost, pairs = np.zeros(len(names)), 0
        for block in self.blocks:
            size, whole = len(block.rows), mann_whitney(block.scores(block.rows), block.from_window)
            pairs += whole.pairs
            for i, name in enumerate(names):
                features = np.flatnonzero([column == name for column in self.columns])
                copies = np.tile(block.rows, (_SHUFFLES, 1))
                order = np.concatenate([rng.permutation(size) for _ in range(_SHUFFLES)])
                copies[:, features] = block.rows[np.ix_(order, features)]
                for scores in block.scores(copies).reshape(_SHUFFLES, size):
                    lost[i] += (whole.above - mann_whitney(scores, block.from_window).above) / _SHUFFLES
        return sorted(zip(names, (lost / pairs).tolist(), strict=True), key=lambda one: (-one[1], one[0]))


class MannWhitney(NamedTuple):
    """Pairs of a score of the first kind and one of the second.

    Attributes
    ----------
    above : float
        Pairs in which the second is higher, ties counted half, less half of all pairs: 0 on average where
        the kinds are alike.
    pairs : int
    variance : float
        Of `above` where the kinds are alike, given the ties.
    """

    above: float
    pairs: int
    variance: float


def mann_whitney(scores: Floats, second: Bools) -> MannWhitney:
    """Compare scores float64[n] of two kinds; `second`, bool[n], tells which is of the second."""
    _, place, ties = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(ties) - (ties - 1) / 2)[place]
    size, b = len(scores), int(second.sum())
    pairs = (size - b) * b
    above = float(rank[second].sum()) - b * (size + 1) / 2
    tied = float(((ties**3) - ties).sum()) / max(size * (size - 1), 1)
    return MannWhitney(above, pairs, pairs / 12 * (size + 1 - tied))


def _grown(reference: TableSummary, window: TableSummary, trees: int) -> _Grown:
    layout = Layout.of(reference)
    if not layout.columns:
        raise DetectorError("no column is sampled")
    blocks = list(_scored(layout.rows(reference.sample), layout.rows(window.sample), trees))
    found = [mann_whitney(block.scores(block.rows), block.from_window) for block in blocks]
    above, pairs, variance = (sum(part) for part in zip(*found, strict=True))
    p_value = float(ndtr(-above / math.sqrt(variance))) if variance > 0 else 1.0
    return _Grown(layout.columns, blocks, 0.5 + above / pairs, p_value)


def _scored(x: Floats, y: Floats, trees: int) -> Iterator[_Block]:
    """Each block but the first, with trees grown on those before it; rows are in the order of their hash."""
    try:
        from sklearn.ensemble import (  # noqa: PLC0415 - an extra, and slow to import
            HistGradientBoostingClassifier,
        )
        from threadpoolctl import (  # type: ignore[import-untyped]  # noqa: PLC0415 - comes with it
            threadpool_limits,
        )
    except ImportError as error:
        raise DetectorError(_LACKING) from error
    rows = np.concatenate((x, y))
    from_window = np.arange(len(rows)) >= len(x)
    block = np.concatenate((np.arange(len(x)) % _BLOCKS, np.arange(len(y)) % _BLOCKS))
    for i in range(1, _BLOCKS):
        classifier = HistGradientBoostingClassifier(
            max_iter=trees, max_depth=3, early_stopping=False, random_state=_SEED
        )
        before = block < i
        with threadpool_limits(1, "openmp"):  # so few rows are not worth a second thread
            classifier.fit(rows[before], from_window[before])
        yield _Block(classifier, rows[block == i], from_window[block == i])


def _described(ranking: list[tuple[str, float]], most: int) -> str:
    told = [f"{name} ({drop:.2f} of the AUC)" for name, drop in ranking[:most] if drop >= 0.005]
    return "told by " + ", ".join(told) if told else "told by many columns together"
