"""Programs built once from their Go modules into `.cache`."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.services.process import ServiceError

CACHE = Path(__file__).parents[2] / ".cache"


def build(package: str, version: str, name: str) -> Path:
    """The program of a package, as `.cache/NAME/NAME-VERSION`; built if it is not there."""
    made = CACHE / name / f"{name}-{version}"
    if made.exists():
        return made
    go = shutil.which("go")
    if go is None:
        raise ServiceError(f"no Go of at least 1.24: {name} is built from source")
    made.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="observer-go-", dir=made.parent) as folder:
        environment = {**os.environ, "GOBIN": folder, "GOFLAGS": "-buildvcs=false"}
        command = [go, "install", "-trimpath", "-ldflags", "-s -w", f"{package}@v{version}"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServiceError(f"go install {package} failed:\n{done.stderr[-2000:]}")
        next(Path(folder).iterdir()).rename(made)
    return made
