"""The worker's loop: frames in, frames out."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections import OrderedDict
from types import ModuleType
from typing import Any

from .columns import Columns, Reference, Refused, read_columns, said, seed
from .frames import read_frame, write_frame

_REFERENCES = 16
_ONLINE = 256
"""Kept; what was let go is asked for again."""


class Server:
    """Answers requests about one peer."""

    def __init__(self, peer: ModuleType) -> None:
        self._peer = peer
        self._references: OrderedDict[str, Reference] = OrderedDict()
        self._online: OrderedDict[str, Any] = OrderedDict()

    def answer(self, request: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        """The answer; its header has `error` where there is none, `missing` where the reference is."""
        try:
            return self._answer(request, body)
        except MemoryError:
            raise
        except Refused as reason:
            return {"error": str(reason)}, b""
        except Exception as error:
            return {"error": said(error)}, b""

    def _answer(self, request: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        if request["op"] == "advance":
            return self._advance(request, read_columns(body)), b""
        columns, digest = read_columns(body), request["reference"]
        if request["op"] == "reference":
            self._references[digest] = Reference(columns)
            while len(self._references) > _REFERENCES:
                self._references.popitem(last=False)
            return {}, b""
        reference = self._references.get(digest)
        if reference is None:
            return {"missing": True}, b""
        self._references.move_to_end(digest)
        seed()
        if request["op"] == "report":
            return {}, self._peer.report(request["spec"], reference, columns)
        return {"findings": self._peer.judge(request["spec"], reference, columns)}, b""

    def _advance(self, request: dict[str, Any], columns: Columns) -> dict[str, Any]:
        """Detectors known by what they were given go on from there; from nothing, "", they begin."""
        before = request["before"]
        if before and before not in self._online:
            return {"missing": True}
        detectors = self._online.pop(before) if before else None
        seed()
        detectors, drift = self._peer.advance(request["spec"], detectors, columns)
        self._online[request["after"]] = detectors
        while len(self._online) > _ONLINE:
            self._online.popitem(last=False)
        return {"drift": drift}


def serve(peer: str) -> None:
    """Serve until stdin ends."""
    # Whatever the peer prints must not come between frames, nor must it read them.
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.addaudithook(_offline)
    module = importlib.import_module(f".{peer}", __package__)
    loaded = [importlib.import_module(name) for name in module.MODULES]
    write_frame(answers, {"ready": peer, "version": str(getattr(loaded[0], "__version__", ""))})
    server = Server(module)
    while True:
        try:
            request, body = read_frame(requests)
        except EOFError:
            return
        # Should the service be killed while this hangs, the kernel ends it, whatever it is doing.
        signal.alarm(int(request["timeout"]) + 5)
        try:
            header, report = server.answer(request, body)
        except MemoryError:
            write_frame(answers, {"over": True})
            return
        write_frame(answers, header, report)
        signal.alarm(0)


def _offline(event: str, _: tuple[Any, ...]) -> None:
    if event in {"socket.connect", "socket.getaddrinfo", "socket.sendto"}:
        raise PermissionError("a worker has no network")
