"""Event time: windows close, cohorts mature; both are judged and reported, and people decide on them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from detectors.quality import evaluate
from observer.errors import ConfigError
from observer.labels import LabelJoin
from observer.metrics import Counters, catalog
from observer.model import Finding, QualityReport, Said, Stream, WindowKey, WindowReport
from observer.pipeline.cohorts import CohortKey
from observer.pipeline.inputs import Window
from observer.pipeline.monitor import Monitor
from observer.pipeline.performance import with_performance
from observer.pipeline.reporting import quality_report, window_report, with_evidence
from observer.ports import Judge, Reports
from observer.references import Reference
from observer.windows import END_OF_TIME, Watermarks

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Closing:
    """Closes what event time has passed, for all models.

    Parameters
    ----------
    monitors : mapping
        By model; those that come later too.
    watermarks : mapping
        By stream.
    judges : callable
        Model name -> its judge.
    join : LabelJoin or None
    horizon, slack : int
        As in `Pipeline`.
    """

    monitors: Mapping[str, Monitor]
    watermarks: Mapping[Stream, Watermarks]
    judges: Callable[[str], Judge]
    join: LabelJoin | None
    horizon: int
    slack: int
    reports: Reports
    counters: Counters
    _ended: bool = field(init=False, default=False)
    _begun: set[tuple[str, str, str]] = field(init=False, default_factory=set)
    """Model, version and reference of the watches that were begun or resumed since the start."""

    def report_again(self) -> None:
        """Report the latest windows once more: whoever keeps reports in memory starts with none."""
        for monitor in self.monitors.values():
            judge = self.judges(monitor.name)
            stood = {version: self._resume(monitor, judge, version) for version in monitor.watched}
            for window in monitor.inputs.closed(monitor.last_closed()):
                reference = monitor.references.get(window.key.version)
                estimates = monitor.estimates.said(window.key, reference)
                report = replace(window_report(monitor, window, judge), estimates=estimates)
                last, said = stood.get(window.key.version, {}).get("inputs", (None, None))
                if said is not None:
                    news = said if last == window.key.start else Said(said.report, ())
                    report = with_evidence(report, news)
                self.reports.window(report)
            for version, watches in stood.items():
                if "quality" in watches and monitor.cohorts is not None:
                    start, said = watches["quality"]
                    key = CohortKey(version, "", "", start)
                    cohort = quality_report(monitor, key, monitor.final_until, self.horizon, final=True)
                    findings = with_performance(monitor, said.findings)
                    self.reports.quality(replace(cohort, findings=findings, evidence=said.report))

    def _resume(self, monitor: Monitor, judge: Judge, version: str) -> Mapping[str, tuple[int, Said]]:
        reference = monitor.references.get(version)
        summary, name = (reference.summary, reference.version) if reference else (None, "")
        return judge.resume(version, summary, name)

    def advance(self, now: float) -> int:
        """Close the windows whose time has come and report; returns how many closed."""
        watermark = self.watermarks["predictions"].current(now)
        if watermark is None:
            return 0
        closed, passed = 0, []
        for monitor in self.monitors.values():
            before = monitor.last_closed()
            # All windows of a version that begin together are due together: all events first, then segments.
            for _, group in groupby(monitor.due(watermark), _version_and_start):
                closed += self._close(monitor, list(group))
            if watermark != END_OF_TIME:  # else more may come after all: a file that has grown
                monitor.closed_until = max(monitor.closed_until, watermark)
            if monitor.last_closed() > before:
                passed.append(monitor)
        self._mature(watermark, now)
        for monitor in passed:  # of what became final now, too, however far event time went at once
            monitor.forget()
        return closed

    def _close(self, monitor: Monitor, windows: Sequence[Window]) -> int:
        """Judge, close and report the windows of one version that begin together; how many there were."""
        judge = self.judges(monitor.name)
        reports = [window_report(monitor, window, judge) for window in windows]
        said = self._watch(monitor, judge, windows, reports)
        reference = monitor.references.get(windows[0].key.version)
        for window, report in zip(windows, reports, strict=True):
            if report.rows >= monitor.spec.window.min_events:
                estimates = monitor.estimates.close(window, reference, monitor.shape)
                report = replace(report, estimates=estimates)  # noqa: PLW2901 - the same, and more
            monitor.close(window)
            if said is not None:
                report = with_evidence(report, said)  # noqa: PLW2901 - the same, and what the watch says
            self.counters.add(catalog.WINDOWS_CLOSED, (monitor.name, report.status))
            self._count(report.findings)
            self.reports.window(report)
        for version in monitor.give_way(windows[0].key.version, windows[0].key.start):
            log.info("model %s: version %s gave way, its last window is the oldest", monitor.name, version)
            self.counters.add(catalog.VERSIONS_RELEASED, (monitor.name,))
            judge.release(version)
            self._begun = {one for one in self._begun if one[:2] != (monitor.name, version)}
        return len(windows)

    def _watch(
        self, monitor: Monitor, judge: Judge, windows: Sequence[Window], reports: Sequence[WindowReport]
    ) -> Said | None:
        """Advance the watch of the windows' version, if they have its reference."""
        key = windows[0].key
        reference = monitor.references.get(key.version)
        if reference is None:
            return None
        least = monitor.spec.window.min_events
        judged = {
            report.key.segment: report.judged
            for window, report in zip(windows, reports, strict=True)
            if window.reference == reference.version and report.rows >= least
        }
        if "" not in judged:
            return None
        if (monitor.name, key.version, reference.version) not in self._begun:
            self._begun.add((monitor.name, key.version, reference.version))
            lessons = monitor.lessons(key.version, key.start)
            history = monitor.history(key.version, key.start)
            judge.remember(key.version, reference.summary, reference.version, lessons, history)
        enough = {w.key.segment: w.summary for w in windows if w.key.segment in judged}
        return judge.inputs(key.version, reference.summary, reference.version, key.start, enough, judged)

    def _count(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            where = (finding.window.model, finding.window.version, finding.detector, finding.tier)
            self.counters.add(catalog.FINDINGS, where)

    def _mature(self, watermark: int, now: float) -> None:
        """Report cohorts that became final, and let the join forget what cannot match any more."""
        if self.join is None:
            return
        labels = self.watermarks.get("labels")
        seen = watermark if labels is None or labels.silent(now) else labels.current(now)
        if seen is None:
            return
        complete = min(watermark, seen)
        if complete == END_OF_TIME and self._ended:
            return
        self._ended = complete == END_OF_TIME
        for monitor in self.monitors.values():
            if monitor.cohorts is None:
                continue
            reach, size = self._reach(monitor), monitor.spec.window.size
            final = []
            if (complete - reach) // size > (monitor.final_until - reach) // size:
                last = monitor.final_until
                final = [key for key in monitor.cohorts.known if last < key.start + reach <= complete]
            final.sort(key=lambda key: (key.start, key))
            for _, group in groupby(final, lambda key: (key.start, key.version)):
                self._finish(monitor, list(group), self._reached(complete))
            if not self._ended:  # else more may come after all
                monitor.final_until = max(monitor.final_until, complete)
        if not self._ended:
            unmatched = self.join.expire(complete - self.slack)
            self.counters.add(catalog.JOINS_EXPIRED, ("prediction",), unmatched.predictions)
            self.counters.add(catalog.JOINS_EXPIRED, ("label",), unmatched.labels)

    def _finish(self, monitor: Monitor, keys: Sequence[CohortKey], reached: int) -> None:
        """Report the final cohorts of one version and window, and what they say of its quality."""
        assert monitor.cohorts is not None  # noqa: S101 - the keys are from there
        cohorts = {key.segment: monitor.cohorts.get(key) for key in keys if not key.arm}
        enough = {
            segment: cohort.outcomes
            for segment, cohort in cohorts.items()
            if cohort.labelled >= monitor.spec.min_labels
        }
        said = None
        if "" in enough and keys[0].version in monitor.watched:
            said = self.judges(monitor.name).quality(keys[0].version, keys[0].start, enough)
            self._count(said.findings)
        for key in keys:
            report = quality_report(monitor, key, reached, self.horizon, final=True)
            if said is not None and not (key.arm or key.segment):
                findings = with_performance(monitor, said.findings)
                report = replace(report, findings=findings, evidence=said.report)
            self.reports.quality(self._compared(monitor, key, report))

    def _compared(self, monitor: Monitor, key: CohortKey, report: QualityReport) -> QualityReport:
        """A final report with what was said before its labels came; the skill is by the cohorts before it."""
        if key.arm:
            return report
        assert monitor.cohorts is not None  # noqa: S101 - the key is from there
        window = WindowKey(monitor.name, key.version, key.segment, key.start)
        reference = monitor.references.get(key.version)
        estimates = monitor.estimates.said(window, reference, before=key.start)
        cohort = monitor.cohorts.get(key)
        if not key.segment and cohort.labelled >= monitor.spec.min_labels:
            monitor.estimates.realised(window, reference, evaluate(cohort.outcomes))
        return replace(report, estimates=estimates)

    def _reach(self, monitor: Monitor) -> int:
        """From the start of a window until the last label of its predictions can come, milliseconds."""
        return self.horizon + self.slack + monitor.spec.window.size

    def _reached(self, complete: int) -> int:
        """`complete`, or how far event time really came when the streams have ended."""
        if complete != END_OF_TIME:
            return complete
        return max((t for w in self.watermarks.values() for t in w.reached().values()), default=0)

    def report_quality(self, now: float) -> None:
        """Report cohorts that changed or matured since the last call and are not final; for live views."""
        watermark = self.watermarks["predictions"].current(now)
        if watermark is None or self._ended:
            return
        for monitor in self.monitors.values():
            if monitor.cohorts is None:
                continue
            reach, size = self._reach(monitor), monitor.spec.window.size
            ripe = self._reached(watermark) - size - monitor.maturity(self.horizon)
            was_ripe = ripe - size if monitor.matured_until is None else monitor.matured_until
            for key, revision in list(monitor.cohorts.known.items()):
                news = revision > monitor.reported or was_ripe < key.start <= ripe
                if news and key.start + reach > monitor.final_until:
                    reached = self._reached(watermark)
                    report = quality_report(monitor, key, reached, self.horizon, final=False)
                    # Without labels a rollout still learns how the requests of a version were divided.
                    counted = report.maturity == "matured" and not (key.arm or key.segment)
                    if report.labelled or counted:
                        self.reports.quality(report)
            monitor.reported = monitor.cohorts.revision
            monitor.matured_until = ripe

    # What people decide

    def accept(self, model: str, version: str, since: int | None) -> Reference:
        """Make what the version's windows show from `since` on its new reference.

        By default from where the open incident, or else the first ticket, says that the change began.

        Raises
        ------
        ConfigError
            There is no such model or version, nothing says since when, or there are too few rows.
        """
        monitor = self._known(model, version)
        judge = self.judges(model)
        if since is None:
            since = self._began(monitor, judge, version)
        reference = monitor.accept(version, since)
        lessons = monitor.lessons(version, monitor.last_closed() + 1, since)
        judge.remember(version, reference.summary, reference.version, lessons)
        self._begun.add((model, version, reference.version))
        return reference

    def close_incidents(self, model: str, version: str) -> int:
        """A person ends the incidents of a version; how many were open. Raises `ConfigError` as `accept`."""
        monitor = self._known(model, version)
        judge = self.judges(model)
        self._resume(monitor, judge, version)
        return judge.close(version)

    def _known(self, model: str, version: str) -> Monitor:
        monitor = self.monitors.get(model)
        if monitor is None:
            known = ", ".join(sorted(self.monitors)) or "none yet"
            raise ConfigError([f"no model {model!r}; there are: {known}"])
        if version not in monitor.watched:
            known = ", ".join(map(repr, monitor.watched)) or "none yet"
            raise ConfigError([f"model {model}: no version {version!r}; there are: {known}"])
        return monitor

    def _began(self, monitor: Monitor, judge: Judge, version: str) -> int:
        stood = self._resume(monitor, judge, version).get("inputs")
        streams = stood[1].report.streams if stood else ()
        begun = [one.since for one in streams if one.tier == "page" and one.since is not None]
        begun = begun or [one.since for one in streams if one.since is not None]
        if not begun:
            told = "no open incident or ticket says since when; say it"
            raise ConfigError([f"model {monitor.name}, version {version!r}: {told}"])
        return min(begun)


def _version_and_start(window: Window) -> tuple[str, int]:
    return window.key.version, window.key.start
