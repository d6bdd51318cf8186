"""What of the chart follows from the service: the values' schema, alerts, dashboards, the table of the docs.

`python -m documentation` writes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from observer.config import load, parse
from observer.config.page import json_schema
from observer.dashboards import provisioning, texts
from observer.rules import thresholds, write

HERE = Path(__file__).parent
ROOT = HERE.parent
CHART = HERE / "observer"
COMPOSE = ROOT / "examples" / "compose"
PAGE = ROOT / "docs" / "kubernetes.md"
BEGIN, END = "<!-- values: python -m documentation -->\n", "<!-- end -->\n"

_DEFS: dict[str, Any] = {
    "texts": {"type": "object", "additionalProperties": {"type": "string"}},
    "duration": {"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$"},
    "quantity": {"type": "string", "pattern": "^[0-9.]+(Ki|Mi|Gi|Ti|k|M|G|T)?$"},
    "probe": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: {"type": "integer", "minimum": minimum}
            for name, minimum in (
                ("initialDelaySeconds", 0),
                ("periodSeconds", 1),
                ("timeoutSeconds", 1),
                ("failureThreshold", 1),
            )
        },
    },
}
# Of the models that no configuration names; those that are named have `observer rules` of their own.
_ANY_MODEL = """
predictions: {type: kafka, brokers: "kafka:9092", topic: predictions}
labels: {type: kafka, brokers: "kafka:9092", topic: labels}
"""


@cache
def generated() -> dict[Path, str]:
    """The text of every file that follows from something else."""
    rules = write(parse(_ANY_MODEL, "", {}), thresholds(), runbooks="@RUNBOOKS@", job="@JOB@")
    own = write(load(COMPOSE / "observer.yaml", {}), thresholds())
    boards = provisioning("/var/lib/grafana/observer", "http://prometheus:9090")
    told = "# Made by `python -m documentation`.\n"
    return {
        CHART / "values.schema.json": json.dumps(schema(), indent=1, ensure_ascii=False) + "\n",
        CHART / "files" / "rules.yaml": told + rules,
        COMPOSE / "prometheus" / "rules.yaml": told + own,
        **{COMPOSE / "grafana" / name: text for name, text in boards.items()},
        **{CHART / "files" / "dashboards" / name: text for name, text in texts().items()},
        PAGE: page(PAGE.read_text("utf-8")),
    }


def schema() -> dict[str, Any]:
    """The values' schema (JSON Schema), strict, with the configuration's own under `config`."""
    config = json_schema()
    defs = config.pop("$defs")
    del config["$schema"]
    whole = _object(_described())
    whole["properties"]["config"] = {**config, **whole["properties"]["config"]}
    whole["properties"]["global"] = {"type": "object"}  # Helm's own
    found = {**whole, "$defs": {**defs, **_DEFS}}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_by_type(found, defs)}


def page(text: str) -> str:
    """The page of the docs with the table of values as it is now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


def table() -> str:
    """All values with their defaults."""
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    rows = ["| value | default | meaning |", "|---|---|---|"]
    for name, node in _leaves(_described(), ()):
        default: Any = values
        for key in name:
            default = default[key]
        shown = f"`{json.dumps(default)}`" if default not in ("", None) and name != ("config",) else ""
        rows.append(f"| `{'.'.join(name)}` | {shown} | {node['description']} |")
    return "\n".join(rows) + "\n"


def _described() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((HERE / "values.schema.yaml").read_text("utf-8"))
    return found


def _by_type(node: Any, defs: dict[str, Any]) -> Any:
    """The same schema with unions chosen by `type`, so that only the chosen kind's problems are told."""
    if isinstance(node, list):
        return [_by_type(one, defs) for one in node]
    if not isinstance(node, dict):
        return node
    node = {key: _by_type(value, defs) for key, value in node.items()}
    kinds = {}
    for one in node.get("oneOf", ()):
        there = defs[one["$ref"].rpartition("/")[2]] if "$ref" in one else one
        kinds[there.get("properties", {}).get("type", {}).get("const")] = one
    if not kinds or None in kinds:
        return node
    node = {key: value for key, value in node.items() if key not in ("oneOf", "discriminator")}
    given = {"type": "object", "required": ["type"], "properties": {"type": {"enum": list(kinds)}}}
    chosen = [
        {"if": {"required": ["type"], "properties": {"type": {"const": kind}}}, "then": one}
        for kind, one in kinds.items()
    ]
    return {**node, **given, "allOf": chosen}


def _is_leaf(node: dict[str, Any]) -> bool:
    return isinstance(node.get("description"), str)


def _object(nodes: dict[str, Any]) -> dict[str, Any]:
    properties = {key: node if _is_leaf(node) else _object(node) for key, node in nodes.items()}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _leaves(
    nodes: dict[str, Any], above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    for key, node in nodes.items():
        if _is_leaf(node):
            yield (*above, key), node
        else:
            yield from _leaves(node, (*above, key))
