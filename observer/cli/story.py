"""What the demo's control plane does, told: a line for each step, with its reason, as the ledger has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from observer.acting import Acting
from observer.actions.ledger import FINAL, broken
from observer.app import Service
from observer.cli.demo_config import ALERT
from observer.errors import ObserverError, Retryable
from observer.model import LedgerRow
from observer.sources.demo import Serving
from observer.terminal import Tone
from observer.windows import duration

Tell = Callable[[int, str, Tone], None]
"""Event time (milliseconds), a line, and how it is meant."""
_HOUR: Final = 3_600_000
_TABLE_AFTER: Final = 4 * 3600.0
"""Seconds from the first version's promotion until another table to learn from is announced."""


class Story:
    """Watches the control plane, tells what it does, and plays the two parts that nobody else has.

    These are whoever makes the promoted version the champion, and whoever announces a new table.

    Parameters
    ----------
    turns_at : int
        When the script turns the market, milliseconds of event time.
    now : callable
        Event time, seconds since the epoch.
    """

    def __init__(
        self, service: Service, serving: Serving, turns_at: int, now: Callable[[], float], tell: Tell
    ) -> None:
        assert service.acting is not None  # noqa: S101 - the demo configures targets
        self._acting: Acting = service.acting
        self._service, self._serving, self._now, self._out = service, serving, now, tell
        self._turns_at: int | None = turns_at
        self._news: list[tuple[int, str, Tone]] = []
        self._states: dict[str, str] = {}
        self._rollouts: dict[str, tuple[str, str]] = {}
        self._burning: dict[tuple[str, str], str] = {}
        self._reasons: dict[tuple[str, str], str] = {}
        self._promoted_at: float | None = None
        self._announced = False
        self.waiting: list[tuple[str, float]] = []
        """Actions that wait for a person's word: id, and seconds of event time that are left."""
        self.over = False
        """Nothing more is going to happen, unless somebody does something."""

    def turn(self) -> None:
        """Look what is new."""
        now = self._now()
        if self._turns_at is not None and now * 1000 >= self._turns_at:
            text = f"{self._serving.model}: the market turns (scripted): others buy, and for other reasons"
            self._tell(self._turns_at, text, "script")
            self._turns_at = None
        with suppress(Retryable):  # not ready yet
            self._objectives(now)
            self._evaluations(now)
            self._actions(now)
            self._rolling(now)
        for told in sorted(self._news, key=lambda one: one[0]):
            self._out(*told)
        self._news = []

    def summary(self) -> dict[str, Any]:
        """For `--json`."""
        rows = [LedgerRow(**row) for row in self._acting.exported()]
        return {
            "actions": [f"{one['action']} {one['state']}" for one in reversed(self._acting.listed())],
            "rollouts": [f"{name}: {result}" for name, (result, _) in self._rollouts.items()],
            "champion": self._serving.champion,
            "ledger_rows": len(rows),
            "ledger_unbroken": broken(rows) is None,
            "over": self.over,
        }

    def close(self) -> None:
        """Stop what is running."""
        with suppress(ObserverError):
            for one in self._acting.listed():
                if one["state"] == "running" and one["action"] == "retrain":
                    self._acting.rule(one["id"], "reject", "demo", "the demo ends")

    def _tell(self, at: int, text: str, tone: Tone) -> None:
        self._news.append((at, text, tone))

    # What is seen

    def _objectives(self, now: float) -> None:
        for one in self._service.objectives.latest:
            key, before = (one.model, one.name), self._burning.get((one.model, one.name), "")
            severity = one.severity or ""
            if severity == before:
                continue
            self._burning[key] = severity
            rates = {rate.window: rate.rate for rate in one.burn}
            wrong = f"{(rates[_HOUR] or 0.0) * (1 - one.target):.0%} wrong within an hour"
            name = f"{one.model}: objective `{one.name}`"
            if severity:
                text = f"{name} burns, {wrong} where {1 - one.target:.0%} may be: {severity}"
                self._tell(_ms(now), text, "bad" if severity == "page" else "plain")
            else:
                self._tell(_ms(now), f"{name} burns no more, {wrong}", "good")

    def _evaluations(self, now: float) -> None:
        for one in self._acting.evaluated():
            key, reason = (one["rule"], one["cause"]), one["reason"]
            if self._reasons.get(key) != reason and reason not in ("intended", "duplicate"):
                text = f"{one['model']}: rule `{one['rule']}` waits, {reason}: {one['detail']}"
                self._tell(_ms(now), text, "plain")
            self._reasons[key] = reason

    def _actions(self, now: float) -> None:
        self.waiting = []
        for one in reversed(self._acting.listed()):
            name, state = one["id"], one["state"]
            if state == "waiting":
                shown = self._acting.shown(name)
                left = shown["rows"][0]["at"] + shown["order"]["approval"]["wait"] - now
                self.waiting.append((name, max(left, 0.0)))
            if self._states.get(name) != state:
                self._states[name] = state
                shown = self._acting.shown(name)
                told = _told(one, shown)
                if told is not None:
                    self._tell(_ms(shown["rows"][-1]["at"]), *told)
                if one["action"] == "retrain" and state in FINAL - {"succeeded"}:
                    self.over = True

    def _rolling(self, now: float) -> None:
        for one in self._acting.rolling():
            state = (one["result"], one["paused"])
            if self._rollouts.get(one["id"]) == state:
                continue
            fresh = one["id"] not in self._rollouts
            self._rollouts[one["id"]] = state
            arms = f"{one['model']}: {one['challenger']} against {one['champion']}"
            if fresh:
                self._tell(_ms(one["started"]), f"{arms}: a rollout begins", "plain")
            elif one["result"]:
                self._ended(one, now)
            elif one["paused"]:
                self._tell(_ms(now), f"{arms}: paused, {one['said'] or one['paused']}", "plain")
        if self._promoted_at is not None and not self._announced and now > self._promoted_at + _TABLE_AFTER:
            self._announce(now)

    # What is done

    def _ended(self, rollout: Mapping[str, Any], now: float) -> None:
        model, version = rollout["model"], rollout["challenger"]
        if rollout["result"] == "promoted" and self._promoted_at is None:
            self._promoted_at = now
            self._serving.adopt()
            text = f"{model}: {version} did well for as long as it was watched; it is the champion now"
            self._tell(_ms(now), text, "good")
        else:
            ended = {"rolled_back": "rolled back", "promoted": "promoted too"}.get(
                rollout["result"], "aborted"
            )
            self._tell(_ms(now), f"{model}: the rollout of {version} is over: {ended}", "plain")
            self.over = True

    def _announce(self, now: float) -> None:
        """As Alertmanager's webhook would; the table ends before the market turned, which nobody noticed."""
        self._announced = True
        model = self._serving.model
        self._tell(_ms(now), f"{model}: an alert says that there is a new table to learn from", "script")
        labels = {"alertname": ALERT, "model": model}
        self._acting.alerts({"alerts": [{"status": "firing", "labels": labels, "fingerprint": "demo"}]})


def _told(one: Mapping[str, Any], shown: Mapping[str, Any]) -> tuple[str, Tone] | None:
    """An action that has come into another state, in words; None for states that tell nothing."""
    model, kind, state, detail = one["model"], one["action"], one["state"], one["detail"]
    order, rows = shown["order"], shown["rows"]
    what = {"retrain": "retraining", "promote": "promotion", "rollback": "rollback"}.get(kind, "step")
    if state == "waiting" and order["approval"]["mode"] == "unless_rejected":
        wait = duration(round(order["approval"]["wait"]) * 1000)
        return f"{model}: {what} in {wait}, unless you reject it: {one['why']}", "ask"
    if state == "running" and kind == "retrain":
        return f"{model}: {what} starts, {_by(rows)}: a program learns from logged events", "plain"
    if state == "succeeded":
        if kind == "retrain":
            made = rows[-1]["data"]["result"]
            learnt = f"learnt from {made['rows']:,} rows, {made['accuracy']:.1%} of those held out right"
            return f"{model}: version {made['version']} has {learnt}", "good"
        share = f"{order['parameters']['share']:g}% of the traffic"
        tone: Tone = "good" if kind == "promote" else "bad" if kind == "rollback" else "plain"
        return f"{model}: the challenger gets {share}, {one['reason']}: {one['why']}", tone
    if state in FINAL or state in ("held", "stuck"):
        return f"{model}: {what} {state} by {rows[-1]['actor']}: {detail}", "plain"
    return None


def _by(rows: list[dict[str, Any]]) -> str:
    approved = next((row for row in reversed(rows) if row["event"] == "approved"), None)
    if approved is None:
        return ""
    return (
        approved["data"]["detail"] if approved["actor"] == "observer" else f"approved by {approved['actor']}"
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
