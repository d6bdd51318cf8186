"""A real Alertmanager on loopback, and a receiver of what it sends."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx

from tests.services.process import Process, Server, ServiceError, free_port


class Notified(NamedTuple):
    """One alert of one notification."""

    receiver: str
    status: str
    """`firing` or `resolved`."""
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    at: float
    """When it came, seconds since the epoch."""


class Receiver:
    """A webhook that remembers every alert it is sent."""

    def __init__(self) -> None:
        self.notified: list[Notified] = []
        notified = self.notified

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                now = time.time()
                notified.extend(
                    Notified(body["receiver"], one["status"], one["labels"], one["annotations"], now)
                    for one in body["alerts"]
                )
                self.send_response(200)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait_for(self, wanted: Callable[[Notified], bool], timeout: float = 60) -> Notified:
        """The first alert that is wanted; raises `TimeoutError` with all that came instead."""
        deadline = time.monotonic() + timeout
        while True:
            for one in list(self.notified):
                if wanted(one):
                    return one
            if time.monotonic() > deadline:
                raise TimeoutError(f"not notified within {timeout} s; what came: {self.notified}")
            time.sleep(0.1)


class Alertmanager(Server):
    """An Alertmanager with a configuration of its own: alone, or the member of a cluster.

    Parameters
    ----------
    config : mapping
        As its YAML.
    gossip : str
        `host:port` at which it meets its peers; alone without it.
    peers : sequence of str
        Where those are.
    """

    def __init__(self, config: Mapping[str, Any], gossip: str = "", peers: Sequence[str] = ()) -> None:
        self._port = free_port()
        self.address = f"127.0.0.1:{self._port}"
        self.url = f"http://{self.address}"
        self._config = config
        self._gossip, self._peers = gossip, peers
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: Process | None = None
        self._client = httpx.Client(base_url=self.url, timeout=10, trust_env=False)

    def start(self) -> None:
        """Start, with empty storage unless `end` left some; return once it is ready."""
        binary = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
        if binary is None:
            raise ServiceError("no Alertmanager: install one on PATH (Debian: prometheus-alertmanager)")
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="observer-alertmanager-")
        folder = Path(self._folder.name)
        config = folder / "alertmanager.yml"
        config.write_text(json.dumps(self._config))  # JSON is YAML
        command = [binary, f"--config.file={config}", f"--storage.path={folder / 'data'}"]
        command += [f"--web.listen-address={self.address}", "--log.level=warn"]
        command += [f"--cluster.listen-address={self._gossip}", *(f"--cluster.peer={p}" for p in self._peers)]
        command += ["--cluster.pushpull-interval=1s", "--cluster.reconnect-interval=1s"]
        command += ["--cluster.settle-timeout=1s", "--cluster.gossip-interval=50ms"]
        self._process = Process(command, folder / "server.log")
        self._process.wait_until(self._ready, 60)

    def end(self) -> None:
        """End it and keep its data for the next start."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def stop(self) -> None:
        """End it and remove its data."""
        self.end()
        self._client.close()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def alerts(self) -> list[dict[str, Any]]:
        """What it holds, as its API says; muted ones name who mutes them under `status`."""
        found: list[dict[str, Any]] = self._client.get("/api/v2/alerts").raise_for_status().json()
        return found

    def silence(self, matchers: Sequence[Mapping[str, Any]], comment: str, **more: Any) -> str:
        """Make a silence of an hour, or change the one whose `id` is given; returns its id."""
        now = datetime.now(UTC)
        said = {
            "matchers": [{"isRegex": False, "isEqual": True, **one} for one in matchers],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=1)).isoformat(),
            "createdBy": "ann",
            "comment": comment,
            **more,
        }
        made: str = self._client.post("/api/v2/silences", json=said).raise_for_status().json()["silenceID"]
        return made

    def expire(self, silence: str) -> None:
        """End a silence before its time."""
        self._client.delete(f"/api/v2/silence/{silence}").raise_for_status()

    def wait_until_muted(self, name: str, by: str, timeout: float = 60) -> None:
        """Return once alerts of a name are there, all inhibited by one of another; raises `TimeoutError`."""
        deadline = time.monotonic() + timeout
        while True:
            every = self.alerts()
            found = [one for one in every if one["labels"]["alertname"] == name]
            mutes = {one["fingerprint"] for one in every if one["labels"]["alertname"] == by}
            if found and all(mutes.intersection(one["status"]["inhibitedBy"]) for one in found):
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} not muted within {timeout} s; alerts: {self.alerts()}")
            time.sleep(0.2)

    def _ready(self) -> bool:
        try:
            return self._client.get("/-/ready").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


@contextmanager
def cluster(config: Mapping[str, Any], members: int = 2) -> Iterator[list[Alertmanager]]:
    """Members that tell each other of silences."""
    meet = [f"127.0.0.1:{free_port()}" for _ in range(members)]
    with ExitStack() as stack:
        yield [stack.enter_context(Alertmanager(config, own, [p for p in meet if p != own])) for own in meet]
