"""One model: its quality, what drifts, how strong the evidence is, its data and its labels."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.parts import (
    GREEN,
    GREY,
    ORANGE,
    RED,
    STATUS,
    board,
    dashed,
    heat,
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

NAME = "model"
_ONE = 'model="$model"'
_BUDGET = f'{_ONE},by="prediction"'
_MODEL = f'{_ONE},version=~"$version"'
_HERE = f'{_MODEL},segment=~"$segment"'
_LABELLED = f'{_HERE},arm=""'
_SHARES = (
    (catalog.COLUMN_MISSING, "Missing", "Absent, null or NaN."),
    (catalog.COLUMN_UNSEEN, "Unseen categories", "Categories that the reference does not hold."),
    (catalog.COLUMN_OUT_OF_RANGE, "Out of range", "Numbers outside the reference's range."),
    (catalog.COLUMN_TYPE_ERRORS, "Wrong type", "They count as invalid, not as missing."),
)


def build() -> Dashboard:
    """The dashboard."""
    windows = (catalog.WINDOW_ROWS, _ONE)
    found = board(
        NAME,
        "Observer: model",
        "One model: quality, drift, evidence, data, labels.",
        variable("version", "Version", *windows, every=".*"),
        # The segment of all events is the empty one.
        variable("segment", "Segment (All: all events)", *windows, every="^$"),
        variable("metric", "Quality metric", catalog.QUALITY, _ONE),
        variable("column", "Column", catalog.COLUMN_QUANTILE, _ONE),
        model=True,
    )
    for part in (_head, _quality, _drift, _data, _labels):
        found = part(found)
    return found


def _head(found: Dashboard) -> Dashboard:
    alarm = steps((None, GREEN), (1, RED))
    return (
        found.with_panel(
            number(
                "Last window",
                query(f"max({of(catalog.WINDOW_STATUS, _HERE)})", now=True),
                meaning=STATUS,
                colors=steps((None, ORANGE), (0, GREEN), (1, RED)),
            )
        )
        .with_panel(
            number(
                "Open incidents",
                query(f"sum({of(catalog.INCIDENT_OPEN, _MODEL)})", now=True),
                colors=alarm,
                about="A watch paged, and its streams are not verified stable yet.",
            )
        )
        .with_panel(
            number(
                "Incident since",
                query(f"1000 * min({of(catalog.INCIDENT_SINCE, _MODEL)})", now=True),
                unit="dateTimeFromNow",
                none="no incident",
            )
        )
        .with_panel(
            number(
                "Least error budget left",
                query(f"min({of(catalog.SLO_BUDGET, _BUDGET)})", now=True),
                unit="percentunit",
                colors=steps((None, RED), (0, ORANGE), (0.25, GREEN)),
                none="no objective",
            )
        )
        .with_panel(number("Rows of the last window", query(f"sum({of(catalog.WINDOW_ROWS, _HERE)})")))
        .with_panel(
            number(
                "Window ended",
                query(f"1000 * max({of(catalog.WINDOW_END, _HERE)})", now=True),
                unit="dateTimeFromNow",
            )
        )
    )


def _quality(found: Dashboard) -> Dashboard:
    metric = 'metric="$metric"'
    matured, provisional = (
        query(of(catalog.QUALITY, f'{_LABELLED},{metric},maturity="{age}"'), f"{age} {{{{version}}}}")
        for age in ("matured", "provisional")
    )
    estimated, low, high = (
        query(of(one, f"{_HERE},{metric}"), f"{legend} {{{{version}}}}")
        for one, legend in (
            (catalog.QUALITY_ESTIMATE, "estimated"),
            (catalog.QUALITY_ESTIMATE_LOW, "band low"),
            (catalog.QUALITY_ESTIMATE_HIGH, "band high"),
        )
    )
    realised = over_time(
        "$metric: realised and estimated",
        matured,
        provisional,
        estimated,
        low,
        high,
        width=16,
        height=10,
        about="Matured: nearly all labels have come. Estimated: of the last window, before its labels, "
        "with its 95% band; see its skill before you trust it.",
    )
    skill = over_time(
        "Skill of the estimates",
        query(of(catalog.QUALITY_ESTIMATE_SKILL, _HERE), "{{metric}} {{version}}"),
        width=8,
        height=10,
        most=1,
        about="1 less the estimate's mean error over that of assuming no change. At 0 or less, or absent, "
        "use no estimate.",
    )
    return found.with_row(row("Quality")).with_panel(dashed(realised, "/^band.*/", GREY)).with_panel(skill)


def _drift(found: Dashboard) -> Dashboard:
    evidence = f"max by (column) ({of(catalog.STREAM_EVIDENCE, _HERE)})"
    against = over_time(
        "Evidence against threshold",
        query(of(catalog.EVIDENCE, _MODEL), "{{watch}} {{version}}"),
        query(of(catalog.EVIDENCE_THRESHOLD, _MODEL), "threshold of {{watch}} {{version}}"),
        about="Decimal logarithm of the mean evidence of streams that may page; it pages at the threshold.",
    )
    effect = over_time(
        "Shift of the columns with a ticket or page",
        query(
            f"{of(catalog.STREAM_EFFECT, _HERE)} and {of(catalog.STREAM_TIER, _HERE)} > 0",
            "{{column}} {{statistic}}",
        ),
        about="Estimated since it began, signed, each in its own unit.",
    )
    verdicts = rows(
        "Verdicts on the last window",
        *(
            (name, query(of(metric, _HERE), rows=True))
            for name, metric in (
                ("verdict", catalog.DRIFT_STATUS),
                ("effect", catalog.DRIFT_EFFECT),
                ("p-value", catalog.DRIFT_P_VALUE),
                ("threshold", catalog.DRIFT_THRESHOLD),
                ("rows", catalog.DRIFT_WINDOW_ROWS),
            )
        ),
        meanings={"verdict": STATUS},
        hidden=("model", "segment"),
        about="One window against the reference. What lasts is in the evidence above.",
    )
    watch = rows(
        "What the watches rest on",
        ("stage", query(of(catalog.EVIDENCE_STAGE, _MODEL), rows=True)),
        ("reference windows", query(of(catalog.HISTORY_WINDOWS, _MODEL), rows=True)),
        ("needed to page", query(of(catalog.HISTORY_NEEDED, _MODEL), rows=True)),
        hidden=("model",),
        height=6,
        about="Stage 0: no evidence yet; 1: tickets only; 2: it pages.",
    )
    return (
        found.with_row(row("Drift"))
        .with_panel(
            heat(
                "Drift: feature by time",
                query(evidence, "{{column}}"),
                about="Decimal logarithm of the strongest evidence that the column has changed; comparable "
                "between columns.",
                most=10,
            )
        )
        .with_panel(dashed(against, "/^threshold.*/"))
        .with_panel(effect)
        .with_panel(verdicts)
        .with_panel(watch)
    )


def _data(found: Dashboard) -> Dashboard:
    found = found.with_row(row("Data"))
    for metric, title, about in _SHARES:
        most = f"topk(8, max by (column) ({of(metric, _HERE)}))"
        found = found.with_panel(
            over_time(title, query(most, "{{column}}"), unit="percentunit", least=0, width=6, about=about)
        )
    here = f'{_HERE},column="$column"'
    quantiles = of(catalog.COLUMN_QUANTILE, here)
    spread = over_time(
        "Distribution of $column",
        query(quantiles, "{{probability}} quantile {{version}}"),
        query(of(catalog.COLUMN_MEAN, here), "mean {{version}}"),
        width=24,
        about="Of each closed window. The service's page shows it whole, beside the reference's.",
    )
    return found.with_panel(spread)


def _labels(found: Dashboard) -> Dashboard:
    coverage = query(of(catalog.LABEL_COVERAGE, _LABELLED), "{{maturity}} {{version}}")
    delays = f"sum by (le) (rate({of(catalog.LABEL_DELAY, _ONE, '_bucket')}[$__rate_interval]))"
    lag = over_time(
        "Label lag",
        query(f"histogram_quantile(0.5, {delays})", "half come within"),
        query(f"histogram_quantile(0.95, {delays})", "95% come within"),
        query(of(catalog.LABEL_MATURITY, _ONE), "a cohort is matured after"),
        unit="s",
        least=0,
        width=8,
        about="Event time from a prediction to its label, of labels that come now.",
    )
    joined = f"sum by (outcome) (rate({of(catalog.LABELS_JOINED, _ONE)}[$__rate_interval]))"
    return (
        found.with_row(row("Labels"))
        .with_panel(over_time("Label coverage", coverage, unit="percentunit", least=0, most=1, width=8))
        .with_panel(dashed(lag, "/^a cohort.*/", "blue"))
        .with_panel(over_time("Labels per second", query(joined, "{{outcome}}"), least=0, width=8))
    )
