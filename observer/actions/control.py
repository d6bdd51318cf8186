"""The control plane: what was found becomes decisions, what people say is followed, what is open goes on.

One thread, beside the data path: databases and targets may be slow. Reports wait in a bounded queue; what is
seen again after a crash gives the same causes, so nothing is decided twice.
"""

from __future__ import annotations

import logging
import math
import queue
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from observer.actions.alerts import action_alerts
from observer.actions.approval import follow, rulings
from observer.actions.base import LOWERS_EXPOSURE, ROLLOUTS, Order
from observer.actions.engine import MOST_OPEN, ActionEngine
from observer.actions.ledger import FINAL, Action
from observer.actions.policy import Evaluation, Trigger, evaluate, scheduled
from observer.actions.rollouts import Rollouts, States
from observer.actions.spec import ActionsSpec
from observer.actions.triggers import of_objective, of_quality, of_window
from observer.errors import ConfigError, Retryable
from observer.logs import decision
from observer.metrics import Counters, Values, catalog
from observer.model import Alert, ObjectiveStanding, QualityReport, WindowReport

log = logging.getLogger(__name__)

MOST_REPORTS: Final = 20_000
MOST_ALERTS: Final = 1_000
MOST_COHORTS: Final = 5_000
MOST_EVALUATIONS: Final = 1_000
MOST_REFERENCES: Final = 1_000
LONGEST_WAIT: Final = 86_400.0
"""Seconds that a trigger waits for its rules' guards."""
LOOK_AGAIN: Final = 60.0
"""Seconds until a traffic target that cannot be read is asked again for the share before a rollout."""
DECIDED: Final = frozenset({"intended", "duplicate", "dry_run"})
EPISODE: Final = "episode/"


class Alerting(Protocol):
    """Where open actions are shown and people answer."""

    def show(self, alerts: Mapping[str, Alert], now: float) -> None:
        """What lasts from now on, by key."""

    def tick(self, now: float) -> list[str]:
        """Tell it where it is time."""

    def silences(self) -> list[dict[str, Any]]:
        """All silences."""

    def jumped(self) -> None:
        """The machine's clock was set: tell everything at the next turn."""


class Inbox:
    """Results and alerts from other threads, until the control plane reads them; bounded."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._reports: queue.Queue[WindowReport | QualityReport] = queue.Queue(MOST_REPORTS)
        self._alerts: deque[Trigger] = deque(maxlen=MOST_ALERTS)

    def window(self, report: WindowReport) -> None:
        """A window closed and was judged."""
        if not report.key.segment:
            self._put(report)

    def quality(self, report: QualityReport) -> None:
        """A cohort's quality changed, or became final."""
        if not report.segment and not report.arm:
            self._put(report)

    def alert(self, trigger: Trigger) -> None:
        """An alert from outside."""
        self._alerts.append(trigger)

    def reports(self) -> Iterator[WindowReport | QualityReport]:
        """What came, taken out."""
        while True:
            try:
                yield self._reports.get_nowait()
            except queue.Empty:
                return

    def alerts(self) -> list[Trigger]:
        """What came, taken out."""
        return [self._alerts.popleft() for _ in range(len(self._alerts))]

    def _put(self, report: WindowReport | QualityReport) -> None:
        try:
            self._reports.put_nowait(report)
        except queue.Full:
            self._counters.add(catalog.ACTION_REPORTS_DROPPED, (), 1)


@dataclass(slots=True)
class Control:
    """Decides, listens, and keeps everything going.

    Parameters
    ----------
    inbox : Inbox
        Where other threads put what they found.
    specs : mapping
        Configured model -> what is done about its findings.
    standings : callable
        Where all objectives stand.
    utc_offset : callable
        Model -> hours by which its users' local time is ahead of UTC.
    ask_every : float
        Seconds between looks at the silences.
    """

    inbox: Inbox
    specs: Mapping[str, ActionsSpec]
    engine: ActionEngine
    rollouts: Rollouts
    states: States
    counters: Counters
    standings: Callable[[], Sequence[ObjectiveStanding]]
    utc_offset: Callable[[str], float]
    alerting: Alerting | None = None
    base_url: str = ""
    owner: Callable[[str], str] = lambda _: ""
    """Model -> who it belongs to, a label of its actions' alerts."""
    ask_every: float = 5.0
    evaluations: dict[tuple[str, str, str], Evaluation] = field(default_factory=dict)
    """The last ones, by model, rule and cause."""
    down: Sequence[str] = ()
    """Members of the alerting that cannot be told."""
    _pending: dict[tuple[str, str], tuple[Trigger, float]] = field(default_factory=dict)
    """Triggers that come once, by model and cause, until their rules have decided; and since when."""
    _following: list[Action] = field(default_factory=list)
    """Retrainings whose rollout is still to be started."""
    _labels: dict[str, deque[tuple[float, str, int]]] = field(default_factory=dict)
    _references: dict[tuple[str, str], str] = field(default_factory=dict)
    """Model and version -> version of the reference that its windows are judged against."""
    _asked: float = 0.0
    _deaf: bool = False
    """Whether silences could not be read when they were last asked for."""
    _look_again: float = 0.0
    """When a traffic target that could not be read is asked again."""

    def __post_init__(self) -> None:
        """Start the rollouts that a crash came between."""
        self.engine.hindrance = self._hindrance
        self.engine.forbidden = self._forbidden
        due = filter(self._due, self.engine.ledger.actions.values())
        self._following += {action.order.model: action for action in due}.values()  # the latest of each

    # The thread's own

    def tick(self, now: float) -> None:
        """One turn: raises nothing that a target or a server of alerts could cause."""
        try:
            self._turn(now)
        finally:  # also while the database is away: an alert that nobody repeats ends by itself
            if self.alerting is not None:
                self.alerting.show(action_alerts(self.engine.ledger.open, self.base_url, self.owner), now)
                self.down = self.alerting.tick(now)

    def _turn(self, now: float) -> None:
        for trigger in [*self._read(), *self.inbox.alerts()]:
            self._pending.setdefault((trigger.model, trigger.cause), (trigger, now))
        standings = self.standings()
        burning = {}
        triggers: list[Trigger] = []
        for standing in standings:
            began = self._episode(standing, now)
            triggers += of_objective(standing, began)
            if standing.severity == "page":
                burning[standing.model, standing.version] = f"{standing.name} burns its budget"
        for model, spec in self.specs.items():
            triggers += scheduled(spec, model, now)
        for trigger in triggers:
            self._evaluate(trigger, now)
        for key, (trigger, since) in list(self._pending.items()):
            if self._evaluate(trigger, now) or now > since + LONGEST_WAIT:
                del self._pending[key]
        for key in list(self._pending)[: max(len(self._pending) - MOST_ALERTS, 0)]:
            del self._pending[key]
        self._listen(now)
        self.engine.tick(now)
        for action in list(self._following):
            if self._follow_up(action, now):
                self._following.remove(action)
        self.rollouts.tick(now, burning)

    def jumped(self, seconds: float) -> None:
        """The machine's clock was set."""
        self._asked = self._look_again = 0.0
        self._pending = {key: (trigger, since + seconds) for key, (trigger, since) in self._pending.items()}
        self.engine.jumped(seconds)
        self.rollouts.jumped(seconds)
        if self.alerting is not None:
            self.alerting.jumped()

    def done(self, action: Action) -> None:
        """An action ended."""
        order = action.order
        self.counters.add(catalog.ACTIONS_ENDED, (order.model, order.kind, action.state), 1)
        self._following.append(action)

    def result(self, action_id: str, version: object, actor: str, now: float) -> str:
        """The version that a retraining made, told from outside; raises `ConfigError` when it is refused."""
        new = self.engine.name_version(action_id, version, actor, now)
        action = self.engine.ledger.actions[action_id]
        # Also where it is not new: the database may have taken it and not said so.
        if action not in self._following and self._due(action):
            self._following.append(action)
        return f"version {action.version}" + ("" if new else ", as was named before")

    def _due(self, action: Action) -> bool:
        """Whether what a retraining made is still to be rolled out."""
        refused = any(row.event == "rollout_refused" for row in action.rows)
        model = action.order.model
        begun = max((one.started for one, _ in self.rollouts.all() if one.model == model), default=0.0)
        made = action.order.kind == "retrain" and action.state == "succeeded" and action.version
        return bool(made) and begun < action.settled and not refused

    def _follow_up(self, action: Action, now: float) -> bool:
        """A retraining that names a new version may start its rollout; whether that is settled."""
        order, spec = action.order, self.rollouts.specs(action.order.model)
        made = order.kind == "retrain" and action.state == "succeeded" and action.version
        if spec is None or spec.start != "after_retrain" or not made:
            return True
        if now > action.settled + 2 * LONGEST_WAIT:  # such as before `start` was configured
            detail = f"no rollout of version {action.version}: it was made longer ago than two days"
            self.engine.refuse_rollout(action, detail, now)
            return True
        if now < self._look_again:
            return False
        if self.rollouts.read(spec.target) is None and now < action.settled + LONGEST_WAIT:
            self._look_again = now + LOOK_AGAIN
            log.warning("rollout of %s waits: target %s cannot be read", action.version, spec.target)
            return False
        champion, why = str(order.parameters.get("version", "")), f"retrained by {action.id}"
        try:
            self.rollouts.start(order.model, champion, action.version, max(action.settled, now), why=why)
        except ConfigError as error:
            log.warning("no rollout after retraining: model=%s %s", order.model, error)
            self.engine.refuse_rollout(action, f"no rollout of version {action.version}: {error}", now)
        return True

    def _read(self) -> list[Trigger]:
        triggers: list[Trigger] = []
        for report in self.inbox.reports():
            if isinstance(report, WindowReport):
                self.rollouts.window(report)
                triggers += of_window(report)
                self._references.pop((report.key.model, report.key.version), None)
                self._references[report.key.model, report.key.version] = report.reference
                while len(self._references) > MOST_REFERENCES:
                    del self._references[next(iter(self._references))]
            else:
                self.rollouts.quality(report)
                triggers += of_quality(report)
                cohorts = self._labels.setdefault(report.model, deque(maxlen=MOST_COHORTS))
                cohorts.append((report.start / 1000, report.version, report.labelled))
        return triggers

    def _evaluate(self, trigger: Trigger, now: float) -> bool:
        """Let the rules decide; whether all have, so that the trigger need not be seen again."""
        spec = self.specs.get(trigger.model)
        if spec is None:
            return True
        if not trigger.version:  # it is about the model as a whole
            trigger = replace(trigger, version=self._champion(trigger.model))
        reference = self._references.get((trigger.model, trigger.version), "")
        trigger = replace(trigger, reference=reference)
        decided = True
        past = [one for one in self.engine.ledger.actions.values() if one.order.model == trigger.model]
        labels = self._labelled(trigger)
        offset = self.utc_offset(trigger.model)
        fired = self.engine.ledger.fired
        for found in evaluate(spec, trigger, past, now, fired=fired, labels=labels, utc_offset=offset):
            one = self._begun(found, now)
            key = (trigger.model, one.rule, trigger.cause)
            before = self.evaluations.pop(key, None)
            self.evaluations[key] = one
            while len(self.evaluations) > MOST_EVALUATIONS:
                del self.evaluations[next(iter(self.evaluations))]
            if before is None or before.reason != one.reason:
                self.counters.add(catalog.ACTION_EVALUATIONS, (trigger.model, one.rule, one.reason), 1)
                if one.reason != "duplicate":
                    decision(
                        log,
                        "rule evaluated",
                        model=trigger.model,
                        rule=one.rule,
                        reason=one.reason,
                        cause=trigger.cause,
                        detail=one.detail,
                    )
            decided &= one.reason in DECIDED
        return decided

    def _begun(self, one: Evaluation, now: float) -> Evaluation:
        """The evaluation, once the action that it intends has begun, or has not."""
        if one.reason != "intended" or one.order is None or self.engine.propose(one.order, now) is not None:
            return one
        if self.engine.full:
            return replace(one, reason="too_many_open", detail=f"{MOST_OPEN} actions are open")
        return replace(one, reason="duplicate", detail=f"action {one.order.id} is about the same")

    def _labelled(self, trigger: Trigger) -> int:
        """Labelled predictions since the change began, each cohort as last reported."""
        since = trigger.since or 0.0
        latest = {
            (start, version): labelled
            for start, version, labelled in self._labels.get(trigger.model, ())
            if start >= since
        }
        return sum(latest.values())

    def _champion(self, model: str) -> str:
        """The version that most labelled predictions of late were of; "" before there are any."""
        latest = {(start, version): n for start, version, n in self._labels.get(model, ())}
        recent = sorted({start for start, _ in latest})[-2:]
        labelled: Counter[str] = Counter()
        for (start, version), n in latest.items():
            labelled[version] += n if start in recent else 0
        return max(+labelled, key=labelled.__getitem__, default="")

    def _episode(self, standing: ObjectiveStanding, now: float) -> float:
        """When the objective began to burn as it does: kept, so that a restart begins no new decision."""
        key = f"{EPISODE}{standing.model}/{standing.name}/{standing.version}"
        kept = self.states.get(key)
        tier, _, began = (kept or b"").decode().partition("@")
        if not standing.severity:
            if kept is not None:
                self.states.delete(key)
            return now
        if tier != standing.severity:
            self.states.put(key, f"{standing.severity}@{now}".encode())
            return now
        return float(began)

    def _listen(self, now: float) -> None:
        waits = any(not action.final for action in self.engine.ledger.open)
        if self.alerting is None or not waits or now < self._asked + self.ask_every:
            return
        self._asked = now
        try:
            said = rulings(self.alerting.silences(), self.engine.ledger.open)
        except Retryable as error:
            log.warning("silences cannot be read: %s", error)
            self._deaf = True
            return
        self._deaf = False
        follow(self.engine, said, now)

    def _forbidden(self, order: Order) -> str:
        """A dry run does nothing, whoever says so, but take traffic back and tell somebody."""
        if order.kind in LOWERS_EXPOSURE or not self.rollouts.guards(order.model).dry_run:
            return ""
        return f"it would {order.kind} through {order.target}; guards.dry_run of {order.model} holds it"

    def _hindrance(self, order: Order, now: float) -> str:
        """Why an order that waits for objections may not start now; "" when it may."""
        guards = self.rollouts.guards(order.model)
        if guards.dry_run:
            return f"would {order.kind} through {order.target}; guards.dry_run holds it"
        if order.kind in LOWERS_EXPOSURE:
            return ""
        if self._deaf:
            return "it would start, but silences cannot be read: nobody can be heard"
        return guards.frozen(now + self.utc_offset(order.model) * 3600)

    def publish(self, values: Values) -> None:
        """Add the gauges: for any thread."""
        ledger = self.engine.ledger
        counted = Counter((a.order.model, a.order.kind, a.state) for a in list(ledger.actions.values()))
        for (model, kind, state), count in counted.items():
            if state not in FINAL:
                values.set(catalog.ACTIONS_OPEN, (model, kind, state), count)
        values.set(catalog.LEDGER_ROWS, (), ledger.length)
        values.set(catalog.LEDGER_HEAD, (ledger.head,), 1)
        for rollout, _ in self.rollouts.all():
            where = (rollout.model, rollout.challenger)
            values.set(catalog.ROLLOUT_SHARE, where, rollout.share / 100)
            values.set(catalog.ROLLOUT_SHADOW, where, rollout.shadow / 100)
            if rollout.history:
                last = rollout.history[-1]
                for bound in ("lower", "estimate", "upper"):
                    values.set(catalog.ROLLOUT_DIFFERENCE, (*where, bound), getattr(last, bound))
                for direction in ("better", "worse"):
                    evidence = getattr(last, direction) / math.log(10)
                    values.set(catalog.ROLLOUT_EVIDENCE, (*where, direction), evidence)
        for name in self.engine.targets.keys() - {ROLLOUTS}:
            values.set(catalog.ACTION_TARGET_AWAY, (name,), name in self.engine.away)
        if self.alerting is not None:
            values.set(catalog.ALERTMANAGER_DOWN, (), len(self.down))
