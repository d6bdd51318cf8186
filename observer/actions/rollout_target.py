"""What rules say to rollouts, start, take a step, pause: inside the service, and an order like any other."""

from __future__ import annotations

from observer.actions import record
from observer.actions.base import Order, Progress
from observer.actions.results import version_of
from observer.actions.rollouts import Rollouts
from observer.errors import ConfigError, Permanent


class RolloutTarget:
    """The rollouts of all models, as a target; what cannot be done now has failed, and says why."""

    can_be_asked = True
    deduplicates = True

    def __init__(self, rollouts: Rollouts) -> None:
        self._rollouts = rollouts

    def send(self, order: Order) -> str:
        """Do it."""
        now = self._rollouts.engine.ledger.actions[order.id].rows[-1].at  # of this attempt
        actor = f"rule:{order.why.get('rule', '')}"
        try:
            if order.kind == "start_rollout":
                champion, challenger = str(order.parameters["version"]), order.parameters["challenger"]
                why = f"{actor}: {order.why.get('detail', '')}"
                self._rollouts.start(order.model, champion, version_of(challenger), now, actor, why)
                return f"{order.model}: rollout of {challenger} against {champion} starts"
            if order.kind == "advance_rollout":
                return self._rollouts.advance(order.model, actor, now, order.id)
            return self._rollouts.pause(order.model, actor, now)
        except (ConfigError, ValueError) as error:
            raise Permanent(str(error)) from error

    def find(self, order: Order) -> str | None:
        """Whether it was done: an earlier attempt may have been cut off."""
        try:
            rollout = self._rollouts.of(order.model)
        except ConfigError:
            return None
        if order.kind == "start_rollout":
            challenger = order.parameters["challenger"]
            done = rollout.challenger == challenger and rollout.started >= order.created
        elif order.kind == "advance_rollout":
            own = record.own(self._rollouts.engine.ledger, rollout)
            done = any(one.order.why.get("ordered_by") == order.id for one in own)
        else:
            done = bool(rollout.paused)
        return f"{order.model}: done before" if done else None

    def progress(self, order: Order, reference: str) -> Progress:
        """Done at once."""
        del order
        return Progress("succeeded", reference)

    def stop(self, order: Order, reference: str) -> None:
        """It cannot: it is done."""
        del reference
        raise Permanent(f"{order.kind} is done already")

    def check(self) -> list[str]:
        """Nothing could be wrong."""
        return []
