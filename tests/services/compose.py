"""The reference parser of compose files, built once: `python -m tests.services.compose --fetch`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.services.golang import build
from tests.services.process import ServiceError


def fetch() -> Path:
    """The program, built if it is not there."""
    return build("github.com/compose-spec/compose-go/v2/cmd", "2.8.1", "compose-go")


def parsed(path: Path) -> dict[str, Any]:
    """A compose file as Docker Compose understands it; raises `ServiceError` with what is wrong."""
    done = subprocess.run([fetch(), path], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServiceError((done.stdout + done.stderr).strip())
    found: dict[str, Any] = yaml.safe_load(done.stdout)
    return found


if __name__ == "__main__" and "--fetch" in sys.argv:
    print(fetch())
