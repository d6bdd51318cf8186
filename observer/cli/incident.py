"""`observer incident`."""

from __future__ import annotations

from pathlib import Path

import click

from observer.cli.group import config_option
from observer.cli.orders import order, url_option

_EPILOG = """\b
Example:
  observer incident close -c observer.yaml churn 7
"""


@click.group()
def command() -> None:
    """What a page opened, and how it ends."""


@command.command(name="close", epilog=_EPILOG)
@config_option
@url_option
@click.argument("model")
@click.argument("version")
def close_command(path: Path, url: str | None, model: str, version: str) -> None:
    """End the incidents of VERSION of MODEL in a running service.

    An incident ends by itself once all its streams are verified stable. A change that still lasts will
    page again; to live with it, make it the reference: `observer reference accept`.
    """
    click.echo(order(path, url, "incidents/close", {"model": model, "version": version}))
