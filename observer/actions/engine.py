"""Carries orders out: each exactly once, however often the service stops on the way.

Every step is a row of the ledger, written before what it announces. What was sent without an answer is
looked up at the target; a target that cannot be asked is given the same id again; where even that could do
it twice, a person decides.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

from observer.actions.base import LOWERS_EXPOSURE, Foreign, Order, Target, Verb
from observer.actions.ledger import Action, Ledger
from observer.actions.results import checked, storable
from observer.errors import Absent, ConfigError, ObserverError, Permanent, Retryable, Unclear
from observer.logs import decision

log = logging.getLogger(__name__)

SELF: Final = "observer"
FIRST_RETRY, LAST_RETRY = 5.0, 900.0
LONGEST_SILENCE: Final = 60.0
"""Seconds until a target that does not answer is asked again; roll-backs wait no longer either."""
_MOST_REFUSALS: Final = 10
"""Rows of an action that tell of results which were refused."""
_NAMING: Final = frozenset({"sending", "running", "stuck", "succeeded"})
"""States in which a retraining's version may be told."""
NONE: Final = "there is none of this id; accepted: a whole one, as `observer actions list --all` shows them"
MOST_OPEN = 200
"""Actions that may be open at once; what lowers exposure begins all the same."""


def backoff(attempts: int) -> float:
    """Seconds before the next attempt: doubled each time, up to a quarter of an hour."""
    return float(min(FIRST_RETRY * 2.0 ** min(attempts, 20), LAST_RETRY))


def _due(action: Action, now: float) -> bool:
    """Whether it may be touched; what is further off than any wait was put off by another clock."""
    return not 0 < action.retry_at - now <= LAST_RETRY


class ActionEngine:
    """One loop's worth of work on all open actions.

    Parameters
    ----------
    ledger : Ledger
    targets : mapping
        By the name that orders use.
    poll_every : float
        Seconds between questions to a target about a running order.
    done : callable
        Told of every action that ended.
    """

    def __init__(
        self,
        ledger: Ledger,
        targets: Mapping[str, Target],
        *,
        poll_every: float = 10.0,
        done: Callable[[Action], None] = lambda _: None,
    ) -> None:
        self.ledger = ledger
        self.targets = targets
        self._poll_every = poll_every
        self._done = done
        self._asked: dict[str, float] = {}
        self._troubles: dict[str, int] = {}
        self._jumped: dict[str, float] = {}
        self._quiet: dict[str, tuple[int, float]] = {}
        self.hindrance: Callable[[Order, float], str] = lambda _, __: ""
        """Why an order may not start by itself now, in words; "" when it may."""
        self.forbidden: Callable[[Order], str] = lambda _: ""
        """Why an order may not be carried out, whoever approves it, in words; "" when it may."""
        self.away: dict[str, str] = {}
        """Targets with open orders that gave no answer when they were last asked, and what was wrong."""

    @property
    def full(self) -> bool:
        """Whether so much is open that nothing more begins."""
        return len(self.ledger.open) >= MOST_OPEN

    def propose(self, order: Order, now: float, actor: str = SELF) -> Action | None:
        """Record an intent; None when the same decision was recorded before, or too much is open."""
        if order.target not in self.targets:
            raise ConfigError([f"target {order.target!r}; accepted: {', '.join(self.targets) or 'none'}"])
        self._refresh()
        if self.full and order.kind not in LOWERS_EXPOSURE:
            return None
        action = self.ledger.intend(order, now, actor)
        if action is not None:
            self._tell(action, "intended", actor, "")
            if order.approval.mode == "automatic":
                self._write(action, "approved", SELF, now, {"detail": "needs nobody's word"})
        return action

    def rule(
        self,
        action_id: str,
        verb: Verb,
        actor: str,
        comment: str,
        now: float,
        via: Mapping[str, object] | None = None,
    ) -> str:
        """What a person says; returns what that led to. Raises `ConfigError` when it cannot be followed.

        `via` is added to the ledger's row: the silence that said it.
        """
        self._refresh()
        action = self.ledger.get(action_id)
        if action is None:
            raise Absent(f"action {action_id!r:.60}: {NONE}")
        said = {**(via or {}), "detail": comment[:500]}
        state = action.state
        if action.final:
            raise ConfigError([f"action {action_id}: it has ended, {state}"])
        if verb == "approve" and (why := self.forbidden(action.order)):
            raise ConfigError([f"action {action_id}: {why}"])
        if state in ("waiting", "held"):
            due = state == "waiting" and now >= action.until
            if due and verb != "reject" and action.order.approval.mode == "required":
                self._expire(action, now)
                raise ConfigError([f"action {action_id}: it has expired"])
            if verb == "hold" and state == "held":
                return "already on hold"
            event = {"approve": "approved", "reject": "rejected", "hold": "held"}[verb]
            self._write(action, event, actor, now, said)
        elif state == "stuck":
            # A person looked: approve means "send it again", reject "leave it as it is".
            if verb == "hold":
                return "it waits for a person already"
            self._write(action, "approved" if verb == "approve" else "rejected", actor, now, said)
        elif verb == "reject":
            self._stop(action, actor, said, now)
        else:
            raise ConfigError([f"action {action_id}: it is {state}; accepted now: reject, which stops it"])
        return f"{action.state}"

    def release(self, action_id: str, actor: str, now: float) -> None:
        """A hold ended without a word: the time that was left runs on."""
        action = self.ledger.actions.get(action_id)
        if action is not None and action.state == "held":
            self._write(action, "released", actor, now, {"detail": "the hold ended"})

    def note(self, action_id: str, actor: str, said: Mapping[str, object], now: float) -> None:
        """Write down what somebody said that changes nothing."""
        self._write(self.ledger.actions[action_id], "commented", actor, now, said)

    def name_version(self, action_id: str, version: object, actor: str, now: float) -> bool:
        """What a retraining made, as whoever carried it out tells; whether that is new.

        Raises `ConfigError` when it cannot be taken; why is in the ledger.
        """
        self._refresh()
        action = self.ledger.actions.get(action_id)
        if action is None or action.order.kind != "retrain":
            raise Absent(f"action {action_id!r:.60}: there is no retraining of this id, or it ended long ago")
        if action.state not in _NAMING:
            wrong = f"it is {action.state}; accepted: one that was carried out"
            raise ConfigError([f"action {action_id}: {wrong}"])
        taken, refused = checked({"version": version}, action.version)
        if refused:
            if sum(row.event == "result_refused" for row in action.rows) < _MOST_REFUSALS:
                self._write(action, "result_refused", actor, now, {"detail": refused})
            raise ConfigError([f"action {action_id}: {refused}"])
        if action.version:
            return False
        detail = f"it made version {taken['version']}"
        self._write(action, "resulted", actor, now, {"result": taken, "detail": detail})
        return True

    def refuse_rollout(self, action: Action, reason: str, now: float) -> None:
        """Write down why what a retraining made is not rolled out."""
        self._write(action, "rollout_refused", SELF, now, {"detail": reason[:500]})

    def tick(self, now: float) -> None:
        """Take every open action one step further, where it is time.

        What a target raises that it should not holds up its own action only; of a target that does not answer
        one question is asked at a time, so that it does not hold up the others' either.
        """
        self._refresh()
        self._follow_clock(now)
        for action in self.ledger.open:
            if action.final:  # withdrawn by one before it
                continue
            try:
                self._step(action, now)
            except ObserverError:  # of the ledger's store: nothing can be done before it is back
                raise
            except Exception as error:
                log.exception("action %s: a fault of its target", action.id)
                if action.state == "sending" and _due(action, now):
                    self._postpone(action, "unclear", now, error)
                else:
                    self._trouble(action, now, error)
        waited_for = {action.order.target for action in self.ledger.open}
        for name in self.away.keys() - waited_for:  # it will not be asked: nobody knows, or cares
            del self.away[name]

    def jumped(self, seconds: float) -> None:
        """The machine's clock was set: whatever time is left of open actions stays as it is."""
        self._asked.clear()
        self._quiet.clear()
        for action in self.ledger.open:
            self._jumped[action.id] = self._jumped.get(action.id, 0.0) + seconds

    def _follow_clock(self, now: float) -> None:
        for name, seconds in list(self._jumped.items()):
            action = self.ledger.actions.get(name)
            if action is not None and not action.final:
                detail = f"the machine's clock was set by {seconds:+.0f} s"
                self._write(action, "clock_set", SELF, now, {"seconds": seconds, "detail": detail})
            del self._jumped[name]

    def _step(self, action: Action, now: float) -> None:
        order, state = action.order, action.state
        if state in ("held", "stuck"):
            return
        if state == "waiting":
            self._wait(action, now)
            return
        late = now >= order.created + order.give_up + self._waited(action) + action.jumped
        silent = now < self._quiet.get(order.target, (0, 0.0))[1]
        if state == "approved" and late:
            self._give_up(action, now)
            return
        if silent:
            return
        if state == "approved":
            if _due(action, now) and not self.forbidden(order):
                self._send(action, now)
            return
        # What may have been done is asked for first, however late it is.
        if _due(action, now):
            if state == "sending":
                self._reconcile(action, now, late=late)
            else:
                self._follow(action, now)
        if late and state == action.state == "running":
            self._give_up(action, now)
        elif late and action.state == "sending":
            detail = f"it may have been done, and its target does not say: {action.detail}"
            self._write(action, "stuck", SELF, now, {"detail": detail[:500]})

    # Steps

    def _wait(self, action: Action, now: float) -> None:
        mode = action.order.approval.mode
        if now < action.until:
            return
        if mode == "required":
            self._expire(action, now)
        elif mode == "unless_rejected" and (why := self.hindrance(action.order, now)):
            if why != action.detail:
                self._write(action, "commented", SELF, now, {"detail": why})
        else:
            self._write(action, "approved", SELF, now, {"detail": "nobody objected in time"})

    def _expire(self, action: Action, now: float) -> None:
        self._write(action, "expired", SELF, now, {"detail": "nobody approved it in time"})

    def _send(self, action: Action, now: float) -> None:
        target = self.targets.get(action.order.target)
        if target is None:
            self._fail(action, now, f"target {action.order.target} is not configured any more")
            return
        self._write(action, "attempted", SELF, now, {"attempt": action.attempts + 1})
        try:
            reference = target.send(action.order)
        except (Retryable, Unclear) as error:
            self._silent(action, now, error)
            self._postpone(action, "postponed" if isinstance(error, Retryable) else "unclear", now, error)
        except Permanent as error:
            self._answered(action)
            self._fail(action, now, str(error), {"foreign": isinstance(error, Foreign)})
        else:
            self._answered(action)
            self._write(action, "accepted", SELF, now, {"reference": reference})

    def _reconcile(self, action: Action, now: float, *, late: bool) -> None:
        """It was sent, and what came of that is unknown: the service stopped, or the answer was lost."""
        target = self.targets.get(action.order.target)
        if target is None:
            detail = f"it may have been done, and target {action.order.target} is not configured any more"
            self._write(action, "stuck", SELF, now, {"detail": detail})
        elif target.can_be_asked:
            try:
                reference = target.find(action.order)
            except (Retryable, Unclear) as error:
                self._silent(action, now, error)
                self._postpone(action, "unclear", now, error)
            except Foreign as error:
                self._fail(action, now, str(error), {"foreign": True})
            except Permanent as error:  # such as a token that was refused: it may have been done
                self._write(action, "stuck", SELF, now, {"detail": f"it may have been done: {error}"[:500]})
            else:
                self._answered(action)
                if reference is None:
                    self._give_up(action, now) if late else self._send(action, now)
                else:
                    self._write(action, "accepted", SELF, now, {"reference": reference, "found": True})
        elif target.deduplicates:
            self._send(action, now)
        else:
            detail = "it may have been done: sending was cut off, and the target cannot be asked"
            self._write(action, "stuck", SELF, now, {"detail": detail})

    def _follow(self, action: Action, now: float) -> None:
        if now < self._asked.get(action.id, 0.0) + self._poll_every:
            return
        self._asked[action.id] = now
        target = self.targets.get(action.order.target)
        if target is None:
            self._trouble(action, now, Permanent(f"target {action.order.target} is not configured any more"))
            return
        try:
            progress = target.progress(action.order, action.reference)
        except (Retryable, Unclear, Permanent) as error:  # it goes on, whether we may look or not
            if not isinstance(error, Permanent):
                self._silent(action, now, error)
            self._trouble(action, now, error)
            return
        self._answered(action)
        self._troubles.pop(action.id, None)
        data: dict[str, object] = {"detail": progress.detail[:500]}
        if progress.result:
            result, refused = checked(progress.result, action.version)
            data["result"] = storable(result)
            if refused:
                data["detail"] = f"{progress.detail[:200]}; {refused}"
        if progress.state == "succeeded":
            self._write(action, "succeeded", SELF, now, data)
        elif progress.state != "running":
            self._fail(action, now, progress.detail, {**data, "foreign": progress.state == "foreign"})
        elif progress.detail != action.detail:
            self._write(action, "observed", SELF, now, data)

    def _stop(self, action: Action, actor: str, said: Mapping[str, object], now: float) -> None:
        target = self.targets.get(action.order.target)
        if action.state == "running" and target is not None:
            try:
                target.stop(action.order, action.reference)
            except (Retryable, Unclear, Permanent) as error:
                self._write(action, "stop_refused", actor, now, {**said, "detail": str(error)})
                raise ConfigError([f"action {action.id}: it cannot be stopped: {error}"]) from error
        elif action.state == "sending":
            raise ConfigError([f"action {action.id}: it is being sent; try again in a moment"])
        self._write(action, "stopped", actor, now, said)

    def _trouble(self, action: Action, now: float, error: Exception) -> None:
        """A target that does not answer is asked again, with patience."""
        troubles = self._troubles[action.id] = self._troubles.get(action.id, 0) + 1
        self._asked[action.id] = now + backoff(troubles)
        log.warning("action %s: its target does not answer: %s", action.id, error)

    def _silent(self, action: Action, now: float, error: Exception) -> None:
        """Its target gave no answer: nobody asks it for a while."""
        name = action.order.target
        times = self._quiet.get(name, (0, 0.0))[0]
        self._quiet[name] = (times + 1, now + min(backoff(times), LONGEST_SILENCE))
        if name not in self.away:
            log.warning("target %s is away: %s", name, error)
        self.away[name] = str(error)[:300]

    def _answered(self, action: Action) -> None:
        self._quiet.pop(action.order.target, None)
        if self.away.pop(action.order.target, None) is not None:
            log.info("target %s is back", action.order.target)

    # Rows

    def _waited(self, action: Action) -> float:
        """Seconds before it was last approved: they do not count against it."""
        approved = [row.at for row in action.rows if row.event == "approved"]
        return max(approved[-1] - action.order.created, 0.0) if approved else 0.0

    def _postpone(self, action: Action, event: str, now: float, error: Exception) -> None:
        wait = backoff(action.attempts - 1)
        if action.order.kind == "rollback":
            wait = min(wait, LONGEST_SILENCE)
        retry_at = now + wait
        self._write(action, event, SELF, now, {"detail": str(error)[:500], "retry_at": retry_at})

    def _give_up(self, action: Action, now: float) -> None:
        self._fail(action, now, f"not done within {action.order.give_up:g} s; last: {action.detail}")

    def _fail(
        self, action: Action, now: float, detail: str, data: Mapping[str, object] | None = None
    ) -> None:
        self._write(action, "failed", SELF, now, {**(data or {}), "detail": detail[:500]})

    def _tell(self, action: Action, event: str, actor: str, detail: str) -> None:
        order = action.order
        decision(
            log,
            f"action {event}",
            id=action.id,
            model=order.model,
            action=order.kind,
            target=order.target,
            actor=actor,
            reason=str(order.why.get("reason", "")),
            detail=detail,
        )

    def _write(self, action: Action, event: str, actor: str, now: float, data: Mapping[str, object]) -> None:
        self._refresh()
        before = action.final
        self.ledger.append(action.id, event, _text(actor), now, {k: _clean(v) for k, v in data.items()})
        self._tell(action, event, actor, str(data.get("detail", "")))
        if action.final and not before:
            self._ended(action)

    def _refresh(self) -> None:
        for action in self.ledger.refresh():
            self._ended(action)

    def _ended(self, action: Action) -> None:
        self._asked.pop(action.id, None)
        self._troubles.pop(action.id, None)
        self._done(action)


def _clean(value: object) -> object:
    return _text(value) if isinstance(value, str) else value


def _text(value: str) -> str:
    """Without halves of surrogates, which no database takes, and NUL, which PostgreSQL does not."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
