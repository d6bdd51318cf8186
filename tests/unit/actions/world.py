"""A service's control plane over stores that survive it, its platform, and people who answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from typing import Any

import numpy as np

from detectors.summaries.answers import Answers
from observer.actions.base import ROLLOUTS, Foreign, Order, Progress, Target
from observer.actions.control import Control, Inbox
from observer.actions.engine import ActionEngine
from observer.actions.ledger import Action, Ledger
from observer.actions.rollout_spec import RolloutSpec
from observer.actions.rollout_target import RolloutTarget
from observer.actions.rollouts import Rollouts
from observer.actions.spec import ActionsSpec, GuardSpec
from observer.actions.traffic.target import Division
from observer.errors import Permanent, Retryable
from observer.metrics import Counters
from observer.model import (
    Alert,
    BurnAlert,
    BurnRate,
    EvidenceReport,
    ObjectiveStanding,
    QualityReport,
    StreamEvidence,
    WindowKey,
    WindowReport,
)
from observer.pipeline.reporting import answer_counts
from tests.unit.actions.fakes import NOW, FakeTarget, MemoryStore

HOUR = 3_600
RULES = {
    "rules": [
        {
            "name": "retrain",
            "when": {"finding": "page"},
            "do": "retrain",
            "target": "pipeline",
            "approval": "automatic",
            "fresh_labels": 100,
        }
    ]
}


class MemoryStates:
    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.point: Callable[[], None] = lambda: None

    def get(self, key: str) -> bytes | None:
        self.point()
        return self.kept.get(key)

    def put(self, key: str, value: bytes) -> None:
        self.point()
        self.kept[key] = value

    def delete(self, key: str) -> None:
        self.point()
        self.kept.pop(key, None)

    def scan(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        return iter(sorted((k, v) for k, v in self.kept.items() if k.startswith(prefix)))


class Splitter:
    """Traffic as somebody set it last."""

    can_be_asked = deduplicates = True

    def __init__(self) -> None:
        self.share = self.shadow = 0.0
        self.away = False

    def send(self, order: Order) -> str:
        if self.away:
            raise Retryable("503")
        before = order.parameters["before"]
        if before is not None and before != self.share and order.parameters["share"] != self.share:
            raise Foreign("changed")
        self.share = order.parameters["share"]
        self.shadow = order.parameters.get("shadow", self.shadow)
        return "set"

    def find(self, order: Order) -> str | None:
        return "set" if self._done(order) else None

    def _done(self, order: Order) -> bool:
        wanted = (order.parameters["share"], order.parameters.get("shadow", self.shadow))
        return (self.share, self.shadow) == wanted

    def progress(self, order: Order, _: str) -> Progress:
        if not self._done(order):
            return Progress("foreign", "changed")
        return Progress("succeeded", "served")

    def stop(self, order: Order, reference: str) -> None:
        raise Permanent(f"{order.kind} {reference}: no")

    def check(self) -> list[str]:
        return []


class Phone:
    """An Alertmanager that remembers, and people who answer."""

    def __init__(self) -> None:
        self.alerts: Mapping[str, Alert] = {}
        self.said: list[dict[str, Any]] = []
        self.down = False

    def show(self, alerts: Mapping[str, Alert], _: float) -> None:
        self.alerts = alerts

    def tick(self, _: float) -> list[str]:
        return ["down"] if self.down else []

    def jumped(self) -> None:
        pass

    def silences(self) -> list[dict[str, Any]]:
        if self.down:
            raise Retryable("no Alertmanager answers")
        return self.said


def burning(version: str) -> ObjectiveStanding:
    alert = BurnAlert("page", 300_000, 3_600_000, 14.4, firing=True)
    rate = BurnRate(300_000, 20.0, 100)
    budget = (50, 100, -1.0, -1.0)
    of = ("credit", "accuracy", "", "right", version, "", "", "realised", 0.9, "", 0, 1)
    return ObjectiveStanding(*of, *budget, (rate,), (alert,), None)


class World:
    """A service's control plane over stores that survive it."""

    def __init__(self, **rollout: Any) -> None:
        self.store, self.states = MemoryStore(), MemoryStates()
        self.splitter, self.phone = Splitter(), Phone()
        self.pipeline = FakeTarget()
        self.standings: list[ObjectiveStanding] = []
        self.actions: Mapping[str, Any] = RULES
        self.guards = GuardSpec(largest_step=100.0)
        spec = {"target": "serving", "start": "after_retrain", "promote_approval": "automatic"}
        spec |= {"steps": [1, 5, 20, 50], **rollout}
        self.spec = RolloutSpec.model_validate(spec)
        self.rng = np.random.default_rng(5)
        self.counters = Counters()
        self.inbox = Inbox(self.counters)
        self.patient = False
        """Whether a turn may fail for want of the database, as the loop lets it."""
        self.restart()

    def restart(self) -> None:
        targets: dict[str, Target] = {"pipeline": self.pipeline, "serving": self.splitter}
        engine = ActionEngine(Ledger(self.store), targets, poll_every=0, done=self._done)
        rollouts = Rollouts(
            self.states,
            engine,
            lambda _: self.spec,
            lambda _: self.guards,
            lambda _, now: now,
            0.0,
            lambda _: Division(self.splitter.share, self.splitter.shadow),
        )
        targets[ROLLOUTS] = RolloutTarget(rollouts)
        self.control = Control(
            self.inbox,
            {"credit": ActionsSpec.model_validate(self.actions)},
            engine,
            rollouts,
            self.states,
            self.counters,
            lambda: self.standings,
            lambda _: 0.0,
            self.phone,
        )

    def _done(self, action: Action) -> None:
        self.control.done(action)

    def incident(self, now: float, version: str = "v1") -> None:
        start = int((NOW - HOUR) * 1000)
        stream = StreamEvidence("", "income", "location", 6.0, 0.7, 0.4, "page", start)
        evidence = EvidenceReport("inputs", "paging", 700, 336, 5.0, 4.0, start, (stream,))
        key = WindowKey("credit", version, "", int(now * 1000))
        self.inbox.window(
            WindowReport(key, key.start + 1, 500, 0, "r", "drift", (), (), (), evidence=evidence)
        )

    def answered(
        self, now: float, version: str, rows: int, failing: float, took: float, *, copied: bool = False
    ) -> None:
        """A window of the version closes."""
        answers = Answers()
        latency = self.rng.lognormal(np.log(took), 0.4, rows)
        answers.update(latency, self.rng.random(rows) < failing, copied=copied)
        start = int((now - HOUR) * 1000)
        key = WindowKey("credit", version, "", start)
        end = start + HOUR * 1000
        counts = answer_counts(answers)
        self.inbox.window(
            WindowReport(key, end, rows, 0, "r", "stable", (), (), (), answers=counts, copied=answers.copied)
        )

    def cohort(self, now: float, version: str, rows: int, rate: float) -> None:
        labelled = int(self.rng.binomial(rows, 0.8))
        right = int(self.rng.binomial(labelled, rate))
        start = int((now - HOUR) * 1000)
        self.inbox.quality(
            QualityReport(
                "credit",
                version,
                "",
                "",
                start,
                start + HOUR * 1000,
                "matured",
                True,
                rows,
                labelled,
                (),
                correct=right,
            )
        )

    def hours(self, first: int, last: int, lift: float, *, restarts: bool = False) -> None:
        for hour in range(first, last):
            now = NOW + hour * HOUR
            share = self.splitter.share / 100
            challenger = int(self.rng.binomial(2_000, share)) if share else 0
            if challenger:
                self.cohort(now, "v2", challenger, 0.85 + lift)
            self.cohort(now, "v1", 2_000 - challenger, 0.85)
            if restarts and hour % 3 == 0:
                self.control.tick(now)
                self.restart()
            for minute in range(0, 50, 10):
                with suppress(Retryable) if self.patient else nullcontext():
                    self.control.tick(now + minute * 60)

    @property
    def kinds(self) -> list[str]:
        actions = self.control.engine.ledger.actions.values()
        return [f"{one.order.kind} {one.state}" for one in actions]
