"""Rules of one objective: Sloth's series, and multiwindow, multi-burn-rate alerts on them."""

from __future__ import annotations

from observer.metrics import catalog
from observer.rules.base import Paper, Rule, group, literal, matchers, record, select
from observer.slo import ObjectiveSpec
from observer.slo.burn import DAY, AlertRule
from observer.slo.objective import alert_rules, burn_windows
from observer.windows import duration

_CALENDAR_DAYS = {"day": 1, "week": 7, "month": 30, "quarter": 91, "year": 365}
SELDOM = 120_000
"""Milliseconds between two looks at the whole window."""
_ON = "on(sloth_id, sloth_slo, sloth_service)"


def objective_groups(
    paper: Paper, model: str, owner: str, name: str, spec: ObjectiveSpec, size: int
) -> list[Rule]:
    """Recording and alerting rules of an objective of a model whose windows last `size` milliseconds."""
    rules = alert_rules(spec, size)
    whole = spec.window if spec.calendar is None else _CALENDAR_DAYS[spec.calendar] * DAY
    windows = [window for window in burn_windows(spec, rules) if window != whole]
    sloth = {"sloth_id": f"{model}-{name}", "sloth_service": model, "sloth_slo": name}
    title = f"observer-slo-{model}-{name}"
    return [
        # The whole window is read at once, so that it is weighted by traffic, and seldom.
        group(f"{title}-period", [_rate(model, name, whole, sloth)], duration(min(whole // 360, SELDOM))),
        # In one group rules are evaluated in their order: alerts see the rates of the same moment.
        group(
            title,
            [
                *(_rate(model, name, window, sloth) for window in windows),
                *_meta(model, name, spec, windows[0], whole, sloth),
                *_alerts(paper, model, owner, name, spec, rules, sloth),
            ],
        ),
    ]


def _rate(model: str, name: str, window: int, sloth: dict[str, str]) -> Rule:
    span = duration(window)
    good, total = (
        f"sum(rate({select(metric, model=model, objective=name)}[{span}]))"
        for metric in (catalog.SLO_GOOD_EVENTS, catalog.SLO_EVENTS)
    )
    labels = {**sloth, "sloth_window": span}
    return record(f"slo:sli_error:ratio_rate{span}", f"1 - ({good} / {total})", labels)


def _meta(
    model: str, name: str, spec: ObjectiveSpec, shortest: int, whole: int, sloth: dict[str, str]
) -> list[Rule]:
    mine = matchers(**sloth)
    budget = f"{_ON} group_left slo:error_budget:ratio{mine}"
    own = select(catalog.SLO_BUDGET, model=model, objective=name, by="prediction")
    return [
        record("slo:objective:ratio", f"vector({spec.target:.10g})", sloth),
        record("slo:error_budget:ratio", f"vector(1 - {spec.target:.10g})", sloth),
        record("slo:time_period:days", f"vector({whole / DAY:.10g})", sloth),
        record(
            "slo:current_burn_rate:ratio",
            f"slo:sli_error:ratio_rate{duration(shortest)}{mine} / {budget}",
            sloth,
        ),
        record(
            "slo:period_burn_rate:ratio", f"slo:sli_error:ratio_rate{duration(whole)}{mine} / {budget}", sloth
        ),
        record("slo:period_error_budget_remaining:ratio", f"1 - slo:period_burn_rate:ratio{mine}", sloth),
        record(
            "observer:slo_error_budget_difference:ratio",
            f"max(slo:period_error_budget_remaining:ratio{mine}) - max({own})",
            {**sloth, "model": model, "objective": name},
        ),
        record(
            "sloth_slo_info",
            "vector(1)",
            {
                **sloth,
                "sloth_version": "observer",
                "sloth_mode": "observer",
                "sloth_spec": "observer/v1",
                "sloth_objective": f"{spec.target * 100:.10g}",
            },
        ),
    ]


def _alerts(
    paper: Paper,
    model: str,
    owner: str,
    name: str,
    spec: ObjectiveSpec,
    rules: tuple[AlertRule, ...],
    sloth: dict[str, str],
) -> list[Rule]:
    where = {"model": model, "objective": name, "owner": owner}
    about = literal(spec.description or f"{model}: {spec.indicator.words}")
    remaining = select(catalog.SLO_BUDGET, model=model, objective=name, by="prediction")
    found = []
    for severity in ("page", "ticket"):
        mine = [rule for rule in rules if rule.severity == severity]
        if not mine:
            continue
        expr = " or ".join(_fast(rule, spec, sloth) for rule in mine)
        spans = " or ".join(
            f"{rule.factor:g}x over {duration(rule.long)} and {duration(rule.short)}" for rule in mine
        )
        found.append(
            paper.alert(
                "ObserverBudgetBurn",
                expr,
                severity,
                "objective",
                f"{about}: the error budget of {name} burns too fast",
                f"{{{{ $value | humanizePercentage }}}} are bad, {1 - spec.target:.4g} may be; alerts at "
                f"{spans}. {_left(remaining)}",
                {**where, "sloth_severity": severity, **sloth},
            )
        )
    spent = f"max({remaining}) <= 0"
    found.append(
        paper.alert(
            "ObserverBudgetSpent",
            spent,
            "ticket",
            "objective",
            f"{about}: the error budget of {name} is spent",
            f"By the time of the predictions {{{{ $value | humanizePercentage }}}} of the budget of "
            f"{spec.calendar or duration(spec.window)} is left; labels that come late can still move it.",
            where,
            duration(paper.thresholds.hold),
        )
    )
    return found


def _fast(rule: AlertRule, spec: ObjectiveSpec, sloth: dict[str, str]) -> str:
    """One pair of windows, in Sloth's form."""
    long, short = (
        f"max(slo:sli_error:ratio_rate{duration(window)}{matchers(**sloth)} > "
        f"({rule.factor:g} * {1 - spec.target:.10g})) without (sloth_window)"
        for window in (rule.long, rule.short)
    )
    return f"({long} and {short})"


def _left(remaining: str) -> str:
    """How much budget is left by the service's own count, asked when the alert fires."""
    query = remaining.replace("\\", "\\\\").replace('"', '\\"')
    return (
        f'{{{{ with query "{query}" }}}}Of the budget {{{{ . | first | value | humanizePercentage }}}} '
        "is left.{{ end }}"
    )
