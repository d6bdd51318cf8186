"""Reports as gauges: the latest of each, and nothing that has ended."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detectors.base import Status, Verdict
from observer.exporters.reports import GaugeReports
from observer.metrics import Values, catalog
from observer.model import (
    ColumnState,
    EvidenceReport,
    Judged,
    QualityEstimate,
    QualityReport,
    QualityValue,
    StreamEvidence,
    WindowKey,
    WindowReport,
)

HOUR = 3_600_000
DAY = 24 * HOUR


def window(hour: int, version: str = "1", segment: str = "", column: str = "x", status=Status.STABLE):
    verdict = Verdict(status, 0.25, 0.5, 0.125, 0.001, 2000, 500)
    return WindowReport(
        WindowKey("m", version, segment, (hour - 1) * HOUR),
        hour * HOUR,
        500 + hour,
        0,
        "reference",
        "drift" if status is Status.DRIFT else "stable",
        (Judged(column, "ks", verdict),),
        (),
        (ColumnState(column, 0.1, 0.0, unseen=0.2, mean=3.0, quantiles=((0.5, 3.5),)),),
    )


def quality(hour: int, maturity: str = "matured", value: float = 0.9, labelled: int = 200, arm: str = ""):
    values = (QualityValue("accuracy", value, None, labelled), QualityValue("auc", 0.8, 0.01, labelled))
    return QualityReport(
        "m", "1", arm, "", (hour - 1) * HOUR, hour * HOUR, maturity, False, 400, labelled,
        values if labelled >= 100 else (),
    )  # fmt: skip


def series(reports: GaugeReports, metric) -> dict:
    return dict(reports.snapshot(Values()).series.get(metric, {}))


def test_a_verdict_is_exported_with_everything_it_rests_on():
    reports = GaugeReports()
    reports.window(window(1, status=Status.DRIFT))
    at = ("m", "1", "", "x", "ks")
    expected = {
        catalog.DRIFT_STATUS: 1.0,
        catalog.DRIFT_STATISTIC: 0.25,
        catalog.DRIFT_EFFECT: 0.5,
        catalog.DRIFT_P_VALUE: 0.125,
        catalog.DRIFT_THRESHOLD: 0.001,
        catalog.DRIFT_REFERENCE_ROWS: 2000.0,
        catalog.DRIFT_WINDOW_ROWS: 500.0,
    }
    assert {metric: series(reports, metric) for metric in expected} == {
        metric: {at: value} for metric, value in expected.items()
    }
    assert series(reports, catalog.COLUMN_QUANTILE) == {("m", "1", "", "x", "0.5"): 3.5}
    assert series(reports, catalog.COLUMN_UNSEEN) == {at[:4]: 0.2}
    assert series(reports, catalog.COLUMN_OUT_OF_RANGE) == {}


@pytest.mark.parametrize("status", [Status.INSUFFICIENT, Status.FAILED])
def test_a_verdict_that_says_nothing_gives_no_numbers(status):
    reports = GaugeReports()
    reports.window(window(1, status=status))
    assert series(reports, catalog.DRIFT_STATUS) != {}
    assert series(reports, catalog.DRIFT_EFFECT) == series(reports, catalog.DRIFT_P_VALUE) == {}


def test_a_new_window_replaces_the_old_one_whole():
    reports = GaugeReports()
    reports.window(window(1, column="gone"))
    reports.window(window(2, column="x"))
    assert {labels[3] for labels in series(reports, catalog.DRIFT_STATUS)} == {"x"}
    assert series(reports, catalog.WINDOW_ROWS) == {("m", "1", ""): 502.0}


def test_an_older_window_changes_nothing():
    reports = GaugeReports()
    reports.window(window(5))
    reports.window(window(4))
    assert series(reports, catalog.WINDOW_END) == {("m", "1", ""): 5 * 3600.0}


def test_series_of_an_ended_version_disappear():
    reports = GaugeReports(keep=DAY)
    reports.window(window(1, "old"))
    reports.window(window(1, "old", "t=a"))
    reports.window(window(25, "new"))
    assert {labels[1] for labels in series(reports, catalog.WINDOW_ROWS)} == {"old", "new"}
    reports.window(window(26, "new"))
    for metric in (catalog.WINDOW_ROWS, catalog.DRIFT_STATUS, catalog.COLUMN_MISSING):
        assert {labels[1] for labels in series(reports, metric)} == {"new"}
    reports.window(window(27, "old"))  # and come back when the version does
    assert {labels[1] for labels in series(reports, catalog.WINDOW_ROWS)} == {"old", "new"}


def test_quality_that_waits_for_labels_stays_as_long_as_they_may_take():
    """A matured cohort is as old as labels are slow; that alone does not end it."""
    reports = GaugeReports(keep=DAY, horizon=7 * DAY)
    reports.quality(quality(1))
    reports.window(window(1 + 8 * 24))
    assert series(reports, catalog.QUALITY)["m", "1", "", "", "matured", "accuracy"] == 0.9
    reports.window(window(2 + 8 * 24))
    assert series(reports, catalog.QUALITY) == series(reports, catalog.LABEL_COVERAGE) == {}


def test_quality_is_exported_with_coverage_rows_and_bound():
    reports = GaugeReports()
    reports.quality(quality(1, "provisional"))
    reports.quality(quality(1, "matured", 0.7, arm="champion"))
    at = ("m", "1", "", "", "provisional")
    assert series(reports, catalog.LABEL_COVERAGE)[at] == 0.5
    assert series(reports, catalog.QUALITY_ROWS)[at] == 200.0
    assert series(reports, catalog.QUALITY_ERROR_BOUND) == {
        (*where, metric): bound
        for where in (at, ("m", "1", "champion", "", "matured"))
        for metric, bound in (("accuracy", 0.0), ("auc", 0.01))
    }


def test_too_few_labels_leave_the_last_values():
    reports = GaugeReports()
    reports.quality(quality(1))
    reports.quality(quality(2, labelled=5))
    assert series(reports, catalog.QUALITY_ROWS) == {("m", "1", "", "", "matured"): 200.0}


# Evidence


def evidence(watch: str = "inputs", incident: int | None = 3 * HOUR, subject: str = "x") -> EvidenceReport:
    streams = (
        StreamEvidence("", subject, "location", 3.5, -0.25, 0.125, "page" if incident else "", incident),
        StreamEvidence("", "@table", "covariance", 0.5, 0.0, 0.0, "ticket", HOUR),
        StreamEvidence("region=n", subject, "location", 2.5, 0.75, 0.5, "ticket", HOUR),
        StreamEvidence("region=s", subject, "location", 0.25, 0.0, 0.0, "", None),
    )
    return EvidenceReport(watch, "paging", 400, 336, 1.5, 2.875, incident, streams)


WATCH = ("m", "1", "inputs")
GROUP = (catalog.EVIDENCE, catalog.EVIDENCE_THRESHOLD, catalog.EVIDENCE_STAGE, catalog.HISTORY_WINDOWS,
         catalog.HISTORY_NEEDED, catalog.INCIDENT_OPEN, catalog.INCIDENT_SINCE)  # fmt: skip


def test_where_a_watch_stands_is_exported():
    reports = GaugeReports()
    reports.window(replace(window(5), evidence=evidence()))
    found = [series(reports, metric) for metric in GROUP]
    expected = (1.5, 2.875, 2.0, 400.0, 336.0, 1.0, 3 * 3600.0)
    assert found == [{WATCH: value} for value in expected]


def test_streams_of_all_events_are_exported_and_of_segments_those_raised():
    reports = GaugeReports()
    reports.window(replace(window(5), evidence=evidence()))
    main, joint = ("m", "1", "", "x", "location"), ("m", "1", "", "@table", "covariance")
    segment = ("m", "1", "region=n", "x", "location")
    assert series(reports, catalog.STREAM_EVIDENCE) == {main: 3.5, joint: 0.5, segment: 2.5}
    assert series(reports, catalog.STREAM_EFFECT) == {main: -0.25, joint: 0.0, segment: 0.75}
    assert series(reports, catalog.STREAM_LOWER) == {main: 0.125, joint: 0.0, segment: 0.5}
    assert series(reports, catalog.STREAM_TIER) == {main: 2.0, joint: 1.0, segment: 1.0}


def test_a_closed_incident_has_no_beginning_any_more():
    reports = GaugeReports()
    reports.window(replace(window(5), evidence=evidence()))
    reports.window(replace(window(6), evidence=evidence(incident=None)))
    assert series(reports, catalog.INCIDENT_OPEN) == {WATCH: 0.0}
    assert series(reports, catalog.INCIDENT_SINCE) == {}
    assert series(reports, catalog.STREAM_TIER)["m", "1", "", "x", "location"] == 0.0


def test_a_watch_that_learns_says_so():
    reports = GaugeReports()
    learning = EvidenceReport("inputs", "learning", 3, 336, 0.0, 0.0, None, ())
    reports.window(replace(window(5), evidence=learning))
    assert series(reports, catalog.EVIDENCE_STAGE) == {WATCH: 0.0}
    assert series(reports, catalog.HISTORY_WINDOWS) == {WATCH: 3.0}
    assert series(reports, catalog.STREAM_EVIDENCE) == {}
    reports.window(replace(window(6), evidence=replace(learning, stage="tickets")))
    assert series(reports, catalog.EVIDENCE_STAGE) == {WATCH: 1.0}


def test_windows_of_segments_leave_the_watch_as_it_is():
    reports = GaugeReports()
    reports.window(replace(window(5), evidence=evidence()))
    reports.window(window(5, segment="region=n"))
    reports.window(window(6))  # insufficient, say: nothing new is known
    assert series(reports, catalog.EVIDENCE) == {WATCH: 1.5}


def test_streams_that_are_gone_disappear_and_older_reports_change_nothing():
    reports = GaugeReports()
    reports.window(replace(window(5), evidence=evidence(subject="old")))
    reports.window(replace(window(6), evidence=evidence(subject="new")))
    reports.window(replace(window(4), evidence=evidence(subject="older")))
    assert {labels[3] for labels in series(reports, catalog.STREAM_EVIDENCE)} == {"new", "@table"}


def test_inputs_and_quality_are_watches_of_their_own():
    """Quality is told when its labels are in, long after the windows; it ends with the version too."""
    reports = GaugeReports(keep=DAY, horizon=7 * DAY)
    reports.window(replace(window(8 * 24), evidence=evidence()))
    reports.quality(replace(quality(5), evidence=evidence("quality", None, "@label")))
    assert series(reports, catalog.INCIDENT_OPEN) == {WATCH: 1.0, ("m", "1", "quality"): 0.0}
    assert ("m", "1", "", "@label", "location") in series(reports, catalog.STREAM_EVIDENCE)
    assert ("m", "1", "", "x", "location") in series(reports, catalog.STREAM_EVIDENCE)
    reports.window(window(6 + 8 * 24, version="2"))
    assert series(reports, catalog.INCIDENT_OPEN) == {WATCH: 1.0}
    reports.window(window(1 + 16 * 24, version="2"))
    assert series(reports, catalog.INCIDENT_OPEN) == {}


def test_few_labels_still_say_where_their_watch_stands():
    reports = GaugeReports()
    reports.quality(replace(quality(5, labelled=5), evidence=evidence("quality")))
    assert series(reports, catalog.EVIDENCE) == {("m", "1", "quality"): 1.5}


def estimated(hour: int, skill: float | None = 0.5) -> WindowReport:
    unknown = QualityEstimate("f1", None, None, None, "cbpe", 0, reason="no class")
    accuracy = QualityEstimate("accuracy", 0.9, 0.875, 0.925, "cbpe", 500, skill, 40)
    return replace(window(hour), estimates=(accuracy, unknown))


def test_estimates_are_those_of_the_last_window_with_band_and_skill():
    reports = GaugeReports()
    reports.window(estimated(2))
    where = ("m", "1", "", "accuracy")
    expected = {
        catalog.QUALITY_ESTIMATE: 0.9,
        catalog.QUALITY_ESTIMATE_LOW: 0.875,
        catalog.QUALITY_ESTIMATE_HIGH: 0.925,
        catalog.QUALITY_ESTIMATE_SKILL: 0.5,
    }
    assert {metric: series(reports, metric) for metric in expected} == {
        metric: {where: value} for metric, value in expected.items()
    }
    reports.window(estimated(3, skill=None))
    assert series(reports, catalog.QUALITY_ESTIMATE_SKILL) == {}
    assert series(reports, catalog.QUALITY_ESTIMATE) == {where: 0.9}


def test_realised_values_replace_estimates():
    reports = GaugeReports()
    reports.window(estimated(5))
    reports.quality(quality(4))
    reports.quality(quality(5, "provisional"))
    reports.quality(quality(5, arm="champion"))
    assert series(reports, catalog.QUALITY_ESTIMATE) != {}
    reports.quality(quality(5))
    assert series(reports, catalog.QUALITY_ESTIMATE) == {}
    kept = series(reports, catalog.QUALITY_ESTIMATE_SKILL)
    assert list(kept.values()) == [0.5], "else drift would page until the next window"
    reports.window(estimated(6))
    assert series(reports, catalog.QUALITY_ESTIMATE) != {}


def test_verdicts_of_online_detectors_stand_beside_those_of_windows():
    reports = GaugeReports()
    told = replace(evidence("quality", None, "@label"), online=(window(5, column="@label").judged[0],))
    reports.quality(replace(quality(5), evidence=told))
    reports.window(window(5))
    assert {labels[3] for labels in series(reports, catalog.DRIFT_STATUS)} == {"@label", "x"}
    reports.quality(replace(quality(6), evidence=replace(told, online=())))
    assert {labels[3] for labels in series(reports, catalog.DRIFT_STATUS)} == {"x"}
