"""The sample configuration, as amtool understands it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parents[3] / "examples/alerting/alertmanager.yml"


def amtool(*arguments: str) -> str:
    tool = shutil.which("amtool")
    assert tool is not None, "install Debian's prometheus-alertmanager, which brings amtool"
    ran = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout.strip()


def test_amtool_finds_nothing_wrong():
    assert "SUCCESS" in amtool("check-config", str(SAMPLE))


@pytest.mark.parametrize(
    ("severity", "owner", "receiver"),
    [
        ("page", "growth", "pages-growth"),
        ("page", "", "pages"),
        ("ticket", "growth", "tickets-growth"),
        ("ticket", "nobody", "tickets"),
    ],
)
def test_alerts_go_by_severity_and_owner(severity, owner, receiver):
    labels = [f"severity={severity}", *([f"owner={owner}"] if owner else []), "model=churn"]
    assert amtool("config", "routes", "test", f"--config.file={SAMPLE}", *labels) == receiver
