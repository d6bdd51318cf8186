"""What rules are made of: groups, alerts with everything that a person on call needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import quote_plus

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from observer.errors import ConfigError
from observer.metrics import Metric
from observer.metrics.base import clean
from observer.windows import Milliseconds

Rule: TypeAlias = dict[str, Any]
"""As Prometheus reads it."""
Severity = Literal["page", "ticket"]
Category = Literal["objective", "drift", "quality", "data", "labels", "service"]


class Thresholds(BaseModel):
    """When the alerts beside those of objectives fire; see `thresholds.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stream_silent: Annotated[Milliseconds, Field(ge=1_000)]
    model_silent: Annotated[Milliseconds, Field(ge=1_000)]
    watermark_delay: Annotated[Milliseconds, Field(ge=1_000)]
    checkpoint_age: Annotated[Milliseconds, Field(ge=1_000)]
    label_coverage: Annotated[float, Field(ge=0, le=1)]
    type_errors: Annotated[float, Field(ge=0, le=1)]
    rejected: Annotated[float, Field(ge=0, le=1)]
    hold: Annotated[Milliseconds, Field(ge=0)]


def thresholds(path: Path | None = None) -> Thresholds:
    """The packaged thresholds, with those of a file over them; raises `ConfigError`."""
    own = (files("observer.rules") / "thresholds.yaml").read_text("utf-8")
    found = yaml.safe_load(own)
    try:
        over = yaml.safe_load(path.read_text("utf-8")) if path is not None else {}
        return Thresholds.model_validate({**found, **(over or {})})
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except (yaml.YAMLError, UnicodeDecodeError, TypeError) as error:
        raise ConfigError([f"{path}: is no YAML mapping"]) from error
    except ValidationError as error:
        told = [f"{path}: {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise ConfigError([f"{line}; accepted keys: {', '.join(found)}" for line in told]) from error


@dataclass(frozen=True, slots=True)
class Paper:
    """What every alert is written with.

    Attributes
    ----------
    runbooks : str
        Where the pages of `docs/runbooks` lie; an address, without the slash at its end.
    page : str
        Where people reach the service's page, likewise; empty where nobody says.
    """

    thresholds: Thresholds
    runbooks: str
    page: str = ""

    def alert(
        self,
        name: str,
        expr: str,
        severity: Severity,
        category: Category,
        summary: str,
        description: str,
        labels: Mapping[str, str] | None = None,
        hold: str = "",
    ) -> Rule:
        """An alert; summary and description are templates, the values of `labels` are not."""
        rule: Rule = {"alert": name, "expr": expr}
        if hold:
            rule["for"] = hold
        rule["labels"] = {"severity": severity, "category": category}
        rule["labels"] |= {key: literal(value) for key, value in (labels or {}).items() if value}
        runbook = f"{self.runbooks}/{name}.md"
        rule["annotations"] = {"summary": summary, "description": description, "runbook_url": runbook}
        if self.page:
            rule["annotations"]["page_url"] = self._of((labels or {}).get("model", ""), summary)
        return rule

    def _of(self, model: str, summary: str) -> str:
        """The page of the model that an alert is about, or of all."""
        if model:
            return f"{self.page}/model?model={quote_plus(model.encode('utf-8', 'replace'))}"
        if "$labels.model" in summary:
            return f"{self.page}/model?model={{{{ $labels.model | urlquery }}}}"
        return f"{self.page}/"


def record(name: str, expr: str, labels: Mapping[str, str]) -> Rule:
    """A recording rule; no template, unlike an alert."""
    return {"record": name, "expr": expr, "labels": {k: clean(v) for k, v in labels.items() if v}}


def group(name: str, rules: list[Rule], interval: str = "") -> Rule:
    """A group; evaluated as often as Prometheus does by default if no interval is given."""
    return {"name": name, **({"interval": interval} if interval else {}), "rules": rules}


def select(metric: Metric, **labels: str) -> str:
    """A metric of the catalog with these labels, as PromQL; raises `ValueError` if it has no such label."""
    if unknown := set(labels) - set(metric.labels):
        raise ValueError(f"{metric.name} has no label {', '.join(sorted(unknown))}")
    return f"{metric.name}{matchers(**labels)}"


def increase(selector: str, span: str) -> str:
    """How much a counter grew in the last `span`, its first value included, as PromQL.

    `increase` knows nothing of what came before a series' first sample, so a counter that appears with the
    first event would hide it: of series that are younger than `span` the whole value counts.
    """
    old = f"last_over_time({selector}[{span}] offset {span})"
    return f"({selector} unless {old} or increase({selector}[{span}]))"


def matchers(**labels: str) -> str:
    """`{name="value"}`; values are made as the exporter makes them."""
    pairs = [f"{name}={quote(value)}" for name, value in labels.items()]
    return f"{{{','.join(pairs)}}}" if pairs else ""


def quote(value: str) -> str:
    """A label value in quotes, as the exporter makes it."""
    return json.dumps(clean(value), ensure_ascii=False)


def literal(value: str) -> str:
    """Text that Prometheus does not take for a template."""
    return clean(value).replace("{{", '{{ "{{" }}')


def dump(groups: list[Rule]) -> str:
    """The groups as a rule file."""
    return yaml.safe_dump({"groups": groups}, sort_keys=False, width=110, allow_unicode=True)
