"""What the service found, as triggers of rules. Seen again, each gives the same cause, so one decision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from observer.actions.policy import Trigger
from observer.model import (
    EvidenceReport,
    Finding,
    ObjectiveStanding,
    QualityReport,
    StreamEvidence,
    WindowReport,
)

_MOST = 5
"""Streams that are named."""


def of_window(report: WindowReport) -> list[Trigger]:
    """An open incident, and new tickets, of a version's inputs."""
    key = report.key
    return _of(key.model, key.version, report.evidence, report.findings)


def of_quality(report: QualityReport) -> list[Trigger]:
    """An open incident, and new tickets, of a version's quality."""
    return _of(report.model, report.version, report.evidence, report.findings)


def of_objective(standing: ObjectiveStanding, began: float) -> list[Trigger]:
    """An objective that burns, since `began` (seconds since the epoch)."""
    tier = standing.severity
    if not tier:
        return []
    firing = [alert for alert in standing.alerts if alert.firing]
    rates = {rate.window: rate.rate for rate in standing.burn}
    fastest = max((rates.get(alert.short) or 0.0 for alert in firing), default=0.0)
    left = "unknown" if standing.remaining is None else f"{standing.remaining:.0%}"
    return [
        Trigger(
            "objective",
            standing.model,
            standing.version,
            f"objective/{standing.name}/{tier}/{int(began)}",
            f"{standing.name} burns its budget {fastest:.1f} times too fast; {left} of it is left",
            tier,
            began,
            evidence={"objective": standing.name, "remaining": standing.remaining, "burn": fastest},
        )
    ]


def _of(
    model: str, version: str, report: EvidenceReport | None, findings: Sequence[Finding]
) -> list[Trigger]:
    found = []
    if report is not None and report.incident is not None:
        causes = sorted((s for s in report.streams if s.tier == "page"), key=lambda s: -s.evidence)
        began = min((s.since for s in causes if s.since is not None), default=report.incident)
        told = next((one.id for one in findings if one.tier == "page"), "")
        found.append(
            Trigger(
                "finding",
                model,
                version,
                f"incident/{report.watch}/{version}/{report.incident}",
                f"{report.watch} changed: {_named(causes)}",
                "page",
                began / 1000,
                evidence={
                    "finding": told,
                    "watch": report.watch,
                    "incident": report.incident,
                    "streams": _json(causes),
                },
            )
        )
    for finding in findings:
        if finding.tier == "ticket":
            what = f"{finding.subject} {finding.detector}"
            found.append(
                Trigger(
                    "finding",
                    model,
                    version,
                    f"ticket/{finding.window.segment}/{what}/{version}/{finding.window.start}",
                    f"{what}: {finding.verdict.reason}"[:300] if finding.verdict.reason else what,
                    "ticket",
                    finding.window.start / 1000 if finding.since is None else finding.since / 1000,
                    evidence={
                        "finding": finding.id,
                        "subject": finding.subject,
                        "detector": finding.detector,
                    },
                )
            )
    return found


def _named(streams: Iterable[StreamEvidence]) -> str:
    texts = [f"{s.subject} {s.statistic}{f' in {s.segment}' if s.segment else ''}" for s in streams]
    more = f" and {len(texts) - _MOST} more" if len(texts) > _MOST else ""
    return ", ".join(texts[:_MOST]) + more or "several streams"


def _json(streams: Sequence[StreamEvidence]) -> list[dict[str, object]]:
    return [
        {
            "segment": s.segment,
            "subject": s.subject,
            "statistic": s.statistic,
            "evidence": round(s.evidence, 3),
            "effect": round(s.effect, 6),
        }
        for s in streams[:_MOST]
    ]
