"""A service whose adapter fails goes on, and says so."""

import logging
import sys

import pytest

from detectors.base import Status
from observer.app import Service
from observer.clock import SystemClock
from observer.config import load
from observer.engines.local import Pace
from observer.references import Overrides, build
from observer.training import read
from tests.unit.cli.conftest import events, write

CONFIG = """
predictions: {{type: files, path: in/p*}}
state: {{path: state}}
idle_after: 36500d
models: {{m: {{reference: m.reference}}}}
defaults: {{window: {{min_events: 50}}, judge: {{detectors: [{detectors}]}}}}
"""


class Windows:
    """Gathers reports."""

    def __init__(self):
        self.reports = []

    def window(self, report):
        self.reports.append(report)

    def quality(self, report):
        pass


@pytest.fixture
def watch(tmp_path):
    write(tmp_path / "healthy.ndjson", events(8))
    rows = read(tmp_path / "healthy.ndjson", "m")
    build(rows.keys, rows.columns, Overrides(), "healthy", rows.tags).save(tmp_path / "m.reference")
    write(tmp_path / "in/p1.ndjson", events(4, drifts_from=3))

    def run(detectors):
        path, windows = tmp_path / "observer.yaml", Windows()
        path.write_text(CONFIG.format(detectors=detectors))
        pace = Pace(checkpoint_every=60.0)
        with Service(load(path), SystemClock(), serve=False, pace=pace, reports=[windows]) as service:
            service.run(lambda: False)
        return windows.reports

    return run


def test_it_judges_on_without_the_adapter(watch, caplog):
    caplog.set_level(logging.WARNING, "observer.judge")
    reports = watch(f"ks, {{type: river, python: {sys.executable}}}")
    assert [report.status for report in reports] == ["stable", "stable", "stable", "drift"]
    verdicts = [one.verdict for report in reports for one in report.judged if one.detector == "river.ADWIN"]
    assert [verdict.status for verdict in verdicts] == [Status.FAILED] * 4
    assert "No module named 'river'" in verdicts[0].reason
    assert "4 failures" not in verdicts[3].reason  # the third request was refused
    assert [line.getMessage().partition(":")[0] for line in caplog.records] == ["detector river.ADWIN fails"]


def test_a_window_that_nothing_could_judge_is_not_stable(watch):
    assert {report.status for report in watch("{type: evidently}")} == {"insufficient"}
