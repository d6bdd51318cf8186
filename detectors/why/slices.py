"""Slices of rows in which something is worse than elsewhere, found on one half and tested on the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.base import NULL, Bools, Categories, Column, DetectorError, Floats, Numbers
from detectors.statistical.multiple import holm_adjusted
from detectors.statistical.nulls import proportions_p_value

DEPTH = 3
LEAST_ROWS = 200
"""Rows with a loss that a search needs, both halves together."""
_CUTS = 32  # candidates for a boundary of a number
_NAMES = 20  # most frequent categories that may define a slice
_DRAWS = 1999
_SEED = 20_261_102
_MISSING = -1.0


@dataclass(frozen=True, slots=True)
class Slice:
    """A claim that held on rows which had no part in finding it.

    Attributes
    ----------
    words : str
        Such as `country = DE and amount >= 312`.
    support : float
        Share of the held-out rows that are in it.
    rows : int
        Held-out rows in it.
    mean, rest : float
        Mean loss of the held-out rows in it, and of the others.
    p_value : float
        One-sided, of the held-out half.
    adjusted : float
        By Holm's method, over all claims of the search.
    """

    words: str
    support: float
    rows: int
    mean: float
    rest: float
    p_value: float
    adjusted: float

    @property
    def effect(self) -> float:
        """How much larger the mean loss is than elsewhere."""
        return self.mean - self.rest


def find_slices(
    keys: NDArray[np.uint64],
    columns: Mapping[str, Column],
    loss: Floats,
    *,
    alpha: float = 0.05,
    minimum_support: float = 0.02,
) -> tuple[Slice, ...]:
    """Slices whose mean loss is above the rest's, with at most `alpha` chance of naming any that is not.

    A tree of at most three levels is grown on the rows with even keys, and splits that chance might have
    brought are pruned. Each leaf that is above the mean there is a claim, tested on the rows with odd keys
    against all others of them: by Fisher's exact test (or its large-sample form) where a loss is 0 or
    1, else by 1,999 permutations with a fixed seed; then Holm over the claims. What is returned passed;
    nothing is returned when nothing did.

    Parameters
    ----------
    keys : uint64[n]
        Uniform hashes of the rows' identities; the same rows always give the same halves.
    columns : mapping
        What slices may be described by; a missing value is a value.
    loss : float64[n]
        The larger the worse; for drift 1 for rows of the window and 0 for rows of the reference. Rows
        with NaN are left out.
    minimum_support : float
        Smallest share of the rows that a slice may have.

    Raises
    ------
    DetectorError
        scikit-learn is not installed, or there are fewer than 200 rows.
    """
    known = np.flatnonzero(np.isfinite(loss))
    if len(known) < LEAST_ROWS:
        msg = f"{len(known)} rows have a loss; a search for slices needs {LEAST_ROWS}"
        raise DetectorError(msg)
    loss = loss[known]
    even = keys[known] % np.uint64(2) == 0
    matrix, features = _matrix({name: column.take(known) for name, column in columns.items()}, even)
    if not features or not even.any() or even.all():
        return ()
    least = max(int(np.ceil(minimum_support * np.count_nonzero(even))), 10)
    tree = _tree(matrix[even], loss[even], least)
    leaves = _leaves(tree, matrix[even], loss[even])
    held, tested = loss[~even], []
    claims = leaves[tree.value[leaves, 0, 0] > loss[even].mean()]
    inside = _members(tree, matrix[~even])[claims]
    some = inside.any(axis=1) & ~inside.all(axis=1)
    claims, inside = claims[some], inside[some]
    if not len(claims):
        return ()
    p_values = _p_values(inside, held)
    paths = _paths(tree)
    for claim, rows, p, adjusted in zip(claims, inside, p_values, holm_adjusted(p_values), strict=True):
        if adjusted < alpha:
            words = _words(paths[int(claim)], features)
            mean, rest = float(held[rows].mean()), float(held[~rows].mean())
            found = Slice(words, float(rows.mean()), int(rows.sum()), mean, rest, float(p), float(adjusted))
            tested.append(found)
    return tuple(sorted(tested, key=lambda one: (one.adjusted, -one.effect)))


class _Feature(NamedTuple):
    """One column of the tree's matrix: a number's place among `cuts`, or whether a category is `name`."""

    column: str
    cuts: Floats | None = None
    gaps: bool = False
    """Whether some values of the column are missing."""
    name: str = ""
    """"" for a missing category."""


def _matrix(columns: Mapping[str, Column], even: Bools) -> tuple[NDArray[np.float32], list[_Feature]]:
    """What the tree sees; cuts and names are chosen on the search half only."""
    features: list[_Feature] = []
    values: list[Floats] = []
    for name, column in columns.items():
        if isinstance(column, Numbers):
            cuts = _cuts(column.values[even])
            places = np.searchsorted(cuts, column.values, side="right").astype(np.float64)
            missing = np.isnan(column.values)
            values.append(np.where(missing, _MISSING, places))
            features.append(_Feature(name, cuts, bool(missing.any())))
        else:
            for code, text in _frequent(column, even):
                values.append((column.codes == code).astype(np.float64))
                features.append(_Feature(name, name=text))
    return np.array(values, np.float32).T, features


def _cuts(values: Floats) -> Floats:
    """Quantiles, rounded to about a hundredth of the spread: a slice is to be said in few digits."""
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return values
    at = np.quantile(values, np.linspace(0, 1, _CUTS + 2)[1:-1], method="nearest")
    spread = float(at[-1] - at[0]) or float(np.ptp(values))
    if 0 < spread < np.inf:
        at = np.round(at, int(np.clip(2 - np.floor(np.log10(spread)), -300, 300)))
    return np.unique(at)


def _frequent(column: Categories, even: Bools) -> list[tuple[int, str]]:
    codes = column.codes[even]
    counts = np.bincount(codes[codes >= 0], minlength=len(column.names))
    top = np.argsort(-counts, kind="stable")[:_NAMES]
    found = [(int(code), column.names[code]) for code in top if counts[code]]
    return [*found, (NULL, "")] if (codes == NULL).any() else found


def _tree(matrix: NDArray[np.float32], loss: Floats, least: int) -> Any:
    try:
        from sklearn.tree import DecisionTreeRegressor  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        msg = "the search for slices needs scikit-learn; install ml-observer[learned]"
        raise DetectorError(msg) from error
    grown = DecisionTreeRegressor(max_depth=DEPTH, min_samples_leaf=least, random_state=0)
    return grown.fit(matrix, loss).tree_


def _members(tree: Any, matrix: NDArray[np.float32]) -> Bools:
    """Which rows pass which node: bool[nodes, n]."""
    return np.asarray(tree.decision_path(matrix).toarray().T > 0)


def _leaves(tree: Any, matrix: NDArray[np.float32], loss: Floats) -> NDArray[np.intp]:
    """The nodes that are leaves once splits that chance might have brought are taken back.

    The best of m useless splits parts means by about √(2 ln m) standard errors; what parts them by less goes.
    The standard error is the larger of that by the variance of the node, and that by those of its two sides.
    """
    splits = sum(len(np.unique(column)) - 1 for column in matrix.T)
    least = 2.0 * np.log(max(splits, 2))
    inside = _members(tree, matrix)
    leaves = set(np.flatnonzero(tree.children_left < 0).tolist())
    for node in reversed(range(tree.node_count)):  # children come after their parent
        children = {int(tree.children_left[node]), int(tree.children_right[node])}
        if children <= leaves:
            sides = [loss[inside[child]] for child in children]
            gap = sides[0].mean() - sides[1].mean()
            apart = sum(side.var() / len(side) for side in sides)
            alike = loss[inside[node]].var() * sum(1 / len(side) for side in sides)
            if gap * gap <= least * max(apart, alike):
                leaves = leaves - children | {node}
    return np.array(sorted(leaves), np.intp)


def _p_values(inside: Bools, loss: Floats) -> Floats:
    """One-sided p-values, float64[L], of claims bool[L, n] that the mean loss is larger inside."""
    size, n = inside.sum(axis=1), len(loss)
    if np.isin(loss, (0.0, 1.0)).all():
        hits, total = (inside @ loss).astype(np.int64), int(loss.sum())
        return proportions_p_value(total - hits, n - size, hits, size, increase_only=True)
    rng = np.random.default_rng(_SEED)
    drawn = rng.permuted(np.tile(loss, (_DRAWS, 1)), axis=1) @ inside.T.astype(np.float64)
    observed = inside @ loss
    reached = (drawn >= observed - 1e-12 * np.abs(observed)).sum(axis=0)
    return np.asarray((1 + reached) / (1 + _DRAWS))


_Step = tuple[int, float, bool]
"""Feature, threshold, and whether the path goes on above it."""


def _paths(tree: Any) -> dict[int, list[_Step]]:
    """Node -> the splits that lead to it."""
    paths: dict[int, list[_Step]] = {0: []}
    for node in range(tree.node_count):  # a parent comes before its children
        for child, above in ((tree.children_left[node], False), (tree.children_right[node], True)):
            if child >= 0:
                paths[int(child)] = [
                    *paths[node],
                    (int(tree.feature[node]), float(tree.threshold[node]), above),
                ]
    return paths


def _words(path: list[_Step], features: list[_Feature]) -> str:
    """The splits in words, those on one column put together, in the order of the tree."""
    by_column: dict[str, list[tuple[_Feature, float, bool]]] = {}
    for index, threshold, above in path:
        feature = features[index]
        by_column.setdefault(feature.column, []).append((feature, threshold, above))
    return " and ".join(
        _membership(column, [(feature.name, above) for feature, _, above in steps])
        if steps[0][0].cuts is None
        else _range(steps[0][0], [(threshold, above) for _, threshold, above in steps])
        for column, steps in by_column.items()
    )


def _range(feature: _Feature, steps: list[tuple[float, bool]]) -> str:
    """A number in words: place k is from the cut k - 1 to below the cut k, -1 is missing."""
    column, cuts = feature.column, feature.cuts
    assert cuts is not None  # noqa: S101 - the caller saw to it
    least = max((int(np.floor(threshold)) + 1 for threshold, above in steps if above), default=-1)
    most = min((int(np.floor(threshold)) for threshold, above in steps if not above), default=len(cuts))
    if most < 0:
        return f"{column} is missing"
    upper = f" < {cuts[most]:.12g}" if most < len(cuts) else ""
    if least > 0:
        lower = f"{cuts[least - 1]:.12g}"
        return f"{lower} <= {column}{upper}" if upper else f"{column} >= {lower}"
    if not upper:
        return f"{column} is not missing"
    return f"({column}{upper} or missing)" if least < 0 and feature.gaps else f"{column}{upper}"


def _membership(column: str, steps: list[tuple[str, bool]]) -> str:
    is_ = [name for name, above in steps if above]
    if is_:
        return f"{column} = {is_[0]}" if is_[0] else f"{column} is missing"
    is_not = [name for name, _ in steps if name]
    parts = [f"{column} is not {' or '.join(is_not)}"] if is_not else []
    return " and ".join([*parts, *([f"{column} is not missing"] if len(is_not) < len(steps) else [])])
