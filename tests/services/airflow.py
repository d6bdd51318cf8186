"""A real Airflow: what `airflow standalone` starts, less the triggerer, in an environment of its own."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import httpx

from tests.services.peers import interpreter
from tests.services.process import Process, Server, free_port


class Airflow(Server):
    """Serves DAGs, Python by name of a file, to the user `admin`; SQLite, one task at a time.

    Every command of Airflow takes seven seconds of a processor before it begins, so few are started: the
    tables are made, then the API server, a processor of DAGs that ends once each was read, and the scheduler.
    """

    def __init__(self, dags: Mapping[str, str]) -> None:
        self._dags = dags
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._folder = tempfile.TemporaryDirectory(prefix="observer-airflow-")
        self._home = Path(self._folder.name)
        self._processes: dict[str, Process] = {}

    def start(self) -> None:
        """Start it, and wait until DAGs can be run."""
        (self._home / "dags").mkdir()
        for name, text in self._dags.items():
            (self._home / "dags" / name).write_text(text)
        self._run("db", "migrate").finish(300)
        server = self._run("api-server")
        reader = self._run("dag-processor", "--num-runs", "1")
        scheduler = self._run("scheduler")
        reader.finish(300)
        server.wait_until(lambda: self._healthy("metadatabase"), 300)
        scheduler.wait_until(lambda: self._healthy("scheduler"), 300)

    def stop(self) -> None:
        """End all of it, and remove its data."""
        running = [process for process in self._processes.values() if process.code is None]
        for process in running:  # all at once, with what they started: there is nothing to save
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
        self._folder.cleanup()

    @property
    def password(self) -> str:
        """Of `admin`, which it makes itself."""
        made = self._home / "simple_auth_manager_passwords.json.generated"
        return str(json.loads(made.read_text())["admin"])

    def tail(self) -> str:
        """The ends of its logs."""
        return "\n".join(f"{name}:\n{process.tail()}" for name, process in self._processes.items())

    def _run(self, *command: str) -> Process:
        binaries = interpreter("airflow").parent
        settings = {
            "AIRFLOW_HOME": str(self._home),
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self._port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "1",
            # A machine that is busy must not look like one whose scheduler is dead.
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "300",
        }
        kept = {
            name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")
        }
        log = self._home / f"{command[0]}.log"
        process = Process([str(binaries / "airflow"), *command], log, {**kept, **settings})
        self._processes[command[0]] = process
        return process

    def _healthy(self, part: str) -> bool:
        try:
            answer = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=10, trust_env=False)
            return bool(answer.json()[part]["status"] == "healthy")
        except (httpx.HTTPError, KeyError, ValueError):
            return False
