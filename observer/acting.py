"""The control plane as the configuration wants it: what the page, the API and the command line speak to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from observer.actions.base import ROLLOUTS, Target, Verb
from observer.actions.control import Control, Inbox
from observer.actions.engine import NONE, ActionEngine
from observer.actions.ledger import Action, Ledger
from observer.actions.loop import ControlLoop
from observer.actions.policy import Trigger
from observer.actions.retrain.events import sign
from observer.actions.rollout_target import RolloutTarget
from observer.actions.rollouts import Rollouts
from observer.actions.shown import brief, rollout_shown, whole
from observer.actions.targets import KnativeSpec, WebhookSpec
from observer.actions.traffic.target import Division, TrafficTarget
from observer.clock import passed
from observer.config import Config
from observer.engines.orders import Orders
from observer.errors import Absent, ConfigError, Permanent, Retryable
from observer.exporters.alertmanager import Alertmanagers
from observer.metrics import Counters, Values, catalog
from observer.model import ObjectiveStanding
from observer.stores.history.actions import SqlLedger, SqlStates
from observer.stores.history.database import Database


def wanted(config: Config) -> bool:
    """Whether the configuration names anything that could be done."""
    return bool(config.targets)


def targets(config: Config, *names: str) -> dict[str, Target]:
    """The configured targets by name, or only some; raises `Permanent` without the extra that one needs."""
    return {name: spec.target() for name, spec in config.targets.items() if not names or name in names}


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
    passed : callable or None
        Seconds that pass whatever the clock is set to; None where `now` is no machine's clock.
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
        passed: Callable[[], float] | None = passed,
    ) -> None:
        self._config, self._counters, self._standings, self._now = config, counters, standings, now
        self._database, self._base_url = database, base_url
        self._targets = targets(config)
        self.inbox = Inbox(counters)
        self._alerting = Alertmanagers(config.alertmanager) if config.alertmanager else None
        self._orders = Orders()
        self._control: Control | None = None
        self.loop = ControlLoop(self, self._orders, now, every, passed)
        self.loop.start()

    def close(self) -> None:
        """End after the present turn."""
        self.loop.stop()

    def tick(self, now: float) -> None:
        """One turn."""
        if self._control is None:
            self._control = self._build()
        self._control.tick(now)

    def jumped(self, seconds: float) -> None:
        """The machine's clock was set."""
        if self._control is not None:
            self._control.jumped(seconds)

    def publish(self, values: Values) -> None:
        """Add the gauges."""
        values.set(catalog.ACTIONS_STALLED, (), bool(self.loop.problem))
        if self._control is not None:
            self._control.publish(values)

    # What people see

    def revision(self) -> str:
        """Changes whenever anything that is seen here may have."""
        control = self._ready()
        rolling = [
            (
                one.id,
                one.share,
                one.shadow,
                one.copies.answered,
                one.paused,
                one.result,
                one.at_step,
                len(one.history),
                one.last,
                said,
            )
            for one, said in control.rollouts.all()
        ]
        return repr((control.engine.ledger.head, rolling, len(control.evaluations)))

    def listed(self) -> list[dict[str, Any]]:
        """Actions, newest first: all that are open, and the latest that ended."""
        actions = list(self._ready().engine.ledger.actions.values())
        return [brief(one) for one in reversed(actions) if one.rows]  # else it is being made just now

    def shown(self, name: str) -> dict[str, Any]:
        """One action, whole; raises `Absent` when there is none."""
        found = self._ready().engine.ledger.get(name)
        if found is None:
            raise Absent(f"action {name!r:.60}: {NONE}")
        return whole(found)

    def exported(self) -> list[dict[str, Any]]:
        """Every row of the ledger, as the database has it now."""
        return [row._asdict() for row in SqlLedger(self._database).rows()]

    def evaluated(self) -> list[dict[str, Any]]:
        """What rules made of what set them off, the newest last."""
        return [
            {"model": model, "rule": rule, "cause": cause, "reason": one.reason, "detail": one.detail}
            for (model, rule, cause), one in list(self._ready().evaluations.items())
        ]

    def rolling(self) -> list[dict[str, Any]]:
        """Every model's latest rollout."""
        control = self._ready()
        return [
            {
                **rollout_shown(one, said),
                "notes": [row._asdict() for row in control.engine.ledger.notes.get(one.id, ())],
            }
            for one, said in control.rollouts.all()
        ]

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
                started = rollouts.start(model, champion, challenger, now, actor)
                return f"{model}: rollout of {started.challenger} against {started.champion} starts"
            if what == "pause":
                return rollouts.pause(model, actor, now)
            if what == "resume":
                return rollouts.resume(model, actor, now)
            if what == "promote":
                return rollouts.promote(model, actor, now)
            if what == "abort":
                return rollouts.abort(model, actor, now)
            raise ConfigError([f"{what!r:.30}: accepted: start, pause, resume, promote, abort"])

        return self._orders.give(order)

    def result(self, name: str, version: object, actor: str) -> str:
        """Take the version that a retraining made."""
        return self._orders.give(lambda: self._ready().result(name, version, actor, self._now()))

    def signature(self, name: str, version: str) -> str:
        """What an event that tells it must be signed with; "" where its target has no secret."""
        action = self._ready().engine.ledger.actions.get(name)
        spec = self._config.targets.get(action.order.target) if action is not None else None
        secret = spec.secret.get_secret_value() if isinstance(spec, KnativeSpec | WebhookSpec) else ""
        return f"sha256={sign(f'{name}.{version}'.encode(), secret)}" if secret else ""

    def alerts(self, body: Mapping[str, Any]) -> int:
        """Alertmanager's webhook (version 4, read leniently): firing alerts that name a model we know."""
        taken = 0
        listed = body.get("alerts")
        for alert in listed[:1_000] if isinstance(listed, list) else ():
            labels = alert.get("labels") if isinstance(alert, dict) else None
            if not isinstance(labels, dict) or alert.get("status") != "firing":
                continue
            model = str(labels.get("model", ""))
            if model in self._config.models:
                texts = {str(name): str(value)[:500] for name, value in labels.items()}
                began = str(alert.get("startsAt", ""))[:40]
                name = texts.get("alertname", "alert")
                cause = f"alert/{str(alert.get('fingerprint', ''))[:64] or name}/{began}"
                self.inbox.alert(
                    Trigger("alert", model, texts.get("version", ""), cause, f"alert {name}", labels=texts)
                )
                taken += 1
        return taken

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

        every = dict(self._targets)
        engine = ActionEngine(Ledger(SqlLedger(self._database)), every, done=done)
        rollouts = Rollouts(
            states,
            engine,
            lambda model: config.model(model).rollout,
            lambda model: config.model(model).actions.guards,
            lambda model, now: now + config.model(model).judge.utc_offset * 3600,
            config.labels.horizon / 1000 if config.labels else 0.0,
            self._division,
        )
        every[ROLLOUTS] = RolloutTarget(rollouts)
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
            lambda model: config.model(model).owner,
        )
        return control

    def _division(self, name: str) -> Division | None:
        target = self._targets.get(name)
        try:
            return target.read() if isinstance(target, TrafficTarget) else None
        except (Retryable, Permanent):
            return None
