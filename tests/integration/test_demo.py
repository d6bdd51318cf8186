"""The demo as a stranger runs it."""

import json
import subprocess
import sys
from datetime import datetime, timedelta

import pytest


@pytest.mark.slow
def test_the_demo_finds_the_scripted_drift_and_nothing_before_it():
    command = [sys.executable, "-m", "observer", "demo", "--for", "60", "--json", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    told = json.loads(done.stdout.strip().splitlines()[-1])
    print(told)
    drift, found = (datetime.fromisoformat(told[key]) for key in ("drift_at", "first_finding_at"))
    assert drift < found <= drift + timedelta(hours=2)
    assert told["false_findings"] == 0
    assert told["findings"] > 20
    assert told["events"] > 50_000
    assert told["windows"] > 200
    assert "Traceback" not in done.stderr
