"""A real Prometheus server that scrapes loopback targets every second."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tests.services.process import Process, Server, ServiceError, free_port


class Sample(NamedTuple):
    """One series' value at one time (seconds since the epoch)."""

    labels: Mapping[str, str]
    time: float
    value: float


class Series(NamedTuple):
    """One series' (time, value) points."""

    labels: Mapping[str, str]
    points: list[tuple[float, float]]


class Prometheus(Server):
    """A Prometheus of its own data, scraping `targets` ("host:port", path `/metrics`) as job `observer`.

    Parameters
    ----------
    targets : sequence of str
        What to scrape.
    rules : sequence of Path
        Rule files to evaluate every second.
    alertmanagers : sequence of str
        Where alerts go, "host:port".
    past : str
        What it has known before, as OpenMetrics text with times.
    """

    def __init__(
        self,
        targets: Sequence[str],
        rules: Sequence[Path] = (),
        alertmanagers: Sequence[str] = (),
        past: str = "",
    ) -> None:
        self._past = past
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rule.resolve()) for rule in rules],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": list(alertmanagers)}]}]},
            "scrape_configs": [{"job_name": "observer", "static_configs": [{"targets": list(targets)}]}],
        }
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: Process | None = None
        self._client = httpx.Client(base_url=self.url, timeout=10, trust_env=False)

    def start(self) -> None:
        """Start with nothing but the past; return once it is ready to answer queries."""
        binary = shutil.which("prometheus")
        if binary is None:
            raise ServiceError("no Prometheus server: install one that is on PATH (Debian: prometheus)")
        self._folder = tempfile.TemporaryDirectory(prefix="observer-prometheus-")
        folder = Path(self._folder.name)
        config = folder / "prometheus.yml"
        config.write_text(json.dumps(self._config))  # JSON is YAML
        if self._past:
            (folder / "past.txt").write_text(self._past)
            made = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet"]
            subprocess.run([*made, folder / "past.txt", folder / "data"], check=True, timeout=120)
        command = [binary, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
        command += [f"--web.listen-address=127.0.0.1:{self._port}", "--log.level=warn"]
        self._process = Process(command, folder / "server.log")
        self._process.wait_until(self._ready, 60)

    def stop(self) -> None:
        """End it and remove its data."""
        if self._process is not None:
            self._process.stop()
            self._process = None
        self._client.close()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def query(self, promql: str) -> list[Sample]:
        """The instant vector now; a scalar is one sample without labels."""
        data = self._get("/api/v1/query", {"query": promql})
        if data["resultType"] == "scalar":
            return [Sample({}, *map(float, data["result"]))]
        return [Sample(one["metric"], *map(float, one["value"])) for one in data["result"]]

    def query_range(self, promql: str, start: float, end: float, step: float = 1) -> list[Series]:
        """Every series between two times (seconds since the epoch), one point every `step` seconds."""
        data = self._get("/api/v1/query_range", {"query": promql, "start": start, "end": end, "step": step})
        return [
            Series(one["metric"], [(float(time_), float(value)) for time_, value in one["values"]])
            for one in data["result"]
        ]

    def wait_for(
        self, promql: str, predicate: Callable[[list[Sample]], object] = bool, timeout: float = 60
    ) -> list[Sample]:
        """The query's first answer that satisfies `predicate`; raises `TimeoutError` with the last answer."""
        deadline = time.monotonic() + timeout
        while True:
            samples = self.query(promql)
            if predicate(samples):
                return samples
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{promql}: not as expected within {timeout} s; the last answer: {samples}"
                )
            time.sleep(0.2)

    def targets(self) -> list[dict[str, Any]]:
        """What it scrapes and how that went: `health`, `lastError` and so on, as its API says."""
        active: list[dict[str, Any]] = self._get("/api/v1/targets", {"state": "active"})["activeTargets"]
        return active

    def _get(self, path: str, parameters: Mapping[str, str | float]) -> Any:
        answer = self._client.get(path, params=dict(parameters))
        body = answer.json()
        if body["status"] != "success":
            raise ServiceError(f"Prometheus: {body['errorType']}: {body['error']}")
        return body["data"]

    def _ready(self) -> bool:
        try:
            return self._client.get("/-/ready").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False
