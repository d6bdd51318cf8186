"""What was done about findings, what waits for a person, and why rules did nothing."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.parts import (
    GREEN,
    ORANGE,
    RED,
    board,
    gained,
    number,
    of,
    over_time,
    query,
    row,
    rows,
    steps,
    variable,
)
from observer.metrics import catalog

NAME = "actions"
_MODELS = 'model=~"$model"'


def build() -> Dashboard:
    """The dashboard."""
    opened = of(catalog.ACTIONS_OPEN, _MODELS)
    ended = gained(catalog.ACTIONS_ENDED, _MODELS, "$__range")
    waiting = of(catalog.ACTIONS_OPEN, f'{_MODELS},state=~"waiting|held"')
    evaluated = gained(catalog.ACTION_EVALUATIONS, _MODELS)
    failed = gained(catalog.ACTIONS_ENDED, f'{_MODELS},state="failed"', "$__range")
    return (
        board(
            NAME,
            "Observer: actions",
            "Retraining, traffic, notices: what waits, what runs, what ended, and why.",
            variable("model", "Model", catalog.ACTION_EVALUATIONS, every=".*"),
        )
        .with_panel(
            number(
                "Wait for a person",
                query(f"sum({waiting}) or on() vector(0)", now=True),
                width=6,
                colors=steps((None, GREEN), (1, ORANGE)),
            )
        )
        .with_panel(number("Open", query(f"sum({opened}) or on() vector(0)", now=True), width=6))
        .with_panel(
            number(
                "Failed in the shown time",
                query(f"sum({failed}) or on() vector(0)", now=True),
                width=6,
                colors=steps((None, GREEN), (1, RED)),
            )
        )
        .with_panel(number("Rows of the ledger", query(of(catalog.LEDGER_ROWS), now=True), width=6))
        .with_panel(
            rows(
                "Open actions",
                ("actions", query(f"sum by (model, action, state) ({opened})", rows=True)),
                width=12,
            )
        )
        .with_panel(
            rows(
                "Ended in the shown time",
                ("actions", query(f"sum by (model, action, state) ({ended})", rows=True)),
                width=12,
            )
        )
        .with_panel(
            over_time(
                "Open actions",
                query(f"sum by (model, action, state) ({opened})", "{{model}} {{action}} {{state}}"),
                least=0,
            )
        )
        .with_panel(
            over_time(
                "What rules made of what set them off",
                query(
                    f"sum by (model, rule, reason) ({evaluated})",
                    "{{model}} {{rule}}: {{reason}}",
                ),
                least=0,
                about="Intended, or the guard that held the action back; each cause once.",
            )
        )
        .with_row(row("The control plane"))
        .with_panel(
            over_time(
                "Results that rules never saw",
                query(
                    f"increase({of(catalog.ACTION_REPORTS_DROPPED)}[$__rate_interval]) or on() vector(0)",
                    "dropped",
                ),
                least=0,
                width=8,
            )
        )
        .with_panel(
            over_time(
                "What stands in the way",
                query(of(catalog.ACTIONS_STALLED), "nothing is decided: the ledger cannot be used"),
                query(of(catalog.ALERTMANAGER_DOWN), "Alertmanagers that could not be told"),
                query(of(catalog.ACTION_TARGET_AWAY), "no answer from {{target}}"),
                least=0,
                width=8,
            )
        )
        .with_panel(
            rows(
                "Newest row of the ledger",
                ("is", query(of(catalog.LEDGER_HEAD), rows=True)),
                width=8,
                height=8,
                hidden=("is",),
                about="Keep this hash elsewhere: a row changed later changes every one after it.",
            )
        )
    )
