"""The network within a process: requests reach a server's handler, or are lost before or after it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.unit.actions.server import Answer, Request

Handler = Callable[[Request], Answer]


class Wire:
    """Stands in for httpx's sockets; `point` runs before a request arrives and before its answer does.

    `trouble` is the chance that a request fails: no connection, an answer lost, 429, 5xx before or after it
    was handled. What `befalls` requests may be put in its place: `connect`, `lost` or a status; 500 comes
    after it was handled, others before.
    """

    def __init__(self, rng: random.Random, point: Callable[[], None]) -> None:
        self.rng, self.point = rng, point
        self.trouble = 0.0
        self.servers: dict[str, Handler] = {}
        self.asked = 0
        self.befalls: Callable[[httpx.Request], str | int | None] = lambda _: (
            self.rng.choice(("connect", "lost", 429, 500, 503)) if self.chance() else None
        )
        self._client = httpx.Client(transport=httpx.MockTransport(self._carry))

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put it in the place of httpx's own function."""

        def stream(method: str, url: str, *, verify: object, **more: Any) -> Any:
            del verify
            return self._client.stream(method, url, **more)

        monkeypatch.setattr(httpx, "stream", stream)

    def _carry(self, request: httpx.Request) -> httpx.Response:
        url = urlsplit(str(request.url))
        path = f"{url.path}?{url.query}" if url.query else url.path
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.point()
        self.asked += 1
        happens = self.befalls(request)
        if happens == "connect":
            raise httpx.ConnectError("refused", request=request)
        if isinstance(happens, int) and happens != 500:
            return httpx.Response(happens, json={})
        status, said = self.servers[url.netloc](Request(request.method, path, headers, request.content))
        self.point()
        if happens == "lost":
            raise httpx.ReadTimeout("no answer", request=request)
        return httpx.Response(500 if happens == 500 else status, json={} if happens == 500 else said)

    def chance(self) -> bool:
        return self.rng.random() < self.trouble
