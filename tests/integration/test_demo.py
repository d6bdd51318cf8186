"""The demo as a stranger runs it."""

import json
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_finds_drift_and_closes_the_loop_and_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    tempfile.tempdir = None
    command = [sys.executable, "-m", "observer", "demo", "--once", "--json", "--port", "0", "--speed", "4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True)
    told = json.loads(done.stdout.strip().splitlines()[-1])
    print(told)
    drift, found = (datetime.fromisoformat(told[key]) for key in ("drift_at", "first_finding_at"))
    assert drift < found <= drift + timedelta(hours=2)
    assert told["false_findings"] == 0
    assert told["findings"] > 20
    assert told["events"] > 50_000
    assert told["windows"] > 200

    kinds = [one.partition(" ")[0] for one in told["actions"]]
    assert all(one.endswith(" succeeded") for one in told["actions"])
    assert kinds[:2] == ["retrain", "set_weights"]
    assert kinds[-3:] == ["retrain", "set_weights", "rollback"]
    assert kinds.count("retrain") == 2
    assert kinds.count("promote") == 1
    assert [one.partition(": ")[2] for one in told["rollouts"]] == ["promoted", "rolled_back"]
    assert told["champion"] == "2"
    assert told["over"]
    assert told["ledger_unbroken"]
    assert told["ledger_rows"] > 20

    assert "Traceback" not in done.stderr
    assert not list(Path(tmp_path).glob("observer-demo-*"))
