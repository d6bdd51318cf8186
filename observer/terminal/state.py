"""What the live view knows; built from reports, read by `render`."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from detectors.base import Status as VerdictStatus
from detectors.base import Verdict
from observer.model import (
    Finding,
    Judged,
    QualityEstimate,
    QualityReport,
    QualityValue,
    Tier,
    WindowReport,
)
from observer.references import Reference
from observer.terminal.words import describe, subject

HISTORY = 40
_COHORTS = 400
_INCIDENTS = 200
_TOLD = 100

Tone = Literal["plain", "good", "bad", "ask", "script"]
_MAIN = ("roc_auc", "accuracy", "mae")
"""The metric shown, the first of these that the task has."""


@dataclass(frozen=True, slots=True)
class Status:
    """How the service is doing.

    Attributes
    ----------
    event_time : int or None
        Watermark, milliseconds since the epoch; None while nothing has come.
    speed : float or None
        Seconds of event time per second, where it is set.
    events : int
        Events taken since the start.
    per_second : float
        Events per second, lately.
    windows : int
        Windows closed since the start.
    uptime : float
        Seconds.
    page_url : str
        Where to scrape; "" where nowhere.
    asks : tuple of str
        What a person is asked now.
    """

    event_time: int | None = None
    speed: float | None = None
    events: int = 0
    per_second: float = 0.0
    windows: int = 0
    uptime: float = 0.0
    page_url: str = ""
    asks: tuple[str, ...] = ()


class Told(NamedTuple):
    """A step of an action: event time (milliseconds), what happened and why, and how it is meant."""

    at: int
    text: str
    tone: Tone


@dataclass(slots=True)
class Incident:
    """Findings on one column in windows that follow each other.

    Attributes
    ----------
    finding : Finding
        The one with most evidence in the latest window.
    subject : str
        What it is about, as a person says it.
    words : str
        What it says, in plain words.
    detectors : tuple of str
        All that found something in the latest window.
    since : int
        Start of the first window, milliseconds.
    windows : int
        In a row, so far.
    over : bool
        A later window of the model was judged without it.
    tier : str
        What the version's watch has made of it: `page`, `ticket`, or `info` while that is nothing.
    """

    finding: Finding
    subject: str
    words: str
    detectors: tuple[str, ...]
    since: int
    windows: int = 1
    over: bool = False
    tier: Tier = "info"


@dataclass(slots=True)
class Row:
    """One version of a model."""

    model: str
    version: str
    latest: WindowReport | None = None
    history: deque[tuple[str, float]] = field(default_factory=lambda: deque(maxlen=HISTORY))
    """Status and largest effect of the last windows."""
    cohorts: dict[tuple[int, str], QualityReport] = field(default_factory=dict)
    """By start and arm, the oldest first."""

    @property
    def worst(self) -> Judged | None:
        """What the latest window says most strongly."""
        return None if self.latest is None else strongest(self.latest.judged)

    @property
    def estimate(self) -> QualityEstimate | None:
        """The main metric of the latest window, while none of its labels say it."""
        if self.latest is None:
            return None
        if any(start >= self.latest.key.start and main_value(r) for (start, _), r in self.cohorts.items()):
            return None
        by_name = {one.metric: one for one in self.latest.estimates if one.value is not None}
        return next((by_name[name] for name in _MAIN if name in by_name), None)

    def quality(self, maturity: str) -> tuple[QualityReport, QualityValue] | None:
        """The latest cohort of that maturity with its main metric."""
        for key in sorted(self.cohorts, reverse=True):
            report = self.cohorts[key]
            value = main_value(report)
            if report.maturity == maturity and value is not None:
                return report, value
        return None


def _raised(report: WindowReport) -> dict[str, Tier]:
    """Subjects that the watch of the report's version has raised in its segment, and how far."""
    tiers: dict[str, Tier] = {}
    for stream in report.evidence.streams if report.evidence is not None else ():
        name = subject(stream.subject, stream.statistic)
        if stream.tier and stream.segment == report.key.segment and tiers.get(name) != "page":
            tiers[name] = stream.tier
    return tiers


def main_value(report: QualityReport) -> QualityValue | None:
    """The metric that stands for the quality of the task."""
    by_name = {value.metric: value for value in report.values}
    return next((by_name[name] for name in _MAIN if name in by_name), None)


def strongest(judged: Sequence[Judged]) -> Judged | None:
    """The drift with most evidence; where nothing drifts, the largest effect."""
    return min(judged, key=lambda item: _weakness(item.verdict), default=None)


def _weakness(verdict: Verdict) -> tuple[bool, float, float]:
    drifts = verdict.status is VerdictStatus.DRIFT
    p = verdict.p_value if drifts and verdict.p_value is not None else 1.0
    return not drifts, p, -verdict.effect


@dataclass(slots=True)
class State:
    """Everything on display."""

    status: Status = field(default_factory=Status)
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    incidents: deque[Incident] = field(default_factory=lambda: deque(maxlen=_INCIDENTS))
    """The newest first."""
    references: dict[str, Reference] = field(default_factory=dict)
    """By version."""
    told: deque[Told] = field(default_factory=lambda: deque(maxlen=_TOLD))
    """Steps of actions, the newest first."""

    def window(self, report: WindowReport) -> tuple[list[Incident], list[Incident]]:
        """Take a closed window in; gives the incidents that began, and those that ended."""
        key = report.key
        if not key.segment:
            row = self._row(key.model, key.version)
            effect = max((finding.verdict.effect for finding in report.findings), default=0.0)
            if row.latest is None or row.latest.key.start < key.start:  # one may be told again after a crash
                row.history.append((report.status, effect))
            row.latest = report
        if report.status in {"insufficient", "learning"}:
            return [], []  # says nothing about what goes on
        found = self._by_subject(report)
        raised = _raised(report)
        began, ended = [], []
        for incident in self.incidents:
            last = incident.finding.window
            if incident.over or (last.model, last.version, last.segment) != (
                key.model,
                key.version,
                key.segment,
            ):
                continue
            again = found.pop(incident.subject, None)
            tier = raised.get(incident.subject)
            if again is None and tier is not None and incident.tier != "info":
                incident.windows += 1  # no longer in single windows, but not verified stable yet
            elif again is None:
                incident.over = True
                ended.append(incident)
            else:
                incident.windows += last.start < key.start
                incident.finding, incident.words = again.finding, again.words
                incident.detectors = again.detectors
                incident.tier = tier or incident.tier
        for incident in found.values():
            if not (key.segment and self._overall(incident)):
                self.incidents.appendleft(incident)
                began.append(incident)
        return began, ended

    def _by_subject(self, report: WindowReport) -> dict[str, Incident]:
        columns = {column.column: column for column in report.columns}
        reference = self.references.get(report.reference)
        groups: dict[str, list[Finding]] = {}
        raised = _raised(report)
        # What a watch found goes by its own words where no single window shows it.
        single = {finding.subject for finding in report.findings if not finding.causes}
        for finding in report.findings:
            if finding.causes and finding.subject in single:
                continue
            groups.setdefault(subject(finding.subject, finding.detector), []).append(finding)
        found: dict[str, Incident] = {}
        for name, findings in groups.items():
            findings.sort(key=lambda finding: _weakness(finding.verdict))
            words = dict.fromkeys(describe(f, columns.get(f.subject), reference) for f in findings)
            names = tuple(finding.detector for finding in findings)
            tier = raised.get(name, "info")
            found[name] = Incident(findings[0], name, "; ".join(words), names, report.key.start, tier=tier)
        return found

    def _overall(self, incident: Incident) -> bool:
        """Whether the whole version shows the same already, so that its segments need not be listed."""
        mine = incident.finding.window
        return any(
            not (other.over or other.finding.window.segment)
            and (other.finding.window.model, other.finding.window.version) == (mine.model, mine.version)
            and other.subject == incident.subject
            for other in self.incidents
        )

    def quality(self, report: QualityReport) -> None:
        """Take a cohort's quality in."""
        if report.segment:
            return
        cohorts = self._row(report.model, report.version).cohorts
        cohorts[report.start, report.arm] = report
        if len(cohorts) > _COHORTS:
            del cohorts[min(cohorts)]

    def _row(self, model: str, version: str) -> Row:
        return self.rows.setdefault((model, version), Row(model, version))

    def know(self, references: Mapping[str, Reference]) -> None:
        """Remember references, by version, to say by how much a column moved."""
        self.references.update(references)
