"""The rule file: as it was read by a person, as promtool understands it, and never without a runbook.

`python -m tests.unit.rules.test_rules` writes that of today into `rules.yaml`: read it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import chain
from pathlib import Path

import pytest
import yaml

from observer.config import load
from observer.errors import ConfigError
from observer.metrics import catalog
from observer.rules import thresholds, write
from observer.rules.base import select

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
KNOWN = {metric.name for metric in chain.from_iterable(catalog.SECTIONS.values())}


def rules() -> str:
    return write(load(HERE / "observer.yaml"), thresholds())


def every(kind: str) -> list[dict]:
    return [rule for group in yaml.safe_load(rules())["groups"] for rule in group["rules"] if kind in rule]


def promtool(*arguments: str) -> str:
    tool = shutil.which("promtool")
    assert tool is not None, "install Debian's prometheus, which brings promtool"
    ran = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_rules_are_those_that_were_read():
    assert (HERE / "rules.yaml").read_text() == rules()


def test_promtool_finds_nothing_wrong():
    assert "SUCCESS" in promtool("check", "rules", str(HERE / "rules.yaml"))


def test_the_alerts_fire_as_promised():
    """Series in, alerts out; see the file."""
    assert "SUCCESS" in promtool("test", "rules", str(HERE / "promtool.yaml"))


def test_the_rates_are_those_of_sloth():
    """Over four days, in the same Prometheus engine; see the file."""
    assert "SUCCESS" in promtool("test", "rules", str(HERE / "same_as_sloth.yaml"))


def test_the_name_of_a_job_is_quoted(tmp_path):
    written = write(load(HERE / "observer.yaml"), thresholds(), job='a "job" \\ more')
    (tmp_path / "rules.yaml").write_text(written)
    assert "SUCCESS" in promtool("check", "rules", str(tmp_path / "rules.yaml"))
    (down,) = (
        r for g in yaml.safe_load(written)["groups"] for r in g["rules"] if r.get("alert") == "ObserverDown"
    )
    assert r'up{job="a \"job\" \\ more"} == 0' in down["expr"]


LEARNT = """
predictions: {type: kafka, brokers: "kafka:9092", topic: predictions}
labels: {type: kafka, brokers: "kafka:9092", topic: labels}
defaults:
  owner: platform
  objectives: {correct: {indicator: {type: correct}, target: 0.99}}
models:
  churn: {owner: growth}
"""


def test_objectives_of_models_that_nobody_named_have_rules_too(tmp_path):
    """Each has series and alerts of its own; those of the model that is named are as ever."""
    (tmp_path / "observer.yaml").write_text(LEARNT)
    (tmp_path / "rules.yaml").write_text(write(load(tmp_path / "observer.yaml"), thresholds()))
    assert "SUCCESS" in promtool("check", "rules", str(tmp_path / "rules.yaml"))
    shutil.copy(HERE / "learnt.yaml", tmp_path)
    assert "SUCCESS" in promtool("test", "rules", str(tmp_path / "learnt.yaml"))


STREAMS = "\n".join(LEARNT.strip().splitlines()[:2])
CORRECT = "{indicator: {type: correct}, target: 0.99}"


@pytest.mark.parametrize(
    "models",
    [
        f"{{a-b: {{objectives: {{c: {CORRECT}}}}}, a: {{objectives: {{b-c: {CORRECT}}}}}}}",
        f"{{a: {{objectives: {{x: {CORRECT}, x-period: {CORRECT}, period: {CORRECT}}}}}, a/x: {{}}}}",
        "{a: {objectives: {short: {indicator: {type: correct}, target: 0.99, window: 5m}}}}",
    ],
    ids=["a dash in a name", "the name of a period", "no longer than the shortest rate"],
)
def test_prometheus_takes_objectives_of_any_name_and_window(tmp_path, models):
    (tmp_path / "observer.yaml").write_text(f"{STREAMS}\nmodels: {models}\n")
    (tmp_path / "rules.yaml").write_text(write(load(tmp_path / "observer.yaml"), thresholds()))
    assert "SUCCESS" in promtool("check", "rules", str(tmp_path / "rules.yaml"))


def test_every_alert_says_what_a_person_needs():
    for alert in every("alert"):
        assert alert["labels"]["severity"] in {"page", "ticket"}
        assert {"summary", "description", "runbook_url"} <= alert["annotations"].keys()
        assert (ROOT / alert["annotations"]["runbook_url"]).is_file(), alert["alert"]
        if "model" in alert["labels"] and alert["labels"]["model"] == "churn":
            assert alert["labels"]["owner"] == "growth"


SILENT = """
rule_files: [rules.yaml]
tests:
  - interval: 1m
    input_series:
      - {series: 'observer_window_end_timestamp_seconds{model="a b&c",version="1",segment=""}', values: 0x200}
    promql_expr_test: []
    alert_rule_test:
      - alertname: ObserverModelSilent
        eval_time: 2h
        exp_alerts:
          - exp_labels: {severity: page, category: data, model: a b&c}
            exp_annotations:
              summary: a b&c has sent nothing for 2h 0m 0s
              description: >-
                Its last window ended so long ago; windows last 1h.
                No drift is seen and no budget is spent while nothing comes.
              runbook_url: docs/runbooks/ObserverModelSilent.md
              page_url: https://observer.example/watch/model?model=a+b%26c
"""


def test_alerts_lead_to_the_page_where_people_can_reach_it(tmp_path):
    models = f"{{'x/y z': {{objectives: {{o: {CORRECT}}}}}}}"
    url = "https://observer.example/watch/"
    (tmp_path / "observer.yaml").write_text(f"{STREAMS}\nhttp: {{url: '{url}'}}\nmodels: {models}\n")
    (tmp_path / "rules.yaml").write_text(write(load(tmp_path / "observer.yaml"), thresholds()))
    groups = yaml.safe_load((tmp_path / "rules.yaml").read_text())["groups"]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    for alert in alerts:
        model = {"x/y z": "model?model=x%2Fy+z"}.get(alert["labels"].get("model", ""), "")
        if not model and "$labels.model" in alert["annotations"]["summary"]:
            model = "model?model={{ $labels.model | urlquery }}"
        assert alert["annotations"]["page_url"] == url + model
    (tmp_path / "silent.yaml").write_text(SILENT)
    assert "SUCCESS" in promtool("test", "rules", str(tmp_path / "silent.yaml"))


def test_every_runbook_has_its_alert():
    pages = {path.stem for path in (ROOT / "docs/runbooks").glob("*.md")}
    assert pages == {alert["alert"] for alert in every("alert")}


def test_every_metric_is_in_the_catalog():
    text = rules()
    used = set(re.findall(r"\b(?:observer|process)_[a-z_]+\b(?=[{\[) ])", text))
    assert used
    assert used <= KNOWN


def test_drift_pages_only_without_an_objective_on_labels():
    found = [alert["labels"] for alert in every("alert") if alert["alert"] == "ObserverDrift"]
    of_churn = [labels["severity"] for labels in found if labels.get("model") == "churn"]
    assert of_churn == ["ticket"]
    assert sum(labels["severity"] == "page" for labels in found) == 2


@pytest.mark.parametrize(
    ("indicator", "severity"),
    [
        ("{type: correct}", "ticket"),
        ("{type: quality, metric: roc_auc, at_least: 0.8}", "ticket"),
        ("{type: label_coverage, at_least: 0.9}", "page"),
        ("{type: correct, basis: estimated}", "page"),
    ],
)
def test_labels_that_come_say_nothing_of_quality_by_themselves(tmp_path, indicator, severity):
    """An objective on their coverage takes no page of drift, nor of quality, away."""
    models = f"{{m: {{objectives: {{one: {{indicator: {indicator}, target: 0.99}}}}}}}}"
    (tmp_path / "observer.yaml").write_text(f"{STREAMS}\nmodels: {models}\n")
    groups = yaml.safe_load(write(load(tmp_path / "observer.yaml"), thresholds()))["groups"]
    [own] = [group for group in groups if group["name"] == "observer-model-m"]
    found = {rule["alert"]: rule["labels"]["severity"] for rule in reversed(own["rules"])}
    assert (found["ObserverDrift"], found["ObserverQualityDrop"]) == (severity, severity)


def test_a_label_that_a_metric_has_not_is_refused():
    with pytest.raises(ValueError, match="no label colour"):
        select(catalog.SLO_EVENTS, colour="red")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("stream_silent: soon", "stream_silent.*not a duration"),
        ("label_coverge: 1", "label_coverge.*accepted keys: .*label_coverage"),
        ("[", "no YAML"),
    ],
)
def test_wrong_thresholds_are_named(tmp_path, text, told):
    path = tmp_path / "thresholds.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        thresholds(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        thresholds(tmp_path / "none.yaml")


def test_thresholds_of_a_file_replace_the_packaged_ones(tmp_path):
    path = tmp_path / "thresholds.yaml"
    path.write_text("stream_silent: 3s\n")
    found = thresholds(path)
    assert found.stream_silent == 3_000
    assert found.model_copy(update={"stream_silent": thresholds().stream_silent}) == thresholds()


if __name__ == "__main__":
    (HERE / "rules.yaml").write_text(rules())
