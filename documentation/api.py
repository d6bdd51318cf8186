"""The JSON API, from its OpenAPI document."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

from documentation.text import cell
from observer.web.openapi import document

_INTRODUCTION = """\
# API

Made by `python -m documentation` from the service's OpenAPI 3.1 document, which it serves at
`/api/v1/openapi.json`. Times are milliseconds since the epoch, UTC; a number that is not finite is `null`;
unknown parameters are refused. Which requests need a token is told in
[page and API](page.md#who-may-see-it). An error is an object with the text `error`.
"""


def page() -> str:
    """The page in Markdown."""
    whole = document("", actions=True)
    lines = [_INTRODUCTION, "## Requests\n"]
    for path, methods in whole["paths"].items():
        for method, operation in methods.items():
            lines += _operation(path, method, operation)
    lines.append("## Objects\n")
    for name, schema in sorted(whole["components"]["schemas"].items()):
        lines += _object(name, schema)
    return "\n".join(lines).rstrip() + "\n"


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {method.upper()} {path}\n"
    yield f"{operation['summary']}\n"
    if parameters := operation.get("parameters"):
        yield "| parameter | in | accepted | default | meaning |\n|---|---|---|---|---|"
        for one in parameters:
            schema = one["schema"]
            default = "required" if one.get("required") else _default(schema)
            meaning = cell(one.get("description", ""))
            yield f"| `{one['name']}` | {one['in']} | {_type(schema)} | {default} | {meaning} |"
        yield ""
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body is not None:
        yield "The body is a JSON object" + (_needed(body) if body.get("properties") else ".\n")
        yield from _properties(body)
    for code, answer in operation["responses"].items():
        given = answer.get("content", {}).get("application/json", {}).get("schema", {})
        shape = f" {_type(given)}." if code == "200" and given else ""
        yield f"- `{code}`: {answer['description']}{shape}"
    yield ""


def _object(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {name}\n"
    if description := schema.get("description"):
        yield f"{' '.join(description.partition(chr(10) * 2)[0].split())}\n"
    if "properties" in schema:
        yield from _properties(schema)
    else:
        yield f"{_type(schema)}\n"


def _needed(body: Mapping[str, Any]) -> str:
    return f", in which {' and '.join(f'`{name}`' for name in body.get('required', ()))} must be given:\n"


def _properties(schema: Mapping[str, Any]) -> Iterator[str]:
    if not schema.get("properties"):
        return
    meanings = _attributes(inspect.cleandoc(schema.get("description", "")))
    yield "| field | holds | meaning |\n|---|---|---|"
    for field, value in schema["properties"].items():
        meaning = cell(value.get("description", "") or meanings.get(field, ""))
        yield f"| `{field}` | {_type(value)} | {meaning} |"
    yield ""


def _attributes(docstring: str) -> dict[str, str]:
    """What a numpy docstring says of each attribute."""
    section = docstring.partition("Attributes\n----------\n")[2].partition("\n\n")[0]
    found = re.findall(r"^([\w, ]+) : .*\n((?: {4}.*(?:\n|$))+)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for names, text in found for name in names.split(", ")}


def _default(schema: Mapping[str, Any]) -> str:
    return f"`{schema['default']}`" if schema.get("default") not in (None, "") else ""


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return f"[{name}](#{name.lower().replace('.', '')})"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            kinds = [kind for one in schema[several] for kind in _type(one).split(" or ")]
            return " or ".join(dict.fromkeys(kinds))
    if "enum" in schema:
        return ", ".join("null" if one is None else f"`{one}`" for one in schema["enum"])
    kind = schema.get("type", "any value")
    if kind == "array":
        if "prefixItems" in schema:
            return f"list of ({', '.join(_type(one) for one in schema['prefixItems'])})"
        items = _type(schema["items"]) if schema.get("items") else "any value"
        return f"list of ({items})" if " or " in items else f"list of {items}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of name → {_type(schema['additionalProperties'])}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)
