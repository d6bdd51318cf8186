"""Many tests at once: adjusted p-values, and verdicts corrected for how many were asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from detectors.base import Floats, Status, Verdict, named_tuples
from detectors.evidence.multiple import e_bh, log_calibrated

Method: TypeAlias = Literal["holm", "benjamini_hochberg", "e_bh"]
_POWER = 0.1
"""κ of the calibrator."""
_SAYS = {"holm": "Holm", "benjamini_hochberg": "Benjamini-Hochberg", "e_bh": "e-BH"}


def holm_adjusted(p_values: Floats) -> Floats:
    """Holm's (1979) adjusted p-values: the smallest family-wise level that rejects each."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    steps = p[order] * np.arange(len(p), 0, -1)
    out = np.empty_like(p)
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return out


def benjamini_hochberg_adjusted(p_values: Floats) -> Floats:
    """Benjamini and Hochberg's (1995) adjusted p-values."""
    p = np.asarray(p_values, np.float64)
    size = len(p)
    order = np.argsort(p, kind="stable")[::-1]
    steps = p[order] * size / np.arange(size, 0, -1)
    out = np.empty_like(p)
    out[order] = np.minimum(np.minimum.accumulate(steps), 1.0)
    return out


def e_values(p_values: Floats) -> Floats:
    """E-values of p-values (`log_calibrated`), with κ = 0.1: nearly the most that p about 5e-5 can be worth.

    E-values may be combined however they depend on each other. The price: p = 0.001 is worth 50, 1e-6 is
    worth 25,000.
    """
    p = np.maximum(np.asarray(p_values, np.float64), 1e-300)
    return np.asarray(np.exp(log_calibrated(p, _POWER)))


def correct(verdicts: Sequence[Verdict], alpha: float, method: Method = "holm") -> list[Verdict]:
    """Verdicts of one window, or of one batch job, as one family, in the order given.

    A drift that the method does not reject becomes stable; `threshold` becomes the level that the method held
    each p-value against. Verdicts without a p-value pass through. The verdicts must have been made
    at `alpha` or above.

    Parameters
    ----------
    verdicts : sequence of Verdict
    alpha : float
    method : str
        `holm`: at most a chance `alpha` of any false finding. `benjamini_hochberg`: on average at most a
        share `alpha` of the findings is false, if the tests are independent or depend positively.
        `e_bh`: the same however they depend, by `e_values`, which it reports.
    """
    tested = [verdict for verdict in verdicts if verdict.p_value is not None]
    if not tested:
        return list(verdicts)
    status, statistic, effect, p_value, _, n, m, own, reason = map(list, zip(*tested, strict=True))
    found = _held_against(np.array(p_value, np.float64), alpha, method)
    drift = Status.DRIFT
    some = enumerate(status) if drift in status else ()  # mostly there is none, of hundreds
    for k in [k for k, one in some if one is drift and found.levels[k] >= alpha]:
        status[k] = Status.STABLE
        level = f"{_SAYS[method]}: {found.levels[k]:.2g}"
        reason[k] = f"p {p_value[k]:.2g} is not small among {len(tested)} tests ({level})"
    e = own if found.e is None else found.e
    thresholds = found.thresholds.tolist()
    corrected = named_tuples(Verdict, status, statistic, effect, p_value, thresholds, n, m, e, reason)
    if len(tested) == len(verdicts):
        return corrected
    rest = iter(corrected)
    return [verdict if verdict.p_value is None else next(rest) for verdict in verdicts]


class _Held(NamedTuple):
    """Of each p-value: its threshold, the least level that rejects it, its e-value if the method has one."""

    thresholds: Floats
    levels: Floats
    e: list[float] | None = None


def _held_against(p: Floats, alpha: float, method: Method) -> _Held:
    size, rank = len(p), np.empty(len(p), np.int64)
    rank[np.argsort(p, kind="stable")] = np.arange(1, size + 1)
    if method == "holm":
        return _Held(alpha / (size + 1 - rank), holm_adjusted(p))
    if method == "benjamini_hochberg":
        levels = benjamini_hochberg_adjusted(p)
        # All that are rejected are rejected because the last of them is.
        last = np.maximum(rank, np.count_nonzero(levels < alpha))
        return _Held(alpha * last / size, levels)
    e = e_values(p)
    rejected = e_bh(np.log(e), alpha)
    levels = np.where(rejected, 0.0, np.maximum(benjamini_hochberg_adjusted(1 / e), alpha))
    last = np.maximum(rank, np.count_nonzero(rejected))
    needed = size / (alpha * last)
    return _Held((needed / _POWER) ** (1 / (_POWER - 1)), levels, e.tolist())
