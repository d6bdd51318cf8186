"""Service level objectives: budgets, how fast they burn, and when they will be spent."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.parts import (
    GREEN,
    ORANGE,
    RED,
    board,
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

NAME = "objectives"
_ALL = 'model="$model"'
_ONE = f'{_ALL},objective=~"$objective"'
_EXHAUSTED = of(catalog.SLO_EXHAUSTION, _ONE)


def build() -> Dashboard:
    """The dashboard."""
    left = of(catalog.SLO_BUDGET, f'{_ONE},by="prediction"')
    arrived = of(catalog.SLO_BUDGET, f'{_ONE},by="arrival"')
    total, good = of(catalog.SLO_EVENTS, _ONE), of(catalog.SLO_GOOD_EVENTS, _ONE)
    rate = "[$__rate_interval]"
    return (
        board(
            NAME,
            "Observer: objectives and budgets",
            "How much may still go wrong, and how fast it does.",
            variable("objective", "Objective", catalog.SLO_TARGET, _ALL, every=".*"),
            model=True,
        )
        .with_panel(
            number(
                "Error budget left",
                query(left, "{{objective}}", now=True),
                unit="percentunit",
                width=16,
                colors=steps((None, RED), (0, ORANGE), (0.25, GREEN)),
                none="no objective",
            )
        )
        .with_panel(
            number(
                "Alerts that fire",
                query(f"sum({of(catalog.SLO_ALERT, _ONE)})", now=True),
                width=8,
                colors=steps((None, GREEN), (1, RED)),
            )
        )
        .with_panel(
            over_time(
                "Error budget left",
                query(left, "{{objective}}"),
                unit="percentunit",
                most=1,
                about="By the time of the predictions: late labels move it, and this is what counts.",
            )
        )
        .with_panel(
            over_time(
                "Burn rate by window",
                query(of(catalog.SLO_BURN_RATE, _ONE), "{{objective}} {{window}}"),
                least=0,
                about="Bad events over those allowed; 1 spends just the budget. Weighted by traffic.",
            )
        )
        .with_panel(
            over_time(
                "Good events",
                query(
                    f"sum by (objective) (rate({good}{rate})) / sum by (objective) (rate({total}{rate}))",
                    "{{objective}}",
                ),
                query(of(catalog.SLO_TARGET, _ONE), "objective of {{objective}}"),
                unit="percentunit",
                about="Of the events that were counted now, and the share that has to be good.",
            )
        )
        .with_panel(
            over_time(
                "Events counted per second",
                query(f"sum by (objective) (rate({total}{rate}))", "{{objective}}"),
                least=0,
            )
        )
        .with_row(row("Late labels"))
        .with_panel(
            over_time(
                "Budget by arrival less budget by prediction",
                query(f"{arrived} - ignoring(by) {left}", "{{objective}}"),
                unit="percentunit",
                about="What late labels have not moved yet: Prometheus counts by arrival, the service by the "
                "time of the prediction.",
            )
        )
        .with_panel(
            rows(
                "When the budget will be spent",
                ("at", query(f"1000 * {_EXHAUSTED}", rows=True)),
                units={"at": "dateTimeAsIso"},
                hidden=("model",),
                width=12,
                height=8,
                about="If it goes on like this, with its 95% band. Empty where it lasts, or is spent.",
            )
        )
    )
