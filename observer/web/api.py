"""The HTTP endpoints: metrics for Prometheus, health and readiness for an orchestrator."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from observer.errors import ConfigError, Retryable
from observer.ports import Clock, History
from observer.web.access import HEADERS, Access, refused
from observer.web.actions import ControlPlane, action_routes
from observer.web.attempts import Attempts
from observer.web.pages import pages
from observer.web.reading import reading
from observer.web.results import parsed

Render: TypeAlias = Callable[[str], tuple[bytes, str]]
"""`Accept` header -> body and content type."""

Probe: TypeAlias = Callable[[], tuple[bool, Sequence[str]]]
"""Whether all is well, and a line for each reason why not, or worth a look all the same. Must answer
at once: it runs in the event loop."""

_INDEX = """\
observer

/metrics  for Prometheus
/healthz  200 while the service is alive, else 503 and why
/readyz   200 once the service works on live events, else 503 and why

POST, with a token (docs/false-alarms.md):
/api/v1/reference/accept  make what is seen now the reference
/api/v1/incidents/close   end an incident
"""
_MOST_BYTES = 10_000


class Heartbeat:
    """A health probe: the pipeline's loop must have turned within `limit` seconds.

    The loop calls `beat` at every turn; the time until the first one counts from the start. Neither a clock
    that is set nor a suspended machine says anything of the loop.
    """

    def __init__(self, passed: Callable[[], float], limit: float) -> None:
        self._passed = passed
        self._limit = limit
        self._last = passed()

    def beat(self) -> None:
        """Note that the loop has turned."""
        self._last = self._passed()

    def __call__(self) -> tuple[bool, Sequence[str]]:
        """Whether the loop turns, and if not, for how long it has not."""
        silence = self._passed() - self._last
        if silence <= self._limit:
            return True, ()
        return False, (f"the pipeline has not turned for {silence:.0f} s; the limit is {self._limit:g} s",)


class Decisions(Protocol):
    """What people may decide; each says what it did."""

    def accept(self, model: str, version: str, since: int | None) -> str:
        """Make what a version's windows show since then (milliseconds) its new reference."""

    def close(self, model: str, version: str) -> str:
        """End a version's incidents."""


@dataclass(frozen=True, slots=True)
class Past:
    """What the page and the reading part of the API stand on.

    Attributes
    ----------
    problems : callable
        What is wrong with the history now, a line each.
    version : str
        Of the service.
    """

    history: History
    problems: Callable[[], Iterable[str]]
    version: str


def create_app(
    render: Render,
    health: Probe,
    ready: Probe,
    clock: Clock,
    decisions: Decisions | None = None,
    token: str = "",
    past: Past | None = None,
    read_token: str = "",
    control: ControlPlane | None = None,
) -> Starlette:
    """Build the ASGI application.

    Parameters
    ----------
    render : callable
        Gives the exposition; runs in a worker thread, so it may take its time.
    health, ready : callable
        Probes behind `/healthz` and `/readyz`.
    clock : Clock
    decisions : Decisions, optional
        Behind the endpoints that act.
    token : str
        What a request to those must bear; without one they refuse everybody.
    past : Past, optional
        Behind the page and the endpoints that read.
    read_token : str
        What a request to those must bear, or else `token`; without one everybody may read.
    control : ControlPlane, optional
        Behind the endpoints of actions and rollouts.
    """

    async def index(_: Request) -> Response:
        return PlainTextResponse(_INDEX, headers=HEADERS)

    # Not async, so that Starlette runs it in a worker thread: the probes answer during a scrape.
    def metrics(request: Request) -> Response:
        body, content_type = render(request.headers.get("accept", ""))
        headers = {**HEADERS, "Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if _takes_gzip(request.headers.get("accept-encoding", "")):
            body = gzip.compress(body, compresslevel=1, mtime=0)
            headers["Content-Encoding"] = "gzip"
        return Response(body, headers=headers)

    def answer(probe: Probe) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(_: Request) -> Response:
            well, reasons = probe()
            text = "ok\n" * well + "".join(f"{reason}\n" for reason in reasons)
            return PlainTextResponse(text, 200 if well else 503, headers=HEADERS)

        return endpoint

    access = Access(Attempts(clock.now), read_token, token)
    shown: list[BaseRoute] = [Route("/", index)]
    if past is not None:
        shown = [
            *pages(past.history, access, past.problems, clock, past.version, control),
            *reading(past.history, access, past.problems, past.version, actions=control is not None),
        ]
    return Starlette(
        routes=[
            *shown,
            Route("/metrics", metrics),
            Route("/healthz", answer(health)),
            Route("/readyz", answer(ready)),
            *acting(decisions, access),
            *(action_routes(control, access) if control is not None else ()),
        ]
    )


def acting(decisions: Decisions | None, access: Access) -> list[Route]:
    """The endpoints that act: JSON in, JSON out, and a bearer token."""

    def guarded(act: Callable[[str, str, dict[str, Any]], str]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            refusal = access.acting(request)
            if refusal is not None:
                return refused(refusal)
            try:
                body = parsed(await _body(request))
                model, version = body["model"], body["version"]
                if not (isinstance(model, str) and isinstance(version, str)):
                    raise TypeError("model and version")
            except (ValueError, KeyError, TypeError):
                return _json(400, 'accepted: a JSON object with texts "model" and "version"')
            try:
                # In a thread: the loop may be busy for a while.
                return _json(200, await run_in_threadpool(act, model, version, body))
            except ConfigError as error:
                return _json(422, str(error))
            except Retryable as error:
                return _json(503, str(error))

        return endpoint

    if decisions is None:
        return []

    def accept(model: str, version: str, body: dict[str, Any]) -> str:
        since = body.get("since")
        if since is not None and not (isinstance(since, int) and not isinstance(since, bool)):
            raise ConfigError(
                [f"since: {since!r:.50}; accepted: milliseconds since the epoch, a whole number"]
            )
        return decisions.accept(model, version, since)

    def close(model: str, version: str, _: dict[str, Any]) -> str:
        return decisions.close(model, version)

    return [
        Route("/api/v1/reference/accept", guarded(accept), methods=["POST"]),
        Route("/api/v1/incidents/close", guarded(close), methods=["POST"]),
    ]


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise ValueError("too large")
    return body


def _json(status: int, text: str) -> Response:
    said = {"done" if status == 200 else "error": text}
    return JSONResponse(said, status, headers=HEADERS)


def _takes_gzip(accept_encoding: str) -> bool:
    for choice in accept_encoding.lower().split(","):
        coding, _, parameters = choice.partition(";")
        if coding.strip() == "gzip":
            return parameters.replace(" ", "").rstrip("0").rstrip(".") not in {"q=", "q=0"}
    return False
