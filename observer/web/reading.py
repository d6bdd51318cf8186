"""The routes of the JSON API that read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from observer.errors import Absent, Retryable
from observer.ports import History
from observer.web.access import HEADERS, Access, refused
from observer.web.endpoints import CURSOR, ENDPOINTS, Endpoint, Parameter, Status
from observer.web.openapi import document


class AskedError(Exception):
    """A question that cannot be understood; the message says what is accepted."""


def reading(
    history: History,
    access: Access,
    problems: Callable[[], Iterable[str]],
    version: str,
    *,
    actions: bool = False,
) -> list[Route]:
    """A route for each endpoint, and for the document that describes them (and `actions`, where served)."""
    described = msgspec.json.encode(document(version, actions=actions))

    def asking(
        answer: Callable[[Mapping[str, Any]], Any], parameters: tuple[Parameter, ...]
    ) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            refusal = access.reading(request)
            if refusal is not None:
                return refused(refusal)
            try:
                asked = understand(request.query_params.multi_items(), parameters)
                return _answer(200, await run_in_threadpool(answer, asked))
            except AskedError as error:
                return _answer(400, {"error": str(error)})
            except Absent as error:
                return _answer(404, {"error": str(error)})
            except Retryable as error:
                return _answer(503, {"error": str(error)})

        return endpoint

    def of(endpoint: Endpoint) -> Callable[[Mapping[str, Any]], Any]:
        return lambda asked: endpoint.answer(history, asked)

    async def openapi(_: Request) -> Response:
        return Response(described, headers={**HEADERS, "Content-Type": "application/json"})

    def status(_: Mapping[str, Any]) -> Status:
        return Status(history.revision(), list(problems()))

    routes = [Route(f"/api/v1/{one.path}", asking(of(one), one.parameters)) for one in ENDPOINTS]
    return [
        *routes,
        Route("/api/v1/status", asking(status, ())),
        Route("/api/v1/openapi.json", openapi),
    ]


def understand(given: list[tuple[str, str]], parameters: tuple[Parameter, ...]) -> dict[str, Any]:
    """The parameters' values; raises `AskedError` on any unknown, missing, twice or not as accepted."""
    known = {one.name: one for one in parameters}
    asked: dict[str, Any] = {one.name: one.default for one in parameters}
    seen = set()
    for name, text in given:
        if name not in known:
            accepted = ", ".join(known) or "none"
            raise AskedError(f"no parameter {name!r:.60}; accepted: {accepted}")
        if name in seen:
            raise AskedError(f"{name} is given twice")
        seen.add(name)
        asked[name] = _value(known[name], text)
    for one in parameters:
        if one.required and one.name not in seen:
            raise AskedError(f"{one.name} is missing: {one.meaning}")
    return asked


def _value(one: Parameter, text: str) -> str | int | tuple[int, str | None]:
    if one.kind == "text":
        return text
    if one.kind == "number":
        if not (text.isascii() and text.isdigit() and len(text) < 17 and int(text) <= one.most):
            raise AskedError(f"{one.name} is {text!r:.60}; accepted: a whole number from 0 to {one.most}")
        return int(text)
    if one.kind == "cursor":
        if not re.fullmatch(CURSOR, text):
            raise AskedError(f"{one.name} is {text!r:.60}; accepted: milliseconds, or milliseconds,id")
        time, _, identity = text.partition(",")
        return int(time), identity or None
    if text not in one.kind.split("|"):
        raise AskedError(f"{one.name} is {text!r:.60}; accepted: {one.kind.replace('|', ', ')}")
    return text


def _answer(status: int, value: Any) -> Response:
    return Response(msgspec.json.encode(value), status, {**HEADERS, "Content-Type": "application/json"})
