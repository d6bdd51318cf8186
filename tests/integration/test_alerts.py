"""A real Prometheus and a real Alertmanager beside the service: what reaches the people on call, and when."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import yaml

from observer.app import Service
from observer.clock import SystemClock
from observer.config import Config
from observer.engines.local import Pace
from observer.model import Messages, Origin, Partition, Stream
from observer.ports import Clock
from observer.rules import thresholds, write
from tests.services.alertmanager import Alertmanager, Notified, Receiver
from tests.services.prometheus import Prometheus
from tests.unit.pipeline.service import Letters, config, payloads, reference

SAMPLE = Path(__file__).parents[2] / "examples/alerting/alertmanager.yml"
RATE = 100
"""Predictions a second."""
BURN = {
    "period": "10m",
    "alerts": [
        {"severity": "page", "short": "5s", "long": "15s", "factor": 3},
        {"severity": "ticket", "short": "10s", "long": "40s", "factor": 1},
    ],
}
"""The windows of the field, a few hundred times shorter."""
PROMISED = 15 * 3 * 0.1 / 0.6
"""Seconds until 15 s burn at 3 when 60% fail of which 10% may: long window x factor x budget / errors."""
BUSY = 25
"""Seconds that scraping, evaluating and sending may take on a machine that has other work."""


class LiveSource:
    """One partition into which a test writes while the service reads."""

    def __init__(self, stream: Stream) -> None:
        self.partition = Partition(stream, "live", 0)
        self.waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._next = 0

    def open(self, positions: Mapping[Partition, int]) -> None:
        self._next = positions.get(self.partition, 0)

    def poll(self, limit: int, timeout: float) -> Messages:
        values: list[bytes] = []
        try:
            while len(values) < limit:
                values.append(self.waiting.get(timeout=timeout if not values else 0))
        except queue.Empty:
            pass
        self._next += len(values)
        positions = {self.partition: self._next} if values else {}
        at = np.zeros(len(values), np.int32)
        done = frozenset({0})
        return Messages(values, at, (self.partition,), positions, lambda i: Origin("live", 0, i), done)

    def commit(self, positions: Mapping[Partition, int]) -> None:
        pass

    def lag(self) -> Mapping[Partition, int]:
        return {self.partition: self.waiting.qsize()}

    def close(self) -> None:
        pass


class World:
    """Users of a model, who can be made to change."""

    def __init__(self, sources: Mapping[str, LiveSource]) -> None:
        self.errors = 0.02
        self.shift = 0.0
        self.silent = False
        self.ended = threading.Event()
        self._sources = sources
        self._random = random.Random(5)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> World:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self.ended.wait(0.1):
            if self.silent:
                continue
            now = int(time.time() * 1000)
            predictions, labels = [], []
            for _ in range(RATE // 10):
                number += 1
                said = str(self._random.randrange(2))
                right = self._random.random() >= self.errors
                one = {"id": str(number), "model": "churn", "version": "1", "time": now, "prediction": said}
                one["features"] = {"age": self._random.gauss(50 + self.shift, 10)}
                predictions.append(one)
                actual = said if right else str(1 - int(said))
                labels.append({"id": str(number), "model": "churn", "time": now, "label": actual})
            for stream, events in (("predictions", predictions), ("labels", labels)):
                for payload in payloads(events):
                    self._sources[stream].waiting.put(payload)


class Watching:
    """A service in a thread of its own, which makes, runs and frees it: the state belongs to one thread."""

    def __init__(
        self,
        settings: Config,
        sources: Mapping[str, LiveSource],
        ended: threading.Event,
        act_by: Clock | None = None,
    ) -> None:
        self._given = settings, sources, ended
        self._act_by = act_by
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.service: Service

    def __enter__(self) -> Watching:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._given[2].set()
        self._thread.join()

    def _run(self) -> None:
        settings, sources, ended = self._given
        letters = {stream: Letters() for stream in sources}
        pace, by = Pace(publish_every=0.5, act_every=0.25), self._act_by
        with Service(
            settings, SystemClock(), sources=sources, dead_letters=letters, pace=pace, act_by=by
        ) as service:
            self.service = service
            self._ready.set()
            service.run(ended.is_set)


def settings_of(folder: Path):
    r = random.Random(1)
    path = folder / "churn.reference"
    columns = {"age": [r.gauss(50, 10) for _ in range(2_000)], "@prediction": ["0", "1"] * 1_000}
    reference(columns).save(path)
    windows = folder / "scaled.yaml"
    windows.write_text(yaml.safe_dump(BURN))
    model = {
        "owner": "growth",
        "reference": path,
        "window": {"size": "4s", "lateness": "1s", "min_events": 100},
        "objectives": {
            "correct": {
                "indicator": {"type": "correct"},
                "target": 0.9,
                "window": "10m",
                "burn_windows": windows,
            }
        },
    }
    return config(
        folder,
        models={"churn": model},
        labels={"horizon": "1h"},
        learn_unknown=False,
        idle_after="3s",
        http={"port": 0},
    )


def alertmanager_config(url: str) -> dict:
    """The sample, sent to us and without its patience."""
    sample = yaml.safe_load(SAMPLE.read_text())

    def hurry(route: dict) -> None:
        for key in ("group_wait", "group_interval"):
            if key in route:
                route[key] = "1s"
        for below in route.get("routes", ()):
            hurry(below)

    hurry(sample["route"])
    for receiver in sample["receivers"]:
        for hook in receiver.get("webhook_configs", ()):
            hook["url"] = url
    return sample


@pytest.fixture
def running(tmp_path) -> Iterator[tuple[World, Receiver, Prometheus, Alertmanager, Service]]:
    settings = settings_of(tmp_path)
    limits = tmp_path / "thresholds.yaml"
    limits.write_text("{stream_silent: 6s, model_silent: 5m, hold: 0s}")
    rules = tmp_path / "rules.yaml"
    rules.write_text(write(settings, thresholds(limits)))
    sources = {stream: LiveSource(stream) for stream in ("predictions", "labels")}
    world = World(sources)
    watching = Watching(settings, sources, world.ended)
    with ExitStack() as stack:
        stack.enter_context(watching)
        stack.enter_context(world)
        receiver = stack.enter_context(Receiver())
        alertmanager = stack.enter_context(Alertmanager(alertmanager_config(receiver.url)))
        target = f"127.0.0.1:{watching.service.server.port}"
        prometheus = stack.enter_context(Prometheus([target], [rules], [alertmanager.address]))
        yield world, receiver, prometheus, alertmanager, watching.service


def named(name: str, severity: str, status: str = "firing"):
    def wanted(one: Notified) -> bool:
        return (one.labels["alertname"], one.labels["severity"], one.status) == (name, severity, status)

    return wanted


@pytest.mark.services
@pytest.mark.slow
def test_a_drop_pages_in_time_drift_does_not_and_a_stalled_stream_does(running):
    world, receiver, prometheus, alertmanager, service = running

    # All is well, and known to be.
    prometheus.wait_for('slo:sli_error:ratio_rate15s{sloth_id="churn-correct"} >= 0', timeout=60)
    time.sleep(10)
    assert receiver.notified == []

    # The world drifts, the model stands it: a ticket, which says that the objective is all right.
    world.shift = 30.0
    ticket = receiver.wait_for(named("ObserverDriftTicket", "ticket"), 60)
    assert (ticket.receiver, ticket.labels["owner"]) == ("tickets-growth", "growth")
    time.sleep(10)
    assert [one for one in receiver.notified if one.labels["severity"] == "page"] == []

    # Most predictions are wrong: a page to the owner, as soon as the burn rate promises.
    world.errors, since = 0.6, time.time()
    page = receiver.wait_for(named("ObserverBudgetBurn", "page"), PROMISED + BUSY)
    assert 2 < page.at - since < PROMISED + BUSY
    assert (page.receiver, page.labels["model"], page.labels["objective"]) == (
        "pages-growth",
        "churn",
        "correct",
    )
    assert page.annotations["runbook_url"].endswith("ObserverBudgetBurn.md")
    assert page.annotations["summary"].endswith("the error budget of churn/correct burns too fast")
    assert page.annotations["description"].startswith("Burns at ")
    # What moved is told with it, though it is no cause here.
    assert "drifts in age" in page.annotations["description"]
    assert {one.severity for one in service.objectives.latest} == {"page"}

    # Its tickets are muted meanwhile.
    alertmanager.wait_until_muted("ObserverDriftTicket", "ObserverBudgetBurn")

    # They are right again: it resolves once the short window is clean.
    world.errors = 0.02
    receiver.wait_for(named("ObserverBudgetBurn", "page", "resolved"), 5 + BUSY)

    # Nobody writes any more.
    world.silent = True
    stalled = receiver.wait_for(named("ObserverStreamStalled", "page"), 6 + BUSY)
    assert stalled.labels["stream"] == "predictions"

    # What has drifted is of yesterday now: muted until the stream is repaired.
    alertmanager.wait_until_muted("ObserverDriftTicket", "ObserverStreamStalled")
