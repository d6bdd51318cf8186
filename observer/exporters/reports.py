"""Reports of windows and cohorts as gauges, a group of series for each thing that ends as a whole."""

from __future__ import annotations

from collections.abc import Iterable

from detectors.base import Status
from observer.metrics import Caps, Gauges, Snapshot, Values, catalog
from observer.model import EvidenceReport, Judged, QualityReport, WindowReport

_WINDOW_STATUS = {
    "drift": Status.DRIFT,
    "stable": Status.STABLE,
    "insufficient": Status.INSUFFICIENT,
    "learning": Status.INSUFFICIENT,
}


class GaugeReports:
    """Keeps the latest window of every version and segment, and the latest cohort of every maturity.

    What a model has not seen for `keep` milliseconds of its own event time disappears; quality, which waits
    for labels, after the `horizon` more.
    """

    def __init__(self, caps: Caps | None = None, keep: int = 24 * 3_600_000, horizon: int = 0) -> None:
        self._gauges = Gauges(caps)
        self._keep = {
            "window": keep,
            "estimate": keep,
            "skill": keep,
            "evidence": keep + horizon,
            "quality": keep + horizon,
        }
        self._ends: dict[tuple[str, tuple[str, ...]], int] = {}
        self._newest: dict[str, int] = {}

    def window(self, report: WindowReport) -> None:
        """Replace the series of the report's version and segment."""
        key = report.key
        group = ("window", key.version, key.segment)
        if not self._admit(key.model, group, report.end):
            return
        where = (key.model, key.version, key.segment)
        values = Values()
        values.set(catalog.WINDOW_END, where, report.end / 1000)
        values.set(catalog.WINDOW_ROWS, where, report.rows)
        values.set(catalog.WINDOW_STATUS, where, catalog.STATUS_CODES[_WINDOW_STATUS[report.status]])
        _judged(values, where, report.judged)
        for column in report.columns:
            of_column = (*where, column.column)
            values.set(catalog.COLUMN_MISSING, of_column, column.missing)
            values.set(catalog.COLUMN_TYPE_ERRORS, of_column, column.invalid)
            if column.unseen is not None:
                values.set(catalog.COLUMN_UNSEEN, of_column, column.unseen)
            if column.out_of_range is not None:
                values.set(catalog.COLUMN_OUT_OF_RANGE, of_column, column.out_of_range)
            if column.mean is not None:
                values.set(catalog.COLUMN_MEAN, of_column, column.mean)
            for probability, value in column.quantiles:
                values.set(catalog.COLUMN_QUANTILE, (*of_column, f"{probability:g}"), value)
        self._gauges.put((key.model, group), values)
        self._estimates(report)
        if report.evidence is not None:
            self._evidence(key.model, key.version, report.end, report.evidence)

    def _estimates(self, report: WindowReport) -> None:
        """Replace the series of the estimates of the report's version and segment."""
        key = report.key
        group, of_skill = (("estimate", key.version, key.segment), ("skill", key.version, key.segment))
        if not report.estimates or not self._admit(key.model, group, report.end):
            return
        values, skill = Values(), Values()
        for one in report.estimates:
            if one.value is None or one.low is None or one.high is None:
                continue
            series = (key.model, key.version, key.segment, one.metric)
            values.set(catalog.QUALITY_ESTIMATE, series, one.value)
            values.set(catalog.QUALITY_ESTIMATE_LOW, series, one.low)
            values.set(catalog.QUALITY_ESTIMATE_HIGH, series, one.high)
            if one.skill is not None:
                skill.set(catalog.QUALITY_ESTIMATE_SKILL, series, one.skill)
        self._gauges.put((key.model, group), values)
        self._admit(key.model, of_skill, report.end)
        self._gauges.put((key.model, of_skill), skill)

    def _evidence(self, model: str, version: str, end: int, report: EvidenceReport) -> None:
        """Replace the series of a version's watch: streams of all events, of segments only those raised."""
        group = ("evidence", version, report.watch)
        if not self._admit(model, group, end):
            return
        values, watch = Values(), (model, version, report.watch)
        for one in report.streams:
            if one.segment and not one.tier:
                continue
            where = (model, version, one.segment, one.subject, one.statistic)
            values.set(catalog.STREAM_EVIDENCE, where, one.evidence)
            values.set(catalog.STREAM_EFFECT, where, one.effect)
            values.set(catalog.STREAM_LOWER, where, one.lower)
            values.set(catalog.STREAM_TIER, where, {"": 0, "ticket": 1, "page": 2}[one.tier])
        _judged(values, (model, version, ""), report.online)
        values.set(catalog.EVIDENCE, watch, report.evidence)
        values.set(catalog.EVIDENCE_THRESHOLD, watch, report.threshold)
        values.set(catalog.EVIDENCE_STAGE, watch, {"learning": 0, "tickets": 1, "paging": 2}[report.stage])
        values.set(catalog.HISTORY_WINDOWS, watch, report.history)
        values.set(catalog.HISTORY_NEEDED, watch, report.needed)
        values.set(catalog.INCIDENT_OPEN, watch, report.incident is not None)
        if report.incident is not None:
            values.set(catalog.INCIDENT_SINCE, watch, report.incident / 1000)
        self._gauges.put((model, group), values)

    def quality(self, report: QualityReport) -> None:
        """Replace the series of the report's version, arm, segment and maturity, unless it is older."""
        cohort = (report.version, report.arm, report.segment)
        where = (report.model, *cohort, report.maturity)
        if report.evidence is not None:
            self._evidence(report.model, report.version, report.end, report.evidence)
        group = ("quality", *cohort, report.maturity)
        if not report.values or not self._admit(report.model, group, report.end):
            return
        values = Values()
        values.set(catalog.LABEL_COVERAGE, where, report.coverage)
        values.set(catalog.QUALITY_ROWS, where, report.labelled)
        for item in report.values:
            values.set(catalog.QUALITY, (*where, item.metric), item.value)
            values.set(catalog.QUALITY_ERROR_BOUND, (*where, item.metric), item.error or 0.0)
        self._gauges.put((report.model, group), values)
        if report.maturity == "matured" and not report.arm:
            self._replace_estimates(report)

    def _replace_estimates(self, report: QualityReport) -> None:
        """What labels say of a window takes the place of what was estimated of it, or of an earlier one.

        The skill stays, which says whether the next estimate will count: drift pages where there is none.
        """
        key = (report.model, ("estimate", report.version, report.segment))
        if key in self._ends and self._ends[key] <= report.end:
            self._gauges.put(key, Values())

    def _admit(self, model: str, group: tuple[str, ...], end: int) -> bool:
        """Whether `end` is no older than what the group holds."""
        key = (model, group)
        if end < self._ends.get(key, 0):
            return False
        self._ends[key] = end
        self._newest[model] = max(self._newest.get(model, 0), end)
        return True

    def snapshot(self, service: Values) -> Snapshot:
        """Everything that is current, with the service's own gauges."""
        ended = [
            (model, group)
            for (model, group), end in self._ends.items()
            if end < self._newest[model] - self._keep[group[0]]
        ]
        for key in ended:
            del self._ends[key]
            self._gauges.drop(key)
        return self._gauges.snapshot(service)


def _judged(values: Values, where: tuple[str, str, str], judged: Iterable[Judged]) -> None:
    """The series of verdicts on a model, version and segment."""
    for item in judged:
        verdict, series = item.verdict, (*where, item.subject, item.detector)
        values.set(catalog.DRIFT_STATUS, series, catalog.STATUS_CODES[verdict.status])
        values.set(catalog.DRIFT_WINDOW_ROWS, series, verdict.n_window)
        values.set(catalog.DRIFT_REFERENCE_ROWS, series, verdict.n_reference)
        values.set(catalog.DRIFT_THRESHOLD, series, verdict.threshold)
        if verdict.status in (Status.DRIFT, Status.STABLE):
            values.set(catalog.DRIFT_STATISTIC, series, verdict.statistic)
            values.set(catalog.DRIFT_EFFECT, series, verdict.effect)
            if verdict.p_value is not None:
                values.set(catalog.DRIFT_P_VALUE, series, verdict.p_value)
