"""All models at one look."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.parts import (
    GREEN,
    ORANGE,
    RED,
    STATUS,
    board,
    gained,
    number,
    of,
    over_time,
    query,
    row,
    rows,
    steps,
)
from observer.metrics import catalog

NAME = "fleet"
_ALL = 'segment=""'
_ALARMS = 'tier=~"page|ticket"'
_MODEL = "/d/observer-model?var-model=${__value.raw:percentencode}&${__url_time_range}&${page:queryparam}"


def build() -> Dashboard:
    """The dashboard."""
    alarm = steps((None, GREEN), (1, RED))
    alerts = of(catalog.SLO_ALERT)
    status = of(catalog.WINDOW_STATUS, _ALL)
    incidents = f"max by (model, version) ({of(catalog.INCIDENT_OPEN)})"
    budget = "min by (model) (" + of(catalog.SLO_BUDGET, 'by="prediction"') + ")"
    events = of(catalog.EVENTS, 'stream="predictions",outcome=~"accepted|late_folded"')
    accuracy = of(catalog.QUALITY, 'maturity="matured",segment="",arm="",metric=~"accuracy|r2|auc"')
    return (
        board(NAME, "Observer: fleet", "All models: who needs a look, and why.")
        .with_panel(number("Models", query(f"count(count by (model) ({of(catalog.WINDOW_END)}))", now=True)))
        .with_panel(
            number(
                "Open incidents",
                query(f"sum({of(catalog.INCIDENT_OPEN)}) or on() vector(0)", now=True),
                colors=alarm,
                about="A watch paged, and its streams are not verified stable yet.",
            )
        )
        .with_panel(
            number(
                "Burning objectives",
                query(f"sum(max by (model, objective) ({alerts})) or on() vector(0)", now=True),
                colors=alarm,
                about="Objectives whose budget burns so fast that some alert fires.",
            )
        )
        .with_panel(
            number(
                "Models with drift",
                query(f"count(max by (model) ({status}) == 1) or on() vector(0)", now=True),
                colors=steps((None, GREEN), (1, ORANGE)),
                about="Some column of the last window differs from the reference. That alone pages nobody.",
            )
        )
        .with_panel(
            number(
                "Actions that wait or run",
                query(f"sum({of(catalog.ACTIONS_OPEN)}) or on() vector(0)", now=True),
            )
        )
        .with_panel(number("Events per second", query(f"sum(rate({events}[$__rate_interval]))")))
        .with_panel(
            rows(
                "Models",
                ("status", query(f"max by (model, version) ({status})", rows=True)),
                ("incident", query(incidents, rows=True)),
                ("rows", query(f"sum by (model, version) ({of(catalog.WINDOW_ROWS, _ALL)})", rows=True)),
                (
                    "window ended",
                    query(f"1000 * max by (model, version) ({of(catalog.WINDOW_END, _ALL)})", rows=True),
                ),
                (
                    "label coverage",
                    query(
                        "min by (model, version) ("
                        + of(catalog.LABEL_COVERAGE, 'maturity="matured",segment="",arm=""')
                        + ")",
                        rows=True,
                    ),
                ),
                about="The last closed window of each version. A click on a model opens it.",
                height=10,
                units={"window ended": "dateTimeFromNow", "label coverage": "percentunit"},
                meanings={"status": STATUS},
                link=("model", "Open", _MODEL),
            )
        )
        .with_panel(
            over_time(
                "Least error budget left",
                query(budget, "{{model}}"),
                unit="percentunit",
                most=1,
                to_page=True,
                about="Of all objectives of a model; by the time of the predictions.",
            )
        )
        .with_panel(
            over_time("Quality of matured cohorts", query(accuracy, "{{model}} {{version}} {{metric}}"))
        )
        .with_panel(
            over_time(
                "Evidence against threshold",
                query(
                    f"max by (model) ({of(catalog.EVIDENCE)} / {of(catalog.EVIDENCE_THRESHOLD)})",
                    "{{model}}",
                ),
                unit="percentunit",
                least=0,
                to_page=True,
                about="1 pages. The mean evidence of a watch over what it needs.",
            )
        )
        .with_panel(
            over_time(
                "Pages and tickets",
                query(
                    f"sum by (model, tier) ({gained(catalog.FINDINGS, _ALARMS)})",
                    "{{model}} {{tier}}",
                ),
                least=0,
                to_page=True,
            )
        )
        .with_row(row("Traffic"))
        .with_panel(
            over_time(
                "Predictions per second",
                query(f"sum by (model) (rate({events}[$__rate_interval]))", "{{model}}"),
                unit="reqps",
                least=0,
                to_page=True,
            )
        )
        .with_panel(
            over_time(
                "Events that were not used, per second",
                query(
                    "sum by (model, outcome) (rate("
                    + of(catalog.EVENTS, 'outcome=~"rejected|late_counted|duplicate"')
                    + "[$__rate_interval])) or on() vector(0)",
                    "{{model}} {{outcome}}",
                ),
                unit="reqps",
                least=0,
            )
        )
    )
