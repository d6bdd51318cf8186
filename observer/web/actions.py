"""Actions and rollouts over HTTP: seen by whoever may read, decided by whoever bears the token.

An event, an alert or a request names what the configuration knows: never a target, an address or a template.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from observer.errors import Absent, ConfigError, Permanent, Retryable
from observer.web.access import HEADERS, Access, refused
from observer.web.results import MOST_BYTES as MOST_OF_EVENT
from observer.web.results import parsed, result_event

MOST_BYTES: Final = 1_000_000
"""Of an alert webhook's body."""
PREFIX: Final = "/api/v1"

DESCRIBED: Final[Mapping[str, tuple[str, str]]] = {
    "/api/v1/actions": ("get", "All actions, newest first, each with its state."),
    "/api/v1/actions/{id}": (
        "get",
        "One action: what was ordered, why, and what the ledger says of it.",
    ),
    "/api/v1/actions/{id}/{verb}": ("post", "Approve, reject or hold an action."),
    "/api/v1/actions/{id}/result": ("post", "Tell the version that a retraining made."),
    "/api/v1/results": ("post", "The same as a CloudEvent, with a token or signed."),
    "/api/v1/ledger": ("get", "The whole ledger, a JSON object a line."),
    "/api/v1/evaluations": ("get", "What rules made of what set them off, and why nothing was done."),
    "/api/v1/rollouts": ("get", "Every model's latest rollout: share, evidence, estimate with its band."),
    "/api/v1/rollouts/{what}": ("post", "Start, pause, resume, promote or abort a rollout."),
    "/api/v1/alerts": ("post", "Take alerts from Alertmanager's webhook, as triggers of rules."),
}
"""Path -> method and meaning, for the OpenAPI document."""


class ControlPlane(Protocol):
    """What the routes stand on; every method may raise `Retryable`, the deciding ones `ConfigError`."""

    def revision(self) -> str:
        """Changes whenever anything of it may look different."""

    def listed(self) -> list[dict[str, Any]]:
        """All actions, newest first."""

    def shown(self, name: str) -> dict[str, Any]:
        """One action, whole."""

    def exported(self) -> list[dict[str, Any]]:
        """The ledger's rows."""

    def evaluated(self) -> list[dict[str, Any]]:
        """The last evaluations."""

    def rolling(self) -> list[dict[str, Any]]:
        """Every rollout."""

    def rule(self, name: str, verb: Any, actor: str, comment: str) -> str:
        """Approve, reject or hold."""

    def rollout(self, what: str, model: str, actor: str, body: Mapping[str, Any]) -> str:
        """Start, pause, resume, promote, abort."""

    def result(self, name: str, version: object, actor: str) -> str:
        """Take the version that a retraining made."""

    def signature(self, name: str, version: str) -> str:
        """What an event that tells it must be signed with; "" where only a token counts."""

    def alerts(self, body: Mapping[str, Any]) -> int:
        """Take a webhook's alerts; returns how many are of interest."""


def action_routes(control: ControlPlane, access: Access) -> list[Route]:
    """All routes about actions."""
    see, decide = partial(_seeing, access), partial(_deciding, access)
    return [
        Route(f"{PREFIX}/actions", see(lambda _: control.listed())),
        Route(f"{PREFIX}/actions/{{id}}", see(lambda one: control.shown(one.path_params["id"]))),
        Route(f"{PREFIX}/actions/{{id}}/result", decide(partial(_result, control)), methods=["POST"]),
        Route(f"{PREFIX}/results", _told(control, access), methods=["POST"]),
        Route(f"{PREFIX}/actions/{{id}}/{{verb}}", decide(partial(_rule, control)), methods=["POST"]),
        Route(f"{PREFIX}/ledger", see(lambda _: _lines(control.exported()))),
        Route(f"{PREFIX}/evaluations", see(lambda _: control.evaluated())),
        Route(f"{PREFIX}/rollouts", see(lambda _: control.rolling())),
        Route(f"{PREFIX}/rollouts/{{what}}", decide(partial(_roll, control)), methods=["POST"]),
        Route(f"{PREFIX}/alerts", decide(lambda _, body: {"taken": control.alerts(body)}), methods=["POST"]),
    ]


def _seeing(access: Access, see: Callable[[Request], Any]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        refusal = access.reading(request)
        if refusal is not None:
            return refused(refusal)
        return await _answered(see, request)

    return endpoint


def _deciding(
    access: Access, decide: Callable[[Request, dict[str, Any]], Any]
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        refusal = access.acting(request)
        if refusal is not None:
            return refused(refusal)
        try:
            body = parsed(await _body(request) or b"{}")
            if not isinstance(body, dict):
                raise TypeError("object")
        except (ValueError, TypeError):
            return _said(400, f"accepted: a JSON object of at most {MOST_BYTES} bytes")
        return await _answered(lambda one: decide(one, body), request)

    return endpoint


def _told(control: ControlPlane, access: Access) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            event = result_event(request.headers, await _body(request, MOST_OF_EVENT))
            if "authorization" in request.headers:
                refusal = access.acting(request)
            else:
                expected = await run_in_threadpool(control.signature, event.action, str(event.version))
                refusal = access.signed(request, event.signature, expected)
        except ValueError as error:
            return _said(400, str(error))
        except Retryable as error:
            return _said(503, str(error))
        if refusal is not None:
            return refused(refusal)
        actor = f"event:{event.source[:100] or 'unnamed'}"
        return await _answered(
            lambda _: {"done": control.result(event.action, event.version, actor)}, request
        )

    return endpoint


def _result(control: ControlPlane, request: Request, body: dict[str, Any]) -> dict[str, str]:
    return {"done": control.result(request.path_params["id"], body.get("version"), _actor(body))}


def _rule(control: ControlPlane, request: Request, body: dict[str, Any]) -> dict[str, str]:
    verb = request.path_params["verb"]
    if verb not in ("approve", "reject", "hold"):
        raise ConfigError([f"{verb!r:.30}: accepted: approve, reject, hold"])
    return {"done": control.rule(request.path_params["id"], verb, _actor(body), _text(body, "comment"))}


def _roll(control: ControlPlane, request: Request, body: dict[str, Any]) -> dict[str, str]:
    model = _text(body, "model", required=True)
    for key in ("champion", "challenger"):
        _text(body, key)
    return {"done": control.rollout(request.path_params["what"], model, _actor(body), body)}


def _lines(rows: list[dict[str, Any]]) -> Response:
    text = "".join(json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n" for row in rows)
    return Response(text, headers={**HEADERS, "Content-Type": "application/x-ndjson"})


async def _answered(act: Callable[[Request], Any], request: Request) -> Response:
    try:
        # In a thread: the database, or the control plane's turn, may take its time.
        answer = await run_in_threadpool(act, request)
        return answer if isinstance(answer, Response) else JSONResponse(answer, headers=HEADERS)
    except Absent as error:
        return _said(404, str(error))
    except ConfigError as error:
        return _said(422, str(error))
    except Retryable as error:
        return _said(503, str(error))
    except Permanent as error:
        return _said(409, str(error))


async def _body(request: Request, most: int = MOST_BYTES) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise ValueError("too large")
    return body


def _text(body: Mapping[str, Any], key: str, *, required: bool = False) -> str:
    value = body.get(key, "")
    if not isinstance(value, str) or len(value) > 500 or "\0" in value or (required and not value):
        raise ConfigError([f"{key}: {value!r:.50}; accepted: text of at most 500 characters"])
    return value


def _actor(body: Mapping[str, Any]) -> str:
    """Who says so: whoever bears the token gives a name, which the ledger keeps as such."""
    return f"token:{_text(body, 'actor')[:100] or 'unnamed'}"


def _said(status: int, error: str) -> Response:
    return JSONResponse({"error": error}, status, headers=HEADERS)
