"""How long a scrape of 50,000 series takes, and how much of it the pipeline's thread feels."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable
from statistics import median

import httpx
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from observer.exporters.prometheus import PrometheusExporter
from observer.metrics import Counters, Gauges, Metric, Values, catalog
from observer.web.api import create_app
from observer.web.server import Server

SERIES = 50_000
DRIFT = tuple(metric for metric in catalog.SECTIONS["Drift"] if metric.type == "gauge")
OK = (True, ())


def run() -> dict[str, float]:
    """Seconds a scrape takes step by step, and how many times longer the client library takes to render."""
    windows = _windows()
    exporter = PrometheusExporter(Counters())
    snapshot = windows.snapshot(Values())
    exporter.publish(snapshot)
    first = _seconds(exporter.render, repeat=1)
    render = _seconds(exporter.render)
    body, _ = exporter.render()
    compress = _seconds(lambda: gzip.compress(body, compresslevel=1))
    with Server(create_app(exporter.render, lambda: OK, lambda: OK)) as server, httpx.Client() as client:
        url = f"http://127.0.0.1:{server.port}/metrics"
        http = _seconds(lambda: client.get(url).raise_for_status())
        slowdown = _slowdown(lambda: client.get(url))
    registry = _client_library(snapshot.series)
    library = _seconds(lambda: generate_latest(registry), repeat=3)
    return {
        "series": len(snapshot),
        "megabytes": len(body) / 1e6,
        "first_render_seconds": first,
        "render_seconds": render,
        "gzip_seconds": compress,
        "http_seconds": http,
        "busy_thread_slowed_seconds": slowdown,
        "prometheus_client_seconds": library,
        "times_faster_than_prometheus_client": library / render,
    }


def _windows() -> Gauges:
    windows = Gauges()
    columns = SERIES // len(DRIFT) // 50
    for model in range(50):
        values = Values()
        for column in range(columns):
            labels = (f"model-{model}", "2026-11-01", "", f"feature_{column:04}", "ks")
            for number, metric in enumerate(DRIFT):
                values.set(metric, labels, (column + 1) / (number + 3))
        windows.put(model, values)
    return windows


def _client_library(series) -> CollectorRegistry:
    registry = CollectorRegistry()
    metric: Metric
    for metric, values in series.items():
        gauge = Gauge(metric.name, metric.help, metric.labels, registry=registry)
        for labels, value in values.items():
            gauge.labels(*labels).set(value)
    return registry


def _seconds(task: Callable[[], object], repeat: int = 7) -> float:
    taken = []
    for _ in range(repeat):
        start = time.perf_counter()
        task()
        taken.append(time.perf_counter() - start)
    return median(taken)


def _slowdown(scrape: Callable[[], object]) -> float:
    """Seconds that a thread busy with Python loses to one scrape (the server's part and the client's)."""

    def work() -> int:
        return sum(number * number for number in range(3_000_000))

    alone = _seconds(work, repeat=3)
    taken = []
    for _ in range(3):
        client = threading.Thread(target=scrape)
        start = time.perf_counter()
        client.start()
        work()
        taken.append(time.perf_counter() - start)
        client.join()
    return median(taken) - alone


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
