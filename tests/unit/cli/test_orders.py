"""`observer incident close` and `observer reference accept` against a server."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.unit.web.test_acting import TOKEN, Decided, serve


@pytest.fixture
def decided():
    return Decided()


@pytest.fixture
def settings(tmp_path: Path, decided):
    with serve(TOKEN, decided) as server:
        path = tmp_path / "observer.yaml"
        http = {"port": server.port, "token": TOKEN}
        source = {"type": "files", "path": "events.ndjson"}
        path.write_text(yaml.safe_dump({"predictions": source, "models": ["m"], "http": http}))
        yield path


def test_an_incident_is_closed(observer, settings, decided):
    done = observer("incident", "close", "-c", str(settings), "m", "7")
    assert (done.code, done.out) == (0, "close done\n")
    assert decided.calls == [("close", "m", "7")]


@pytest.mark.parametrize(
    ("since", "milliseconds"),
    [((), None), (("--since", "1970-01-01T00:00:01Z"), 1000), (("--since", "12"), 12)],
)
def test_a_reference_is_accepted(observer, settings, decided, since, milliseconds):
    done = observer("reference", "accept", "-c", str(settings), *since, "m", "7")
    assert (done.code, done.out) == (0, "accept done\n")
    assert decided.calls == [("accept", "m", "7", milliseconds)]


def test_a_wrong_time_is_told(observer, settings, decided):
    done = observer("reference", "accept", "-c", str(settings), "--since", "yesterday", "m", "7")
    assert done.code == 2
    assert "accepted: 2026-11-23T10:00:00Z" in done.err
    assert decided.calls == []


def test_no_service_is_told(observer, settings):
    done = observer("incident", "close", "-c", str(settings), "--url", "http://127.0.0.1:1", "m", "7")
    assert done.code == 1
    assert "http://127.0.0.1:1/api/v1/incidents/close: no answer of a running service" in done.err


@pytest.mark.parametrize("what", [("actions", "list"), ("rollout", "status"), ("rollout", "pause", "m")])
def test_a_service_without_targets_has_no_actions_and_says_so(observer, settings, what):
    done = observer(*what[:2], "-c", str(settings), *what[2:])
    assert done.code == 1
    assert "this service has nothing there; actions and rollouts need `targets`" in done.err


def test_a_wrong_token_is_told_as_such(observer, settings):
    spec = yaml.safe_load(settings.read_text())
    settings.write_text(yaml.safe_dump({**spec, "http": {**spec["http"], "token": "another"}}))
    done = observer("incident", "close", "-c", str(settings), "m", "7")
    assert done.code == 1
    assert "the token of the configuration here is not the service's" in done.err


def test_without_a_token_it_says_which_key_to_set(observer, tmp_path):
    path = tmp_path / "observer.yaml"
    path.write_text(yaml.safe_dump({"predictions": {"type": "files", "path": "x"}, "models": ["m"]}))
    done = observer("incident", "close", "-c", str(path), "m", "7")
    assert done.code == 3
    assert "http.token" in done.err
