"""Standings of objectives as gauges."""

from __future__ import annotations

from observer.metrics import Values, catalog
from observer.model import ObjectiveStanding
from observer.windows import duration


def add_objective(values: Values, standing: ObjectiveStanding) -> None:
    """Add the series of one objective."""
    where = (standing.model, standing.name)
    values.set(catalog.SLO_TARGET, where, standing.target)
    for by, remaining in (("prediction", standing.remaining), ("arrival", standing.remaining_by_arrival)):
        if remaining is not None:
            values.set(catalog.SLO_BUDGET, (*where, by), remaining)
    for one in standing.burn:
        if one.rate is not None:
            values.set(catalog.SLO_BURN_RATE, (*where, duration(one.window)), one.rate)
    for severity in {alert.severity for alert in standing.alerts}:
        firing = any(alert.firing for alert in standing.alerts if alert.severity == severity)
        values.set(catalog.SLO_ALERT, (*where, severity), firing)
    if standing.since is not None:
        values.set(catalog.SLO_SINCE, where, standing.since / 1000)
    if standing.exhaustion is not None:
        moments = {
            "earliest": standing.exhaustion.earliest,
            "expected": standing.exhaustion.expected,
            "latest": standing.exhaustion.latest,
        }
        for bound, moment in moments.items():
            if moment is not None:
                values.set(catalog.SLO_EXHAUSTION, (*where, bound), moment / 1000)
