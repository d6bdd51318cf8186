"""What a watch found, as findings in words."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from detectors.base import Status, Verdict
from detectors.evidence.alarm import Tier as Level
from detectors.watch.online import Heard
from detectors.watch.watch import Watched
from observer.model import EvidenceReport, Finding, Judged, StreamEvidence, Tier, WindowKey
from observer.plain import timestamp

MOST_CAUSES = 20
"""Of one finding; the strongest are named."""
_TIERS: Mapping[Level, Literal["page", "ticket", ""]] = {
    Level.QUIET: "",
    Level.TICKET: "ticket",
    Level.PAGE: "page",
}
_MEANING = {
    "location": "values {rose} in rank",
    "spread": "spread {rose}",
    "total_variation": "shares of categories changed",
    "embedding": "vectors moved",
    "covariance": "correlations or spreads changed",
    "missing": "missing values {rose}",
    "type_errors": "values of a wrong type {rose}",
    "unseen_categories": "unseen categories {rose}",
    "duplicates": "duplicates {rose}",
    "error_rate": "errors {rose}",
    "absolute_error": "absolute error {rose}, relatively,",
    "calibration": "scores are off the labels",
}


def streams_of(watched: Watched) -> tuple[StreamEvidence, ...]:
    """Every stream as it stands; before there is evidence, none."""
    found = watched.evidence
    if found is None:
        return ()
    log10 = np.maximum(found.log_evidence, 0.0) / math.log(10)
    rows = zip(
        watched.keys,
        log10.tolist(),
        found.effect.tolist(),
        found.lower.tolist(),
        watched.tier.tolist(),
        watched.since.tolist(),
        strict=True,
    )
    return tuple(
        StreamEvidence(
            key.segment,
            key.subject,
            key.statistic,
            evidence,
            effect,
            lower,
            _TIERS[Level(tier)],
            since if since >= 0 else None,
        )
        for key, evidence, effect, lower, tier, since in rows
    )


def reported(
    watch: Literal["inputs", "quality"],
    watched: Watched,
    streams: tuple[StreamEvidence, ...],
    heard: Sequence[Heard] = (),
) -> EvidenceReport:
    """Where the watch stands."""
    decision = watched.decision
    return EvidenceReport(
        watch,
        watched.stage,
        watched.history,
        watched.needed,
        max(watched.log_mean, 0.0) / math.log(10),
        watched.page_at / math.log(10),
        watched.opened,
        streams,
        bool(decision and decision.closed),
        tuple(Judged(one.subject, one.detector, one.verdict) for one in heard),
    )


def alarms(window: WindowKey, end: int, heard: Iterable[Heard], shown: Container[str]) -> tuple[Finding, ...]:
    """What online detectors find: each change a ticket, once; what lasts, and `shown` subjects, are info."""
    size = end - window.start
    return tuple(
        Finding(
            window,
            end,
            one.subject,
            one.detector,
            one.verdict,
            "ticket" if one.new and one.subject not in shown else "info",
            since=window.start - (max(one.age, 1) - 1) * size,
        )
        for one in heard
        if one.verdict.status is Status.DRIFT
    )


def findings(
    window: WindowKey, end: int, watched: Watched, streams: tuple[StreamEvidence, ...]
) -> tuple[Finding, ...]:
    """A page, a ticket, both or nothing: what the window has changed."""
    decision = watched.decision
    if decision is None:
        return ()
    found = []
    if decision.page:
        found.append(_finding(window, end, "page", decision.paged.tolist(), watched, streams))
    if len(decision.ticketed):
        found.append(_finding(window, end, "ticket", decision.ticketed.tolist(), watched, streams))
    return tuple(found)


def _finding(
    window: WindowKey,
    end: int,
    tier: Tier,
    which: list[int],
    watched: Watched,
    streams: tuple[StreamEvidence, ...],
) -> Finding:
    evidence = watched.evidence
    assert evidence is not None  # noqa: S101 - there was a decision
    ranked = sorted(which, key=lambda i: (-streams[i].evidence, i))
    causes = tuple(streams[i] for i in ranked[:MOST_CAUSES])
    first, at = causes[0], ranked[0]
    deviation = float(evidence.deviation[at])
    begun = [cause.since for cause in causes if cause.since is not None]
    more = f"; {len(which) - 1} more" if len(which) > 1 else ""
    verdict = Verdict(
        Status.DRIFT,
        deviation if math.isfinite(deviation) else 0.0,
        abs(first.effect),
        None,
        math.exp(watched.page_at),
        watched.history,
        int(evidence.age[at]),
        10 ** min(first.evidence, 300.0),
        describe(first) + more,
    )
    return Finding(
        window, end, first.subject, first.statistic, verdict, tier, causes, min(begun) if begun else None
    )


def describe(cause: StreamEvidence) -> str:
    """One stream in words: what moved, by how much, since when, how sure."""
    meaning = _MEANING.get(cause.statistic, cause.statistic)
    text = meaning.format(rose="rose" if cause.effect >= 0 else "fell")
    where = f" in {cause.segment}" if cause.segment else ""
    since = f" since {timestamp(cause.since, 'minutes')}" if cause.since is not None else ""
    least = f" (at least {cause.lower:.3g})" if cause.lower > 0 else ""
    return f"{text} by {abs(cause.effect):.3g}{least}{where}{since}, evidence 10^{cause.evidence:.1f}"
