"""What was decided, in the log: pages and tickets, incidents, stages, references, objectives, rejections."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from observer.logs import decision, detail
from observer.metrics import Snapshot, catalog
from observer.model import EvidenceReport, Finding, ObjectiveStanding, QualityReport, WindowReport

log = logging.getLogger("observer.decisions")

_PAUSE = 60.0
"""Seconds between two lines on rejected events of one reason."""


class DecisionLog:
    """Logs each decision once, when it is taken; what stays as it was is not repeated.

    Level `info`; each window and cohort as such `debug`.
    """

    def __init__(self) -> None:
        self._stages: dict[tuple[str, str, str], str] = {}
        self._references: dict[tuple[str, str], str] = {}
        self._severities: dict[tuple[str, ...], str] = {}
        self._rejected: dict[tuple[str, ...], tuple[float, float]] = {}

    def window(self, report: WindowReport) -> None:
        """A window closed and was judged."""
        key = report.key
        detail(
            log,
            "window judged",
            model=key.model,
            version=key.version,
            segment=key.segment,
            window=_time(key.start),
            status=report.status,
            rows=report.rows,
        )
        if not key.segment and self._references.get((key.model, key.version), "") != report.reference:
            self._references[key.model, key.version] = report.reference
            decision(log, "reference", model=key.model, version=key.version, reference=report.reference)
        self._findings(report.findings)
        if report.evidence is not None:
            self._evidence(key.model, key.version, key.start, report.evidence)

    def quality(self, report: QualityReport) -> None:
        """A cohort's quality changed, or became final."""
        detail(
            log,
            "quality",
            model=report.model,
            version=report.version,
            arm=report.arm,
            segment=report.segment,
            window=_time(report.start),
            maturity=report.maturity,
            coverage=report.coverage,
            **{value.metric: value.value for value in report.values},
        )
        self._findings(report.findings)
        if report.evidence is not None:
            self._evidence(report.model, report.version, report.start, report.evidence)

    def objectives(self, standings: Iterable[ObjectiveStanding]) -> None:
        """Tell of each objective whose alerts began or ceased to fire."""
        for one in standings:
            key = (one.model, one.name, one.version, one.arm, one.segment)
            before = self._severities.get(key, "")
            self._severities[key] = one.severity
            if one.severity == before:
                continue
            decision(
                log,
                "objective burns" if one.severity else "objective recovers",
                model=one.model,
                objective=one.name,
                version=one.version,
                arm=one.arm,
                segment=one.segment,
                severity=one.severity or before,
                remaining=one.remaining,
                since=_time(one.since) if one.since is not None else None,
            )

    def rejections(self, counted: Snapshot, now: float) -> None:
        """Tell how many events were rejected since the last time, by stream and reason; once a minute."""
        for labels, total in counted.series.get(catalog.EVENTS_REJECTED, {}).items():
            told, at = self._rejected.get(labels, (0.0, -math.inf))
            if not isinstance(total, float) or total == told or now < at + _PAUSE:
                continue
            self._rejected[labels] = total, now
            stream, reason = labels
            decision(log, "events rejected", stream=stream, reason=reason, events=total - told)

    def _findings(self, findings: Iterable[Finding]) -> None:
        for one in findings:
            if one.tier == "info":
                continue
            decision(
                log,
                one.tier,
                model=one.window.model,
                version=one.window.version,
                segment=one.window.segment,
                window=_time(one.window.start),
                column=one.subject,
                detector=one.detector,
                effect=one.verdict.effect,
                causes=len(one.causes),
                since=None if one.since is None else _time(one.since),
            )

    def _evidence(self, model: str, version: str, start: int, report: EvidenceReport) -> None:
        about = {"model": model, "version": version, "watch": report.watch, "window": _time(start)}
        key = (model, version, report.watch)
        if self._stages.get(key) != report.stage:
            self._stages[key] = report.stage
            decision(log, "stage", stage=report.stage, history=report.history, needed=report.needed, **about)
        if report.incident == start:
            decision(log, "incident opens", **about, **_strength(report))
        elif report.closed:
            decision(log, "incident ends", reason="verified_stable", **about, **_strength(report))


def _strength(report: EvidenceReport) -> Mapping[str, float]:
    return {"evidence": report.evidence, "threshold": report.threshold}


def _time(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
