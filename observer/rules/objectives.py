"""Rules of one objective: Sloth's series, and multiwindow, multi-burn-rate alerts on them."""

from __future__ import annotations

from dataclasses import dataclass

from observer.metrics import Metric, catalog
from observer.rules.base import Paper, Rule, group, literal, matchers, quote, record
from observer.rules.watched import Watched
from observer.rules.why import left, rates, strongest_of_model
from observer.slo import ObjectiveSpec
from observer.slo.burn import DAY, AlertRule
from observer.slo.objective import alert_rules, burn_windows
from observer.windows import duration

_CALENDAR_DAYS = {"day": 1, "week": 7, "month": 30, "quarter": 91, "year": 365}
SELDOM = 120_000
"""Milliseconds between two looks at the whole window."""
_ON = "on(sloth_id, sloth_slo, sloth_service)"


@dataclass(frozen=True, slots=True)
class _Subject:
    """An objective of one model, or of every model that the configuration does not name.

    Of the latter each has series of its own: the same rules, with Sloth's labels made of the model's name.
    """

    watched: Watched
    name: str

    @property
    def labels(self) -> dict[str, str]:
        """Sloth's labels that are written into the rules."""
        model = self.watched.model
        if not model:
            return {"sloth_slo": self.name}
        return {"sloth_id": f"{model}-{self.name}", "sloth_service": model, "sloth_slo": self.name}

    @property
    def mine(self) -> str:
        """What selects the recorded series; only those of models that nobody named say which model."""
        if self.watched.model:
            return matchers(**self.labels)
        return f'{{sloth_slo={quote(self.name)},model!=""}}'

    @property
    def by(self) -> str:
        """What sums are kept apart by."""
        return "" if self.watched.model else " by (model, objective) "

    def select(self, metric: Metric, extra: str = "") -> str:
        """A metric of it."""
        own = f"objective={quote(self.name)}"
        return self.watched.select(metric, f"{own},{extra}" if extra else own)

    def record(self, name: str, expr: str, labels: dict[str, str]) -> Rule:
        """A recording rule that says whose value it is."""
        if not self.watched.model:
            joined = f'label_join({expr}, "sloth_id", "-", "model", "objective")'
            expr = f'label_replace({joined}, "sloth_service", "$1", "model", "(.*)")'
        return record(name, expr, labels)

    def constant(self, value: str) -> str:
        """The same value for each model."""
        if self.watched.model:
            return f"vector({value})"
        return f"sum{self.by}({self.select(catalog.SLO_EVENTS)}) * 0 + ({value})"


def objective_groups(paper: Paper, watched: Watched, name: str, spec: ObjectiveSpec) -> list[Rule]:
    """Recording and alerting rules of an objective of a model, or of all that have no rules of their own."""
    subject, model = _Subject(watched, name), watched.model
    rules = alert_rules(spec, watched.spec.window.size)
    whole = spec.window if spec.calendar is None else _CALENDAR_DAYS[spec.calendar] * DAY
    windows = [window for window in burn_windows(spec, rules) if window != whole]
    # No name of an objective holds a slash or a space: no two groups have one name, which Prometheus refuses.
    title = f"observer-slo-{model}/{name}" if model else f"observer-slos/{name}"
    return [
        # The whole window is read at once, so that it is weighted by traffic, and seldom.
        group(f"{title} period", [_rate(subject, whole)], duration(min(whole // 360, SELDOM))),
        # In one group rules are evaluated in their order: alerts see the rates of the same moment.
        group(
            title,
            [
                *(_rate(subject, window) for window in windows),
                *_meta(subject, spec, min(windows, default=whole), whole),
                *_alerts(paper, subject, spec, rules),
            ],
        ),
    ]


def _rate(subject: _Subject, window: int) -> Rule:
    span = duration(window)
    good, total = (
        f"sum{subject.by}(rate({subject.select(metric)}[{span}]))"
        for metric in (catalog.SLO_GOOD_EVENTS, catalog.SLO_EVENTS)
    )
    labels = {**subject.labels, "sloth_window": span}
    return subject.record(f"slo:sli_error:ratio_rate{span}", f"1 - ({good} / {total})", labels)


def _meta(subject: _Subject, spec: ObjectiveSpec, shortest: int, whole: int) -> list[Rule]:
    mine, sloth, name, model = subject.mine, subject.labels, subject.name, subject.watched.model
    budget = f"{_ON} group_left slo:error_budget:ratio{mine}"
    own = subject.select(catalog.SLO_BUDGET, 'by="prediction"')
    whose = {"model": model, "objective": name} if model else {}
    return [
        subject.record("slo:objective:ratio", subject.constant(f"{spec.target:.10g}"), sloth),
        subject.record("slo:error_budget:ratio", subject.constant(f"1 - {spec.target:.10g}"), sloth),
        subject.record("slo:time_period:days", subject.constant(f"{whole / DAY:.10g}"), sloth),
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
            f"max{subject.by}(slo:period_error_budget_remaining:ratio{mine}) - max{subject.by}({own})",
            {**sloth, **whose},
        ),
        subject.record(
            "sloth_slo_info",
            subject.constant("1"),
            {
                **sloth,
                "sloth_version": "observer",
                "sloth_mode": "observer",
                "sloth_spec": "observer/v1",
                "sloth_objective": f"{spec.target * 100:.10g}",
            },
        ),
    ]


def _alerts(paper: Paper, subject: _Subject, spec: ObjectiveSpec, rules: tuple[AlertRule, ...]) -> list[Rule]:
    name, model, sloth = subject.name, subject.watched.model, subject.labels
    where = {"model": model, "objective": name, "owner": subject.watched.spec.owner}
    words = spec.indicator.words
    about = literal(spec.description or words[0].upper() + words[1:])
    whose = (literal(model) or "{{ $labels.model }}") + f"/{name}"
    remaining = subject.select(catalog.SLO_BUDGET, 'by="prediction"')
    found = []
    for severity in ("page", "ticket"):
        mine = [rule for rule in rules if rule.severity == severity]
        if not mine:
            continue
        expr = " or ".join(_fast(rule, spec, subject) for rule in mine)
        spans = " or ".join(
            f"{rule.factor:g}x over {duration(rule.long)} and {duration(rule.short)}" for rule in mine
        )
        fast = rates(model, name, [duration(rule.long) for rule in mine])
        found.append(
            paper.alert(
                "ObserverBudgetBurn",
                expr,
                severity,
                "objective",
                f"{about}: the error budget of {whose} burns too fast",
                fast + "{{ $value | humanizePercentage }} are bad, "
                f"{100 * (1 - spec.target):.4g}% may be; alerts at {spans}. "
                + left(model, name)
                + strongest_of_model(model),
                {**where, "sloth_severity": severity, **sloth},
            )
        )
    spent = f"max{subject.by}({remaining}) <= 0"
    found.append(
        paper.alert(
            "ObserverBudgetSpent",
            spent,
            "ticket",
            "objective",
            f"{about}: the error budget of {whose} is spent",
            f"By the time of the predictions {{{{ $value | humanizePercentage }}}} of the budget of "
            f"{duration(spec.window) if spec.calendar is None else 'the ' + spec.calendar} is left"
            + ("; labels that come late can still move it." if spec.waits_for_labels else "."),
            where,
            duration(paper.thresholds.hold),
        )
    )
    return found


def _fast(rule: AlertRule, spec: ObjectiveSpec, subject: _Subject) -> str:
    """One pair of windows, in Sloth's form."""
    long, short = (
        f"max(slo:sli_error:ratio_rate{duration(window)}{subject.mine} > "
        f"({rule.factor:g} * {1 - spec.target:.10g})) without (sloth_window)"
        for window in (rule.long, rule.short)
    )
    return f"({long} and {short})"
