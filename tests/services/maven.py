"""Jars fetched once with Maven into `.cache`."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.services.process import ServiceError

CACHE = Path(__file__).parents[2] / ".cache"


def jars(pom: Path, name: str) -> Path:
    """Where the jars of a project file are, or will be."""
    return CACHE / name / hashlib.sha256(pom.read_bytes()).hexdigest()[:8]


def fetch(pom: Path, name: str) -> Path:
    """The folder with the jars, fetched once whoever asks and however many ask at once."""
    made = jars(pom, name)
    made.parent.mkdir(parents=True, exist_ok=True)
    with (made.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if made.is_dir():
            return made
        maven = shutil.which("mvn")
        if maven is None:
            raise ServiceError(f"the jars of {name} are fetched with Maven: install it (Debian: maven)")
        with tempfile.TemporaryDirectory(dir=made.parent) as folder:
            goal = [
                "dependency:copy-dependencies",
                f"-DoutputDirectory={folder}/jars",
                "-DincludeScope=runtime",
            ]
            command = [maven, "-B", "-ntp", "-q", "-f", str(pom), *goal]
            done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
            if done.returncode:
                raise ServiceError(f"Maven cannot fetch {name}:\n{done.stdout}{done.stderr}")
            Path(folder, "jars").rename(made)
    return made
