"""A real PostgreSQL server with data of its own, on the loopback interface."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from tests.services.process import Process, ServiceError, accepts, free_port


class Postgres:
    """One server; databases are made by name. A context manager."""

    def __init__(self) -> None:
        self._bin = _binaries()
        self.port = free_port()
        self._user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        self._process: Process | None = None

    def __enter__(self) -> Self:
        self._made = tempfile.TemporaryDirectory(prefix="observer-postgres-", ignore_cleanup_errors=True)
        self._folder = Path(self._made.name)
        try:
            if self._user:  # the server refuses to run as root
                shutil.chown(self._folder, "postgres")
            password = self._folder / "password"
            password.write_text("s3cret")
            password.chmod(0o644)
            how = ["-U", "observer", "-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8"]
            self._run("initdb", "-D", str(self._folder / "data"), *how).check_returncode()
            self.start()
        except BaseException:
            self._made.cleanup()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._made.cleanup()

    def start(self) -> None:
        """Start, and return once it takes connections."""
        settings = ["-c", "fsync=off", "-c", f"unix_socket_directories={self._folder}"]
        command = [str(self._bin / "postgres"), "-D", str(self._folder / "data"), "-h", "127.0.0.1"]
        command += ["-p", str(self.port), *settings]
        self._process = Process([*self._user, *command], self._folder / "server.log")
        try:
            self._process.wait_until(lambda: accepts(self.port) and self._answers(), 60)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it; the data stay until the context ends."""
        if self._process is not None:
            self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "fast", "stop")
            self._process.stop()
            self._process = None

    def database(self, name: str) -> str:
        """Make a database; its address."""
        self._psql(f'CREATE DATABASE "{name}"').check_returncode()
        return f"postgresql://observer:s3cret@127.0.0.1:{self.port}/{name}"

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [*self._user, str(self._bin / program), *arguments]
        return subprocess.run(command, check=False, capture_output=True, cwd="/")

    def _answers(self) -> bool:
        return self._psql("SELECT 1").returncode == 0

    def _psql(self, command: str) -> subprocess.CompletedProcess[bytes]:
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "observer", "postgres"]
        environment = {**os.environ, "PGPASSWORD": "s3cret"}
        whole = [str(self._bin / "psql"), *where, "-c", command]
        return subprocess.run(whole, env=environment, capture_output=True, check=False)


def _binaries() -> Path:
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not versions:
        raise ServiceError("no PostgreSQL server: install one (Debian: postgresql)")
    return versions[-1].parent
