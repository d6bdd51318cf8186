"""Files for Grafana's provisioning, and pushes to a Grafana at the other end of a wire."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from observer.dashboards import push, texts, write
from observer.errors import ConfigError, Permanent, Retryable
from tests.unit.actions.server import Answer, Request, TargetServer, served

TOKEN = "glsa_secret"  # noqa: S105 - of the fake


class Grafana:
    """Its folders and dashboards, as its HTTP API keeps them; behind the path `/grafana`."""

    def __init__(self) -> None:
        self.folders: dict[str, str] = {}
        self.boards: dict[str, dict[str, Any]] = {}
        self.allowed = {f"Bearer {TOKEN}", "Basic " + base64.b64encode(b"ada:pass word").decode()}

    def handle(self, request: Request) -> Answer:
        if request.headers.get("authorization") not in self.allowed:
            return 401, {"message": "Invalid API key"}
        where = (request.method, request.path)
        if request.method == "GET" and request.path.startswith("/grafana/api/folders/"):
            uid = request.path.rpartition("/")[2]
            known = uid in self.folders
            return (200, {"uid": uid}) if known else (404, {"message": "folder not found"})
        if where == ("POST", "/grafana/api/folders"):
            self.folders[request.json["uid"]] = request.json["title"]
            return 200, request.json
        if where == ("POST", "/grafana/api/dashboards/db"):
            asked = request.json
            board = asked["dashboard"]
            if asked["folderUid"] not in self.folders:
                return 400, {"message": "folder not found"}
            if board.get("id") is not None:
                return 404, {"message": "Dashboard not found"}
            before = self.boards.get(board["uid"])
            if before is not None and not asked["overwrite"]:
                return 412, {"message": "The dashboard has been changed by someone else"}
            self.boards[board["uid"]] = board
            return 200, {"uid": board["uid"], "url": f"/d/{board['uid']}/x", "status": "success"}
        return 404, {"message": "Not found"}


@pytest.fixture
def grafana() -> Iterator[tuple[Grafana, TargetServer]]:
    kept = Grafana()
    with served(kept.handle) as server:
        yield kept, server


def test_everything_arrives_once_however_often_it_is_pushed(grafana: tuple[Grafana, TargetServer]) -> None:
    kept, server = grafana
    first = push(f"{server.url}/grafana/", TOKEN, "Models")
    assert push(f"{server.url}/grafana", ("ada", "pass word"), "Others") == first
    assert kept.folders == {"observer": "Models"}, "a folder that exists keeps its title"
    sent = {board["uid"]: board for board in map(json.loads, texts().values())}
    assert {uid: {**board, "id": None} for uid, board in sent.items()} == kept.boards
    assert first == [f"{server.url}/grafana/d/{uid}/x" for uid in sent]


def test_a_wrong_token_is_refused_and_never_told(grafana: tuple[Grafana, TargetServer]) -> None:
    kept, server = grafana
    with pytest.raises(Permanent, match="Unauthorized") as told:
        push(f"{server.url}/grafana", "glsa_other", "Models")
    assert "glsa_other" not in str(told.value)
    assert not kept.folders
    assert not kept.boards


@pytest.mark.parametrize("fault", [500, 503, "drop"])
def test_a_server_that_fails_may_be_tried_again(
    grafana: tuple[Grafana, TargetServer], fault: int | str
) -> None:
    kept, server = grafana
    server.faults[:] = [fault]
    with pytest.raises(Retryable, match="Grafana at"):
        push(f"{server.url}/grafana", TOKEN, "Models")
    push(f"{server.url}/grafana", TOKEN, "Models")
    assert len(kept.boards) == 6


def test_what_is_no_grafana_is_said() -> None:
    with (
        served(lambda _: (200, ["something else"])) as server,
        pytest.raises(Retryable, match="no answer of"),
    ):
        push(server.url, TOKEN, "Models")


@pytest.mark.parametrize("url", ["grafana.example", "http://g?verify=false", "http://ada:secret@g"])
def test_an_address_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match="accepted: http://") as told:
        push(url, TOKEN, "Models")
    assert "secret" not in str(told.value)


def test_files_are_found_by_grafanas_provisioning(tmp_path: Path) -> None:
    folder = tmp_path / 'a "folder"'
    written = write(folder, "http://prometheus:9090")
    assert {path.relative_to(folder).as_posix() for path in written} == {
        *(f"dashboards/observer/{name}" for name in texts()),
        "provisioning/dashboards/observer.yaml",
        "provisioning/datasources/observer.yaml",
    }
    (provider,) = yaml.safe_load((folder / "provisioning/dashboards/observer.yaml").read_text())["providers"]
    found = Path(provider["options"]["path"])
    assert {path.name: path.read_text() for path in found.iterdir()} == texts()
    source = yaml.safe_load((folder / "provisioning/datasources/observer.yaml").read_text())
    assert source["datasources"][0]["url"] == "http://prometheus:9090"


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "dashboards").write_text("a file")
    with pytest.raises(Permanent, match="cannot be written"):
        write(tmp_path, "http://prometheus:9090")
