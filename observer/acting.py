"""The control plane as the configuration wants it: what the page, the API and the command line speak to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from observer.actions.base import Target, Verb
from observer.actions.control import Control, Inbox
from observer.actions.engine import ActionEngine
from observer.actions.ledger import Action, Ledger
from observer.actions.loop import ControlLoop
from observer.actions.rollout import Rollout
from observer.actions.rollouts import Rollouts
from observer.actions.traffic.target import TrafficTarget
from observer.config import Config
from observer.engines.orders import Orders
from observer.errors import ConfigError, Permanent, Retryable
from observer.exporters.alertmanager import Alertmanagers
from observer.metrics import Counters, Values
from observer.model import LedgerRow, ObjectiveStanding
from observer.stores.history.actions import SqlLedger, SqlStates
from observer.stores.history.database import Database


def wanted(config: Config) -> bool:
    """Whether the configuration names anything that could be done."""
    return bool(config.targets)


def targets(config: Config) -> dict[str, Target]:
    """The configured targets by name; raises `Permanent` when one needs an extra that is not installed."""
    return {name: spec.target() for name, spec in config.targets.items()}


class Acting:
    """Builds the control plane, and begins again where the database was away; for any thread.

    Parameters
    ----------
    standings : callable
        Where all objectives stand.
    now : callable
        Seconds since the epoch.
    every : float
        Seconds between turns.
    """

    def __init__(
        self,
        config: Config,
        database: Database,
        counters: Counters,
        standings: Callable[[], Sequence[ObjectiveStanding]],
        now: Callable[[], float],
        *,
        every: float = 1.0,
        base_url: str = "",
    ) -> None:
        self._config, self._counters, self._standings, self._now = config, counters, standings, now
        self._database, self._base_url = database, base_url
        self._targets = targets(config)
        self.inbox = Inbox(counters)
        self._alerting = Alertmanagers(config.alertmanager) if config.alertmanager else None
        self._orders = Orders()
        self._control: Control | None = None
        self.loop = ControlLoop(self, self._orders, now, every)
        self.loop.start()

    def close(self) -> None:
        """End after the present turn."""
        self.loop.stop()

    def tick(self, now: float) -> None:
        """One turn."""
        if self._control is None:
            self._control = self._build()
        self._control.tick(now)

    def publish(self, values: Values) -> None:
        """Add the gauges."""
        if self._control is not None:
            self._control.publish(values)

    # What people see

    def actions(self) -> list[Action]:
        """All actions, oldest first."""
        return list(self._ready().engine.ledger.actions.values())

    def action(self, name: str) -> Action:
        """One action by its id; raises `ConfigError` when there is none."""
        found = self._ready().engine.ledger.actions.get(name)
        if found is None:
            raise ConfigError([f"action {name!r:.60}: there is none of this id"])
        return found

    def ledger(self) -> list[LedgerRow]:
        """Every row, as the database has it now."""
        return list(SqlLedger(self._database).rows())

    def rollouts(self) -> list[tuple[Rollout, str]]:
        """Every rollout, and the last decision about it in words."""
        return self._ready().rollouts.all()

    def evaluations(self) -> list[tuple[str, str, str, str, str]]:
        """What rules made of what set them off: model, rule, cause, reason, detail; the newest last."""
        kept = list(self._ready().evaluations.items())
        return [(model, rule, cause, one.reason, one.detail) for (model, rule, cause), one in kept]

    # What people decide: carried out by the loop's thread

    def rule(self, name: str, verb: Verb, actor: str, comment: str) -> str:
        """Approve, reject or hold an action."""
        return self._orders.give(
            lambda: f"{name}: {self._ready().engine.rule(name, verb, actor, comment, self._now())}"
        )

    def rollout(self, what: str, model: str, actor: str, body: Mapping[str, Any]) -> str:
        """Start, pause, resume, promote or abort the rollout of a model."""

        def order() -> str:
            rollouts, now = self._ready().rollouts, self._now()
            if what == "start":
                champion, challenger = str(body.get("champion", "")), str(body.get("challenger", ""))
                started = rollouts.start(model, champion, challenger, now)
                return f"{model}: rollout of {started.challenger} against {started.champion} starts"
            if what == "pause":
                return rollouts.pause(model, actor)
            if what == "resume":
                return rollouts.resume(model)
            if what == "promote":
                return rollouts.promote(model, actor, now)
            if what == "abort":
                return rollouts.abort(model, actor, now)
            raise ConfigError([f"{what!r:.30}: accepted: start, pause, resume, promote, abort"])

        return self._orders.give(order)

    # Parts

    def _ready(self) -> Control:
        if self._control is None:
            why = self.loop.problem or "it has only just started"
            raise Retryable(f"actions are not ready: {why}")
        return self._control

    def _build(self) -> Control:
        config = self._config
        states = SqlStates(self._database)

        def done(action: Action) -> None:
            control.done(action)

        engine = ActionEngine(Ledger(SqlLedger(self._database)), self._targets, done=done)
        rollouts = Rollouts(
            states,
            engine,
            lambda model: config.model(model).rollout,
            lambda model: config.model(model).actions.guards.largest_step,
            self._share,
        )
        control = Control(
            self.inbox,
            {name: model.actions for name, model in config.models.items()},
            engine,
            rollouts,
            states,
            self._counters,
            self._standings,
            lambda model: config.model(model).judge.utc_offset,
            self._alerting,
            self._base_url,
        )
        return control

    def _share(self, name: str) -> float | None:
        target = self._targets.get(name)
        try:
            return target.read()[0] if isinstance(target, TrafficTarget) else None
        except (Retryable, Permanent):
            return None
