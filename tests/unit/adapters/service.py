"""A small service over files, with the detectors that a test configures."""

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
defaults: {{window: {{min_events: 50}}, judge: {{detectors: [{detectors}], online: [{online}]}}}}
"""


class _Windows:
    """Gathers reports."""

    def __init__(self):
        self.reports = []

    def window(self, report):
        self.reports.append(report)

    def quality(self, report):
        pass


def watch(folder, detectors, online=""):
    """Reports of four hours, of which the last drifts; the configuration is `observer.yaml` in the folder."""
    write(folder / "healthy.ndjson", events(8))
    rows = read(folder / "healthy.ndjson", "m")
    build(rows.keys, rows.columns, Overrides(), "healthy", rows.tags).save(folder / "m.reference")
    write(folder / "in/p1.ndjson", events(4, drifts_from=3))
    path, windows = folder / "observer.yaml", _Windows()
    path.write_text(CONFIG.format(detectors=detectors, online=online))
    pace = Pace(checkpoint_every=60.0)
    with Service(load(path), SystemClock(), serve=False, pace=pace, reports=[windows]) as service:
        service.run(lambda: False)
    return windows.reports
