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


def order(path: Path, url: str | None, what: str, body: dict[str, Any]) -> str:
    """Give an order with the token of the configuration; returns what the service says it did."""
    import httpx

    from observer.config import load

    http = load(path).http
    token = http.token.get_secret_value()
    if not token:
        raise ConfigError(["http.token: not set, so the service takes no orders; set it there and here"])
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(http.host, http.host)  # noqa: S104 - where to call
    address = f"{(url or f'http://{host}:{http.port}').rstrip('/')}/api/v1/{what}"
    try:
        answer = httpx.post(address, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=60)
        said = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        told = str(error) or type(error).__name__
        raise Retryable(f"{address}: no answer of a running service: {told}") from error
    if answer.status_code == 200:
        return str(said["done"])
    raise Permanent(str(said.get("error", f"{address}: status {answer.status_code}")))
