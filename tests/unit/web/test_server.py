"""The server starts, stops and answers through real sockets."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from types import SimpleNamespace

import httpx
import pytest

import observer.web.server as serving
from observer.clock import passed
from observer.errors import Permanent
from observer.web.api import Heartbeat, create_app
from observer.web.server import Server
from tests.unit.web.plane import Moving, until

GOOD = (True, ())


@pytest.fixture(scope="module")
def running():
    """One server for all tests, around parts that each may change."""
    parts = SimpleNamespace()

    def render(accept):
        return parts.render(accept)

    app = create_app(render, lambda: parts.health, lambda: parts.ready, Moving(0.0))
    with Server(app) as server, httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
        parts.server, parts.get, parts.request = server, client.get, client.request
        yield parts


@pytest.fixture
def service(running):
    running.render = lambda accept: (b"# EOF\n", f"text/{accept}")
    running.health = running.ready = GOOD
    return running


def test_metrics_are_rendered_as_asked(service):
    answer = service.get("/metrics", headers={"Accept": "plain", "Accept-Encoding": "identity"})
    assert (answer.status_code, answer.content) == (200, b"# EOF\n")
    assert answer.headers["Content-Type"] == "text/plain"
    assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip; q=1.0", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("br", False),
        ("identity", False),
    ],
)
def test_gzip_where_it_is_accepted(service, accepted, compressed):
    with httpx.stream(
        "GET", f"http://127.0.0.1:{service.server.port}/metrics", headers={"Accept-Encoding": accepted}
    ) as answer:
        body = b"".join(answer.iter_raw())
        assert (answer.headers.get("Content-Encoding") == "gzip") == compressed
    assert (gzip.decompress(body) if compressed else body) == b"# EOF\n"


@pytest.mark.parametrize(("path", "part"), [("/healthz", "health"), ("/readyz", "ready")])
def test_probes(service, path, part):
    assert (service.get(path).status_code, service.get(path).text) == (200, "ok\n")
    setattr(service, part, (False, ("kafka is not open", "no checkpoint yet")))
    assert (service.get(path).status_code, service.get(path).text) == (
        503,
        "kafka is not open\nno checkpoint yet\n",
    )


def test_the_index_names_the_endpoints(service):
    text = service.get("/").text
    assert all(
        service.get(path).status_code == 200 and path in text for path in ("/metrics", "/healthz", "/readyz")
    )


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/readyz"])
def test_only_reading_is_allowed(service, path, method):
    assert service.request(method, path).status_code == 405


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/readyz"])
def test_head_gives_the_headers_only(service, path):
    answer = service.request("HEAD", path, headers={"Accept-Encoding": "identity"})
    full = service.get(path, headers={"Accept-Encoding": "identity"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == full.headers["Content-Length"] == str(len(full.content))


def test_an_unknown_path_is_not_found(service):
    assert service.get("/nowhere").status_code == 404


def test_the_software_does_not_name_itself(service):
    answer = service.get("/")
    assert "Server" not in answer.headers
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_probes_answer_while_a_scrape_takes_its_time(service):
    scraping, finish = threading.Event(), threading.Event()

    def slow(accept):
        scraping.set()
        finish.wait(60)
        return b"", "text/plain"

    service.render = slow
    scrape = threading.Thread(target=service.get, args=["/metrics"])
    scrape.start()
    try:
        assert scraping.wait(60)
        assert service.get("/healthz").status_code == 200
    finally:
        finish.set()
        scrape.join()


def test_a_failing_render_is_an_error_and_not_the_end(service):
    def fail(accept):
        raise RuntimeError("cannot render")

    service.render = fail
    assert service.get("/metrics").status_code == 500
    assert service.get("/healthz").status_code == 200


def app():
    return create_app(lambda _: (b"", ""), lambda: GOOD, lambda: GOOD, Moving(0.0))


def sent(port: int, text: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    client.sendall(text)
    return client


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n",
        b"POST /api/v1/incidents/close HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\n",
    ],
)
def test_who_does_not_end_a_request_is_let_go(monkeypatch, text):
    """A hundred of them would keep the probes out, and the orchestrator would kill the service."""
    monkeypatch.setattr(serving, "_PATIENCE", 0.2)
    with Server(app()) as server, sent(server.port, text) as client:
        try:
            while client.recv(10_000):
                pass
        except ConnectionResetError:
            pass


def test_who_waits_for_a_slow_answer_gets_it(monkeypatch):
    monkeypatch.setattr(serving, "_PATIENCE", 0.05)
    monkeypatch.setattr(serving, "_LONGEST", 60.0)

    def slow(_: str) -> tuple[bytes, str]:
        time.sleep(0.5)
        return b"there", "text/plain"

    served = create_app(slow, lambda: GOOD, lambda: GOOD, Moving(0.0))
    with Server(served) as server, httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
        assert [client.get("/metrics").text for _ in range(2)] == ["there", "there"]


def test_an_answer_that_nobody_takes_is_given_up(monkeypatch):
    monkeypatch.setattr(serving, "_PATIENCE", 0.1)
    monkeypatch.setattr(serving, "_LONGEST", 0.5)
    served = create_app(lambda _: (bytes(1 << 25), ""), lambda: GOOD, lambda: GOOD, Moving(0.0))
    with (
        Server(served) as server,
        sent(server.port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") as client,
    ):
        connections = server._server.server_state.connections
        until(lambda: connections)
        until(lambda: not connections)
        assert client.fileno() >= 0


def test_port_zero_becomes_a_real_port_and_stop_frees_it():
    server = Server(app())
    server.start()
    port = server.port
    assert port != 0
    server.stop()
    server.stop()
    with Server(app(), port=port) as again:
        assert httpx.get(f"http://127.0.0.1:{again.port}/healthz").status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/healthz")


def test_stopping_before_starting_is_nothing():
    Server(app()).stop()


def test_stopping_does_not_wait_for_idle_connections():
    before = set(threading.enumerate())
    server = Server(app())
    server.start()
    with socket.create_connection(("127.0.0.1", server.port)):
        server.stop()
    assert set(threading.enumerate()) <= before


def test_a_taken_port_is_said_plainly():
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(
            Permanent, match=r"cannot listen on 127\.0\.0\.1:\d+: Address already in use; choose another"
        ),
    ):
        Server(app(), port=taken.getsockname()[1]).start()


@pytest.mark.parametrize(("host", "port"), [("nowhere.invalid", 0), ("192.0.2.1", 0)])
def test_an_impossible_address_is_said_plainly(host, port):
    with pytest.raises(Permanent, match=f"cannot listen on {host}:{port}: .*; choose another host or port"):
        Server(app(), host, port).start()


def test_listens_on_ipv6_too():
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        server = Server(app(), "::1")
        server.start()
    except Permanent:
        pytest.skip("no IPv6 loopback here")
    try:
        assert httpx.get(f"http://[::1]:{server.port}/healthz").status_code == 200
    finally:
        server.stop()


def test_the_heart_must_beat_within_the_limit():
    time = [100.0]
    heart = Heartbeat(lambda: time[0], 30)
    time[0] = 130
    assert heart() == (True, ())
    time[0] = 131
    assert heart() == (False, ("the pipeline has not turned for 31 s; the limit is 30 s",))
    heart.beat()
    assert heart() == (True, ())


def test_a_clock_that_is_set_says_nothing_of_the_heart(monkeypatch):
    heart = Heartbeat(passed, 30)
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert heart() == (True, ())
