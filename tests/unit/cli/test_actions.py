"""`observer actions` and `observer rollout` against a running control plane."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from starlette.applications import Starlette

from observer.acting import Acting
from observer.actions.policy import Trigger
from observer.config import load
from observer.errors import Permanent
from observer.metrics import Counters
from observer.stores.history.database import Database
from observer.web.access import Access
from observer.web.actions import action_routes
from observer.web.attempts import Attempts
from observer.web.server import Server
from tests.unit.web.test_actions import CONFIG, until


class Running:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "observer.yaml"
        self.path.write_text(CONFIG % (folder, folder) + "\nhttp: {token: act}\n")
        self.database = Database(f"sqlite:///{folder / 'history.sqlite'}")
        self.plane = Acting(load(self.path), self.database, Counters(), lambda: (), time.time, every=0.02)
        self.server = Server(
            Starlette(routes=action_routes(self.plane, Access(Attempts(time.time), act="act"))),
            "127.0.0.1",
            0,
        )
        self.server.start()
        self.url = f"http://127.0.0.1:{self.server.port}"
        until(lambda: self.observer("actions", "list").exit_code == 0)

    def observer(self, *arguments: str) -> Result:
        where = ["-c", str(self.path), "--url", self.url]
        # Imported late: at collection it would hide the function `observer.cli.group` from other tests.
        group = import_module("observer.cli.group").group
        return CliRunner().invoke(group, [*arguments[:2], *where, *arguments[2:]])

    def says(self, *arguments: str) -> str:
        done = self.observer(*arguments)
        assert done.exit_code == 0, done.exception
        return done.output

    def close(self) -> None:
        self.server.stop()
        self.plane.close()
        self.database.close()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_an_action_is_seen_approved_and_verified(running: Running) -> None:
    assert running.says("actions", "list") == "no open actions\n"
    labels = {"alertname": "Stale"}
    running.plane.inbox.alert(Trigger("alert", "churn", "7", "alert/1", "features are stale", labels=labels))
    (one,) = until(lambda: json.loads(running.says("actions", "list", "--json")))
    text = running.says("actions", "list")
    assert f"{one['id']}  waiting    retrain churn through train" in text
    assert re.search(r"features are stale; expires undone at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n", text)
    said = running.says("actions", "approve", "--by", "ann", "--comment", "fine", one["id"])
    assert said == f"{one['id']}: approved\n"
    until(lambda: "succeeded" in running.says("actions", "list", "--all"))
    assert "features are stale\n    last: done\n" in running.says("actions", "list", "--all")
    assert json.loads(running.says("actions", "show", one["id"]))["rows"][1]["actor"] == "token:ann"
    rows = running.says("actions", "export").splitlines()
    assert running.says("actions", "verify").startswith(f"{len(rows)} rows, unbroken; head ")
    assert len(rows) >= 5
    assert "churn stale: intended  alert/1" in running.says("actions", "explain")
    begins = f"{one['id'][:6]}..."
    assert running.says("actions", "show", begins) == running.says("actions", "show", one["id"])
    refused = running.observer("actions", "hold", "6f1c...")
    assert isinstance(refused.exception, Permanent)
    assert "there is none of this id" in str(refused.exception)
    refused = running.observer("actions", "hold", begins)
    assert isinstance(refused.exception, Permanent)
    assert "it has ended" in str(refused.exception)


def test_a_rollout_is_started_told_and_aborted(running: Running) -> None:
    assert running.says("rollout", "status") == "no rollouts\n"
    assert "rollout of 8 against 7 starts" in running.says(
        "rollout", "start", "churn", "7", "8", "--by", "ann"
    )
    until(lambda: "5% of the traffic; under way" in running.says("rollout", "status", "churn"))
    running.says("rollout", "pause", "churn", "--by", "ann")
    assert "paused: by token:ann" in running.says("rollout", "status")
    assert (
        running.says("rollout", "pause", "churn") == "churn: rollout of 8 is paused already: by token:ann\n"
    )
    running.says("rollout", "resume", "churn")
    assert running.says("rollout", "resume", "churn") == "churn: rollout of 8 is not paused\n"
    assert running.says("rollout", "status", "other") == "other: no rollout\n"
    running.says("rollout", "abort", "churn", "--by", "ann")
    until(lambda: "aborted" in running.says("rollout", "status"))


def test_the_plot_shows_the_band_about_zero(running: Running, monkeypatch: Any) -> None:
    point = {"estimate": 0.01, "lower": -0.02, "upper": 0.04, "share": 5.0, "better": 2.3026, "worse": -1.0}
    one = {
        "model": "churn",
        "champion": "7",
        "challenger": "8",
        "share": 5.0,
        "shadow": 0.0,
        "result": "",
        "paused": "",
        "said": "wait gathering: +0.0100",
        "history": [point],
    }
    monkeypatch.setattr("observer.cli.rollout.ask", lambda *_: [one])
    text = running.says("rollout", "status")
    assert "evidence 10^1.0 better" in text
    bar = text.splitlines()[-1]
    assert bar.index("|") < bar.index("o")
    assert bar.strip().endswith("5%")
    # A band of a half is drawn as such, and one that goes further than the scale says so.
    one["history"] = [
        {**point, "lower": -1.0, "upper": 1.0},
        {**point, "estimate": 0.3, "lower": -0.1, "upper": 0.4},
        {**point, "estimate": 0.1, "lower": -0.25, "upper": 0.45},
    ]
    scale, first, second, third = running.says("rollout", "status").splitlines()[-4:]
    assert scale.split() == ["-0.900", "0", "+0.900"]
    assert (first[2], first[62]) == ("<", ">")
    at = {column: round((column - 32) / 30 * 0.9, 2) for column in range(2, 63)}
    assert [at[third.index("-")], at[third.index("o")], at[third.rindex("-")]] == [-0.24, 0.09, 0.45]
    assert "<" not in second + third
    one |= {"shadow": 50.0, "copies": {"answered": 1_200, "expected": 1_300, "minimum": 2_000}}
    text = running.says("rollout", "status")
    assert "copies of 50% of the traffic" in text
    assert "1,200 copies answered of about 1,300; 2,000 are needed" in text
