"""The OpenAPI document of the JSON API, from the endpoints themselves."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from observer.web.actions import DESCRIBED
from observer.web.endpoints import CURSOR, ENDPOINTS, Endpoint, Parameter, Status

_ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
_ACTS = {
    "/api/v1/reference/accept": ("Make what a version's windows show the new reference.", True),
    "/api/v1/incidents/close": ("End a version's incidents; a change that lasts pages again.", False),
}


def document(version: str, *, actions: bool = False) -> dict[str, Any]:
    """OpenAPI 3.1; `version` is the service's; `actions`: whether it serves those too."""
    kinds = [endpoint.gives for endpoint in ENDPOINTS] + [Status]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    paths: dict[str, Any] = {}
    for endpoint, schema in zip(ENDPOINTS, schemas, strict=False):
        paths[f"/api/v1/{endpoint.path}"] = {"get": _reading(endpoint, schema)}
    paths["/api/v1/status"] = {
        "get": {
            "operationId": "status",
            "summary": "Whether the history is kept.",
            "responses": _responses(schemas[-1], (401, 429, 503)),
        }
    }
    for path, (summary, since) in _ACTS.items():
        paths[path] = {"post": _acting(path, summary, since=since)}
    for path, (method, summary) in DESCRIBED.items() if actions else ():
        paths.setdefault(path, {})[method] = _described(path, method, summary)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "observer",
            "version": version,
            "description": "Times: milliseconds since the epoch, UTC. Numbers that are not finite are null.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": _nullable(components),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _described(path: str, method: str, summary: str) -> dict[str, Any]:
    """An operation about actions; its answers are objects that ledger and targets shape."""
    names = re.findall(r"{(\w+)}", path)
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
    ]
    operation: dict[str, Any] = {
        "operationId": f"{method} {path.removeprefix('/api/v1/')}",
        "summary": summary,
        "parameters": parameters,
        "responses": _responses({}, (400, 401, 403, 404, 409, 422, 429, 503)),
    }
    if method == "post":
        operation["security"] = [{"token": []}]
        operation["requestBody"] = {"content": {"application/json": {"schema": {"type": "object"}}}}
    return operation


def _reading(endpoint: Endpoint, schema: dict[str, Any]) -> dict[str, Any]:
    absent = (404,) if endpoint.path in {"model", "finding"} else ()
    return {
        "operationId": endpoint.path,
        "summary": endpoint.summary,
        "parameters": [_parameter(one) for one in endpoint.parameters],
        "responses": _responses(schema, (400, 401, *absent, 429, 503)),
    }


def _parameter(one: Parameter) -> dict[str, Any]:
    if one.kind == "number":
        schema: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": one.most}
    elif one.kind == "text":
        schema = {"type": "string"}
    elif one.kind == "cursor":
        schema = {"type": "string", "pattern": f"^{CURSOR}$"}
    else:
        schema = {"type": "string", "enum": one.kind.split("|")}
    if one.default is not None:
        schema["default"] = one.default
    return {
        "name": one.name,
        "in": "query",
        "required": one.required,
        "description": one.meaning,
        "schema": schema,
    }


def _acting(path: str, summary: str, *, since: bool) -> dict[str, Any]:
    texts: dict[str, Any] = {"model": {"type": "string"}, "version": {"type": "string"}}
    if since:
        texts["since"] = {
            "type": ["integer", "null"],
            "description": "Milliseconds; default: the incident's.",
        }
    body = {"type": "object", "properties": texts, "required": ["model", "version"]}
    done = {"type": "object", "properties": {"done": {"type": "string"}}, "required": ["done"]}
    return {
        "operationId": path.rpartition("/v1/")[2].replace("/", "_"),
        "summary": summary,
        "security": [{"token": []}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": _responses(done, (400, 401, 403, 422, 429, 503)),
    }


_MEANINGS = {
    400: "A parameter is missing, unknown, or not as accepted.",
    401: "A valid token is needed.",
    403: "Switched off: the configuration has no token.",
    404: "There is no such thing.",
    409: "It cannot be done, now or later; the error says why.",
    422: "It cannot be done; the error says why.",
    429: "Too many wrong tokens from this address; Retry-After says when to try again.",
    503: "Not now; try again.",
}


def _responses(schema: dict[str, Any], errors: tuple[int, ...]) -> dict[str, Any]:
    answers = {"200": {"description": "Yes.", "content": {"application/json": {"schema": _nullable(schema)}}}}
    for code in errors:
        content = {"application/json": {"schema": _ERROR}}
        answers[str(code)] = {"description": _MEANINGS[code], "content": content}
    return answers


def _nullable(schema: Any) -> Any:
    """JSON has no infinity and no NaN: wherever a number may stand, null may."""
    if isinstance(schema, dict):
        found = {name: _nullable(one) for name, one in schema.items()}
        return {**found, "type": ["number", "null"]} if found.get("type") == "number" else found
    if isinstance(schema, list | tuple):
        return [_nullable(one) for one in schema]
    return schema
