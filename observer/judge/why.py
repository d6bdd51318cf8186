"""What the findings of a watch go together with: pairs of columns, and segments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detectors.evidence.edetector import log_mean
from detectors.evidence.multiple import e_bh
from detectors.summaries.table import TableSummary
from detectors.why.covariance import CLEAR, top_pairs
from observer.model import Finding, SegmentEvidence, StreamEvidence

_LN10 = math.log(10)
MOST_SEGMENTS = 20
"""Of one finding; those with most evidence are named."""
_SLIGHT = 1.0
"""Decimal logarithm of the evidence below which a segment that e-BH does not name is not worth a line."""


def with_pairs(
    findings: tuple[Finding, ...], reference: TableSummary, window: TableSummary
) -> tuple[Finding, ...]:
    """Pages and tickets by evidence with the pairs of columns that moved in the window."""
    if not any(one.causes for one in findings):
        return findings
    pairs = top_pairs(reference, window, least=CLEAR)
    return tuple(replace(one, pairs=pairs) if one.causes else one for one in findings)


def with_segments(
    findings: tuple[Finding, ...], streams: Sequence[StreamEvidence], threshold: float
) -> tuple[Finding, ...]:
    """The findings with the segments whose streams have evidence; `threshold` is log10 of where it pages."""
    if not findings:
        return findings
    found = tuple(_segments(streams, threshold))
    return tuple(replace(one, segments=found) for one in findings)


def _segments(streams: Sequence[StreamEvidence], threshold: float) -> list[SegmentEvidence]:
    by_segment: dict[str, list[StreamEvidence]] = {}
    for one in streams:
        if one.segment:
            by_segment.setdefault(one.segment, []).append(one)
    logs = (np.array([one.evidence for one in each]) * _LN10 for each in by_segment.values())
    log_e = np.array([log_mean(each) for each in logs])
    named = e_bh(log_e, 10**-threshold)
    found = [
        SegmentEvidence(segment, evidence, is_named, max(each, key=lambda one: one.evidence))
        for (segment, each), evidence, is_named in zip(
            by_segment.items(), (log_e / _LN10).tolist(), named.tolist(), strict=True
        )
        if is_named or evidence >= _SLIGHT
    ]
    return sorted(found, key=lambda one: (not one.named, -one.evidence, one.segment))[:MOST_SEGMENTS]
