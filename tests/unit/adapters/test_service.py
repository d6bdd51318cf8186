"""A service whose adapter fails goes on, and says so."""

import logging
import sys

from detectors.base import Status
from tests.unit.adapters.service import watch
from tests.unit.cli.conftest import Ran, observer  # noqa: F401 - a fixture


def test_it_judges_on_without_the_adapter(tmp_path, caplog):
    caplog.set_level(logging.WARNING, "observer.judge")
    reports = watch(tmp_path, f"ks, {{type: river, python: {sys.executable}}}")
    assert [report.status for report in reports] == ["stable", "stable", "stable", "drift"]
    verdicts = [one.verdict for report in reports for one in report.judged if one.detector == "river.ADWIN"]
    assert [verdict.status for verdict in verdicts] == [Status.FAILED] * 4
    assert "No module named 'river'" in verdicts[0].reason
    assert "2 failures in a row, to be started again at the next window" in verdicts[2].reason
    assert [line.getMessage().partition(":")[0] for line in caplog.records] == ["detector river.ADWIN fails"]


def test_it_follows_a_version_on_without_the_adapter(tmp_path):
    reports = watch(tmp_path, "ks", f"adwin, {{type: river, python: {sys.executable}}}")
    assert [report.status for report in reports] == ["stable", "stable", "stable", "drift"]
    said = [one for report in reports for one in report.evidence.online]
    assert {one.verdict.status for one in said if one.detector.startswith("river.ADWIN.")} == {Status.FAILED}
    assert Status.FAILED not in {one.verdict.status for one in said if one.detector.startswith("adwin.")}


def test_a_window_that_nothing_could_judge_is_not_stable(tmp_path):
    assert {report.status for report in watch(tmp_path, "{type: evidently}")} == {"insufficient"}


def test_an_export_that_cannot_be_made_says_why(tmp_path, observer):  # noqa: F811
    watch(tmp_path, "ks")

    def said(*arguments: str) -> tuple[int, str]:
        ran: Ran = observer("export", "evidently", "-c", "observer.yaml", "m", *arguments)
        return ran.code, ran.err

    code, text = said("-o", "report.html")
    assert code == 1
    peer = tmp_path / "peers/evidently"
    assert f"no interpreter at peers/evidently/bin/python; make one: python3 -m venv {peer} &&" in text
    assert "No module named 'evidently'" in said("-o", "report.html", "--python", sys.executable)[1]
    assert "ends neither in .html nor in .json" in said("-o", "report.pdf")[1]
    assert "has no version '9'" in said("-o", "report.html", "--version", "9")[1]
    assert not (tmp_path / "report.html").exists()
