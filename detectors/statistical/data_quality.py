"""Rates of what should not be there: missing, unseen, out of range, wrong type, twice; and constancy."""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
from pydantic import Field

from detectors.base import Bools, Floats, Ints, Verdict
from detectors.statistical.cells import Columns, usable
from detectors.statistical.nulls import proportions_p_value
from detectors.statistical.spec import Kind, Spec, verdicts
from detectors.summaries.categories import CategoryCounts
from detectors.summaries.embeddings import EmbeddingSums
from detectors.summaries.histogram import Histogram
from detectors.summaries.remember import per_reference
from detectors.summaries.table import TableSummary

_Any: TypeAlias = Columns | EmbeddingSums


class _Hits(NamedTuple):
    """`hits` of `rows` per column: int64[C] each."""

    hits: Ints
    rows: Ints


class _Rate(Spec):
    minimum_effect: float = Field(0.01, ge=0, description="Difference of the rates.")
    _two_sided: ClassVar[bool] = False

    def _judge(self, reference: _Hits, window: _Hits, alpha: float | None) -> list[Verdict]:
        """Statistic: the window's rate. Effect: how far it lies above (two-sided: off) the reference's."""
        p_value = proportions_p_value(*reference, *window, increase_only=not self._two_sided)
        return self._report(reference, window, p_value, alpha)

    def _report(self, reference: _Hits, window: _Hits, p_value: Floats, alpha: float | None) -> list[Verdict]:
        before = reference.hits / np.maximum(reference.rows, 1)
        now = window.hits / np.maximum(window.rows, 1)
        effect = np.abs(now - before) if self._two_sided else np.maximum(now - before, 0.0)
        level = self.alpha if alpha is None else alpha
        notes = {int(i): f"{before[i]:.3g} before" for i in (p_value < level).nonzero()[0]}
        return verdicts(self, now, effect, p_value, reference.rows, window.rows, alpha, notes=notes)


class Missing(_Rate):
    """Rate of null, absent and NaN values; a change either way counts, since both change the data.

    P-value: Fisher's exact test where counts are low, else the two-proportion score test; likewise
    for the other rates here.
    """

    applies_to: ClassVar[tuple[Kind, ...]] = ("number", "category", "embedding")
    type: Literal["missing"] = "missing"
    _two_sided: ClassVar[bool] = True

    def compare(self, reference: _Any, window: _Any, alpha: float | None = None) -> list[Verdict]:
        """One verdict a column; `alpha` overrides the detector's level."""
        return self._judge(_missing(reference), _missing(window), alpha)


def _missing(columns: _Any) -> _Hits:
    rows = columns.counts.sum(axis=1)
    if isinstance(columns, Histogram):
        return _Hits(columns.counts[:, columns.bins + 2] + columns.counts[:, columns.bins + 3], rows)
    return _Hits(columns.counts[:, -2], rows)


class TypeErrors(_Rate):
    """Rate of values of a wrong type: text in a number, a vector of another length; only a rise counts."""

    applies_to: ClassVar[tuple[Kind, ...]] = ("number", "category", "embedding")
    type: Literal["type_errors"] = "type_errors"

    def compare(self, reference: _Any, window: _Any, alpha: float | None = None) -> list[Verdict]:
        """One verdict a column; `alpha` overrides the detector's level."""
        before, now = (_Hits(c.counts[:, -1], c.counts.sum(axis=1)) for c in (reference, window))
        return self._judge(before, now, alpha)


class OutOfRange(_Rate):
    """Rate of values below the reference's minimum or above its maximum, infinite ones among them.

    P-value: twice the smaller of the two sides', each Fisher's: given k values beyond one end, all of
    them fall into the window by chance with just that probability.
    """

    applies_to: ClassVar[tuple[Kind, ...]] = ("number",)
    type: Literal["out_of_range"] = "out_of_range"

    def compare(self, reference: Histogram, window: Histogram, alpha: float | None = None) -> list[Verdict]:
        """One verdict a column; `alpha` overrides the detector's level."""
        before, now = _outside_before(reference), _outside(window)
        sides = proportions_p_value(*before, *now, increase_only=True)
        p_value = np.minimum(2 * sides.min(axis=0), 1.0)
        r, w = (_Hits(side.hits.sum(axis=0), side.rows[0]) for side in (before, now))
        return self._report(r, w, p_value, alpha)


def _outside(histogram: Histogram) -> _Hits:
    """Values below and above the reference's range: int64[2, F]."""
    counts, b = histogram.counts, histogram.bins
    hits = counts[:, [0, b + 1]] + counts[:, [b + 4, b + 5]]
    return _Hits(hits.T, np.tile(usable(histogram), (2, 1)))


_outside_before = per_reference(_outside)


class UnseenCategories(_Rate):
    """Rate of categories that the reference lacks.

    By chance a window holds as many of them as the reference holds categories that it saw only once
    (Good 1953); their number, or the least upper bound that the counts give, stands in for the
    reference's rate, with half the reference's weight, since that estimate varies by up to twice as
    much as a count. So an identifier is not reported as long as its values come once each.
    """

    applies_to: ClassVar[tuple[Kind, ...]] = ("category",)
    type: Literal["unseen_categories"] = "unseen_categories"

    def compare(
        self, reference: CategoryCounts, window: CategoryCounts, alpha: float | None = None
    ) -> list[Verdict]:
        """One verdict a column; `alpha` overrides the detector's level."""
        before, now = _new_before(reference), _Hits(window.counts[:, -3], usable(window))
        weight = np.where(before.hits > 0, 2, 1)
        trusted = _Hits(-(-before.hits // weight), -(-before.rows // weight))
        p_value = proportions_p_value(*trusted, *now, increase_only=True)
        return self._report(before, now, p_value, alpha)


@per_reference
def _new_before(reference: CategoryCounts) -> _Hits:
    """The rows that would be of a new category, of the usable ones."""
    n = usable(reference)
    return _Hits(np.minimum(_seen_once(reference) + reference.counts[:, -3], n), n)


def _seen_once(reference: CategoryCounts) -> Ints:
    """At most how many categories the reference saw exactly once: int64[C]."""
    top = reference.vocabularies.top
    counted = reference.counts[:, :top]
    rare = np.array([len(names) for names in reference.vocabularies.rare], np.int64)
    rows = reference.counts[:, top]
    # The rare ones hold `rows` rows; none is more frequent than the least frequent counted one.
    most = np.where(rare > 0, counted[:, -1], 0)
    bound = np.where(most > 1, (rare * most - rows) // np.maximum(most - 1, 1), rare)
    return np.asarray((counted == 1).sum(axis=1) + np.clip(bound, 0, rare))


class Constant(Spec):
    """A column that varied and now holds a single value.

    Statistic: the window's largest share of one bin or category. Effect: 1 less that share in the
    reference, if the window is constant, else 0. P-value: at most s^(m - 1), s the reference's
    largest share, that m values are equal by chance.
    """

    applies_to: ClassVar[tuple[Kind, ...]] = ("number", "category")
    type: Literal["constant"] = "constant"
    minimum_effect: float = Field(0.05, ge=0, description="Share of the reference that varied.")

    def compare(self, reference: Columns, window: Columns, alpha: float | None = None) -> list[Verdict]:
        """One verdict a column; `alpha` overrides the detector's level."""
        before, now = _mode_before(reference), _mode(window)
        share = np.where(now.constant, 1.0, np.minimum(now.rows / np.maximum(now.usable, 1), 1.0))
        froze = now.constant & ~before.constant
        effect = np.where(froze, 1.0 - before.rows / np.maximum(before.usable, 1), 0.0)
        at_most = np.minimum((before.rows + 1.0) / (before.usable + 1.0), 1.0)
        p_value = np.where(froze, at_most ** np.maximum(now.usable - 1, 0), 1.0)
        return verdicts(self, share, effect, p_value, before.usable, now.usable, alpha)


class _Mode(NamedTuple):
    """The most frequent bin or category of each column."""

    rows: Ints
    usable: Ints
    constant: Bools
    """Whether all usable values are known to be equal."""


def _mode(columns: Columns) -> _Mode:
    n = usable(columns)
    return _Mode(_largest(columns), n, _is_constant(columns, n))


_mode_before = per_reference(_mode)


def _largest(columns: Columns) -> Ints:
    counts = columns.counts
    if not isinstance(columns, Histogram):
        return np.asarray(counts[:, :-2].max(axis=1, initial=0))
    b = columns.bins
    return np.asarray(np.maximum(counts[:, : b + 2].max(axis=1), counts[:, b + 4 : b + 6].max(axis=1)))


def _is_constant(columns: Columns, n: Ints) -> Bools:
    if isinstance(columns, Histogram):
        return np.asarray((columns.finite == n) & (columns.minimum == columns.maximum))
    top = columns.vocabularies.top
    one_new = np.array([len(names) == 1 for names in columns.unseen], np.bool_)
    same = (columns.counts[:, :top].max(axis=1, initial=0) == n) | (
        (columns.counts[:, top + 1] == n) & one_new
    )
    return np.asarray(same & (n > 0))


class Duplicates(_Rate):
    """Rate of events that came more than once, of all that came; only a rise counts."""

    applies_to: ClassVar[tuple[Kind, ...]] = ("table",)
    type: Literal["duplicates"] = "duplicates"

    def compare(
        self, reference: TableSummary, window: TableSummary, alpha: float | None = None
    ) -> list[Verdict]:
        """One verdict in all; `alpha` overrides the detector's level."""
        before, now = (
            _Hits(np.array([c.duplicates]), np.array([c.n + c.duplicates]))
            for c in (reference.counts, window.counts)
        )
        return self._judge(before, now, alpha)
