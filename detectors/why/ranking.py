"""Which features, and which segments, changed most: by evidence, then by effect."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from detectors.base import Status, Verdict
from detectors.evidence.edetector import log_mean
from detectors.evidence.multiple import e_bh, log_e_of_p

Said: TypeAlias = tuple[str, str, Verdict]
"""A subject (column name), the detector's name, and what it said."""

_LEAST = np.finfo(np.float64).tiny


def evidence(verdict: Verdict) -> float | None:
    """Logarithm of a verdict's e-value, from its p-value where it gives no other; None without either."""
    if verdict.e_value is not None:
        return math.log(max(verdict.e_value, _LEAST))
    return None if verdict.p_value is None else float(log_e_of_p(verdict.p_value))


@dataclass(frozen=True, slots=True)
class RankedFeature:
    """What all detectors say of one column.

    Attributes
    ----------
    log_e : float
        Of the mean of the detectors' e-values, itself an e-value under any dependence.
    drifts : bool
        Whether a verdict is `drift`: evidence and effect both suffice.
    detector : str
        The one with most evidence, drift first; the other fields are its own.
    others : tuple of str
        Further detectors that found drift.
    """

    name: str
    log_e: float
    drifts: bool
    detector: str
    statistic: float
    effect: float
    p_value: float | None
    reason: str
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RankedSegment:
    """What all detectors say of all columns of one segment.

    Attributes
    ----------
    log_e : float
        Of the mean of its verdicts' e-values.
    named : bool
        Whether e-BH names it.
    features : tuple of RankedFeature
    """

    name: str
    log_e: float
    named: bool
    features: tuple[RankedFeature, ...]


def rank_features(said: Iterable[Said]) -> tuple[RankedFeature, ...]:
    """Columns by what was found: those that drift first, then by evidence, then by effect.

    Verdicts without evidence (`insufficient`, `failed`) are left out, and so are columns with no other.
    Effects are compared within equal evidence only, since detectors have units of their own.
    """
    by_subject: dict[str, list[tuple[bool, float, str, Verdict]]] = {}
    for subject, detector, verdict in said:
        log_e = evidence(verdict)
        if log_e is not None:
            drifts = verdict.status is Status.DRIFT
            by_subject.setdefault(subject, []).append((drifts, log_e, detector, verdict))
    ranked = []
    for name, found in by_subject.items():
        found.sort(key=lambda one: (not one[0], -one[1], -one[3].effect))
        drifts, _, detector, verdict = found[0]
        ranked.append(
            RankedFeature(
                name,
                log_mean(np.array([log_e for _, log_e, _, _ in found])),
                drifts,
                detector,
                verdict.statistic,
                verdict.effect,
                verdict.p_value,
                verdict.reason,
                tuple(other for drift, _, other, _ in found[1:] if drift),
            )
        )
    return tuple(sorted(ranked, key=lambda one: (not one.drifts, -one.log_e, -one.effect, one.name)))


def rank_segments(said: Mapping[str, Iterable[Said]], alpha: float) -> tuple[RankedSegment, ...]:
    """Segments by evidence that anything in them changed, those that e-BH names first.

    Segments share rows and columns; e-BH holds under any dependence: of those named, on average at most
    a share `alpha` did not change. Segments without any evidence are left out.
    """
    ranked = {name: rank_features(verdicts) for name, verdicts in said.items()}
    names = [name for name, features in ranked.items() if features]
    log_e = np.array([log_mean(np.array([f.log_e for f in ranked[name]])) for name in names], np.float64)
    named = e_bh(log_e, alpha) if names else np.empty(0, np.bool_)
    found = [
        RankedSegment(name, float(e), bool(is_named), ranked[name])
        for name, e, is_named in zip(names, log_e, named, strict=True)
    ]
    return tuple(sorted(found, key=lambda one: (not one.named, -one.log_e, one.name)))
