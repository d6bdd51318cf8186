"""A third party's detector: installed as its users would, and found by its entry point."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.conftest import events, write

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "tests" / "plugins" / "example_detector"
CONFIG = """
predictions: {type: files, path: in.ndjson}
models: {m: {reference: m.reference}}
defaults: {window: {min_events: 50}, judge: {detectors: [{type: median_bin, minimum_effect: 0.1}]}}
"""

pytestmark = pytest.mark.services  # it builds a package, for which uv may need its index


def test_it_judges_once_it_is_installed(tmp_path):
    uv = shutil.which("uv") or str(ROOT / ".cache/uv/bin/uv")
    there = tmp_path / "installed"
    source = shutil.copytree(PLUGIN, tmp_path / "source")
    install = [uv, "pip", "install", "--python", sys.executable, "--no-deps", "--target", there, source]
    made = subprocess.run(install, capture_output=True, text=True, check=False, timeout=120)
    assert made.returncode == 0, made.stderr

    def observer(*arguments, installed=True):
        path = f"{there}{os.pathsep}{ROOT}" if installed else str(ROOT)
        return subprocess.run(
            [sys.executable, "-m", "observer", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    (tmp_path / "observer.yaml").write_text(CONFIG)
    write(tmp_path / "healthy.ndjson", events(8))
    write(tmp_path / "in.ndjson", events(4, drifts_from=3))
    built = observer("reference", "build", "healthy.ndjson", "--model", "m", "-o", "m.reference")
    assert built.returncode == 0, built.stderr
    replay = ("replay", "-c", "observer.yaml", "--predictions", "in.ndjson", "--json")
    absent = observer(*replay, installed=False)
    assert absent.returncode == 3
    assert "unknown detector 'median_bin'" in absent.stderr
    ran = observer(*replay)
    assert ran.returncode == 0, ran.stderr
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    assert {(one["detector"], one["start"]) for one in found} == {("median_bin", "2025-11-24T19:00:00Z")}
    assert {"x"} <= {one["subject"] for one in found}
