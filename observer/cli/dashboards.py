"""`observer dashboards`."""

# ruff: noqa: PLC0415 - imports wait until the command runs, so that help and completion answer at once

from __future__ import annotations

from pathlib import Path

import click

_EPILOG = """\b
Examples:
  observer dashboards write /var/lib/observer/grafana
  GRAFANA_TOKEN=glsa_... observer dashboards push https://grafana.example
"""


@click.group(epilog=_EPILOG)
def command() -> None:
    """Grafana dashboards: fleet, model, objectives, rollout, actions, the service itself."""


@command.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--prometheus",
    metavar="URL",
    default="http://localhost:9090",
    show_default=True,
    help="The Prometheus that Grafana asks, for the provisioned data source.",
)
def write(folder: Path, prometheus: str) -> None:
    """Write the JSON and Grafana's provisioning files into FOLDER."""
    from observer.dashboards import write as write_files

    for path in write_files(folder, prometheus):
        click.echo(path)


@command.command()
@click.argument("url")
@click.option("--title", default="Observer", show_default=True, help="Of the folder, where it is made.")
@click.option(
    "--token",
    envvar="GRAFANA_TOKEN",
    show_envvar=True,
    metavar="TOKEN",
    help="Of a service account with the role Editor.",
)
@click.option("--user", metavar="NAME", help="Instead of a token; asks for the password.")
@click.option("--password", envvar="GRAFANA_PASSWORD", show_envvar=True, help="Of the user.")
def push(url: str, title: str, token: str | None, user: str | None, password: str | None) -> None:
    """Put the dashboards onto the Grafana server at URL; what it has of them is replaced."""
    from observer.dashboards import push as push_all
    from observer.errors import ConfigError

    if user is not None:
        secret = password if password is not None else click.prompt("Password", hide_input=True, err=True)
        credential: str | tuple[str, str] = (user, secret)
    elif token:
        credential = token
    else:
        raise ConfigError(["no token: set GRAFANA_TOKEN, or give --token or --user"])
    for address in push_all(url, credential, title):
        click.echo(address)
