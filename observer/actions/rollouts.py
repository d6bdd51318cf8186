"""All rollouts: cohorts in, orders out, each state saved before anything is ordered."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from observer.actions import record
from observer.actions.base import Approval, Kind, Order
from observer.actions.cohorts import Pairs
from observer.actions.engine import SELF, ActionEngine
from observer.actions.gate import Gate, WebGate
from observer.actions.ledger import Action, State
from observer.actions.rollout import Rollout
from observer.actions.rollout_spec import GateSpec, RolloutSpec
from observer.actions.spec import GuardSpec
from observer.actions.steps import Result, Step
from observer.actions.traffic.target import Division
from observer.errors import ConfigError, ObserverError
from observer.logs import decision
from observer.model import QualityReport, WindowReport

log = logging.getLogger(__name__)

PREFIX = "rollout/"
KINDS: Final[Mapping[str, Kind]] = {
    "shadow": "shadow",
    "advance": "set_weights",
    "promote": "promote",
    "rollback": "rollback",
}
"""Verbs of steps that are ordered -> what is ordered."""
_TOO_MANY: Final = "too many actions are open; try again when some have ended"
GIVE_UP = 3_600.0
"""Seconds after which a step counts as failed; the rollout pauses then."""


class States(Protocol):
    """Small named values of the action engine, in the service's database."""

    def get(self, key: str) -> bytes | None:
        """The value."""

    def put(self, key: str, value: bytes) -> None:
        """Set it; durable when this returns."""

    def delete(self, key: str) -> None:
        """Remove it."""

    def scan(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """Keys and values under a prefix, in order."""


@dataclass(slots=True)
class _Running:
    rollout: Rollout
    pairs: Pairs
    last_order: str = ""
    """Id of the order that is under way or was the last."""
    drift: bool = False
    page: str = ""
    looked: float = 0.0
    """When the share was last asked for, seconds since the epoch."""
    verified: float = 0.0
    """Until when it is known to be as it was set."""
    asked: tuple[float, str] = (0.0, "")
    """When the gate was last asked, and why it was closed."""
    said: str = ""
    """The last decision, for people: `wait gathering: ...`."""


@dataclass(slots=True)
class Rollouts:
    """At most one rollout a model.

    Parameters
    ----------
    states : States
    engine : ActionEngine
    specs : callable
        Model -> how its challengers meet the champion; None where it has none.
    guards : callable
        Model -> what holds its actions back.
    local : callable
        Model, seconds since the epoch -> the same in its users' time.
    maturity : float
        Seconds that labels may take.
    read : callable
        Name of a traffic target -> how it is asked to divide requests; None while it cannot be read.
    """

    states: States
    engine: ActionEngine
    specs: Callable[[str], RolloutSpec | None]
    guards: Callable[[str], GuardSpec]
    local: Callable[[str, float], float]
    maturity: float
    read: Callable[[str], Division | None]
    gate: Callable[[GateSpec], Gate] = WebGate
    look_every: float = 60.0
    """Seconds between looks at a share that nobody should have changed."""
    _running: dict[str, _Running] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, value in self.states.scan(PREFIX):
            rollout = Rollout.from_bytes(value)
            running = self._add(rollout)
            own = record.own(self.engine.ledger, rollout)
            running.last_order = own[-1].id if own else ""
            notes = self.engine.ledger.notes.get(rollout.id, ())
            resumed = max((row.number for row in notes if row.event == "rollout_resumed"), default=0)
            if own and own[-1].rows[-1].number < resumed:
                self._forget(running)
            log.info("rollout goes on: key=%s share=%g", key, rollout.share)

    # People

    def start(
        self, model: str, champion: str, challenger: str, now: float, actor: str = SELF, why: str = ""
    ) -> Rollout:
        """Begin one; raises `ConfigError` when it cannot be."""
        spec = self.specs(model)
        running = self._running.get(model)
        if spec is None:
            raise ConfigError([f"models.{model}.rollout: not configured; it names a traffic target"])
        if not (champion and challenger) or champion == challenger:
            raise ConfigError([f"champion {champion!r}, challenger {challenger!r}; accepted: two versions"])
        if running is not None and not running.rollout.result:
            other = running.rollout.challenger
            raise ConfigError([f"model {model}: a rollout of {other} is under way; abort it first"])
        there = self.read(spec.target)
        if there is None or there.share > 0:
            gives = (
                "cannot be read"
                if there is None
                else f"gives the challenger's place {there.share:g}% already"
            )
            raise ConfigError(
                [f"model {model}: target {spec.target} {gives}; accepted: one that gives it 0%"]
            )
        if spec.shadow is not None and there.shadow > 0:
            copies = f"copies {there.shadow:g}% of the requests to it already"
            raise ConfigError(
                [f"model {model}: target {spec.target} {copies}; accepted: one without a shadow"]
            )
        rollout = Rollout(model, champion, challenger, spec, now, seen=now)
        self._note(rollout, "started", actor, now, why or f"{challenger} against {champion}")
        self._save(rollout)
        self._add(rollout)
        return rollout

    def of(self, model: str) -> Rollout:
        """The model's latest rollout; raises `ConfigError` when there is none."""
        running = self._running.get(model)
        if running is None:
            raise ConfigError([f"model {model!r:.60}: it has no rollout"])
        return running.rollout

    def all(self) -> list[tuple[Rollout, str]]:
        """Every rollout, and the last decision about it in words."""
        return [(running.rollout, running.said) for running in self._running.values()]

    def pause(self, model: str, actor: str, now: float) -> str:
        """Stop advancing."""
        running = self._open(model)
        rollout = running.rollout
        last = self.engine.ledger.actions.get(running.last_order)
        if last is not None and last.order.kind != "rollback":
            self._withdraw(running, actor, now, ("waiting", "held", "approved"))
        if rollout.paused:
            return f"{model}: rollout of {rollout.challenger} is paused already: {rollout.paused}"
        self._pause(rollout, f"by {actor}", now, actor)
        return f"{model}: rollout of {rollout.challenger} paused"

    def resume(self, model: str, actor: str, now: float) -> str:
        """Go on."""
        running = self._open(model)
        rollout = running.rollout
        if not rollout.paused:
            return f"{model}: rollout of {rollout.challenger} is not paused"
        self._note(rollout, "resumed", actor, now, f"it was paused: {rollout.paused}")
        self._forget(running)
        rollout.resume(now)
        self._save(rollout)
        return f"{model}: rollout of {rollout.challenger} goes on"

    def advance(self, model: str, actor: str, now: float, ordered_by: str) -> str:
        """Take the next step whatever the evidence, for an action of a rule; promotion is none."""
        running = self._open(model)
        rollout = running.rollout
        last = self.engine.ledger.actions.get(running.last_order)
        following = [step for step in rollout.spec.steps if step > rollout.share]
        if rollout.paused:
            raise ConfigError([f"model {model}: its rollout is paused: {rollout.paused}"])
        if last is not None and not last.final:
            raise ConfigError([f"model {model}: a step of its rollout is {last.state}"])
        if not following:
            raise ConfigError([f"model {model}: no step of its rollout is above {rollout.share:g}%"])
        share = min(following[0], rollout.share + self.guards(model).largest_step)
        wanted = Step("advance", share, "by_rule", f"by {actor}")
        step = self._gated(running, wanted, now)
        if step is not wanted:
            raise ConfigError([f"model {model}: {step.detail}"])
        if self._order(running, step, now, actor, ordered_by) is None:
            raise ConfigError([f"model {model}: {_TOO_MANY}"])
        return f"{model}: {share:g}% ordered"

    def promote(self, model: str, actor: str, now: float) -> str:
        """Give the challenger all traffic, whatever the evidence; in a dry run nobody can."""
        if self._open(model).rollout.promoted_at is not None:
            raise ConfigError(
                [f"model {model}: its challenger is promoted, and watched; accepted now: abort"]
            )
        if self.guards(model).dry_run:
            why = "actions.guards.dry_run is set, so it gets no traffic; accepted now: pause, resume, abort"
            raise ConfigError([f"model {model}: {why}"])
        return self._by_hand(model, "promote", 100.0, actor, now)

    def abort(self, model: str, actor: str, now: float) -> str:
        """Give the champion all traffic back."""
        return self._by_hand(model, "rollback", 0.0, actor, now)

    def _by_hand(self, model: str, kind: Kind, share: float, actor: str, now: float) -> str:
        running = self._open(model)
        self._withdraw(running, actor, now)
        if kind == "rollback" and not record.ever_set(self.engine.ledger, running.rollout):
            self._end(running.rollout, "aborted", now, actor)
            return f"{model}: rollout of {running.rollout.challenger} aborted before it got any traffic"
        step = Step("promote" if kind == "promote" else "rollback", share, "by_hand", f"by {actor}")
        if self._order(running, step, now, actor) is None:
            raise ConfigError([f"model {model}: {_TOO_MANY}"])
        return f"{model}: {kind} ordered"

    def _pause(self, rollout: Rollout, reason: str, now: float, actor: str = SELF, detail: str = "") -> None:
        self._note(rollout, "paused", actor, now, f"{reason}: {detail}" if detail else reason)
        rollout.pause(reason)
        self._save(rollout)

    def _end(self, rollout: Rollout, result: Result, now: float, actor: str = SELF) -> None:
        if rollout.result:
            return
        self._note(rollout, "ended", actor, now, result)
        rollout.result = result
        self._save(rollout)

    def _note(self, rollout: Rollout, event: str, actor: str, now: float, detail: str) -> None:
        """A row of the ledger, before anything changes."""
        data = {"model": rollout.model, "share": rollout.share, "detail": detail[:500]}
        self.engine.ledger.append(rollout.id, f"rollout_{event}", actor, now, data)
        decision(
            log,
            f"rollout {event}",
            id=rollout.id,
            model=rollout.model,
            actor=actor,
            share=rollout.share,
            reason=detail,
        )

    def _open(self, model: str) -> _Running:
        rollout = self.of(model)
        if rollout.result:
            raise ConfigError([f"model {model}: its rollout is over, {rollout.result}"])
        return self._running[model]

    # Reports

    def quality(self, report: QualityReport) -> None:
        """Take the quality of a cohort."""
        running = self._running.get(report.model)
        if running is not None and not running.rollout.result:
            running.pairs.take(report)
            evidence = report.evidence
            if evidence is not None and report.version == running.rollout.challenger:
                running.page = f"its {evidence.watch} changed" if evidence.incident is not None else ""

    def window(self, report: WindowReport) -> None:
        """Take whether the challenger's inputs have drifted."""
        running = self._running.get(report.key.model)
        challenger = running is not None and report.key.version == running.rollout.challenger
        if running is not None:
            running.pairs.answered(report)
        if running is not None and challenger and report.evidence is not None:
            running.drift = report.evidence.incident is not None

    def jumped(self, seconds: float) -> None:
        """The machine's clock was set: what is left of every time stays; cohorts near it are left out."""
        under_way = [running for running in self._running.values() if not running.rollout.result]
        for running in under_way:
            running.looked = running.verified = 0.0
            running.rollout.jumped(seconds)
        for running in under_way:
            self._save(running.rollout)

    def tick(self, now: float, burning: Mapping[tuple[str, str], str]) -> None:
        """Take every rollout one step further; `burning` is what burns, by model and version."""
        for model, running in self._running.items():
            page = running.page or burning.get((model, running.rollout.challenger), "")
            page = f"a page about {running.rollout.challenger} is open: {page}" if page else ""
            try:
                if not running.rollout.result:
                    self._turn(running, now, record.taken_back(self.engine.ledger, running.rollout) or page)
            except ObserverError:  # of the store: nothing can be done before it is back
                raise
            except Exception as error:
                said = f"wait held: a fault of the service: {error!r}"[:300]
                if said != running.said:
                    log.exception("rollout: model=%s", model)
                running.said = said

    def _turn(self, running: _Running, now: float, page: str) -> None:
        """One step further; `page` is what has it go back whatever the evidence, in words."""
        rollout = running.rollout
        changed = False
        if rollout.paused != "foreign_change":
            for cohort in running.pairs.cohorts(rollout.share, running.verified):
                changed |= rollout.observe(cohort, now)
            for window in running.pairs.windows(rollout.drawn, running.verified):
                changed |= rollout.answered(window)
        if changed:
            self._save(rollout)
        action = self.engine.ledger.actions.get(running.last_order)
        if action is not None and not self._settled(running, action, now, page):
            return
        if not page:
            self._look(running, now)
        step = self._gated(running, self._guarded(running, now, page), now)
        refused = (
            record.refused(self.engine.ledger, rollout, running.last_order, now)
            if step.verb == "rollback"
            else ""
        )
        if refused:
            step = Step("wait", rollout.share, "held", refused, rollout.shadow)
        said = f"{step.verb} {step.reason}: {step.detail}"
        if said != running.said:
            running.said = said
            decision(
                log,
                f"rollout {step.verb}",
                id=rollout.id,
                model=rollout.model,
                share=rollout.share,
                reason=step.reason,
                detail=step.detail,
            )
        if step.verb == "pause":
            self._pause(rollout, step.reason, now, detail=step.detail)
        elif step.verb == "finish":
            self._end(rollout, "promoted", now)
        if step.verb in KINDS:
            running.asked = (0.0, "")
            self._order(running, step, now, SELF)

    def _guarded(self, running: _Running, now: float, page: str) -> Step:
        """What to do, within what holds all of the model's actions back; going back always may."""
        rollout = running.rollout
        guards = self.guards(rollout.model)
        step = rollout.decide(
            now, drift=running.drift, page=page, largest_step=guards.largest_step, maturity=self.maturity
        )
        if step.verb not in KINDS:
            return step
        if rollout.spec.target not in self.engine.targets:
            gone = f"target {rollout.spec.target} is not configured any more"
            if rollout.paused != gone:
                self._pause(rollout, gone, now)
            return Step("wait", rollout.share, "held", gone, rollout.shadow)
        frozen = guards.frozen(self.local(rollout.model, now))
        if guards.dry_run:
            return Step("wait", rollout.share, "dry_run", f"would {step.verb}: {step.detail}")
        if frozen and step.verb != "rollback":
            return Step("wait", rollout.share, "frozen", frozen)
        return step

    def _gated(self, running: _Running, step: Step, now: float) -> Step:
        """Ask the user's own server before the challenger gets more; as it is configured now."""
        rollout = running.rollout
        spec = self.specs(rollout.model)
        gate = spec.gate if spec is not None else None
        if gate is None or step.verb not in KINDS or step.verb == "rollback":
            return step
        at, why = running.asked
        if not why or now >= at + gate.every / 1000:
            why = self.gate(gate).closed(rollout, step)
            running.asked = (now, why)
        return Step("wait", rollout.share, "gate_closed", f"the gate is closed: {why}") if why else step

    def _settled(self, running: _Running, action: Action, now: float, page: str) -> bool:
        """Whether the last order has ended, and what that means for the rollout."""
        rollout = running.rollout
        if not action.final:
            wanted = rollout.decide(now, page=page, maturity=self.maturity).verb
            if wanted != "rollback" or action.order.kind == "rollback" or action.state == "sending":
                return False
            self._withdraw(running, SELF, now)
            return True
        if action.state == "succeeded":
            self._took(rollout, action, now)
        elif not rollout.paused:
            foreign = action.rows[-1].data.get("foreign", False)
            reason = "foreign_change" if foreign else f"{action.order.kind} {action.state}"
            self._pause(rollout, reason, now, detail=action.detail)
        return True

    def _took(self, rollout: Rollout, action: Action, now: float) -> None:
        """The platform serves what was ordered."""
        share, shadow = record.asked(action)
        if action.order.kind == "rollback":
            by_hand = action.order.why.get("reason") == "by_hand"
            self._end(rollout, "aborted" if by_hand else "rolled_back", now)
        elif (share, shadow) == (rollout.share, rollout.shadow):
            return
        rollout.applied(share, now, shadow)
        self._save(rollout)

    def _look(self, running: _Running, now: float) -> None:
        """Notice that somebody else changed the share, and stop rather than fight."""
        rollout = running.rollout
        if rollout.paused == "foreign_change" or now < running.looked + self.look_every:
            return
        running.looked = now
        there = self.read(rollout.spec.target)
        if there is None:
            return
        copied = rollout.spec.shadow is None or abs(there.shadow - rollout.shadow) < 1e-6
        if abs(there.share - rollout.share) < 1e-6 and copied:
            running.verified = now
            return
        own = record.own(self.engine.ledger, rollout)
        share, shadow = record.asked(own[-1]) if own and own[-1].final and own[-1].attempts else (-1.0, 0.0)
        if abs(there.share - share) < 1e-6 and (rollout.spec.shadow is None or there.shadow == shadow):
            # Ours, though it took too long: once it is served, it is what is judged.
            if there.served is not None and abs(there.served - share) < 0.5:
                self._took(rollout, own[-1], now)
            return
        was, asks = f"{rollout.share:g}% and {rollout.shadow:g}%", f"{there.share:g}% and {there.shadow:g}%"
        detail = f"share and shadow of {was} were set, {asks} are there"
        log.warning("rollout: model=%s %s", rollout.model, detail)
        self._pause(rollout, "foreign_change", now, detail=detail)

    def _withdraw(
        self,
        running: _Running,
        actor: str,
        now: float,
        states: Container[State] = ("waiting", "held", "approved", "sending", "stuck"),
    ) -> None:
        """A step that has not been sent is not wanted any more."""
        action = self.engine.ledger.actions.get(running.last_order)
        if action is not None and action.state in states:
            self.engine.rule(action.id, "reject", actor, "withdrawn: another decision was taken", now)

    def _forget(self, running: _Running) -> None:
        """The last order came to nothing, which is settled."""
        action = self.engine.ledger.actions.get(running.last_order)
        if action is not None and action.final and action.state != "succeeded":
            running.last_order = ""

    def _order(
        self, running: _Running, step: Step, now: float, actor: str, ordered_by: str = ""
    ) -> Action | None:
        """Order a step; `ordered_by` is the action of a rule that wants it."""
        rollout, spec = running.rollout, running.rollout.spec
        kind = KINDS[step.verb]
        approval = Approval("automatic")
        if step.reason != "by_hand" and kind != "rollback":
            wanted = spec.promote_approval if kind == "promote" else spec.approval
            approval = wanted.approval(lowers_exposure=False)
        last = self.engine.ledger.actions.get(running.last_order)
        # What the platform is asked for already, though it may not serve it yet.
        before = record.asked(last)[0] if last is not None and last.state == "running" else rollout.share
        parameters = {"share": step.share, "before": None if kind == "rollback" else before}
        if spec.shadow is not None:
            parameters["shadow"] = step.shadow
        # A step is one decision, made again only after the one before has ended.
        number = self.engine.ledger.length
        order = Order(
            key=f"{rollout.id}/{number}/{kind}",
            model=rollout.model,
            kind=kind,
            target=spec.target,
            parameters=parameters,
            why={
                "reason": step.reason,
                "detail": step.detail,
                "rollout": rollout.id,
                **({"ordered_by": ordered_by} if ordered_by else {}),
            },
            approval=approval,
            created=now,
            give_up=GIVE_UP,
        )
        # Known before it is written: a database that fails may have taken the intent.
        running.last_order = order.id
        return self.engine.propose(order, now, actor)

    def _add(self, rollout: Rollout) -> _Running:
        running = _Running(rollout, Pairs(rollout.champion, rollout.challenger))
        self._running[rollout.model] = running
        return running

    def _save(self, rollout: Rollout) -> None:
        self.states.put(f"{PREFIX}{rollout.model}", rollout.to_bytes())
