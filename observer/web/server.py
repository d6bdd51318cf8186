"""The HTTP server, in a thread beside the pipeline's."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Sequence
from typing import Self

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from observer.errors import Permanent

_PATIENCE = 10.0
"""Seconds between two looks at a connection; a request has to be there within two of them."""
_LONGEST = 120.0
"""Seconds that a request and its answer may take together: longer than anybody waits for an order."""


class Hurried(H11Protocol):
    """HTTP/1.1 that lets go of clients which begin a request and do not end it, or never take the answer.

    uvicorn waits for them for ever, and some hundred of them would keep everybody else out, probes too.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look after the connection."""
        super().connection_made(transport)
        self.loop.call_later(_PATIENCE, self._look, None, 0.0)

    def _look(self, before: RequestResponseCycle | None, lasted: float) -> None:
        # uvicorn is done with an answer that waits here, and closes no connection before it is taken.
        answering = self.transport.get_write_buffer_size() > 0
        if self.transport.is_closing() and not answering:
            return
        if self.cycle is not before:
            lasted = 0.0
        elif answering or self.timeout_keep_alive_task is None:  # else it is between two requests
            lasted += _PATIENCE
            asking = not answering and self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
            if asking or lasted >= _LONGEST:
                self.transport.abort()
                return
        self.loop.call_later(_PATIENCE, self._look, self.cycle, lasted)


class Server:
    """Serves an application until it is stopped; also a context manager.

    Parameters
    ----------
    app : ASGI application
    host : str
        Address to listen on; `0.0.0.0` for all of IPv4, `::` for all of IPv6.
    port : int
        0 takes a free one; the attribute `port` then says which.
    trusted : sequence of str
        Addresses and networks of the proxies that may say for whom they ask.
    """

    def __init__(
        self, app: ASGIApp, host: str = "127.0.0.1", port: int = 0, trusted: Sequence[str] = ()
    ) -> None:
        self.host = host
        self.port = port
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                loop="asyncio",
                http=Hurried,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=bool(trusted),  # else anybody could choose whom wrong tokens count for
                forwarded_allow_ips=list(trusted),
                limit_concurrency=100,  # further requests are told 503
                timeout_graceful_shutdown=2,
            )
        )
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen, and return once requests are answered; raises `Permanent` if that cannot be."""
        listening = self._listen()
        self.port = listening.getsockname()[1]
        self._thread = threading.Thread(target=self._server.run, args=([listening],), name="web", daemon=True)
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)
            if not self._thread.is_alive():
                listening.close()
                raise Permanent("the web server ended while it was starting; the log says why")

    def stop(self) -> None:
        """Finish the requests under way and free the port; nothing happens if it does not run."""
        if self._thread is not None:
            self._server.should_exit = True
            self._thread.join(10)
            self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            return socket.create_server((self.host, self.port), family=family)
        except OSError as error:
            why = str(error.strerror).partition(" (while")[0]
            raise Permanent(
                f"cannot listen on {self.host}:{self.port}: {why}; "
                "choose another host or port, or port 0 for a free one"
            ) from error
