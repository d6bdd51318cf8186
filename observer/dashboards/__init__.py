"""Grafana dashboards as files, and onto a Grafana server.

The JSON under `data` is built by `python -m dashboards` at the root of the repository.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from observer.errors import ConfigError, Permanent, Retryable

FOLDER_UID = "observer"
"""Of the folder that `push` fills."""
_HERE = files("observer.dashboards")


def texts() -> dict[str, str]:
    """The JSON of every dashboard, by file name."""
    found = (_HERE / "data").iterdir()
    return {one.name: one.read_text("utf-8") for one in sorted(found, key=lambda one: one.name)}


def provisioning(folder: str, prometheus: str) -> dict[str, str]:
    """Grafana's provisioning files by path; the JSON lies in `folder`, `prometheus` is an address."""
    found = {}
    for name in ("dashboards", "datasources"):
        text = (_HERE / "provisioning" / f"{name}.yaml").read_text("utf-8")
        for mark, value in (("@FOLDER@", folder), ("@PROMETHEUS@", prometheus)):
            text = text.replace(mark, json.dumps(value))
        found[f"{name}/observer.yaml"] = text
    return found


def write(folder: Path, prometheus: str) -> list[Path]:
    """Write what Grafana provisions from files; returns the files.

    Parameters
    ----------
    folder : Path
        Gets `dashboards/observer/*.json`, `provisioning/dashboards/observer.yaml` and
        `provisioning/datasources/observer.yaml`. The first tells Grafana to look for the JSON here.
    prometheus : str
        Address of the Prometheus that Grafana asks.

    Raises
    ------
    Permanent
        A file cannot be written.
    """
    boards = folder / "dashboards" / "observer"
    wanted = {boards / name: text for name, text in texts().items()}
    for name, text in provisioning(str(boards.resolve()), prometheus).items():
        wanted[folder / "provisioning" / name] = text
    for path, text in wanted.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        except OSError as error:
            raise Permanent(f"{path}: cannot be written: {error.strerror}") from error
    return list(wanted)


def push(url: str, credential: str | tuple[str, str], title: str, timeout: float = 20.0) -> list[str]:
    """Put every dashboard into a folder of a Grafana server; what it has of them is replaced.

    Parameters
    ----------
    url : str
        Of the server, such as `https://grafana.example/`, with its path where it has one.
    credential : str or tuple of str
        Token of a service account with the role Editor, or user and password.
    title : str
        Of the folder, which is made where it is missing; one that exists keeps its own.

    Returns
    -------
    list of str
        The dashboards' addresses.

    Raises
    ------
    ConfigError
        The address is none.
    Retryable
        The server does not answer, or not now.
    Permanent
        The server refuses, or grafana-client is not installed.
    """
    try:
        import requests  # noqa: PLC0415 - an extra
        from grafana_client import GrafanaApi  # noqa: PLC0415 - an extra
        from grafana_client.client import GrafanaException, GrafanaServerError  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise Permanent("to push dashboards install ml-observer[grafana]") from error
    if not url.startswith(("http://", "https://")) or any(one in url for one in "@?#"):
        raise ConfigError(
            [f"{_shown(url)}: accepted: http:// or https://, a host, a path; no user, no query"]
        )
    address = url.rstrip("/")
    api = GrafanaApi.from_url(f"{address}/", credential=credential, timeout=timeout)
    try:
        _make_folder(api, title)
        return [address + _put(api, json.loads(text)) for text in texts().values()]
    except GrafanaServerError as error:
        raise Retryable(f"Grafana at {address}: {error.message}") from error
    except GrafanaException as error:
        raise Permanent(f"Grafana at {address}: {error.message}") from error
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        raise Retryable(f"Grafana at {address}: no answer of a Grafana: {type(error).__name__}") from error
    finally:
        api.client.s.close()


def _make_folder(api: Any, title: str) -> None:
    from grafana_client.client import GrafanaClientError  # noqa: PLC0415 - an extra

    try:
        api.folder.get_folder(FOLDER_UID)
    except GrafanaClientError as error:
        if error.status_code != 404:
            raise
        api.folder.create_folder(title, FOLDER_UID)


def _put(api: Any, board: dict[str, Any]) -> str:
    body = {"dashboard": {**board, "id": None}, "folderUid": FOLDER_UID, "overwrite": True}
    said = api.dashboard.update_dashboard({**body, "message": "observer dashboards push"})
    return str(said["url"])


def _shown(url: str) -> str:
    """An address without what may be a password."""
    return repr(url.rpartition("@")[2])[:80]
