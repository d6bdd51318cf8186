"""Helm, built once from its Go module into `.cache/helm`: `python -m tests.services.helm --fetch`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.services.golang import build
from tests.services.process import ServiceError

VERSION = "3.18.6"
ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "observer"


def fetch() -> Path:
    """The binary, built if it is not there."""
    return build("helm.sh/helm/v3/cmd/helm", VERSION, "helm")


def run(*arguments: str | Path) -> str:
    """What Helm prints; raises `ServiceError` with what it says is wrong."""
    done = subprocess.run([fetch(), *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServiceError((done.stdout + done.stderr).strip())
    return done.stdout


def template(
    *arguments: str | Path, release: str = "observer", namespace: str = "watch"
) -> list[dict[str, Any]]:
    """The objects that the chart makes of values, in the order of their templates."""
    text = run("template", release, CHART, "--namespace", namespace, "--kube-version", "1.33", *arguments)
    return [one for one in yaml.load_all(text, yaml.CSafeLoader) if one]


if __name__ == "__main__" and "--fetch" in sys.argv:
    print(fetch())
