"""`observer rules`."""

# ruff: noqa: PLC0415 - imports wait until the command runs, so that help and completion answer at once

from __future__ import annotations

from pathlib import Path

import click

from observer.cli.group import config_option

_EPILOG = """\b
Examples:
  observer rules -c observer.yaml > /etc/prometheus/rules/observer.yaml
  promtool check rules /etc/prometheus/rules/observer.yaml
"""


@click.command(epilog=_EPILOG)
@config_option
@click.option(
    "--thresholds",
    "limits",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="When alerts beside those of objectives fire, YAML; over the packaged values.",
)
@click.option(
    "--runbooks", default="docs/runbooks", show_default=True, help="Address of the runbooks' folder."
)
@click.option("--job", default="observer", show_default=True, help="The service's job name in Prometheus.")
def command(path: Path, limits: Path | None, runbooks: str, job: str) -> None:
    """Print Prometheus recording and alerting rules for everything that a configuration watches.

    Objectives get Sloth's series and multiwindow, multi-burn-rate alerts. Every alert has a summary, a
    description, a runbook, a severity, and the model's owner.
    """
    from observer.config import load
    from observer.rules import thresholds, write

    click.echo(write(load(path), thresholds(limits), runbooks=runbooks, job=job), nl=False)
