"""A real Airflow, `airflow standalone`, in an environment of its own; about a minute until it is ready."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.services.peers import interpreter
from tests.services.process import Process, free_port

DAG = """
from airflow.sdk import Param, dag, task

@dag(dag_id="train", schedule=None, params={"model": Param("", type="string")})
def train():
    @task
    def fit(**context):
        wanted = context["dag_run"].conf
        if wanted.get("fail"):
            raise ValueError("no data")
        print("trained", wanted["model"], wanted["decision"])

    fit()

train()
"""


class Airflow:
    """Serves one DAG, `train`, to the user `admin`."""

    def __init__(self) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._folder = tempfile.TemporaryDirectory(prefix="observer-airflow-")
        self._home = Path(self._folder.name)
        self._process: Process | None = None

    def __enter__(self) -> Self:
        binaries = interpreter("airflow").parent
        (self._home / "dags").mkdir()
        (self._home / "dags" / "train.py").write_text(DAG)
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
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__TRIGGERER__DEFAULT_CAPACITY": "1",
        }
        kept = {
            name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")
        }
        command = [str(binaries / "airflow"), "standalone"]
        self._process = Process(command, self._home / "airflow.log", {**kept, **settings})
        try:
            self._process.wait_until(self._ready, 600)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it and all that it started, and remove its data."""
        if self._process is not None:
            self._process.stop(30)
            with suppress(ProcessLookupError):  # what it started itself and left
                os.killpg(self._process.pid, signal.SIGKILL)
        self._folder.cleanup()

    @property
    def password(self) -> str:
        """Of `admin`, which it makes itself."""
        made = self._home / "simple_auth_manager_passwords.json.generated"
        return str(json.loads(made.read_text())["admin"])

    def tail(self) -> str:
        """The end of its log."""
        return self._process.tail(60) if self._process is not None else ""

    def _ready(self) -> bool:
        try:
            health = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=5, trust_env=False).json()
            if {health[part]["status"] for part in ("metadatabase", "scheduler")} != {"healthy"}:
                return False
            said = {"username": "admin", "password": self.password}
            token = httpx.post(f"{self.url}/auth/token", json=said, timeout=10, trust_env=False).json()
            headers = {"Authorization": f"Bearer {token['access_token']}"}
            dag = httpx.get(f"{self.url}/api/v2/dags/train", headers=headers, timeout=10, trust_env=False)
        except (httpx.HTTPError, OSError, KeyError, ValueError):
            return False
        return dag.status_code == 200
