from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from observer.cli.run import opened, until_signalled
from observer.clock import SystemClock
from observer.config import load
from observer.errors import Retryable
from observer.stores.lmdb import LmdbState
from tests.unit.cli.conftest import Ran, events, write

Observer = Callable[..., Ran]


def test_files_are_watched_to_their_end(observer: Observer, tmp_path: Path) -> None:
    write(tmp_path / "p.ndjson", events(3))
    (tmp_path / "observer.yaml").write_text(
        "predictions: {type: files, path: p.ndjson}\nhttp: {port: 0}\nlog_level: error"
    )
    assert observer("run", "-c", "observer.yaml").code == 0
    assert (tmp_path / "observer-state/data.mdb").exists()


def test_a_wrong_configuration_lists_every_problem(observer: Observer, tmp_path: Path) -> None:
    (tmp_path / "observer.yaml").write_text("predictions: {type: files}\nhttp: {port: x}")
    ran = observer("run", "-c", "observer.yaml")
    assert ran.code == 3
    assert [line.split(": ")[2] for line in ran.err.splitlines()] == ["predictions.path", "http.port"]
    assert all(line.startswith("error: observer.yaml:") for line in ran.err.splitlines())


def test_an_error_that_ends_the_service_is_a_message(observer: Observer, tmp_path: Path) -> None:
    (tmp_path / "observer.yaml").write_text("predictions: {type: files, path: nope}\nhttp: {port: 0}")
    ran = observer("run", "-c", "observer.yaml")
    assert ran.code == 1
    assert "error: nope is not a file" in ran.err
    assert "Traceback" not in ran.err


def test_a_second_service_is_refused(observer: Observer, tmp_path: Path) -> None:
    write(tmp_path / "p.ndjson", events(1))
    (tmp_path / "observer.yaml").write_text("predictions: {type: files, path: p.ndjson}\nhttp: {port: 0}")
    state = LmdbState(tmp_path / "observer-state")
    ran = observer("run", "-c", "observer.yaml")
    assert ran.code == 1
    assert "the state is in use by process" in ran.err
    state.close()


def test_a_second_service_waits_for_the_first_to_end(tmp_path: Path) -> None:
    (tmp_path / "observer.yaml").write_text("predictions: {type: files, path: p.ndjson}\nhttp: {port: 0}")
    write(tmp_path / "p.ndjson", events(1))
    config = load(tmp_path / "observer.yaml")
    first = LmdbState(config.state.path)
    asked = 0

    def stopping() -> bool:
        nonlocal asked
        asked += 1
        if asked == 2:
            first.close()
        return False

    with opened(config, SystemClock(), 600, stopping) as service:
        assert service.server is not None
    assert asked == 2
    second = LmdbState(config.state.path)
    with pytest.raises(Retryable, match="in use by process"):
        opened(config, SystemClock(), 600, lambda: True)
    waited = iter((0.0, 599.0, 599.5, 600.0))
    with pytest.raises(Retryable, match="in use by process"):
        opened(config, SystemClock(), 600, lambda: False, lambda: next(waited))
    assert not list(waited), "as long as time passes, whatever the clock says"
    second.close()


def test_a_signal_asks_to_stop(observer: Observer) -> None:
    del observer  # it puts the handlers back
    stopping = until_signalled()
    assert not stopping()
    signal.raise_signal(signal.SIGTERM)
    assert stopping()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
