"""What a backtest gathers while history is replayed, and makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np

from detectors.evidence.season import DAY, HOUR, Season
from detectors.summaries.outcomes import RegressionOutcomes
from detectors.summaries.table import TableSummary
from detectors.watch.backtest import (
    Days,
    Shuffle,
    Smallest,
    deviations,
    false_alarms,
    smallest_shifts,
)
from detectors.watch.history import Row
from detectors.watch.streams import OutcomeStreams, Reading, TableStreams
from detectors.watch.watch import Watch
from observer.app import Service
from observer.config import Config
from observer.judge import Attention, ModelJudge
from observer.model import EvidenceReport, Finding, QualityReport, WindowReport
from observer.pipeline.monitor import Monitor
from observer.plots import EvidenceLine
from observer.terminal.backtest import Incident, Missed, VersionBacktest, WatchBacktest

Kind: TypeAlias = Literal["inputs", "quality"]
_SEED = 0


@dataclass(slots=True)
class _Past:
    """One version's reports, in order of time."""

    first: int
    end: int = 0
    windows: int = 0
    alerts: list[Finding] = field(default_factory=list)
    drift: list[tuple[int, str]] = field(default_factory=list)
    """Start and subject of windows whose own verdict was drift, and no ticket."""
    raised: dict[str, list[int]] = field(default_factory=dict)
    """Subject -> starts of windows at which it was part of a page or ticket; `""` for any subject."""
    incidents: list[Incident] = field(default_factory=list)
    watches: dict[Kind, list[tuple[int, EvidenceReport]]] = field(default_factory=dict)
    """End of each window, and what the watch says after it."""


class History:
    """A receiver of reports that keeps what a backtest speaks of."""

    def __init__(self) -> None:
        self.versions: dict[tuple[str, str], _Past] = {}

    def window(self, report: WindowReport) -> None:
        """Take a closed window."""
        key = report.key
        past = self._past(key.model, key.version, key.start)
        past.end = max(past.end, report.end)
        past.windows += not key.segment
        self._take(past, key.start, report.end, report.findings, report.evidence)

    def quality(self, report: QualityReport) -> None:
        """Take a final cohort."""
        if report.final:
            past = self._past(report.model, report.version, report.start)
            self._take(past, report.start, report.end, report.findings, report.evidence)

    def _past(self, model: str, version: str, start: int) -> _Past:
        return self.versions.setdefault((model, version), _Past(start))

    def _take(
        self,
        past: _Past,
        start: int,
        end: int,
        findings: Sequence[Finding],
        evidence: EvidenceReport | None,
    ) -> None:
        past.drift += {(start, one.subject) for one in findings if one.tier == "info"}
        alerts = [one for one in findings if one.tier != "info"]
        past.alerts += alerts
        raised = {cause.subject for one in alerts for cause in one.causes} | {one.subject for one in alerts}
        if evidence is not None:
            raised |= {stream.subject for stream in evidence.streams if stream.tier}
            past.watches.setdefault(evidence.watch, []).append((end, evidence))
            self._incident(past, end, evidence)
        for subject in raised | ({""} if raised else set()):
            past.raised.setdefault(subject, []).append(start)

    def _incident(self, past: _Past, end: int, evidence: EvidenceReport) -> None:
        mine = [one for one in past.incidents if one.watch == evidence.watch and one.closed is None]
        if evidence.incident is None or evidence.closed:
            for one in mine:
                one.closed = end
        elif not mine:
            past.incidents.append(Incident(evidence.watch, end))

    def missed(self, model: str, version: str) -> list[Missed]:
        """Drift on a subject that no page or ticket was about within the following day.

        What is said of all columns at once is raised when any of them is.
        """
        past = self.versions[model, version]
        found: dict[str, list[int]] = {}
        for start, subject in sorted(set(past.drift)):
            raised = np.array(past.raised.get("" if subject == "@table" else subject, ()), np.int64)
            if not ((raised >= start) & (raised <= start + DAY)).any():
                found.setdefault(subject, []).append(start)
        missed = [Missed(subject, len(starts), starts[0], starts[-1]) for subject, starts in found.items()]
        return sorted(missed, key=lambda one: (-one.windows, one.subject))

    def drawn(self) -> list[EvidenceLine]:
        """The evidence over time, a line a watch."""
        lines = []
        for (model, version), past in sorted(self.versions.items()):
            for kind, said in past.watches.items():
                pages = [a.end for a in past.alerts if a.tier == "page" and _kind(a) == kind]
                lines.append(
                    EvidenceLine(
                        f"{model} {version} {kind}",
                        np.array([end for end, _ in said], np.int64),
                        np.array([one.evidence for _, one in said]),
                        np.array([one.threshold if one.stage == "paging" else np.nan for _, one in said]),
                        np.array(pages, np.int64),
                    )
                )
        return lines


def _kind(alert: Finding) -> Kind:
    return "quality" if alert.subject == "@label" else "inputs"


def backtested(service: Service, history: History, runs: int) -> list[VersionBacktest]:
    """What the policy did to every version, and what it does where nothing changes."""
    out = []
    for (model, version), past in sorted(history.versions.items()):
        monitor = service.pipeline.monitors[model]
        watches = [_backtested(service, monitor, version, kind, past, runs) for kind in past.watches]
        out.append(
            VersionBacktest(
                model,
                version,
                past.first,
                past.end,
                past.windows,
                sorted(past.alerts, key=lambda one: (one.end, one.tier)),
                past.incidents,
                history.missed(model, version),
                watches or [WatchBacktest("inputs")],
            )
        )
    return out


@dataclass(frozen=True, slots=True)
class _Gathered:
    """The readings of one watch: those it began with, and those it followed."""

    streams: TableStreams | OutcomeStreams
    before: list[Row]
    rows: list[Row]
    shuffle: Shuffle | None = None


def _backtested(
    service: Service, monitor: Monitor, version: str, kind: Kind, past: _Past, runs: int
) -> WatchBacktest:
    config, said = service.config, past.watches[kind]
    spec = config.model(monitor.name)
    season = Season(spec.window.size, round(spec.judge.utc_offset * HOUR))
    last = said[-1][1]
    found = WatchBacktest(kind, last.stage, last.history, last.needed)
    found.pages_since = next((end for end, one in said if one.stage == "paging"), None)
    changed = _changed(past, kind, season.window)
    gathered = _inputs(monitor, version, changed) if kind == "inputs" else _quality(monitor, version)
    if gathered is None:
        return found
    judge = ModelJudge(
        monitor.name,
        spec.judge,
        spec.budget,
        season.window,
        spec.features,
        service.state,
        has_labels=config.labels is not None,
    )

    def make() -> Watch:
        return judge.fresh(gathered.streams)

    share = _share(said, spec.budget.page_patience(season), config)
    usual = [row for row in (*gathered.before, *gathered.rows) if not changed(row.start)]
    found.windows = len(usual)
    found.left_out = len(gathered.before) + len(gathered.rows) - len(usual)
    if runs:
        days = Days.of(usual, season)
        if days.enough:
            rng = np.random.default_rng(_SEED)
            if gathered.shuffle is not None:
                found.shuffled = false_alarms(make, days, runs, rng, share, gathered.shuffle)
            found.resampled = false_alarms(make, days, runs, rng, share)
        else:
            held, kinds = (
                days.windows,
                "weekdays and weekend days" if season.window < DAY else "every weekday",
            )
            found.why_not = (
                f"too little history to simulate: {held:,} windows of usual traffic; {season.history:,} are"
                f" needed, with at least two of {kinds}"
            )
    watch = make()
    watch.remember(gathered.before)
    for row in gathered.rows:
        watch.update(row.start, row.readings, share)
    if watch.fitted is not None:
        found.shifts = _able(
            smallest_shifts(watch.fitted, watch.budget, season, watch.minima, share), spec.features
        )
        reference = monitor.references.get(version)
        if kind == "inputs" and reference is not None:
            numbers = reference.summary.numbers
            found.in_deviations = {
                one.key.subject: deviations(numbers, one.key.subject, one.shift)
                for one in found.shifts
                if one.key.statistic == "location" and not one.key.segment and one.shift is not None
            }
    return found


def _changed(past: _Past, kind: Kind, window: int) -> Callable[[int], bool]:
    """Whether a window that starts then belongs to an incident, from where its change began."""
    spans = []
    for incident in past.incidents:
        if incident.watch == kind:
            end = math.inf if incident.closed is None else incident.closed
            begun = [
                alert.since
                for alert in past.alerts
                if alert.tier == "page" and _kind(alert) == kind and incident.opened <= alert.end <= end
                if alert.since is not None
            ]
            spans.append((min([incident.opened - window, *begun]), end))
    return lambda start: any(begin <= start < end for begin, end in spans)


def _inputs(monitor: Monitor, version: str, changed: Callable[[int], bool]) -> _Gathered | None:
    """The readings of closed windows, and of those that came with the reference or taught it."""
    reference, least = monitor.references.get(version), monitor.spec.window.min_events
    if reference is None:
        return None
    streams = TableStreams(reference.summary)
    shuffle = Shuffle(streams, replace(reference.table, sample_size=0).zero())
    readings: dict[int, dict[str, Reading]] = {}

    def take(start: int, segment: str, summary: TableSummary) -> None:
        readings.setdefault(start, {})[segment] = streams.read(summary, joint=not segment)
        if not segment and not changed(start):
            shuffle.add(summary)

    windows = monitor.inputs.closed() if monitor.dimensions else monitor.inputs.closed_of(version, 0)
    for window in windows:
        own = window.key.version == version and window.reference == reference.version
        if own and window.summary.n >= least:
            take(window.key.start, window.key.segment, window.summary)
    rows = [Row(start, each) for start, each in sorted(readings.items()) if "" in each]
    if not rows:
        return None
    readings.clear()
    before = [Row.from_bytes(one) for one in monitor.history(version, rows[0].start)]
    if not before:
        for start, summary in monitor.lessons(version, rows[0].start):
            take(start, "", summary)
        before = [Row(start, each) for start, each in sorted(readings.items())]
    return _Gathered(streams, before, rows, shuffle)


def _quality(monitor: Monitor, version: str) -> _Gathered | None:
    """The readings of cohorts with enough labels."""
    if monitor.cohorts is None:
        return None
    streams: OutcomeStreams | None = None
    readings: dict[int, dict[str, Reading]] = {}
    for key in sorted(monitor.cohorts.known, key=lambda key: key.start):
        if key.version != version or key.arm:
            continue
        cohort = monitor.cohorts.get(key)
        if cohort.labelled >= monitor.spec.min_labels:
            regression = isinstance(cohort.outcomes, RegressionOutcomes)
            streams = streams or OutcomeStreams(regression=regression)
            readings.setdefault(key.start, {})[key.segment] = streams.read(cohort.outcomes)
    rows = [Row(start, each) for start, each in readings.items() if "" in each]
    return _Gathered(streams, [], rows) if streams is not None and rows else None


def _share(said: Sequence[tuple[int, EvidenceReport]], patience: float, config: Config) -> float:
    """Among how many watches the budget was divided at last."""
    for _, report in reversed(said):
        if report.stage != "learning":
            return float(10**report.threshold / patience)
    return 1.0 if config.labels is None else 2.0


def _able(shifts: tuple[Smallest, ...], attention: Mapping[str, Attention]) -> tuple[Smallest, ...]:
    """The same; what a person has kept from paging cannot page."""
    quiet = {name for name, wish in attention.items() if wish.tier != "page"}
    return tuple(replace(one, able=one.able and one.key.subject not in quiet) for one in shifts)
