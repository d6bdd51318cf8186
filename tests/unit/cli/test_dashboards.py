from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Ran
from tests.unit.dashboards.test_push import TOKEN, Grafana, served

Observer = Callable[..., Ran]


def test_write_names_the_files(observer: Observer, tmp_path: Path) -> None:
    ran = observer("dashboards", "write", str(tmp_path / "grafana"), "--prometheus", "http://p:1")
    assert ran.code == 0
    paths = [Path(line) for line in ran.out.splitlines()]
    assert all(path.exists() for path in paths)
    titles = {json.loads(path.read_text())["title"] for path in paths if path.suffix == ".json"}
    assert "Observer: fleet" in titles


def test_push_takes_the_token_from_the_environment(
    observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Grafana()
    with served(kept.handle) as server:
        url = f"{server.url}/grafana"
        ran = observer("dashboards", "push", url)
        assert (ran.code, "GRAFANA_TOKEN" in ran.err) == (3, True)
        monkeypatch.setenv("GRAFANA_TOKEN", TOKEN)
        ran = observer("dashboards", "push", url, "--title", "Models")
    assert ran.code == 0
    assert f"{url}/d/observer-fleet/x" in ran.out.splitlines()
    assert kept.folders == {"observer": "Models"}
