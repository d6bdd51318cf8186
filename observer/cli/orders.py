"""Orders from the command line to a running service, over its HTTP interface."""

# ruff: noqa: PLC0415 - imports wait until the command runs, so that help and completion answer at once

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from observer.errors import ConfigError, Permanent, Retryable

url_option = click.option(
    "--url", metavar="URL", help="Where the service is; default: `http.host` and `http.port` here."
)


_NOTHING = "this service has nothing there; actions and rollouts need `targets` in its configuration"
_WRONG = "the token of the configuration here is not the service's"


def order(path: Path, url: str | None, what: str, body: dict[str, Any]) -> str:
    """Give an order with the token of the configuration; returns what the service says it did."""
    http = _http(path)
    token = http.token.get_secret_value()
    if not token:
        raise ConfigError(["http.token: not set, so the service takes no orders; set it there and here"])
    said = _answer(_address(http, url, what), token, body)
    return str(said["done"])


def ask(path: Path, url: str | None, what: str) -> Any:
    """What the service says of something; lines of JSON as a list."""
    http = _http(path)
    token = http.read_token.get_secret_value() or http.token.get_secret_value()
    return _answer(_address(http, url, what), token, None)


def _http(path: Path) -> Any:
    from observer.config import load

    return load(path).http


def _address(http: Any, url: str | None, what: str) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(http.host, http.host)  # noqa: S104 - where to call
    return f"{(url or f'http://{host}:{http.port}').rstrip('/')}/api/v1/{what}"


def _answer(address: str, token: str, body: dict[str, Any] | None) -> Any:
    import json

    import httpx

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        if body is None:
            answer = httpx.get(address, headers=headers, timeout=60)
        else:
            answer = httpx.post(address, json=body, headers=headers, timeout=60)
        if answer.headers.get("content-type", "").startswith("application/x-ndjson"):
            return [json.loads(line) for line in answer.text.splitlines()]
        if answer.status_code == 404 and "json" not in answer.headers.get("content-type", ""):
            raise Permanent(f"{address}: {_NOTHING}")
        said = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        told = str(error) or type(error).__name__
        raise Retryable(f"{address}: no answer of a running service: {told}") from error
    if answer.status_code == 200:
        return said
    told = str(said.get("error", f"{address}: status {answer.status_code}"))
    raise Permanent(f"{told}; {_WRONG}" if answer.status_code == 401 and token else told)
