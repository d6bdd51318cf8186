"""The HTTP endpoints: metrics for Prometheus, health and readiness for an orchestrator."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from observer.ports import Clock

Render: TypeAlias = Callable[[str], tuple[bytes, str]]
"""`Accept` header -> body and content type."""

Probe: TypeAlias = Callable[[], tuple[bool, Sequence[str]]]
"""Whether all is well, and a line for each reason why not. Must answer at once: it runs in the event loop."""

_INDEX = """\
observer

/metrics  for Prometheus
/healthz  200 while the service is alive, else 503 and why
/readyz   200 once the service works on live events, else 503 and why
"""
# No browser may take a foreign string in plain text for a page.
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


class Heartbeat:
    """A health probe: the pipeline's loop must have turned within `limit` seconds.

    The loop calls `beat` at every turn; the time until the first one counts from the start.
    """

    def __init__(self, clock: Clock, limit: float) -> None:
        self._clock = clock
        self._limit = limit
        self._last = clock.now()

    def beat(self) -> None:
        """Note that the loop has turned."""
        self._last = self._clock.now()

    def __call__(self) -> tuple[bool, Sequence[str]]:
        """Whether the loop turns, and if not, for how long it has not."""
        silence = self._clock.now() - self._last
        if silence <= self._limit:
            return True, ()
        return False, (f"the pipeline has not turned for {silence:.0f} s; the limit is {self._limit:g} s",)


def create_app(render: Render, health: Probe, ready: Probe) -> Starlette:
    """Build the ASGI application.

    Parameters
    ----------
    render : callable
        Gives the exposition; runs in a worker thread, so it may take its time.
    health, ready : callable
        Probes behind `/healthz` and `/readyz`.
    """

    async def index(_: Request) -> Response:
        return PlainTextResponse(_INDEX, headers=_HEADERS)

    # Not async, so that Starlette runs it in a worker thread: the probes answer during a scrape.
    def metrics(request: Request) -> Response:
        body, content_type = render(request.headers.get("accept", ""))
        headers = {**_HEADERS, "Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if _takes_gzip(request.headers.get("accept-encoding", "")):
            body = gzip.compress(body, compresslevel=1, mtime=0)
            headers["Content-Encoding"] = "gzip"
        return Response(body, headers=headers)

    def answer(probe: Probe) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(_: Request) -> Response:
            well, reasons = probe()
            text = "ok\n" if well else "".join(f"{reason}\n" for reason in reasons)
            return PlainTextResponse(text, 200 if well else 503, headers=_HEADERS)

        return endpoint

    return Starlette(
        routes=[
            Route("/", index),
            Route("/metrics", metrics),
            Route("/healthz", answer(health)),
            Route("/readyz", answer(ready)),
        ]
    )


def _takes_gzip(accept_encoding: str) -> bool:
    for choice in accept_encoding.lower().split(","):
        coding, _, parameters = choice.partition(";")
        if coding.strip() == "gzip":
            return parameters.replace(" ", "").rstrip("0").rstrip(".") not in {"q=", "q=0"}
    return False
