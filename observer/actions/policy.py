"""Policy: which rule a trigger sets off, and by name why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from observer.actions.base import LOWERS_EXPOSURE, ROLLOUTS, Order
from observer.actions.ledger import Action
from observer.actions.spec import ActionsSpec, RuleSpec
from observer.windows import duration

DAY = 86_400.0
REASONS: Final = (
    "intended",  # an action begins
    "duplicate",  # the same decision was taken before
    "dry_run",  # it would begin
    "frozen",  # within a freeze
    "cooldown",  # the rule has fired lately
    "rate_limit",  # too many actions of the model within a day
    "concurrent",  # another action of the model is open
    "labels_too_few",  # to learn from
    "too_many_open",  # of all models together
)
"""Every outcome of an evaluation: metric label, log and ledger alike."""
Reason = Literal[
    "intended",
    "duplicate",
    "dry_run",
    "frozen",
    "cooldown",
    "rate_limit",
    "concurrent",
    "labels_too_few",
    "too_many_open",
]


@dataclass(frozen=True, slots=True)
class Trigger:
    """Something that a rule may be waiting for.

    Attributes
    ----------
    kind : str
    tier : str
        Of a finding or objective.
    cause : str
        What it is about, the same each time it is seen: one decision per cause and rule.
    reference : str
        Version of the reference that the model's version is judged against; "" where there is none yet.
    detail : str
        For people.
    since : float or None
        When it began, seconds since the epoch.
    labels : mapping
        Of an alert.
    evidence : mapping
        JSON for the ledger and the target.
    """

    kind: Literal["finding", "objective", "schedule", "alert"]
    model: str
    version: str
    cause: str
    detail: str
    tier: Literal["page", "ticket", "info"] = "info"
    since: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a rule made of a trigger; `order` is what is done, or in a dry run would be."""

    rule: str
    reason: Reason
    detail: str
    order: Order | None = None


def scheduled(spec: ActionsSpec, model: str, now: float) -> list[Trigger]:
    """The triggers of the rules that run by the clock: one for each stretch of time."""
    return [
        Trigger(
            "schedule",
            model,
            "",
            f"every/{rule.name}/{int(now * 1000 // rule.when.every)}",
            f"scheduled every {duration(rule.when.every)}",
        )
        for rule in spec.rules
        if rule.when.every is not None
    ]


def evaluate(
    spec: ActionsSpec,
    trigger: Trigger,
    past: Sequence[Action],
    now: float,
    *,
    fired: Mapping[tuple[str, str], float],
    labels: int = 0,
    utc_offset: float = 0.0,
) -> list[Evaluation]:
    """What each rule that waits for the trigger makes of it.

    Parameters
    ----------
    past : sequence
        The actions of the model, those that ended too, but for very old ones.
    now : float
        Seconds since the epoch.
    fired : mapping
        Model and rule -> when it fired last, seconds since the epoch.
    labels : int
        Labelled predictions since the change began.
    utc_offset : float
        Hours by which local time is ahead of UTC.
    """
    evaluations: list[Evaluation] = []
    begun = 0
    waiting = [rule for rule in spec.rules if _matches(rule, trigger)]
    for rule in waiting:
        order = _order(rule, trigger, now)
        reason, detail = _guarded(
            spec,
            rule,
            order,
            past,
            now,
            fired.get((trigger.model, rule.name)),
            labels,
            utc_offset,
            begun=begun,
        )
        begun += reason == "intended" and order.kind not in LOWERS_EXPOSURE
        evaluations.append(Evaluation(rule.name, reason, detail, order))
    return evaluations


def _matches(rule: RuleSpec, trigger: Trigger) -> bool:
    when = rule.when
    graver = {"page": ("page",), "ticket": ("page", "ticket")}
    if trigger.kind == "finding":
        return when.finding is not None and trigger.tier in graver[when.finding]
    if trigger.kind == "objective":
        return when.objective is not None and trigger.tier in graver[when.objective]
    if trigger.kind == "schedule":
        return when.every is not None and trigger.cause.startswith(f"every/{rule.name}/")
    return when.alert is not None and when.alert.items() <= trigger.labels.items()


def _order(rule: RuleSpec, trigger: Trigger, now: float) -> Order:
    return Order(
        key=f"{trigger.model}/{rule.name}/{trigger.cause}",
        model=trigger.model,
        kind=rule.do,
        target=rule.target or ROLLOUTS,
        parameters={
            **rule.parameters,
            "model": trigger.model,
            "version": trigger.version,
            "since": trigger.since,
            "until": now,
            "cause": trigger.cause,
            "finding": str(trigger.evidence.get("finding", "")),
            "reference": trigger.reference,
            **({"share": 0.0, "before": None} if rule.do == "rollback" else {}),
            **({"challenger": trigger.labels.get("challenger", "")} if rule.do == "start_rollout" else {}),
        },
        why={
            "reason": trigger.kind,
            "rule": rule.name,
            "tier": trigger.tier,
            "detail": trigger.detail,
            "evidence": dict(trigger.evidence),
        },
        approval=rule.approval.approval(lowers_exposure=rule.do in LOWERS_EXPOSURE),
        created=now,
        give_up=rule.give_up / 1000,
    )


def _guarded(
    spec: ActionsSpec,
    rule: RuleSpec,
    order: Order,
    past: Sequence[Action],
    now: float,
    fired: float | None,
    labels: int,
    utc_offset: float,
    *,
    begun: int,
) -> tuple[Reason, str]:
    guards = spec.guards
    if any(action.id == order.id for action in past):
        return "duplicate", f"action {order.id} is about the same"
    if labels < rule.fresh_labels:
        return "labels_too_few", f"{labels} labelled predictions so far; the rule wants {rule.fresh_labels}"
    if order.kind not in LOWERS_EXPOSURE:
        frozen = guards.frozen(now + utc_offset * 3600)
        if frozen:
            return "frozen", frozen
        weighty = [action for action in past if action.order.kind not in LOWERS_EXPOSURE]
        still = [action for action in weighty if not action.final]
        if len(still) + begun >= guards.concurrent:
            return "concurrent", f"{len(still) + begun} open; at most {guards.concurrent} at once"
        today = sum(action.order.created > now - DAY for action in weighty)
        if today + begun >= guards.most_per_day:
            return "rate_limit", f"{today + begun} within a day; at most {guards.most_per_day}"
    rest = rule.cooldown / 1000
    if fired is not None and now < fired + rest:
        left = duration(round((fired + rest - now) * 1000) // 1000 * 1000)
        return "cooldown", f"it fired lately and rests for another {left}"
    if guards.dry_run:
        return "dry_run", f"would {rule.do} through {order.target}"
    return "intended", trigger_text(order)


def trigger_text(order: Order) -> str:
    """Why an order was given, in a line."""
    return f"{order.why['rule']}: {order.why['detail']}"
