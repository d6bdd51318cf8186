"""OpenSLO in and out, and what is refused by name."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from observer.cli.openslo import command
from observer.config import load
from observer.errors import ConfigError
from observer.slo import ObjectiveSpec
from observer.slo.objective import alert_rules
from observer.slo.openslo import document, read

HOUR = 3_600_000


def hours(_: str) -> int:
    """Every model's windows last an hour."""
    return HOUR


indicators = st.sampled_from(
    [
        {"type": "correct"},
        {"type": "correct", "basis": "estimated"},
        {"type": "error_within", "absolute": 2.5, "relative": 0.1},
        {"type": "complete", "features": ["age", "plan"]},
        {"type": "latency", "within": "250ms"},
        {"type": "freshness", "within": "10m"},
        {"type": "quality", "metric": "roc_auc", "at_least": 0.8},
        {"type": "quality", "metric": "ece", "at_most": 0.05, "weight": "windows"},
        {"type": "quality", "metric": "brier", "at_least": 0.01, "at_most": 0.2},
        {"type": "label_coverage", "at_least": 0.5},
        {"type": "drift", "at_most": 0.1},
    ]
)
spans = st.one_of(
    st.builds(lambda days: {"window": f"{days}d"}, st.integers(1, 90)),
    st.builds(
        lambda calendar, zone: {"calendar": calendar, "time_zone": zone},
        st.sampled_from(["day", "week", "month", "quarter", "year"]),
        st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu"]),
    ),
)
selectors = st.fixed_dictionaries(
    {},
    optional={
        "version": st.just("3"),
        "arm": st.just("challenger"),
        "segment": st.just("country=DE"),
        "description": st.just("What users notice"),
        "burn_windows": st.just("pyrra-28d"),
    },
)


@settings(max_examples=40)
@given(
    indicators, spans, selectors, st.sampled_from([0.9, 0.95, 0.999]), st.sampled_from(["good", "p99_fast_"])
)
def test_what_is_written_is_read_again(tmp_path_factory, indicator, span, chosen, target, name):
    spec = ObjectiveSpec.model_validate({"indicator": indicator, "target": target, **span, **chosen})
    path = tmp_path_factory.mktemp("openslo") / "one.yaml"
    path.write_text(yaml.safe_dump(document("churn", name, spec, HOUR)))
    again = read([path], hours)["churn"][name]
    default = {"burn_windows": "google-30d"}
    assert again.model_copy(update=default) == spec.model_copy(update=default)
    if rules := alert_rules(spec, HOUR):
        assert alert_rules(again, HOUR) == rules


LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@settings(max_examples=40)
@given(indicators, spans, st.sampled_from(["good", "p99_fast_", "a" * 63]))
def test_what_is_written_is_what_openslo_asks_for(indicator, span, name):
    """What the specification says, and go-sdk, which is OpenSLO's own, validates by."""
    spec = ObjectiveSpec.model_validate({"indicator": indicator, "target": 0.95, **span})
    slo = document("churn", name, spec, HOUR)
    [target] = slo["spec"]["objectives"]
    sliced = slo["spec"]["budgetingMethod"] == "Timeslices"
    assert sliced == ({"timeSliceTarget": 1.0, "timeSliceWindow": "1h"}.items() <= target.items())
    measured = slo["spec"]["indicator"]["spec"]
    assert ("op" in target) == ("value" in target) == ("thresholdMetric" in measured)
    for metric in [*measured.get("ratioMetric", {}).values(), measured.get("thresholdMetric")]:
        assert not isinstance(metric, dict) or metric["metricSource"]["spec"]
    names = [slo["metadata"]["name"], slo["spec"]["indicator"]["metadata"]["name"]]
    for policy in slo["spec"]["alertPolicies"]:
        [condition], [receiver] = policy["spec"]["conditions"], policy["spec"]["notificationTargets"]
        assert policy["spec"]["alertWhenBreaching"]
        names += [part["metadata"]["name"] for part in (policy, condition, receiver)]
    assert all(LABEL.fullmatch(one) for one in names)


SLI = """
apiVersion: openslo/v1
kind: SLI
metadata: {name: right}
spec:
  ratioMetric:
    counter: true
    good: {metricSource: {type: observer, spec: {type: correct, segment: "country=DE"}}}
    total: {metricSource: {type: observer}}
---
apiVersion: openslo/v1
kind: AlertCondition
metadata: {name: fast}
spec:
  severity: critical
  condition: {kind: burnrate, op: gt, threshold: 8, lookbackWindow: 1h}
---
apiVersion: openslo/v1
kind: AlertPolicy
metadata: {name: burns}
spec:
  alertWhenBreaching: true
  conditions:
    - conditionRef: fast
  notificationTargets:
    - targetRef: duty
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata: {name: duty}
spec: {target: alertmanager}
---
apiVersion: openslo/v1
kind: Service
metadata: {name: churn}
"""
TOTAL = 'total: {metricSource: {type: observer, spec: {type: predictions, segment: "country=DE"}}}'
SLO = {
    "apiVersion": "openslo/v1",
    "kind": "SLO",
    "metadata": {"name": "right", "displayName": "Predictions are right"},
    "spec": {
        "service": "churn",
        "indicatorRef": "right",
        "timeWindow": [{"duration": "4w", "isRolling": True}],
        "budgetingMethod": "Occurrences",
        "objectives": [{"targetPercent": 95}],
        "alertPolicies": [{"alertPolicyRef": "burns"}],
    },
}


def written(folder: Path, slo: dict) -> list[Path]:
    (folder / "sli.yaml").write_text(SLI)
    (folder / "slo.yaml").write_text(yaml.safe_dump(slo))
    return [folder / "slo.yaml", folder / "sli.yaml"]


def test_references_across_files(tmp_path):
    spec = read(written(tmp_path, SLO), hours)["churn"]["right"]
    assert (spec.target, spec.window, spec.segment) == (0.95, 28 * 24 * HOUR, "country=DE")
    assert spec.description == "Predictions are right"
    [rule] = alert_rules(spec, HOUR)
    assert (rule.severity, rule.short, rule.long, rule.factor) == ("page", 300_000, HOUR, 8)


def changed(path: str, value: object) -> dict:
    slo = copy.deepcopy(SLO)
    *around, last = path.split(".")
    place: Any = slo
    for step in around:
        place = place[int(step)] if step.isdigit() else place[step]
    place[int(last) if last.isdigit() else last] = value
    return slo


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("kind", "DataSource", "kind 'DataSource' is not supported; accepted: SLO, SLI"),
        ("apiVersion", "openslo/v2alpha", "apiVersion is not openslo/v1"),
        ("spec.budgetingMethod", "RatioTimeslices", "budgetingMethod: 'RatioTimeslices' is not supported"),
        ("spec.budgetingMethod", "Timeslices", "budgetingMethod Timeslices is not supported for events"),
        ("spec.objectives.0.timeSliceTarget", 0.9, "timeSliceTarget is not supported with Occurrences"),
        ("spec.objectives.0.target", 0.9, "either target or targetPercent"),
        ("spec.objectives", [{"target": 0.9}, {"target": 0.8}], "at most 1 item"),
        ("spec.timeWindow.0.duration", "1M", "timeWindow '1M' is not supported; accepted: m, h, d or w"),
        (
            "spec.timeWindow.0.isRolling",
            False,
            "timeWindow '4w' is not supported; accepted with a calendar: 1d",
        ),
        (
            "spec.timeWindow.0",
            {
                "duration": "1M",
                "isRolling": False,
                "calendar": {"startTime": "2020-01-21 12:30:00", "timeZone": "America/New_York"},
            },
            "does not begin a month",
        ),
        ("spec.indicatorRef", "wrong", "refers to SLI 'wrong'; there are: right"),
        ("spec.alertPolicies.0.alertPolicyRef", "none", "refers to AlertPolicy 'none'"),
        ("spec.alertPolicies.0.notificationTargets", [], "notificationTargets is not supported"),
        (
            "spec.indicator",
            {
                "metadata": {"name": "x"},
                "spec": {
                    "thresholdMetric": {"metricSource": {"type": "Prometheus", "spec": {"query": "up"}}}
                },
            },
            "metricSource.type: 'Prometheus' is not supported; accepted: 'observer'",
        ),
        ("spec.composite", {}, "spec.composite is not supported"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(tmp_path, path, value, told):
    with pytest.raises(ConfigError) as error:
        read(written(tmp_path, changed(path, value)), hours)
    assert told in str(error.value)
    assert "slo.yaml, document 1" in str(error.value)


RANKED = {
    "metadata": {"name": "x"},
    "spec": {
        "thresholdMetric": {
            "metricSource": {"type": "observer", "spec": {"type": "quality", "metric": "roc_auc"}}
        }
    },
}
BOUND = {"target": 0.9, "op": "gte", "value": 0.8}


def test_slices_of_time_are_the_windows_of_the_model(tmp_path):
    slo = changed("spec.budgetingMethod", "Timeslices")
    del slo["spec"]["indicatorRef"]
    slo["spec"]["indicator"] = RANKED
    for slices in ({}, {"timeSliceTarget": 1, "timeSliceWindow": "60m"}):
        slo["spec"]["objectives"] = [BOUND | slices]
        indicator = read(written(tmp_path, slo), hours)["churn"]["right"].indicator
        assert indicator.model_dump(exclude_unset=True) == {
            "type": "quality",
            "metric": "roc_auc",
            "at_least": 0.8,
            "weight": "windows",
        }
    for slices, told in (
        ({"timeSliceTarget": 0.99}, "timeSliceTarget: 0.99 is not supported; accepted: 1"),
        ({"timeSliceWindow": "5m"}, "timeSliceWindow: 5m is not supported; accepted: 1h"),
        ({"op": "gt"}, "op: 'gt' is not supported; accepted: 'gte' or 'lte'"),
    ):
        slo["spec"]["objectives"] = [BOUND | slices]
        with pytest.raises(ConfigError, match=told):
            read(written(tmp_path, slo), hours)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("op: gt", "op: gte", "condition.op: 'gte' is not supported; accepted: 'gt'"),
        (
            "target: alertmanager",
            "target: email",
            "target: 'email' is not supported; accepted: 'alertmanager'",
        ),
        ("targetRef: duty", "targetRef: ann", "refers to AlertNotificationTarget 'ann'; there are: duty"),
        (
            "total: {metricSource: {type: observer}}",
            TOTAL.replace("DE", "FR"),
            "total {'type': 'predictions'",
        ),
        (
            "alertWhenBreaching: true",
            "alertWhenBreaching: false",
            "alertWhenBreaching: False is not supported",
        ),
    ],
)
def test_what_a_document_referred_to_cannot_keep_is_refused_by_name(tmp_path, old, new, told):
    files = written(tmp_path, SLO)
    assert old in SLI
    files[1].write_text(SLI.replace("total: {metricSource: {type: observer}}", TOTAL))
    assert read(files, hours)["churn"]["right"].segment == "country=DE"
    files[1].write_text(SLI.replace(old, new))
    with pytest.raises(ConfigError) as error:
        read(files, hours)
    assert told in str(error.value)


CONFIG = """
predictions: {type: files, path: p.ndjson}
openslo: [slo.yaml, sli.yaml]
models:
  churn:
    task: binary
    segments: [{tag: country, values: [DE]}]
    objectives:
      fast: {indicator: {type: latency, within: 1s}, target: 0.9}
"""


def test_a_configuration_takes_them_and_gives_them_back(tmp_path):
    written(tmp_path, SLO)
    path = tmp_path / "observer.yaml"
    path.write_text(CONFIG)
    assert list(load(path).models["churn"].objectives) == ["fast", "right"]
    ran = CliRunner().invoke(command, ["-c", str(path)])
    assert ran.exit_code == 0
    (tmp_path / "all.yaml").write_text(ran.output)
    assert list(read([tmp_path / "all.yaml"], hours)["churn"]) == ["fast", "right"]


def test_two_models_may_have_an_objective_of_one_name(tmp_path):
    path = tmp_path / "observer.yaml"
    right = "{objectives: {right: {indicator: {type: correct}, target: 0.9}}}"
    path.write_text(
        f"predictions: {{type: files, path: p.ndjson}}\nmodels: {{churn: {right}, fraud: {right}}}\n"
    )
    ran = CliRunner().invoke(command, ["-c", str(path)])
    (tmp_path / "all.yaml").write_text(ran.output)
    found = read([tmp_path / "all.yaml"], hours)
    assert {model: list(objectives) for model, objectives in found.items()} == {
        "churn": ["right"],
        "fraud": ["right"],
    }
    (tmp_path / "all.yaml").write_text(ran.output + "---\n" + ran.output)
    with pytest.raises(ConfigError, match="SLO 'right' is given twice"):
        read([tmp_path / "all.yaml"], hours)


def test_a_configuration_tells_what_does_not_fit_it(tmp_path):
    written(tmp_path, SLO)
    path = tmp_path / "observer.yaml"
    path.write_text(CONFIG.replace("fast:", "right:").replace("country", "region"))
    with pytest.raises(ConfigError) as error:
        load(path)
    assert "churn.right is an objective of models.churn too" in str(error.value)
    assert "no dimension 'country'; accepted: region" in str(error.value)


@pytest.mark.parametrize(
    ("objective", "told"),
    [
        ("indicator: {type: freshness, within: 1h}, version: '3'", "good.version: not with moments"),
        ("indicator: {type: freshness, within: 1h}, segment: country=DE", "good.segment: not with moments"),
        ("indicator: {type: drift}, arm: champion", "good.arm: not with windows with drift"),
        ("indicator: {type: correct, basis: estimated}, arm: champion", "good.arm: not with predictions"),
        ("indicator: {type: correct}, segment: country=IT", "no 'IT' of country; accepted: DE, FR, other"),
        ("indicator: {type: correct}, segment: 'age=<4'", "no '<4' of age; accepted: <30, >=30, other"),
        ("indicator: {type: correct}, segment: plan=gold, arm: champion, version: '3'", ""),
        ("indicator: {type: correct}, segment: country=other", ""),
    ],
)
def test_an_objective_that_would_count_nothing_is_refused(tmp_path, objective, told):
    path = tmp_path / "observer.yaml"
    segments = "[{tag: country, values: [DE, FR]}, {feature: age, bins: [30]}, {tag: plan}]"
    path.write_text(
        "predictions: {type: files, path: p.jsonl}\n"
        f"models: {{m: {{segments: {segments}, objectives: {{good: {{{objective}, target: 0.9}}}}}}}}\n"
    )
    if not told:
        assert load(path).models["m"].objectives["good"].segment
        return
    with pytest.raises(ConfigError, match=told):
        load(path)
