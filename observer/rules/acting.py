"""Rules about what the service does: orders that cannot be carried out, people who are not reached."""

from __future__ import annotations

from observer.config import Config
from observer.metrics import catalog
from observer.rules.base import Paper, Rule, group
from observer.windows import duration


def acting_group(paper: Paper, config: Config) -> Rule:
    """The rules of actions; the models' owners get them by `model`, the service's owner the others."""
    hold = duration(paper.thresholds.hold)
    rules = [
        paper.alert(
            "ObserverTargetAway",
            f"max by (target) ({catalog.ACTION_TARGET_AWAY.name}) > 0",
            "ticket",
            "service",
            "The target {{ $labels.target }} does not answer",
            "Its orders wait and are tried again, each until its give_up; none is lost. Roll-backs wait too.",
            hold=hold,
        ),
        paper.alert(
            "ObserverActionsStalled",
            f"max({catalog.ACTIONS_STALLED.name}) > 0",
            "page",
            "service",
            "Nothing is decided or carried out",
            "The ledger's database is away, or its chain is broken. Meanwhile no rollout is rolled back.",
            hold=hold,
        ),
        paper.alert(
            "ObserverActionStuck",
            f'sum by (model, action) ({catalog.ACTIONS_OPEN.name}{{state="stuck"}}) > 0',
            "page",
            "service",
            "Nobody can tell whether {{ $labels.action }} of {{ $labels.model }} was done",
            "Its sending was cut off and its target cannot be asked. A person looks, and approves it (again) "
            "or rejects it.",
        ),
    ]
    if config.alertmanager is not None:
        rules.append(
            paper.alert(
                "ObserverAlertmanagerAway",
                f"max({catalog.ALERTMANAGER_DOWN.name}) > 0",
                "ticket",
                "service",
                "{{ $value }} members of Alertmanager cannot be told",
                "Open actions are not shown there. While none answers, no silence approves or rejects any.",
                hold=hold,
            )
        )
    return group("observer-actions", rules)
