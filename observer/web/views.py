"""What each page shows: values for its template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from detectors.why.ranking import rank_features
from observer.explain.past import said
from observer.model import Finding, QualityReport, Tier, WindowReport
from observer.ports import Clock, History
from observer.web import endpoints, lines
from observer.web import fleet as states
from observer.web.action_views import ActionViews
from observer.web.endpoints import EvidenceAfter, Parameter

_WINDOWS = 60
_FINDINGS = 100
_METRICS = 3
_EXPLAINED = 20
_RANKED = 20
_GRAVE = {"page": 0, "ticket": 1, "info": 2}

PARAMETERS: Final[Mapping[str, tuple[Parameter, ...]]] = {
    "fleet": (),
    "model": (
        Parameter("model", "Name of a model.", required=True),
        Parameter("version", "Of the model; by default the one seen last."),
        Parameter("segment", "As country=DE.", default=""),
    ),
    "findings": (
        Parameter("model", "Only of this model."),
        Parameter("tier", "Only of this tier.", "page|ticket|info"),
        endpoints.EARLIER,
    ),
    "finding": (Parameter("id", "Of the finding.", required=True),),
    "slo": (),
    "references": (),
}


class Views:
    """Questions to the history, a method for each page."""

    def __init__(self, history: History, clock: Clock, acts: ActionViews) -> None:
        self._history = history
        self._clock = clock
        self._acts = acts

    def fleet(self) -> dict[str, Any]:
        """Every model's state."""
        rows = self._rows(None)
        drifting = [row for row in rows if row.state == "drift"][:_EXPLAINED]
        for row in drifting:
            one = row.version
            found = self._history.findings(one.model, one.version, limit=20)
            rows[rows.index(row)] = states.explained(row, found)
        return {"rows": rows, "summary": states.summary(rows)}

    def _rows(self, name: str | None) -> list[states.Row]:
        history = self._history
        alarms = history.findings(name, tiers=("page", "ticket"), limit=1_000)
        return states.fleet(history.versions(name), history.objectives(name), alarms, self._clock.now())

    def model(self, model: str, version: str | None, segment: str) -> dict[str, Any]:
        """One version of a model, or one of its segments."""
        history = self._history
        found = endpoints.model(history, model)
        names = [one.version for one in found.versions]
        if version is None or version not in names:
            version = max(found.versions, key=lambda one: (one.end, one.rows)).version if names else ""
        row = next((one for one in self._rows(model) if one.version.version == version), None)
        windows = history.windows(model, version, segment, limit=_WINDOWS)[::-1]
        cohorts = history.quality(model, version, "", segment, limit=2 * _WINDOWS)[::-1]
        watches = {}
        for watch in ("inputs", "quality") if not segment else ():
            after = [EvidenceAfter(*one) for one in history.evidence(model, version, watch, limit=_WINDOWS)]
            if after:
                top = sorted(after[0].report.streams, key=lambda one: (not one.tier, -one.evidence))[:3]
                watches[watch] = (
                    after[0].report,
                    lines.evidence(after, [lines.stream_of(one) for one in top]),
                )
        latest = windows[-1] if windows else None
        told = sorted(found.findings, key=lambda one: _importance(one.finding))
        return {
            **self._acts.of_model(model),
            "found": found,
            "told": [(one.id, one.finding) for one in told[:20]],
            "version": version,
            "segment": segment,
            "row": row,
            "latest": latest,
            "windows": windows,
            "watches": watches,
            "metrics": [(name, lines.quality(cohorts, windows, name)) for name in _metrics(cohorts)],
            "columns": _columns(latest),
            "segments": history.segments(model, version, latest.key.start) if latest and not segment else [],
            "reference": next((one for one in found.references if one.version == version), None),
        }

    def findings(
        self, model: str | None, tier: Tier | None, before: tuple[int, str | None] | None
    ) -> dict[str, Any]:
        """What was found, newest first; `before` is a time, and perhaps an id that ends then."""
        tiers = (tier,) if tier else ()
        end, after = before or (None, None)
        found = self._history.findings(model, tiers=tiers, before=end, after=after, limit=_FINDINGS + 1)
        rows = found[:_FINDINGS]
        more = f"{rows[-1][1].end},{rows[-1][0]}" if len(found) > len(rows) else None
        return {"rows": rows, "model": model, "tier": tier, "before": before, "more": more}

    def finding(self, id: str) -> dict[str, Any]:  # noqa: A002 - as in the address
        """One finding, and why."""
        found = endpoints.why(self._history, id)
        finding = found.finding
        key = finding.window
        by_quality = bool(finding.causes) and any(
            lines.stream_of(one) in {lines.stream_of(s) for s in after.report.streams}
            for one in finding.causes[:1]
            for after in found.quality[:1]
        )
        watch = found.quality if by_quality else found.inputs
        streams = [lines.stream_of(one) for one in finding.causes]
        subject = finding.subject
        shown = list(found.window.distributions) if found.window else []
        named = {one.subject for one in finding.causes} | {subject}
        others = [
            row
            for row in self._history.findings(key.model, key.version, before=finding.end + 1, limit=60)
            if row[0] != id and row[1].end == finding.end
        ]
        return {
            "found": found,
            "finding": finding,
            "pictures": [one for one in shown if one.column in named][:6],
            "evidence": lines.evidence(watch, streams) if watch else "",
            "effect": lines.effect(watch, streams[0]) if watch and streams else "",
            "judged": [one for one in found.window.judged if one.subject in named] if found.window else [],
            "others": others[:30],
            "features": rank_features(said(found.window.judged))[:_RANKED] if found.window else (),
        }

    def slo(self) -> dict[str, Any]:
        """Every objective, the least budget first."""
        standings = self._history.objectives()
        order = {"page": 0, "ticket": 1, "": 2}
        standings.sort(key=lambda one: (order[one.severity], 9.0 if one.remaining is None else one.remaining))
        return {"standings": standings}

    def references(self) -> dict[str, Any]:
        """What windows are compared with."""
        return {"references": self._history.references()}


def _importance(finding: Finding) -> tuple[int, int, bool]:
    """Newest first; of one window what calls somebody first, then what is of all events."""
    return -finding.end, _GRAVE[finding.tier], finding.window.segment != ""


def _metrics(cohorts: Sequence[QualityReport]) -> list[str]:
    """The metrics worth a chart: the headline and others that the latest cohort has."""
    valued = [one for one in cohorts if one.values]
    if not valued:
        return []
    first, _ = states.headline(valued[-1])
    rest = [one.metric for one in valued[-1].values if one.metric != first and "." not in one.metric]
    return [first, *rest][:_METRICS]


def _columns(window: WindowReport | None) -> list[dict[str, Any]]:
    """Every column of a window: distribution, state and gravest verdict; those that drift first."""
    if window is None:
        return []
    pictures = {one.column: one for one in window.distributions}
    states = {one.column: one for one in window.columns}
    verdicts: dict[str, Any] = {}
    for one in window.judged:
        before = verdicts.get(one.subject)
        if before is None or _grave(one.verdict) > _grave(before.verdict):
            verdicts[one.subject] = one
    names = sorted(
        dict.fromkeys([*states, *pictures]),
        key=lambda name: (not (name in verdicts and verdicts[name].verdict.status == "drift"), name),
    )
    return [
        {
            "name": name,
            "picture": pictures.get(name),
            "state": states.get(name),
            "judged": verdicts.get(name),
        }
        for name in names
    ]


def _grave(verdict: Any) -> tuple[bool, float]:
    return verdict.status == "drift", -(1.0 if verdict.p_value is None else verdict.p_value)
