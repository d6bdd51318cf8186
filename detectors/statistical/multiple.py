"""Many tests at once: adjusted p-values, and verdicts corrected for how many were asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detectors.base import Bools, Floats, Status, Verdict


def holm_adjusted(p_values: Floats) -> Floats:
    """Holm's (1979) adjusted p-values: the smallest family-wise level that rejects each."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    steps = p[order] * np.arange(len(p), 0, -1)
    out = np.empty_like(p)
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return out


def holm(p_values: Floats, alpha: float) -> Bools:
    """Which hypotheses Holm rejects, with at most `alpha` chance of any false rejection."""
    return np.asarray(holm_adjusted(p_values) < alpha)


def benjamini_hochberg_adjusted(p_values: Floats) -> Floats:
    """Benjamini and Hochberg's (1995) adjusted p-values."""
    p = np.asarray(p_values, np.float64)
    size = len(p)
    order = np.argsort(p, kind="stable")[::-1]
    steps = p[order] * size / np.arange(size, 0, -1)
    out = np.empty_like(p)
    out[order] = np.minimum(np.minimum.accumulate(steps), 1.0)
    return out


def benjamini_hochberg(p_values: Floats, alpha: float) -> Bools:
    """Which hypotheses are rejected so that on average at most `alpha` of the rejected are true."""
    return np.asarray(benjamini_hochberg_adjusted(p_values) < alpha)


def correct(verdicts: Sequence[Verdict], alpha: float) -> list[Verdict]:
    """Verdicts of one window as one family under Holm, in the order given.

    A drift that Holm does not reject becomes stable; `threshold` becomes the level that Holm held
    each p-value against. Verdicts without a p-value pass through. The verdicts must have been made
    at `alpha` or above.
    """
    tested = [i for i, verdict in enumerate(verdicts) if verdict.p_value is not None]
    p = np.array([verdicts[i].p_value for i in tested], np.float64)
    adjusted = holm_adjusted(p)
    rank = np.empty(len(p), np.int64)
    rank[np.argsort(p, kind="stable")] = np.arange(len(p))
    out = list(verdicts)
    for i, level, at in zip(tested, adjusted, rank, strict=True):
        verdict = replace(verdicts[i], threshold=alpha / (len(p) - int(at)))
        if verdict.status is Status.DRIFT and level >= alpha:
            reason = f"p {verdict.p_value:.2g} is not small among {len(p)} tests (Holm: {level:.2g})"
            verdict = replace(verdict, status=Status.STABLE, reason=reason)
        out[i] = verdict
    return out
