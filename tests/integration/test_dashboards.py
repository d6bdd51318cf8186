"""Every query of every dashboard, asked of a real Prometheus that scrapes a running service."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from observer.clock import SystemClock
from observer.codecs import Limits
from observer.config import Config
from observer.dashboards import texts
from observer.references import Overrides, RowLabels, build
from observer.sources.demo import DemoSource, EventClock, Script
from observer.sources.demo.models import MODELS
from observer.sources.demo.parts import Challenger, Episode
from observer.sources.demo.script import HOUR
from tests.integration.test_alerts import Watching
from tests.services.process import free_port
from tests.services.prometheus import Prometheus
from tests.unit.pipeline.service import config

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(600)]  # for busy machines

SPEED = 24.0
"""Hours of event time in a second."""
BOARDS = {name: json.loads(text) for name, text in texts().items()}
MAY_BE_EMPTY = {
    "When the budget will be spent",  # only while a budget is neither lasting nor spent
}
"""Titles of panels that say nothing while all is well."""


class Asked:
    """A dashboard's variables as Prometheus fills them in, and its queries with them."""

    def __init__(self, board: Mapping[str, Any], prometheus: Prometheus, start: float) -> None:
        self._prometheus, self._start = prometheus, start
        self._variables = {one["name"]: one for one in board["templating"]["list"] if one["type"] == "query"}

    def answers(self, expr: str, *, instant: bool, patience: float = 30) -> bool:
        """Whether the query soon gives anything for some values of its variables; raises where it is wrong.

        A scrape that a busy machine was late for leaves a gap, so it is asked again for `patience` seconds.
        """
        deadline = time.monotonic() + patience
        while not (found := self._answers(expr, instant=instant)) and time.monotonic() < deadline:
            time.sleep(0.5)
        return found

    def _answers(self, expr: str, *, instant: bool) -> bool:
        used = [name for name in self._variables if f"${name}" in expr]
        found = False
        for model in self._values("model", "") if "model" in used else [""]:
            others = [name for name in used if name != "model"]
            for values in product(*(self._values(name, model) for name in others)):
                filled = {"model": model, **dict(zip(others, values, strict=True))}
                found = found or self._ask(_filled(expr, filled), instant=instant)
        return found

    def _values(self, name: str, model: str) -> list[str]:
        variable = self._variables[name]
        everything = variable.get("allValue")
        metric, _, label = variable["definition"].removeprefix("label_values(").rpartition(", ")
        selector = _filled(metric, {"model": model})
        kept = {one.labels.get(label.rstrip(")"), "") for one in self._prometheus.query(selector)}
        assert kept, f"variable {name}: {selector} gives nothing"
        return [everything] if everything else sorted(kept)

    def _ask(self, expr: str, *, instant: bool) -> bool:
        if instant:
            return bool(self._prometheus.query(expr))
        return bool(self._prometheus.query_range(expr, self._start, time.time(), 1))


def _filled(expr: str, values: Mapping[str, str]) -> str:
    for name, value in {"__rate_interval": "5s", "__range": "30s", **values}.items():
        expr = expr.replace(f"${name}", value)
    assert not re.search(r"\$\w", expr), expr
    return expr


def settings_of(folder: Path, script: Script) -> Config:
    models = {}
    for model in script.models:
        keys, columns, tags = script.reference_columns(model.name, 5_000)
        labels = RowLabels(script.reference_labels(model.name, 5_000), np.arange(len(keys)))
        made = build(keys, columns, Overrides(task=model.task), "scripted", tags, labels=labels)
        made.save(folder / f"{model.name}.reference")
        models[model.name] = {
            "reference": folder / f"{model.name}.reference",
            "window": {"size": "1d"},
            "segments": [{"tag": "region", "limit": 2}],
            "objectives": {"right": {"indicator": {"type": "correct"}, "target": 0.75, "window": "30d"}},
        }
    # As time is scripted, a day takes a moment.
    scheduled = {"when": {"every": "2d"}, "do": "retrain", "target": "program", "cooldown": "0s"}
    scheduled["give_up"] = "300d"
    models["churn"]["actions"] = {
        "rules": [
            {"name": "asks", "approval": "required", **scheduled},
            {"name": "acts", "approval": "automatic", **scheduled},
        ],
        "guards": {"concurrent": 3},
    }
    models["churn"]["rollout"] = {"target": "split", "steps": [40], "bake": "0s"}
    return config(
        folder,
        models=models,
        labels={"horizon": "5d"},
        learn_unknown=False,
        limits=Limits(max_ahead=1e9),
        http={"port": 0},
        targets={
            "program": {
                "type": "command",
                "arguments": [sys.executable, "-c", ""],
                "folder": folder / "runs",
            },
            "split": {"type": "local_split", "path": folder / "split.json"},
        },
        alertmanager={"urls": [f"http://127.0.0.1:{free_port()}"]},
    )


@contextmanager
def world(folder: Path) -> Iterator[tuple[Prometheus, float]]:
    """A service over two of the demo's models, one of them with a challenger, and its Prometheus."""
    cast = {model.name: replace(model, per_hour=40.0) for model in MODELS}
    churn = replace(cast["churn"], challenger=Challenger("4", 0.4))
    onset, never = 36 * 24.0, 1e6  # after as many windows as a page needs
    episodes = (
        Episode("churn", "shift", 1.5, onset, never, ("income", "monthly_charge")),
        Episode("triage", "concept", 0.5, onset, never),
    )
    start = int(time.time() * 1000) // HOUR * HOUR
    script = Script((churn, cast["triage"]), episodes, 7, start, never)
    settings = settings_of(folder, script)
    events = EventClock(SystemClock(), start / 1000, SPEED * 3600)
    sources = {stream: DemoSource(script, stream, events) for stream in ("predictions", "labels")}
    began = time.time()
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patched:
        patched.setattr("observer.actions.rollouts.GIVE_UP", 300 * 86_400.0)
        watching = stack.enter_context(Watching(settings, sources, threading.Event(), act_by=events))
        address = f"127.0.0.1:{watching.service.server.port}"
        prometheus = stack.enter_context(Prometheus([address]))
        prometheus.wait_for("observer_ledger_rows")
        watching.service.acting.rollout("start", "churn", "test", {"champion": "3", "challenger": "4"})
        # What takes longest.
        prometheus.wait_for("observer_rollout_difference", timeout=240)
        prometheus.wait_for("observer_quality_estimate_skill", timeout=240)
        prometheus.wait_for('observer_findings_total{tier="page"}', timeout=240)
        prometheus.wait_for("increase(observer_actions_ended_total[5s])", timeout=240)
        yield prometheus, began


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, float]]:
    with world(tmp_path_factory.mktemp("dashboards")) as running:
        yield running


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_every_query_of_every_panel_is_answered(watched: tuple[Prometheus, float], name: str) -> None:
    board = BOARDS[name]
    asked = Asked(board, *watched)
    empty = [
        f"{panel['title']}: {target['expr']}"
        for panel in board["panels"]
        for target in panel.get("targets", ())
        if panel["title"] not in MAY_BE_EMPTY
        and not asked.answers(target["expr"], instant=bool(target.get("instant")))
    ]
    assert not empty, "\n".join(empty)


def test_every_annotation_is_answered(watched: tuple[Prometheus, float]) -> None:
    for board in BOARDS.values():
        asked = Asked(board, *watched)
        for annotation in board["annotations"]["list"]:
            assert asked.answers(annotation["expr"], instant=False), annotation["name"]
