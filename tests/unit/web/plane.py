"""A real control plane for tests of the page: actions in every state, and rollouts on made-up cohorts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from observer.acting import Acting
from observer.config import parse
from observer.metrics import Counters
from observer.model import QualityReport
from observer.stores.history.database import Database
from tests.unit.stores.results import HOUR

_REQUESTS = 2_000
SHADOWED = "shadowed"
"""A model whose challengers answer copies first."""
BUSY = {"approved", "sending", "running"}


class Moving:
    """A clock that is set by hand."""

    def __init__(self, at: float) -> None:
        self.at = at

    def now(self) -> float:
        return self.at


def configured(folder: Path, *models: str) -> str:
    """A configuration under which each model can be retrained, spoken of, and rolled out."""
    asked = {"when": {"alert": {"alertname": "Stale"}}, "do": "retrain", "target": "train"}
    told = {"when": {"alert": {"alertname": "Told"}}, "do": "notify", "target": "train"}
    rules = [
        {"name": "stale", **asked, "approval": "required", "cooldown": "0s"},
        {"name": "told", **told, "approval": "automatic", "cooldown": "0s"},
    ]
    guards = {"most_per_day": 100, "concurrent": 100, "largest_step": 100}
    split = {
        f"split-{i}": {"type": "local_split", "path": str(folder / f"split-{i}.json")}
        for i in range(len(models))
    }
    train = {"type": "command", "arguments": ["/bin/true"], "folder": str(folder / "runs")}
    spec = {
        "predictions": {"type": "kafka", "brokers": "k:9092", "topic": "p"},
        "targets": {"train": train, **split},
        "models": {
            model: {
                "actions": {"rules": rules, "guards": guards},
                "rollout": {
                    "target": f"split-{i}", "steps": [5, 20, 50], "bake": "0s", "minimum": 100, "gross": 0.2,
                    **({"shadow": {"percent": 50}} if model == SHADOWED else {}),
                },
            }
            for i, model in enumerate(models)
        },
    }  # fmt: skip
    return json.dumps(spec)


@contextmanager
def acting(folder: Path, database: Database, clock: Moving, *models: str) -> Iterator[Acting]:
    """A control plane that turns; its ledger is in `database`."""
    config = parse(configured(folder, *models), "observer.yaml", {})
    made = Acting(config, database, Counters(), lambda: (), clock.now, every=0.01)
    made.loop._passed, made.loop._ahead = clock.now, 0.0  # time passes as the clock says: nobody set it
    try:
        until(lambda: made._control is not None)
        yield made
    finally:
        made.close()


def until(what: Callable[[], Any], seconds: float = 60) -> Any:
    """What `what` says once it is not false."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)
    return found


def fire(plane: Acting, clock: Moving, model: str, name: str, state: str, alert: str = "Stale") -> str:
    """Have a rule decide on an alert; the id of the action, once it is in that state."""
    before = {one["id"] for one in plane.listed()}
    labels = {"alertname": alert, "model": model, "version": "1"}
    plane.alerts({"alerts": [{"status": "firing", "labels": labels, "fingerprint": name}]})

    def found() -> str:
        clock.at += 1  # running ones are looked at again only after some seconds
        new = (one for one in plane.listed() if one["id"] not in before)
        return next((one["id"] for one in new if one["state"] == state), "")

    return str(until(found))


def climb(
    plane: Acting, clock: Moving, model: str, gain: float, done: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Start a rollout of 2 against 1 and show it cohorts, an hour each, until `done` says so of it.

    `gain`: by how much the challenger is right more often.
    """
    random = np.random.default_rng(7)
    plane.rollout("start", model, "token:ann", {"champion": "1", "challenger": "2"})

    def standing() -> dict[str, Any]:
        return next(one for one in plane.rolling() if one["model"] == model)

    def settled() -> bool:
        clock.at += 1
        plane._orders.give(lambda: "")  # answered between two turns: nothing is half done
        busy = (one["model"] == model and one["state"] in BUSY for one in plane.listed())
        return bool(standing()["share"] or standing()["result"]) and not any(busy)

    for _ in range(400):
        until(settled)
        one = standing()
        if done(one):
            return one
        start = round(clock.at * 1000)
        for version, share, rate in (
            ("1", 1 - one["share"] / 100, 0.85),
            ("2", one["share"] / 100, 0.85 + gain),
        ):
            many = int(random.binomial(_REQUESTS, share))
            right = int(random.binomial(many, rate))
            report = QualityReport(
                model, version, "", "", start, start + HOUR, "matured", True, many, many, (), correct=right
            )
            plane.inbox.quality(report)
        clock.at += 3600
        seen = len(one["history"])
        # A cohort counts once the share has been seen as it was set, after its end.
        until(lambda: len(standing()["history"]) > seen or standing()["result"])  # noqa: B023
    raise AssertionError(f"it did not come: {standing()['said']}")
