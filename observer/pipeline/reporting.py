"""Closed windows and cohorts as reports: values for metrics, pages and files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from detectors.base import Floats, Status
from detectors.quality import evaluate
from detectors.summaries.answers import Answers
from detectors.summaries.histogram import Histogram
from detectors.summaries.outcomes import RegressionOutcomes
from detectors.summaries.table import TableSummary
from detectors.why.covariance import CLEAR, Pair, top_pairs
from observer.model import (
    AnswerCounts,
    ColumnState,
    Finding,
    Judged,
    QualityReport,
    QualityValue,
    Said,
    WindowReport,
)
from observer.pipeline.cohorts import CohortKey
from observer.pipeline.distributions import distributions
from observer.pipeline.inputs import Window
from observer.pipeline.monitor import Monitor
from observer.ports import Judge

_COVARIANCE = "covariance"
PROBABILITIES = (0.05, 0.5, 0.95)


def window_report(monitor: Monitor, window: Window, judge: Judge) -> WindowReport:
    """Judge a window that is about to close."""
    end = window.key.start + monitor.spec.window.size
    summary, rows = window.summary, window.summary.n
    reference = monitor.references.get(window.key.version)
    judged: tuple[Judged, ...] = ()
    pairs: tuple[Pair, ...] = ()
    if not window.reference:
        status: str = "learning"
    elif rows < monitor.spec.window.min_events or reference is None or reference.version != window.reference:
        status = "insufficient"
    else:
        judged = judge.judge(reference.summary, summary)
        pairs = top_pairs(reference.summary, summary, least=CLEAR) if _of_pairs(judged) else ()
        told = {item.verdict.status for item in judged} or {Status.STABLE}
        status = next((one.value for one in (Status.DRIFT, Status.STABLE) if one in told), "insufficient")
    findings = tuple(
        Finding(
            window.key,
            end,
            item.subject,
            item.detector,
            item.verdict,
            pairs=pairs if item.detector == _COVARIANCE else (),
        )
        for item in judged
        if item.verdict.status is Status.DRIFT
    )
    return WindowReport(
        window.key,
        end,
        rows,
        summary.counts.duplicates,
        window.reference,
        status,  # type: ignore[arg-type]  # one of the four literals above
        judged,
        findings,
        tuple(_columns(summary)),
        answers=None if window.key.segment else answer_counts(window.answers),
        copied=window.answers.copied,
        distributions=tuple(distributions(reference.summary, summary))
        if reference is not None and (status == "drift" or (status == "stable" and not window.key.segment))
        else (),
    )


def answer_counts(counted: Answers) -> AnswerCounts:
    """As the report has them: plain, to be kept and shown."""
    return AnswerCounts(counted.n, counted.failed, tuple(counted.latency.tolist()))


def _of_pairs(judged: Sequence[Judged]) -> bool:
    return any(one.detector == _COVARIANCE and one.verdict.status is Status.DRIFT for one in judged)


def with_evidence(report: WindowReport, said: Said) -> WindowReport:
    """A window's report with what its version's watch says: pages and tickets on that of all events."""
    segment = report.key.segment
    own = tuple(
        replace(one, tier="ticket") if (segment, one.subject, one.detector) in said.raised else one
        for one in report.findings
    )
    if segment:
        return replace(report, findings=own)
    return replace(report, findings=(*said.findings, *own), evidence=said.report)


def _columns(summary: TableSummary) -> Iterator[ColumnState]:
    rows = max(summary.n, 1)
    numbers, bins = summary.numbers, summary.numbers.bins
    quantiles = _quantiles(numbers)
    mean, finite = numbers.mean, numbers.finite
    for i, name in enumerate(numbers.names):
        counts = numbers.counts[i]
        known = finite[i] > 0
        yield ColumnState(
            name,
            missing=float(counts[bins + 2] + counts[bins + 3]) / rows,
            invalid=float(counts[bins + 6]) / rows,
            out_of_range=float(counts[0] + counts[bins + 1] + counts[bins + 4] + counts[bins + 5]) / rows,
            mean=float(mean[i]) if known else None,
            quantiles=tuple((p, float(q)) for p, q in zip(PROBABILITIES, quantiles[i], strict=True))
            if known
            else (),
        )
    top = summary.categories.vocabularies.top
    for name, counts in zip(summary.categories.names, summary.categories.counts, strict=True):
        yield ColumnState(
            name,
            missing=float(counts[top + 2]) / rows,
            invalid=float(counts[top + 3]) / rows,
            unseen=float(counts[top + 1]) / rows,
        )
    for name, counts in zip(summary.embeddings.names, summary.embeddings.counts, strict=True):
        yield ColumnState(name, missing=float(counts[1]) / rows, invalid=float(counts[2]) / rows)


def _quantiles(numbers: Histogram) -> Floats:
    """Quantiles from bins, float64[F, len(PROBABILITIES)]: the lower boundary of the bin they fall in."""
    if not numbers.names:
        return np.empty((0, len(PROBABILITIES)))
    inner = numbers.counts[:, : numbers.bins + 2]
    reached = np.cumsum(inner, axis=1) / np.maximum(inner.sum(axis=1, keepdims=True), 1)
    low = np.concatenate((numbers.minimum[:, None], numbers.boundaries), axis=1)
    at = np.stack([(reached < p).sum(axis=1) for p in PROBABILITIES], axis=1)
    found = np.take_along_axis(low, np.minimum(at, low.shape[1] - 1), axis=1)
    return np.clip(found, numbers.minimum[:, None], numbers.maximum[:, None])


def quality_report(
    monitor: Monitor, key: CohortKey, watermark: int, horizon: int, *, final: bool
) -> QualityReport:
    """The cohort's quality as of `watermark` (milliseconds)."""
    assert monitor.cohorts is not None  # noqa: S101 - the caller took `key` from the cohorts
    cohort = monitor.cohorts.get(key)
    end = key.start + monitor.spec.window.size
    known = [
        QualityValue(f"{m.name}.{m.class_name}" if m.class_name else m.name, m.value, m.error, m.n)
        for m in (evaluate(cohort.outcomes) if cohort.labelled else ())
        if m.value is not None
    ]
    values = known if cohort.labelled >= monitor.spec.min_labels else []
    return QualityReport(
        monitor.name,
        key.version,
        key.arm,
        key.segment,
        key.start,
        end,
        "matured" if watermark >= end + monitor.maturity(horizon) else "provisional",
        final,
        cohort.predictions,
        cohort.labelled,
        tuple(values),
        losses=tuple(cohort.outcomes.errors.magnitudes().tolist())
        if isinstance(cohort.outcomes, RegressionOutcomes) and not (key.arm or key.segment)
        else (),
        correct=next((round(v.value * v.rows) for v in known if v.metric == "accuracy"), None),
    )
