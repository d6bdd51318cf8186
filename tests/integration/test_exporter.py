"""A real Prometheus scrapes the endpoint and gives back what was put in."""

from __future__ import annotations

import shutil
import subprocess
from itertools import count

import httpx
import pytest

from observer.exporters.prometheus import PrometheusExporter
from observer.metrics import Counters, Gauges, Values, catalog, clean
from observer.web.api import create_app
from observer.web.server import Server
from tests.unit.web.plane import Moving

HOSTILE = [
    'quote " quote',
    "back\\slash",
    "back\\",
    "two\nlines",
    "\\n",
    '"} 1\nobserver_findings_total{model="forged"} 1',
    "{curly}, comma=equals#hash",
    "naïve 模型 \N{PILE OF POO}",
    "nul\0 and bell\a",
    "not utf8 \udcff",
    "x" * 5000,
    " ",
]


@pytest.fixture(scope="module")
def endpoint():
    """An exporter that holds one series of every metric and hostile column names, behind a real server."""
    counters, values, service, scrapes = Counters(), Values(), Values(), count(1)
    for metric in (metric for section in catalog.SECTIONS.values() for metric in section):
        labels = tuple(f"a {label}" for label in metric.labels)
        if metric.type == "counter":
            counters.add(metric, labels, 3)
        elif metric.type == "histogram":
            counters.observe(metric, labels, 0.7)
        else:
            (values if "model" in metric.labels else service).set(metric, labels, 1.25)
    windows = Gauges()
    windows.put("ordinary", values)
    for number, name in enumerate(HOSTILE):
        hostile = Values()
        hostile.set(catalog.DRIFT_EFFECT, (name, "1", "", name, "ks"), number)
        windows.put(name, hostile)

    def live():
        found = Values()
        found.set(catalog.CHECKPOINT_AGE, (), next(scrapes))
        return found

    exporter = PrometheusExporter(counters, live)
    exporter.publish(windows.snapshot(service))
    app = create_app(exporter.render, lambda: (True, ()), lambda: (True, ()), Moving(0.0))
    with Server(app) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def prometheus(prometheus_factory, endpoint):
    server = prometheus_factory(endpoint)
    server.wait_for("observer_checkpoint_age_seconds >= 2")
    return server


def test_the_scrape_succeeds(prometheus):
    (target,) = prometheus.targets()
    assert (target["health"], target["lastError"]) == ("up", "")
    assert {sample.value for sample in prometheus.query("up")} == {1.0}


def test_hostile_names_come_back(prometheus):
    found = prometheus.query('observer_drift_effect{detector="ks"}')
    assert {(sample.labels["model"], sample.labels["column"], sample.value) for sample in found} == {
        (clean(name), clean(name), float(number)) for number, name in enumerate(HOSTILE)
    }
    assert prometheus.query('observer_findings_total{model="forged"}') == []


def test_every_metric_can_be_queried(prometheus):
    for metric in (metric for section in catalog.SECTIONS.values() for metric in section):
        name = f"{metric.name}_count" if metric.type == "histogram" else metric.name
        assert prometheus.query(name), name


def test_histograms_answer_quantiles(prometheus):
    (sample,) = prometheus.query("histogram_quantile(0.5, observer_checkpoint_duration_seconds_bucket)")
    assert 0.5 < sample.value <= 1.0


def test_promtool_finds_nothing_to_say(endpoint):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    text = httpx.get(f"http://{endpoint}/metrics").content
    lint = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (lint.returncode, lint.stdout, lint.stderr) == (0, b"", b"")
