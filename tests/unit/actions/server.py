"""A strict HTTP server for targets: it remembers what came, and misbehaves when told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answer = tuple[int, Any]


class TargetServer:
    """Answers with `handle`; `faults` come first: a status to answer with, or `drop` after it was handled."""

    def __init__(self, handle: Callable[[Request], Answer]) -> None:
        self.handle = handle
        self.seen: list[Request] = []
        self.faults: list[int | str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, self.path, headers, body)
                outer.seen.append(request)
                fault = outer.faults.pop(0) if outer.faults else None
                if isinstance(fault, int):
                    self._answer(fault, {"message": "as told"})
                    return
                status, said = outer.handle(request)
                if fault == "drop":
                    self.close_connection = True
                    self.connection.close()
                    return
                self._answer(status, said)

            def _answer(self, status: int, said: Any) -> None:
                data = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_PUT = _serve  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def served(handle: Callable[[Request], Answer]) -> Iterator[TargetServer]:
    server = TargetServer(handle)
    server.start()
    try:
        yield server
    finally:
        server.stop()
