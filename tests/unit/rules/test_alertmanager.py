"""The sample configuration, as amtool understands it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

SAMPLE = Path(__file__).parents[3] / "examples/alerting/alertmanager.yml"


def amtool(*arguments: str) -> str:
    tool = shutil.which("amtool")
    assert tool is not None, "install Debian's prometheus-alertmanager, which brings amtool"
    ran = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout.strip()


def test_amtool_finds_nothing_wrong():
    assert "SUCCESS" in amtool("check-config", str(SAMPLE))


@pytest.mark.parametrize(
    ("severity", "owner", "receiver"),
    [
        ("page", "growth", "pages-growth"),
        ("page", "", "pages"),
        ("ticket", "growth", "tickets-growth"),
        ("ticket", "somebody", "tickets"),
        ("info", "growth", "nobody"),
    ],
)
def test_alerts_go_by_severity_and_owner(severity, owner, receiver):
    labels = [f"severity={severity}", *([f"owner={owner}"] if owner else []), "model=churn"]
    assert amtool("config", "routes", "test", f"--config.file={SAMPLE}", *labels) == receiver


def muted(target: dict[str, str], source: dict[str, str]) -> bool:
    """Whether the sample mutes an alert while the other fires."""

    def fits(matchers: list[str], labels: dict[str, str]) -> bool:
        parts = [re.fullmatch(r"(\w+) (=|!=|=~) (.*)", one) for one in matchers]
        return all(
            (re.fullmatch(value.strip('"'), labels.get(name, "")) is not None) == (op != "!=")
            for name, op, value in (part.groups() for part in parts if part is not None)
        )

    return any(
        fits(rule["source_matchers"], source)
        and fits(rule["target_matchers"], target)
        and all(source.get(name, "") == target.get(name, "") for name in rule.get("equal", ()))
        for rule in yaml.safe_load(SAMPLE.read_text())["inhibit_rules"]
    )


def test_a_page_mutes_the_tickets_of_its_model_but_no_action_that_waits_for_approval():
    page = {"alertname": "ObserverBudgetBurn", "severity": "page", "category": "objective", "model": "churn"}
    ticket = {"alertname": "ObserverDrift", "severity": "ticket", "category": "drift", "model": "churn"}
    waiting = {"alertname": "ObserverAction", "severity": "ticket", "model": "churn", "action": "rollback"}
    assert muted(ticket, page)
    assert not muted({**ticket, "model": "fraud"}, page)
    assert not muted(waiting, page)


def test_the_operators_form_says_the_same():
    def plain(value: Any) -> Any:
        """As alertmanager.yml has it: names with underscores, matchers as texts."""
        if isinstance(value, list):
            return [plain(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "matchType" in value:
            return re.sub(r'["\s]', "", "{name}{matchType}{value}".format(**value))
        names = {"sourceMatch": "source_matchers", "targetMatch": "target_matchers"}
        return {
            names.get(k) or re.sub("[A-Z]", lambda m: f"_{m[0].lower()}", k): plain(v)
            for k, v in value.items()
        }

    def bare(value: Any) -> Any:
        if isinstance(value, list):
            return [bare(item) for item in value]
        if isinstance(value, dict):
            return {
                k: [re.sub(r'["\s]', "", one) for one in v] if k.endswith("matchers") else bare(v)
                for k, v in value.items()
            }
        return value

    operators = yaml.safe_load((SAMPLE.parent / "alertmanagerconfig.yaml").read_text())
    assert plain(operators["spec"]) == bare(yaml.safe_load(SAMPLE.read_text()))
