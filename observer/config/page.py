"""The reference page of the configuration, and its JSON Schema with the meaning of every key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, get_origin

from pydantic import BaseModel

from detectors import catalog
from detectors.online.spec import MomentsSpec
from detectors.statistical.spec import Spec
from observer.config.keys import ANY, Key, Place, find, keys
from observer.config.schema import Config

_INTRODUCTION = """\
# Configuration

One YAML file: `observer run -c observer.yaml`. [observer.yaml](../examples/observer.yaml) is the smallest
that watches real topics, [observer-full.yaml](../examples/observer-full.yaml) has every key.
`observer check -c observer.yaml` validates the file and reaches everything it names; `observer schema config`
prints its JSON Schema, with which editors complete keys.

```yaml
predictions: {type: kafka, brokers: "kafka:9092", topic: predictions}
```

All problems are reported at once, each with its line, key, value and what is accepted. Unknown keys, and keys
given twice, are refused.

## How values are written

- **Durations**: `90s`, `1h30m`, `7d`; units `ms`, `s`, `m`, `h`, `d`, `w`. A number alone is seconds.
- **Secrets**: `${NAME}` in any text is replaced by that environment variable, `${file:PATH}` by a file's text
  without the newline at its end; `$${` is a plain `${`. What they stand for is never shown in a message.
- **Paths**: relative ones begin at the folder of the configuration file, wherever the service is started; `~`
  is the home folder. Those given on the command line begin at the current folder.
- **Texts**: `no`, `off` and dates are texts here; only `true` and `false` are truth values. Class names and
  segment values that look like numbers go in quotes: `positive: "1"`. Keys need none.
- **Models** are put over `defaults` key by key, as deep as mappings go; a list replaces the whole list.
  A model that says nothing of its own may be left empty (`fraud:`), and a list of names will do:
  `models: [fraud, churn]`.
- An encoding is its name, `encoding: json`, or a mapping with `type`; a detector likewise.

`labels` has the keys of `predictions`, and `models.<name>` those of `defaults`, so each is listed once.
"""

_TITLES: dict[Place, str] = {
    (): "Top of the file",
    ("predictions",): "`predictions`, `labels`",
    ("labels",): "`labels` alone",
    ("defaults",): "`defaults`, `models.<name>`",
}
_ONCE: dict[str, set[str]] = {"labels": {"horizon"}, "models": set()}
"""Mappings of which only these keys are told; the others are those of another mapping."""

_OF_LABELS = {"table", "feast"}
"""Kinds of sources that labels alone may have."""


def page() -> str:
    """The page in Markdown."""
    lines = [_INTRODUCTION]
    told = [
        key
        for key in keys()
        if len(key.path) == 1
        or key.path[0] not in _ONCE
        or key.path[1] in _ONCE[key.path[0]]
        or (key.path[0] == "labels" and key.variant in _OF_LABELS)
    ]
    grouped = sorted(told, key=lambda key: _order(told, key.path[:-1]))
    for parent, group in groupby(grouped, key=lambda key: key.path[:-1]):
        lines += _section(parent, list(group))
    lines += _detectors()
    return "\n".join(lines) + "\n"


def _order(told: list[Key], parent: Place) -> int:
    return next(number for number, key in enumerate(told) if key.path[:-1] == parent)


def _section(parent: Place, group: list[Key]) -> Iterator[str]:
    yield f"## {_TITLES.get(parent) or _title(parent)}"
    yield ""
    around = find(parent) or find(parent[:-1])
    if around is not None and around.meaning and parent not in _TITLES:
        yield f"{around.meaning}\n"
    varied = any(key.variant for key in group)
    yield f"| key |{' with type |' if varied else ''} accepted | default | meaning |"
    yield f"|---|{'---|' if varied else ''}---|---|---|"
    for key in _each_once(group):
        default = f"`{key.default}`" if key.default else "required" if key.field.is_required() else ""
        if key.path[-1] == "type" and key.variant:
            default = "required"
        variant = f" {_variant(key, group)} |" if varied else ""
        meaning = key.meaning.replace("|", "\\|")
        yield f"| `{key.path[-1]}` |{variant} {key.accepted} | {default} | {meaning} |"
    yield ""


def _title(parent: Place) -> str:
    around = find(parent[:-1])
    if parent[-1] == ANY and around is not None and get_origin(around.field.annotation) is tuple:
        return f"`{'.'.join(parent[:-1])}`, each"
    return f"`{'.'.join('<name>' if step == ANY else step for step in parent)}`"


def _each_once(group: list[Key]) -> list[Key]:
    once = list({key.path[-1]: key for key in reversed(group)}.values())[::-1]
    return sorted(once, key=lambda key: key.path[-1] != "type")


def _variant(key: Key, group: list[Key]) -> str:
    return ", ".join(one.variant for one in group if one.path == key.path and one.path[-1] != "type")


def _detectors() -> Iterator[str]:
    yield "## Detectors"
    yield ""
    defaults = {kind: [f"`{name}`" for name in names] for kind, names in catalog.DEFAULTS.items() if names}
    yield "What may stand under `judge.detectors`; an installed plugin adds its own. What each one does is in"
    yield "[detectors](detectors.md). Without that key every column is judged by the defaults of its kind:"
    yield ""
    yield from (f"- {kind}: {', '.join(names)}" for kind, names in defaults.items())
    yield ""
    yield "`alibi_detect`, `evidently`, `river` run in processes of their own: see [adapters](adapters.md)."
    yield ""
    judged = {spec: ", ".join(spec.applies_to) for spec in catalog.BUILT_IN}
    yield from _table("judges", judged, Spec)
    yield ""
    yield "What may stand under `judge.online`; none by default. What each one sees, misses and costs is in"
    yield "[online detectors](online.md)."
    yield ""
    fed: dict[type[Any], str] = {spec: spec.fed for spec in catalog.ONLINE_BUILT_IN}
    yield from _table("is fed", fed, MomentsSpec)


_UNSAID = {"type", "alpha"}
"""The service sets one level for a whole window."""


def _table(title: str, specs: Mapping[type[Any], str], base: type[BaseModel]) -> Iterator[str]:
    yield f"| detector | {title} | parameters and defaults |"
    yield "|---|---|---|"
    for name, spec in sorted((spec.model_fields["type"].default, spec) for spec in specs):
        parameters = [
            f"`{field}: {'all' if field == 'columns' and not info.default else _plain(info.default)}`"
            for field, info in spec.model_fields.items()
            if field not in _UNSAID
        ]
        yield f"| `{name}` | {specs[spec]} | {', '.join(parameters)} |"
    yield ""
    yield "Parameters they share:"
    yield ""
    described = {name: info.description for name, info in base.model_fields.items() if name not in _UNSAID}
    yield from (f"- `{name}`: {text}" for name, text in described.items())


def _plain(value: Any) -> str:
    """A default as it would be written."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(value) or "''"


def json_schema() -> dict[str, Any]:
    """JSON Schema of the file, every key described."""
    schema = Config.model_json_schema()
    told = {(key.owner, key.path[-1]): key for key in keys()}
    for whole in (schema, *schema["$defs"].values()):
        for one in whole.get("oneOf", [whole]):
            if "description" in one:
                one["description"] = one["description"].partition("\n\n")[0].replace("\n", " ")
            for name, value in one.get("properties", {}).items():
                key = told.get((one["title"], name)) or told.get((whole["title"], name))
                if key is not None:
                    _describe(value, key)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _describe(value: dict[str, Any], key: Key) -> None:
    if key.meaning:
        value["description"] = key.meaning
    if key.is_duration:
        value["description"] += " A duration such as 1h30m; a number is seconds."
        value["default"] = key.default
    elif isinstance(value.get("default"), dict):
        del value["default"]  # said by the keys inside
