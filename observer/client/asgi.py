"""Logging in an ASGI application: FastAPI, Starlette, BentoML, Litestar."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, MutableMapping
from time import perf_counter
from typing import Any

from observer.client.logger import PredictionLogger
from observer.client.protocols import Reader
from observer.client.watch import Read, record

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class PredictionMiddleware:
    """Logs the predictions of POST requests that are answered with 200, both bodies being JSON.

    Bodies pass through unchanged, piece by piece; they are read once the response has been sent. The id is
    the request's header `x-request-id`, else a new one, and goes back in the header `x-prediction-id`. A
    request to a host whose name ends with `-shadow`, as Envoy marks copies, is logged as arm `shadow`.

    Parameters
    ----------
    app : ASGI application
        What answers.
    logger : PredictionLogger
        Where predictions go.
    paths : collection of str
        The paths to log.
    read : callable or None
        (request, response), as JSON has them -> the arguments of `log`, once per prediction; None for
        those of `observer.client.protocols`.
    max_body : int
        Bytes of a body; a request or a response with more is not logged, and counted as `invalid`.
    """

    def __init__(
        self,
        app: App,
        logger: PredictionLogger,
        *,
        paths: Collection[str] = ("/predict",),
        read: Read | None = None,
        max_body: int = 1 << 20,
    ) -> None:
        self._app = app
        self._logger = logger
        self._paths = frozenset(paths)
        self._read: Read = read or Reader(logger.feature_names, logger.classes)
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in self._paths:
            await self._app(scope, receive, send)
            return
        one = next((value.decode("latin-1") for key, value in scope["headers"] if key == b"x-request-id"), "")
        one = one or self._logger.new_id()
        request, response = _Body(self._max_body), _Body(self._max_body)
        status, start = 0, perf_counter()

        async def receiving() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                request.add(message.get("body", b""))
            return message

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (b"x-prediction-id", one.encode("latin-1"))]
                message = {**message, "headers": headers}
            elif message["type"] == "http.response.body":
                response.add(message.get("body", b""))
            await send(message)

        await self._app(scope, receiving, sending)
        if status == 200:
            seconds = perf_counter() - start
            read = self._copies if _copied(scope) else self._bodies
            record(self._logger, read, request, response, seconds, one)

    def _bodies(self, request: Any, response: Any) -> Iterable[Mapping[str, Any]]:
        return self._read(request.json(), response.json())

    def _copies(self, request: Any, response: Any) -> Iterable[Mapping[str, Any]]:
        return ({**fields, "arm": "shadow"} for fields in self._bodies(request, response))


def _copied(scope: Scope) -> bool:
    host = next((value for key, value in scope["headers"] if key == b"host"), b"")
    return bool(host.split(b":")[0].endswith(b"-shadow"))


class _Body:
    def __init__(self, limit: int) -> None:
        self._parts: list[bytes] = []
        self._left = limit

    def add(self, part: bytes) -> None:
        self._left -= len(part)
        if self._left >= 0:
            self._parts.append(part)

    def json(self) -> Any:
        """The body decoded; raises `ValueError` where it is too large or not JSON."""
        if self._left < 0:
            raise ValueError("a body is larger than `max_body`")
        return json.loads(b"".join(self._parts))
