"""Metrics of actions and rollouts."""

from __future__ import annotations

from observer.metrics.base import Metric

# --- actions ---
ACTION_EVALUATIONS = Metric(
    "observer_action_evaluations_total",
    "counter",
    ("model", "rule", "reason"),
    "",
    "What rules made of what set them off, by reason, each cause once: intended, duplicate, dry_run, frozen, "
    "cooldown, rate_limit, concurrent, labels_too_few, too_many_open.",
)
ACTION_REPORTS_DROPPED = Metric(
    "observer_action_reports_dropped_total",
    "counter",
    (),
    "",
    "Results that rules and rollouts never saw because they were too far behind.",
)
ACTIONS_OPEN = Metric(
    "observer_actions_open",
    "gauge",
    ("model", "action", "state"),
    "",
    "Actions that have not ended: waiting, held, approved, sending, running, stuck.",
)
ACTIONS_ENDED = Metric(
    "observer_actions_ended_total",
    "counter",
    ("model", "action", "state"),
    "",
    "Actions that ended: succeeded, failed, rejected, expired, stopped.",
)
LEDGER_ROWS = Metric("observer_ledger_rows", "gauge", (), "", "Rows of the ledger of actions.")
LEDGER_HEAD = Metric(
    "observer_ledger_head_info",
    "gauge",
    ("hash",),
    "",
    "Always 1; names the newest row of the ledger.",
)
ROLLOUT_SHARE = Metric(
    "observer_rollout_share_ratio",
    "gauge",
    ("model", "version"),
    "ratio",
    "Share of the traffic that the challenger gets.",
)
ROLLOUT_SHADOW = Metric(
    "observer_rollout_shadow_ratio",
    "gauge",
    ("model", "version"),
    "ratio",
    "Share of the requests that the challenger answers copies of, to nobody.",
)
ROLLOUT_DIFFERENCE = Metric(
    "observer_rollout_difference",
    "gauge",
    ("model", "version", "bound"),
    "",
    "Rate of right predictions of the challenger less the champion's: lower, estimate, upper.",
)
ROLLOUT_EVIDENCE = Metric(
    "observer_rollout_evidence",
    "gauge",
    ("model", "version", "direction"),
    "",
    "Decimal logarithm of the evidence that the challenger is better, or worse.",
)
ACTION_TARGET_AWAY = Metric(
    "observer_action_target_away",
    "gauge",
    ("target",),
    "",
    "1 while a target gave no answer when it was last asked; its orders wait and are tried again.",
)
ACTIONS_STALLED = Metric(
    "observer_actions_stalled",
    "gauge",
    (),
    "",
    "1 while nothing is decided or carried out: the ledger's database is away, or its chain is broken.",
)
ALERTMANAGER_DOWN = Metric(
    "observer_alertmanagers_down",
    "gauge",
    (),
    "",
    "Alertmanagers that could not be told the last time.",
)

ACTING_SECTIONS = {
    "Actions": (
        ACTION_EVALUATIONS,
        ACTION_REPORTS_DROPPED,
        ACTIONS_OPEN,
        ACTIONS_ENDED,
        LEDGER_ROWS,
        LEDGER_HEAD,
        ROLLOUT_SHARE,
        ROLLOUT_SHADOW,
        ROLLOUT_DIFFERENCE,
        ROLLOUT_EVIDENCE,
        ACTION_TARGET_AWAY,
        ACTIONS_STALLED,
        ALERTMANAGER_DOWN,
    ),
}
