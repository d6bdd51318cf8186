"""Champion against challenger."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.parts import board, dashed, number, of, over_time, query, row, variable
from observer.metrics import catalog

NAME = "rollout"
_MODEL = 'model="$model"'
_ALL = f'{_MODEL},segment="",arm=""'


def build() -> Dashboard:
    """The dashboard."""
    matured = f'{_ALL},maturity="matured"'
    by_version = "{{version}}"
    difference = over_time(
        "Challenger less champion",
        query(of(catalog.ROLLOUT_DIFFERENCE, _MODEL), "{{bound}} {{version}}"),
        unit="percentunit",
        width=16,
        height=10,
        about="Rate of right predictions, with a band that holds however often one looks.",
    )
    evidence = over_time(
        "Evidence",
        query(of(catalog.ROLLOUT_EVIDENCE, _MODEL), "{{direction}} {{version}}"),
        width=8,
        height=10,
        about="Decimal logarithm of the evidence that the challenger is better, or worse.",
    )
    rows_ = of(catalog.WINDOW_ROWS, f'{_MODEL},segment=""')
    return (
        board(
            NAME,
            "Observer: champion and challenger",
            "How a new version does beside the one that serves.",
            variable("metric", "Quality metric", catalog.QUALITY, _MODEL),
            model=True,
        )
        .with_panel(
            number(
                "Share of the challenger",
                query(of(catalog.ROLLOUT_SHARE, _MODEL), by_version, now=True),
                unit="percentunit",
                width=6,
                none="no rollout",
            )
        )
        .with_panel(
            number(
                "Difference so far",
                query(of(catalog.ROLLOUT_DIFFERENCE, f'{_MODEL},bound="estimate"'), by_version, now=True),
                unit="percentunit",
                width=6,
                none="no rollout",
            )
        )
        .with_panel(
            number(
                "Versions with traffic",
                query(f"count(count by (version) ({rows_} > 0))", now=True),
                width=6,
            )
        )
        .with_panel(
            number(
                "Labelled rows of the last matured cohorts",
                query(f"sum by (version) ({of(catalog.QUALITY_ROWS, matured)})", by_version, now=True),
                width=6,
            )
        )
        .with_panel(dashed(difference, "/^(lower|upper).*/", "#8e8e8e"))
        .with_panel(evidence)
        .with_panel(
            over_time(
                "Share of the traffic",
                query(of(catalog.ROLLOUT_SHARE, _MODEL), "ordered for {{version}}"),
                query(of(catalog.ROLLOUT_SHADOW, _MODEL), "copied to {{version}}"),
                query(
                    f"sum by (version) ({rows_}) / ignoring(version) group_left sum({rows_})",
                    "seen of {{version}}",
                ),
                unit="percentunit",
                least=0,
                most=1,
            )
        )
        .with_panel(
            over_time(
                "$metric by version",
                query(of(catalog.QUALITY, f'{matured},metric="$metric"'), by_version),
                about="Of matured cohorts. Versions serve different requests: the difference above is the "
                "fair comparison.",
            )
        )
        .with_row(row("Labels and drift by version"))
        .with_panel(
            over_time(
                "Label coverage",
                query(of(catalog.LABEL_COVERAGE, matured), by_version),
                unit="percentunit",
                least=0,
                most=1,
            )
        )
        .with_panel(
            over_time(
                "Evidence of change",
                query(of(catalog.EVIDENCE, _MODEL), "{{watch}} {{version}}"),
                query(of(catalog.EVIDENCE_THRESHOLD, _MODEL), "threshold of {{watch}} {{version}}"),
            )
        )
    )
